"""A person's word: mode, pause, cancel, with the audit of it; and which workers there are."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from softbounce.core.bounds import bounded
from softbounce.core.recipients import channel_named, hashed, listed
from softbounce.core.records import digest
from softbounce.errors import InvalidSettings
from softbounce.store.audit import By
from softbounce.store.connection import reaching
from softbounce.store.hash_key import HashKey, hash_in
from softbounce.store.keys import Keys
from softbounce.store.limits import BREAKER_KEPT, WORKER_KEPT
from softbounce.store.scripts import Script

KINDS = ("reference", "claim", "customer", "merchant", "recipient")
MODES = ("on", "off", "observe")
_FIELDS = (*KINDS, "channel", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Whether retries leave: ``on``, ``off`` or ``observe`` (recorded, not handed over)."""

    mode: str
    merchant: str  # "*": all
    reason: str = ""
    by: str = ""
    at: int = 0


class Control:
    """Each call is one Lua call that also writes the audit entry."""

    def __init__(self, client: redis.Redis, keys: Keys, *, key: HashKey, replicas: int = 0) -> None:
        self._client = client
        self._replicas = replicas
        self._keys = keys
        self._hash_key = key
        self._mark, self._put = Script("mark"), Script("put")

    def _set(self, target: str, fields: Mapping[str, object], *, action: str, what: str, by: By) -> list[str]:
        """Write a hash's fields (None deletes), one audit entry; returns the values before (``""``: none)."""
        entry = by.entry(action, what)
        pairs = [
            part for name, value in fields.items() for part in (name, "" if value is None else compact(value))
        ]
        with reaching():
            answer = self._mark(
                self._client, self._keys, [compact(entry), *pairs], target=target, replicas=self._replicas
            )
        return [cast("bytes", value).decode() for value in answer]

    def set_mode(self, mode: str, *, by: By, now: int, merchant: str = "*") -> None:
        """Switch hand-overs on, off, or to observe; workers obey with their next claim.

        While all are observed a merchant can be switched on alone; a later mode of all binds it again.
        """
        if mode not in MODES:
            msg = f"is one of {', '.join(MODES)}"
            raise InvalidSettings(msg, "mode")
        entry = {"mode": mode, "reason": by.reason, "by": by.actor, "at": now}
        self._set(
            "modes", {bounded(merchant, "merchant"): entry}, action=f"mode {mode}", what=merchant, by=by
        )
        if merchant == "*" and mode == "on":
            self._resolve_incident("quarantine")

    def _resolve_incident(self, code: str, detail: str = "") -> None:
        group = f"incident\n\n\n{code}\n{detail}"
        with reaching():
            case = cast("bytes | None", self._client.hget(self._keys.fixed("open_cases"), group))
            if case is not None:
                self._client.hdel(self._keys.fixed("open_cases"), group)
                self._client.hdel(self._keys.fixed("cases"), case.decode())
                self._client.zrem(self._keys.fixed("members"), f"{group}\n\n")

    def modes(self) -> list[Mode]:
        """Return the mode of all, then those of merchants that differ; see ``mode_of`` in gates.lua."""
        with reaching():
            found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.fixed("modes")))
        return modes_in(found)

    def open_breaker(self, provider: str, *, until: int, by: By, now: int) -> None:
        """Let no resend go to a provider until then (ms); costs no try. Then it is probed."""
        entry = {"s": "open", "u": until, "c": now, "m": 1, "z": until + BREAKER_KEPT}
        self._set_breaker(provider, entry, action="breaker opened", by=by)

    def close_breaker(self, provider: str, *, by: By, now: int) -> None:
        """Let resends go to a provider again, more and more of them where policy has a ramp for it."""
        entry = {"c": now, "r": now, "z": now + BREAKER_KEPT}
        self._set_breaker(provider, entry, action="breaker closed", by=by)
        self._resolve_incident("provider_down", provider)

    def _set_breaker(self, provider: str, entry: Mapping[str, Any], *, action: str, by: By) -> None:
        name = bounded(provider, "provider")
        self._set("breakers", {name: entry}, action=action, what=name, by=by)

    def breakers(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Return what is known of each provider: its head and its newest answers, see breakers.lua."""
        with reaching():
            found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.fixed("breakers")))
        return {name.decode(): breaker_in(value) for name, value in sorted(found.items())}

    def cancel(self, kind: str, value: object, *, by: By, now: int, channel: str | None = None) -> str:
        """Cancel what waits for a reference, claim, customer, merchant or recipient, from the next claim on.

        ``reference`` and ``claim`` cover later reports, too, for ``retention.cancelled``. Returns the
        marker's field.
        """
        field = self.field(kind, value, channel=channel)
        entry = {"a": now, "by": by.actor, "reason": by.reason}
        self._set("cancels", {field: entry}, action="cancel", what=_named(kind, value, field), by=by)
        return field

    def pause(self, kind: str, value: object, *, until: int, by: By, channel: str | None = None) -> str:
        """Put aside what becomes due for a kind:value (also channel, code) until then (ms); costs no try."""
        field = self.field(kind, value, channel=channel)
        entry = {"z": until, "by": by.actor, "reason": by.reason}
        self._set("pauses", {field: entry}, action="pause", what=_named(kind, value, field), by=by)
        return field

    def resume(self, kind: str, value: object, *, by: By, channel: str | None = None) -> bool:
        """End a pause; returns whether there was one."""
        field = self.field(kind, value, channel=channel)
        before = self._set("pauses", {field: None}, action="resume", what=_named(kind, value, field), by=by)
        return before != [""]

    def pauses(self) -> dict[str, dict[str, Any]]:
        """Return every pause by its field."""
        with reaching():
            found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.fixed("pauses")))
        return {name.decode(): json.loads(value) for name, value in found.items()}

    def field(self, kind: str, value: object, *, channel: str | None = None) -> str:
        """Return the field under which the scripts look for one kind:value."""
        if kind not in _FIELDS:
            msg = f"is one of {', '.join(_FIELDS)}"
            raise InvalidSettings(msg, "kind")
        on = None if channel is None else channel_named(channel)
        if kind == "recipient":
            if (rid := hash_in(value)) is not None:
                return f"recipient:{rid}"
            if on is None:
                msg = "a recipient needs its channel: sms, email or letter"
                raise InvalidSettings(msg, "channel")
            self._hash_key.keep()  # a process may live longer than the key that it found
            return f"recipient:{hashed(listed(value, on), self._hash_key.value)}"
        if not (text := bounded(value, kind)).strip():
            msg = "needs a value: an empty one would match everything that has none"
            raise InvalidSettings(msg, kind)
        return f"reference:{digest(text)}" if kind == "reference" else f"{kind}:{text}"

    def audit(self, *, count: int = 100) -> Iterator[dict[str, Any]]:
        """Yield audit entries, newest first."""
        with reaching():
            found = cast("list[Any]", self._client.xrevrange(self._keys.fixed("audit"), count=count))
        for _, fields in found:
            yield json.loads(fields[b"entry"])

    def note(self, *, action: str, what: str, by: By) -> None:
        """Write an audit entry that goes with no change, such as a look at addresses."""
        self._set("counters", {}, action=action, what=what, by=by)

    def beat(self, worker: str, facts: Mapping[str, Any], *, now: int) -> None:
        """Say that a worker lives, and what it runs; forgotten after a minute of silence."""
        entry = compact({**facts, "at": now, "z": now + WORKER_KEPT})
        with reaching():
            self._put(self._client, self._keys, [worker, entry], target="workers")

    def workers(self, *, now: int) -> dict[str, dict[str, Any]]:
        """Return the workers that were heard of within the last minute."""
        with reaching():
            found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.fixed("workers")))
        return workers_in(found, now=now)


def modes_in(found: Mapping[bytes, bytes]) -> list[Mode]:
    """Return the mode of all, then those of merchants that differ, from the whole of ``modes``."""
    entries = {name.decode(): json.loads(value) for name, value in found.items()}
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


def breaker_in(raw: bytes) -> tuple[dict[str, Any], str]:
    """Return the head of a provider's breaker and its newest answers, see breakers.lua."""
    head, _, answers = raw.decode().partition("\n")
    return json.loads(head), answers


def workers_in(found: Mapping[bytes, bytes], *, now: int) -> dict[str, dict[str, Any]]:
    """Return the workers that were heard of within a minute before ``now``, from the whole of ``workers``."""
    entries = {name.decode(): json.loads(value) for name, value in found.items()}
    return {name: entry for name, entry in sorted(entries.items()) if entry["z"] > now}


def _named(kind: str, value: object, field: str) -> str:
    """Return what the audit shows: a reference as it is, a recipient by its hash alone."""
    return field.replace(":", ":r_", 1) if kind == "recipient" else f"{kind}:{value}"


def compact(value: object) -> str:
    """Return JSON without spaces: the scripts look for ``"z":`` in the text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
