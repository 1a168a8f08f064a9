"""Retries that a person or the pipeline has cancelled: each claim looks at these marks."""

from softbounce.store.audit import Audit, By
from softbounce.store.hash_key import HashKey
from softbounce.store.scopes import scope_field, scope_named


class Cancels:
    """A cancel is one field; nothing scans the schedule."""

    def __init__(self, *, audit: Audit, key: HashKey) -> None:
        self._audit, self._key = audit, key

    def add(self, kind: str, value: object, *, by: By, now: int, channel: str | None = None) -> str:
        """Cancel what waits for a reference, claim, customer, merchant or recipient, from the next claim on.

        ``reference`` and ``claim`` also cover later reports, for ``retention.cancelled``. Returns the field
        of the mark.
        """
        field = scope_field(kind, value, channel=channel, key=self._key)
        entry = {"a": now, "by": by.actor, "reason": by.reason}
        what = scope_named(kind, value, field)
        self._audit.change("cancels", {field: entry}, action="cancel", what=what, by=by)
        return field
