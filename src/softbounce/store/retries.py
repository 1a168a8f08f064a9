"""What waits, what became of a message, and a person's word on a single retry."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, cast

import redis

from softbounce.core.bounds import bounded
from softbounce.core.filters import Filter
from softbounce.core.history import HistoryLine, read_lines
from softbounce.core.records import Delivery, Json, digest, readable
from softbounce.store.audit import By
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH
from softbounce.store.scripts import Script
from softbounce.store.situations import Gate, Situations, Story, counts_in, end_among

FILTER_KEYS = (
    "reference",
    "claim",
    "customer",
    "merchant",
    "recipient",
    "channel",
    "code",
    "due",
    "age",
    "state",
    "try",
    "rule",
    "provider",
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One retry that waits, and what for: waiting, quiet, breaker, rate, paused, sink.

    Or leased (being handed over), or why it will not leave: cancelled, suppressed or delivered;
    it ends when its time has come.
    """

    delivery: Delivery
    due: int
    state: str

    def facts(self, now: int) -> Json:
        """Return what filters are matched against."""
        delivery = self.delivery
        return {
            "reference": delivery.reference,
            "claim": delivery.claim.id,
            "customer": delivery.claim.customer_number,
            "merchant": delivery.merchant,
            "recipient": f"r_{delivery.rid}",
            "channel": delivery.channel,
            "code": delivery.code,
            "due": self.due - now,
            "age": now - delivery.first_failed,
            "state": self.state,
            "try": delivery.attempt,
            "rule": delivery.rule,
            "provider": delivery.provider,
        }


class Retries:
    """Reads page by page; every write is one Lua call with its audit entry."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._situations = Situations(client, keys)
        self._reschedule = Script("reschedule")

    def select(self, wanted: Filter, *, now: int) -> Iterator[Waiting]:
        """Yield waiting retries that match, in the order of their time."""
        for page in filter(None, self._pages()):
            scores = {ident: int(score) for ident, score in page}
            asked = self._situations.gates(list(scores))
            for (ident, score), (raw, gates) in zip(scores.items(), asked, strict=True):
                for delivery in readable([(ident, raw)]):
                    waiting = _waiting(delivery, score, gates)
                    if wanted.matches(waiting.facts(now)):
                        yield waiting

    def _pages(self) -> Iterator[list[tuple[str, float]]]:
        """Yield what stands in line, then what is scheduled: also what was scheduled anew while in line."""
        schedule = self._keys.fixed("schedule")
        with reaching():
            ready = cast("list[bytes]", self._client.zrange(self._keys.fixed("ready"), 0, -1))
        line = dict.fromkeys(place.decode(errors="replace").rpartition("\n")[2] for place in ready)
        for idents in _chunks(list(line)):  # under two deadlines it has two places
            with reaching():
                scores = self._client.zmscore(schedule, idents)
            yield [(ident, 0) for ident, score in zip(idents, scores, strict=True) if score is None]
        start = 0
        while True:
            with reaching():
                page = cast(
                    "list[tuple[bytes, float]]",
                    self._client.zrange(schedule, start, start + LIST_BATCH - 1, withscores=True),
                )
            if not page:
                return
            yield [(ident.decode(errors="replace"), score) for ident, score in page]
            start += LIST_BATCH

    def find(self, reference: str) -> list[Story]:
        """Return every delivery of a message with its history; empty where the store knows none."""
        with reaching():
            lines = cast("bytes | None", self._client.hget(self._keys.fixed("history"), digest(reference)))
        return [] if lines is None else self._stories({digest(reference): lines})

    def remembered(self) -> int:
        """Return of how many messages there is a history."""
        with reaching():
            return self._client.hlen(self._keys.fixed("history"))

    def stories(self, *, since: int, most: int | None = None) -> Iterator[Story]:
        """Yield every delivery of the messages first reported at ``since`` (ms) or later, in no order.

        Two round trips for some 500 messages. At most ``most`` messages are looked at: a hash has no order,
        so they are as good as drawn by lot.
        """
        cursor, looked, seen = 0, 0, set[str]()
        while True:
            with reaching():
                cursor, page = cast(
                    "tuple[int, dict[bytes, bytes]]",
                    self._client.hscan(self._keys.fixed("history"), cursor, count=LIST_BATCH),
                )
            some = islice(page.items(), None if most is None else most - looked)
            looked += len(page)
            found = {  # a line begins with its time; a scan may show a field twice
                name.decode(): lines
                for name, lines in some
                if int(lines[len('{"t":') : lines.index(b",")]) >= since and name.decode() not in seen
            }
            seen.update(found)
            yield from self._stories(found)
            if not cursor or (most is not None and looked >= most):
                return

    def _stories(self, found: Mapping[str, bytes]) -> list[Story]:
        """Return the deliveries of messages, by their digest, with the lines of each."""
        told: dict[str, list[HistoryLine]] = {}
        for name, lines in found.items():
            for line in read_lines(lines):
                told.setdefault(name + line.recipient, []).append(line)
        if not told:
            return []
        with reaching():
            raws = cast("list[bytes | None]", self._client.hmget(self._keys.fixed("deliveries"), list(told)))
        return [
            Story(delivery=delivery, history=tuple(told[delivery.id]))
            for delivery in readable(zip(told, raws, strict=True))
        ]

    def scheduled_by(self, deliveries: Sequence[Delivery]) -> list[HistoryLine | None]:
        """Return for each delivery the line of history that scheduled its try, None where none is left."""
        found = []
        for chunk in _chunks(deliveries):
            with reaching():
                names = [delivery.id[:12] for delivery in chunk]
                raws = cast("list[bytes | None]", self._client.hmget(self._keys.fixed("history"), names))
            for delivery, raw in zip(chunk, raws, strict=True):
                scheduled = [
                    line
                    for line in read_lines(raw or b"")
                    if line.recipient == delivery.id[12:] and line.outcome == "scheduled"
                ]
                found.append(scheduled[-1] if scheduled else None)
        return found

    def dues(self, idents: Sequence[str]) -> list[int]:
        """Return when each of these retries was due (ms), of those that are left."""
        if not idents:
            return []
        with reaching():
            raws = cast("list[bytes | None]", self._client.hmget(self._keys.fixed("deliveries"), idents))
        found = readable(zip(idents, raws, strict=True))
        return [delivery.due for delivery in found if delivery.due is not None]

    def standing(self, rid: str) -> Json:
        """Return a recipient's soft bounces as (message, time), reports by code, time of escalation."""
        with reaching():
            raw = cast("bytes | None", self._client.hget(self._keys.fixed("standing"), rid))
        return counts_in(raw)

    def run_now(self, idents: Sequence[str], *, by: By) -> int:
        """Make waiting retries due now, despite quiet hours and pauses; returns how many still waited."""
        return self._move(idents, "urgent", action="run-now", by=by)

    def resume(self, idents: Sequence[str], *, by: By) -> int:
        """Give waiting retries their own time back after a pause. Returns how many still waited."""
        return self._move(idents, "own", action="resume", by=by)

    def _move(self, idents: Sequence[str], how: str, *, action: str, by: By) -> int:
        moved = 0
        for chunk in _chunks(idents):
            wanted = [bounded(ident, "delivery") for ident in chunk]
            what = f"{len(chunk)} retries"
            entry = by.entry(action, what)
            with reaching():
                answers = self._reschedule(self._client, self._keys, [json.dumps(entry), how, *wanted])
            moved += sum(answer == b"done" for answer in answers)
        return moved


def _waiting(delivery: Delivery, score: int, gates: Sequence[Gate]) -> Waiting:
    state = "leased" if delivery.state == "leased" else delivery.waits_for or "waiting"
    if (end := end_among(gates)) and state != "leased":
        state = end.becomes
    return Waiting(delivery=delivery, due=delivery.due or score, state=state)


def _chunks(items: Sequence[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(items), LIST_BATCH):
        yield list(items[start : start + LIST_BATCH])
