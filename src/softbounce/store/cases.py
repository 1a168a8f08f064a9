"""Cases: what a person must look at, grouped, until somebody resolves it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from softbounce.core.bounds import bounded
from softbounce.core.durations import MINUTE
from softbounce.core.filters import Filter
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery, decode, readable
from softbounce.errors import InvalidSettings, NotFound
from softbounce.store.audit import Audit, By
from softbounce.store.connection import as_text, hash_field, hash_fields, reaching, whole_hash
from softbounce.store.keys import Keys
from softbounce.store.limits import RESOLVE_BATCH
from softbounce.store.scripts import Script

FILTER_KEYS = ("case", "state", "kind", "merchant", "channel", "code", "age")
RESOLUTIONS = ("release", "suppress", "drop", "fixed")
SETTLED = 5 * MINUTE  # a canary without a failure report for so long counts as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case; ``count`` is the number of deliveries that it holds or shows now."""

    id: str
    # held unknown_code unclassified ambiguous_recipient archive exhausted unanswered soft_bounces
    # also_retried reference_reused contradiction opt_in_doubt crash_loop incident damaged_record
    kind: str
    state: str  # open | acknowledged | resolved
    count: int
    entry: dict[str, Any]

    def facts(self, now: int) -> dict[str, Any]:
        """Return what filters are matched against."""
        names = ("merchant", "channel", "code")
        return {
            "case": self.id,
            "state": self.state,
            "kind": self.kind,
            "age": now - int(self.entry["opened"]),
            **{name: self.entry.get(name) for name in names},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What resolving a case did to its deliveries."""

    released: int
    skipped: int
    ended: int


class Cases:
    """List, show, acknowledge, resolve."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._resolve = Script("resolve")

    def select(self, wanted: Filter, *, now: int) -> Iterator[Case]:
        """Yield the cases that match, oldest first."""
        found = whole_hash(self._client, self._keys.fixed("cases"))
        entries = sorted(
            ((ident.decode(), json.loads(raw)) for ident, raw in found.items()),
            key=lambda pair: pair[1]["opened"],
        )
        for case in self._counted(entries):
            if wanted.matches(case.facts(now)):
                yield case

    def show(self, ident: str, *, limit: int = 20) -> tuple[Case, list[Delivery]]:
        """Return a case and its first members. Raises ``NotFound``."""
        raw = hash_field(self._client, self._keys.fixed("cases"), bounded(ident, "case"))
        if raw is None:
            msg = f"no case {ident}"
            raise NotFound(msg, "cases")
        (case,) = self._counted([(ident, json.loads(raw))])
        prefix, first, last = _range(case.entry)
        with reaching():
            found = self._client.zrangebylex(self._keys.fixed("members"), first, last, 0, limit)
        idents = [as_text(member)[len(prefix) :] for member in cast("list[bytes]", found)]
        raws = hash_fields(self._client, self._keys.fixed("deliveries"), idents)
        return case, readable(zip(idents, raws, strict=True))

    def damaged(self, *, limit: int = 20) -> dict[str, bytes]:
        """Return the first records and notices that cannot be read, as they were found."""
        with reaching():
            _, found = cast("Any", self._client.hscan(self._keys.fixed("damaged"), count=limit))
        return {as_text(name): raw for name, raw in list(found.items())[:limit]}

    def ack(self, ident: str, *, by: By) -> None:
        """Record that somebody works on a case. Raises ``NotFound``."""
        by.entry("acknowledge", bounded(ident, "case"))  # a wrong argument is refused first
        case, _ = self.show(ident, limit=0)
        if case.state == "resolved":
            msg = f"no open case {ident}"
            raise NotFound(msg, "cases")
        entry = {**case.entry, "state": "acknowledged", "by": by.actor}
        audit = Audit(self._client, self._keys)
        audit.change("cases", {ident: entry}, action="acknowledge", what=ident, by=by)

    def resolve(
        self,
        ident: str,
        *,
        how: str,
        by: By,
        policy: Policy,
        first: int,
        step: int,
        even_stale: bool = False,
        canary: bool = False,
    ) -> Resolved:
        """Close a case. ``how``: release (resend from ``first``, one a ``step`` ms), suppress, drop, fixed.

        ``canary``: release one delivery only, and leave the case open.
        ``release`` skips deliveries past their deadline, unless ``even_stale``, and those that used up
        ``limits.max_attempts``. The caller suppresses the recipients before. Raises ``NotFound``.
        """
        if how not in RESOLUTIONS:
            msg = f"is one of {', '.join(RESOLUTIONS)}"
            raise InvalidSettings(msg, "how")
        what = bounded(ident, "case")
        audit = by.entry(f"resolve {how}", what)
        released = skipped = ended = 0
        answer = b"more"
        while answer == b"more":
            options = {
                "how": how,
                "even_stale": even_stale,
                "first": first + released * step,
                "step": step,
                "limit": 1 if canary else RESOLVE_BATCH,
                "canary": canary,
                "max_attempts": policy.limits.max_attempts,
                "history": policy.retention.history,
                "closed_cases": policy.retention.closed_cases,
            }
            with reaching():
                answer, more_released, more_skipped, more_ended = self._resolve(
                    self._client, self._keys, [json.dumps(audit), json.dumps(options)]
                )
            released, skipped, ended = released + more_released, skipped + more_skipped, ended + more_ended
        if answer == b"gone":
            msg = f"no open case {ident}"
            raise NotFound(msg, "cases")
        return Resolved(released=released, skipped=skipped, ended=ended)

    def canary(self, case: Case, *, now: int) -> str:
        """Return what became of the delivery released first: ``none``, ``waits``, ``failed`` or ``well``.

        ``well``: it was delivered, or was handed over five minutes ago and no failure was reported.
        """
        if (ident := case.entry.get("canary")) is None:
            return "none"
        raw = hash_field(self._client, self._keys.fixed("deliveries"), ident)
        sent = decode(ident, raw) if raw else None
        if sent is None or sent.outcome == "delivered":
            return "well"
        if sent.state == "out":
            return "well" if now - sent.head["c"] >= SETTLED else "waits"
        return "waits" if sent.state in ("waiting", "leased") else "failed"

    def _counted(self, entries: list[tuple[str, dict[str, Any]]]) -> list[Case]:
        with reaching():
            pipe = self._client.pipeline(transaction=False)
            for _, entry in entries:
                pipe.zlexcount(self._keys.fixed("members"), *_range(entry)[1:])
            counts = pipe.execute()
        return [
            Case(id=ident, kind=entry["kind"], state=entry["state"], count=count, entry=entry)
            for (ident, entry), count in zip(entries, counts, strict=True)
        ]


def _range(entry: Mapping[str, Any]) -> tuple[str, str, bytes]:
    """Return what a case's members begin with, and the range of such names."""
    prefix = entry["group"] + "\n\n"
    return prefix, f"[{prefix}", f"[{prefix}".encode() + b"\xff"


def close_incident(client: redis.Redis, keys: Keys, code: str, detail: str = "") -> None:
    """Delete the open incident of a code, if there is one, because its cause is gone."""
    group = f"incident\n\n\n{code}\n{detail}"
    case = hash_field(client, keys.fixed("open_cases"), group)
    if case is not None:
        with reaching():
            client.hdel(keys.fixed("open_cases"), group)
            client.hdel(keys.fixed("cases"), case.decode())
            client.zrem(keys.fixed("members"), f"{group}\n\n")
