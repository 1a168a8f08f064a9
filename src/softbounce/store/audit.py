"""Changes that a person asks for: who did what to what, and why, written together with the change."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from softbounce.core.bounds import TEXT, bounded
from softbounce.errors import InvalidSettings
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something, and why: an argument of every method by which a person changes something."""

    actor: str
    reason: str

    def entry(self, action: str, what: str) -> dict[str, str]:
        """Return the audit entry; the script that makes the change adds the time.

        Raises ``InvalidSettings``, naming the field, for a blank reason and for a text that is too long.
        """
        if not self.reason.strip():
            why = "a reason is obligatory: it is what the audit shows"
            raise InvalidSettings(why)
        return {
            "actor": bounded(self.actor, "actor"),
            "action": bounded(action, "action"),
            "what": bounded(what, "what", most=TEXT),
            "reason": bounded(self.reason, "reason", most=TEXT),
        }


class Audit:
    """The list of audit entries, and changes of a hash that add one."""

    def __init__(self, client: redis.Redis, keys: Keys, *, replicas: int = 0) -> None:
        self._client, self._keys, self._replicas = client, keys, replicas
        self._mark = Script("mark")

    def change(
        self,
        target: str,
        fields: Mapping[str, object],
        *,
        action: str,
        what: str,
        by: By,
    ) -> list[bytes]:
        """Write fields of one hash (None deletes) and one audit entry, in one Lua call.

        Returns the values before, empty for none.
        """
        entry = by.entry(action, what)
        pairs = [
            part for name, value in fields.items() for part in (name, "" if value is None else compact(value))
        ]
        with reaching():
            found = self._mark(
                self._client, self._keys, [compact(entry), *pairs], target=target, replicas=self._replicas
            )
        return cast("list[bytes]", found)

    def note(self, *, action: str, what: str, by: By) -> None:
        """Write an audit entry without a change, for example when somebody looks at addresses."""
        self.change("counters", {}, action=action, what=what, by=by)

    def entries(self, *, count: int = 100) -> Iterator[dict[str, Any]]:
        """Yield audit entries, newest first."""
        with reaching():
            found = cast("list[Any]", self._client.xrevrange(self._keys.fixed("audit"), count=count))
        for _, fields in found:
            yield json.loads(fields[b"entry"])


def compact(value: object) -> str:
    """Return JSON without spaces: the scripts look for ``"z":`` in the text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
