"""Whether retries leave at all, for everybody and for single merchants."""

import json
from dataclasses import dataclass

import redis

from softbounce.core.bounds import bounded
from softbounce.errors import InvalidSettings
from softbounce.store.audit import Audit, By
from softbounce.store.cases import close_incident
from softbounce.store.connection import whole_hash
from softbounce.store.keys import Keys

MODES = ("on", "off", "observe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Whether retries leave: ``on``, ``off`` or ``observe`` (recorded, not handed over)."""

    mode: str
    merchant: str  # "*": all
    reason: str = ""
    by: str = ""
    at: int = 0


class Modes:
    """Workers obey a new mode with their next claim."""

    def __init__(self, client: redis.Redis, keys: Keys, *, audit: Audit) -> None:
        self._client, self._keys, self._audit = client, keys, audit

    def set(self, mode: str, *, by: By, now: int, merchant: str = "*") -> None:
        """Switch hand-overs on, off, or to observe.

        A merchant's mode wins over the mode of all, with one exception: ``on`` ends when a later mode of all
        is set.
        """
        if mode not in MODES:
            msg = f"is one of {', '.join(MODES)}"
            raise InvalidSettings(msg, "mode")
        entry = {"mode": mode, "reason": by.reason, "by": by.actor, "at": now}
        fields = {bounded(merchant, "merchant"): entry}
        self._audit.change("modes", fields, action=f"mode {mode}", what=merchant, by=by)
        if merchant == "*" and mode == "on":
            close_incident(self._client, self._keys, "quarantine")

    def all(self) -> list[Mode]:
        """Return the mode of all, then those of merchants that differ; see ``mode_of`` in gates.lua."""
        found = whole_hash(self._client, self._keys.fixed("modes"))
        entries = {name.decode(): json.loads(raw) for name, raw in found.items()}
        whole = entries.pop("*", {"mode": "on", "at": 0})
        others = {
            name: entry
            for name, entry in sorted(entries.items())
            if entry["mode"] != "on" or (whole["mode"] != "on" and entry["at"] > whole["at"])
        }
        return [
            Mode(merchant=name, **{k: v for k, v in entry.items() if k in ("mode", "reason", "by", "at")})
            for name, entry in {"*": whole, **others}.items()
        ]
