"""Pauses: what becomes due for a recipient, a merchant, a channel and the like waits until they end."""

import json
from dataclasses import dataclass

import redis

from softbounce.store.audit import Audit, By
from softbounce.store.connection import whole_hash
from softbounce.store.hash_key import HashKey
from softbounce.store.keys import Keys
from softbounce.store.scopes import scope_field, scope_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause; it may have ended."""

    until: int  # ms
    by: str
    reason: str


class Pauses:
    """A pause is one field; nothing scans the schedule."""

    def __init__(self, client: redis.Redis, keys: Keys, *, audit: Audit, key: HashKey) -> None:
        self._client, self._keys, self._audit, self._key = client, keys, audit, key

    def add(self, kind: str, value: object, *, until: int, by: By, channel: str | None = None) -> str:
        """Put aside what becomes due for a kind:value (also channel, code) until then (ms); costs no try."""
        entry = {"z": until, "by": by.actor, "reason": by.reason}
        field, _ = self._change(kind, value, entry, action="pause", by=by, channel=channel)
        return field

    def end(self, kind: str, value: object, *, by: By, channel: str | None = None) -> bool:
        """End a pause; returns whether there was one."""
        _, before = self._change(kind, value, None, action="resume", by=by, channel=channel)
        return before != [b""]

    def all(self) -> dict[str, Pause]:
        """Return every pause by its field."""
        found = whole_hash(self._client, self._keys.fixed("pauses"))
        entries = {name.decode(): json.loads(raw) for name, raw in found.items()}
        return {
            name: Pause(until=int(entry["z"]), by=entry["by"], reason=entry["reason"])
            for name, entry in entries.items()
        }

    def field(self, kind: str, value: object, *, channel: str | None = None) -> str:
        """Return the field of the pause of one kind:value."""
        return scope_field(kind, value, channel=channel, key=self._key)

    def _change(
        self, kind: str, value: object, entry: object, *, action: str, by: By, channel: str | None
    ) -> tuple[str, list[bytes]]:
        field = self.field(kind, value, channel=channel)
        what = scope_named(kind, value, field)
        return field, self._audit.change("pauses", {field: entry}, action=action, what=what, by=by)
