"""What waits, what became of a message, and a person's word on a single retry."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, cast

import redis

from softbounce.core.bounds import bounded
from softbounce.core.filters import Filter
from softbounce.core.records import Delivery, Json, digest, from_json, readable
from softbounce.store.audit import By
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH
from softbounce.store.scripts import Script

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One delivery with everything that happened to it, oldest first."""

    delivery: Delivery
    history: tuple[Json, ...]


class Retries:
    """Reads page by page; every write is one Lua call with its audit entry."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._reschedule = Script("reschedule")

    def select(self, wanted: Filter, *, now: int) -> Iterator[Waiting]:
        """Yield waiting retries that match, in the order of their time."""
        for page in filter(None, self._pages()):
            with reaching():
                raws = cast(
                    "list[bytes | None]",
                    self._client.hmget(self._keys.fixed("deliveries"), [ident for ident, _ in page]),
                )
            scores = {ident: int(score) for ident, score in page}
            found = readable(zip(scores, raws, strict=True))
            for delivery, end in zip(found, self._ends(found, now=now), strict=True):
                waiting = _waiting(delivery, scores[delivery.id], end=end)
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

    def _ends(self, deliveries: Sequence[Delivery], *, now: int) -> list[Json | None]:
        """Look at all that ``claim`` will look at, in one round trip."""
        marks = [cancel_fields(delivery) for delivery in deliveries]
        fields = [suppression_fields(delivery) for delivery in deliveries]
        if not marks:
            return []
        with reaching():
            pipe = self._client.pipeline(transaction=False)
            pipe.hmget(self._keys.fixed("cancels"), [field for each in marks for field in each])
            pipe.hmget(self._keys.fixed("suppressions"), [field for each in fields for field in each])
            cancels, suppressions = map(iter, pipe.execute())
        return [
            end_of(
                delivery,
                list(
                    zip(each, islice(cancels, len(each)), strict=True)
                ),  # all of them, or the next reads ours
                list(islice(suppressions, 2)),
                now=now,
            )
            for delivery, each in zip(deliveries, marks, strict=True)
        ]

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
        told: dict[str, list[Json]] = {}
        for name, lines in found.items():
            for line in map(from_json, lines.split(b"\n")):
                told.setdefault(name + line["y"], []).append(line)
        if not told:
            return []
        with reaching():
            raws = cast("list[bytes | None]", self._client.hmget(self._keys.fixed("deliveries"), list(told)))
        return [
            Story(delivery=delivery, history=tuple(told[delivery.id]))
            for delivery in readable(zip(told, raws, strict=True))
        ]

    def scheduled_by(self, deliveries: Sequence[Delivery]) -> list[Json | None]:
        """Return for each delivery the line of history that scheduled its try, None where none is left."""
        found = []
        for chunk in _chunks(deliveries):
            with reaching():
                names = [delivery.id[:12] for delivery in chunk]
                raws = cast("list[bytes | None]", self._client.hmget(self._keys.fixed("history"), names))
            for delivery, raw in zip(chunk, raws, strict=True):
                lines = [from_json(line) for line in (raw or b"").split(b"\n") if b'"scheduled"' in line]
                own = [line for line in lines if line["y"] == delivery.rid and line.get("o") == "scheduled"]
                found.append(own[-1] if own else None)
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


def _waiting(delivery: Delivery, score: int, *, end: Json | None) -> Waiting:
    state = "leased" if delivery.state == "leased" else delivery.waits_for or "waiting"
    if end is not None and state != "leased":
        state = end["state"]
    return Waiting(delivery=delivery, due=delivery.due or score, state=state)


def cancel_fields(delivery: Delivery) -> tuple[str, ...]:
    """Return the fields of ``cancels`` that may end a delivery."""
    reference, claim = delivery.id[:12], delivery.claim
    return (
        f"delivered:{reference}:{delivery.channel}",
        f"delivered:{reference}:{delivery.rid}",
        f"reference:{reference}",
        f"claim:{claim.id}",
        f"customer:{claim.customer_number}",
        f"merchant:{delivery.merchant}",
        f"recipient:{delivery.rid}",
    )


def suppression_fields(delivery: Delivery) -> tuple[str, str]:
    """Return the fields of ``suppressions`` that may end a delivery: of all, and of its merchant."""
    return delivery.rid, f"{delivery.rid}@{delivery.merchant}"


def pause_fields(delivery: Delivery) -> tuple[str, ...]:
    """Return the fields of ``pauses`` that cover a delivery."""
    return (
        f"reference:{delivery.id[:12]}",
        f"claim:{delivery.claim.id}",
        f"customer:{delivery.claim.customer_number}",
        f"merchant:{delivery.merchant}",
        *(f"recipient:{rid}" for rid in _recipients(delivery)),
        f"channel:{delivery.channel}",
        f"code:{delivery.code}",
    )


def cap_fields(delivery: Delivery) -> tuple[str, ...]:
    """Return the fields of ``sent`` by which caps count a delivery: each recipient, and the claim."""
    recipients = dict.fromkeys(f"recipient:{rid}" for rid in _recipients(delivery) if rid[:1] != "*")
    claim = () if delivery.claim.id is None else (f"claim:{delivery.claim.id}",)
    return (*recipients, *claim)


def _recipients(delivery: Delivery) -> list[str]:
    """Return the hashes of all recipients of a delivery."""
    return list(delivery.head.get("rs", [delivery.rid]))


def times_in(raw: bytes | None) -> list[int]:
    """Return when resends left (ms), from an entry of ``sent``."""
    return [at * 1000 for at in json.loads(raw)["at"]] if raw else []


def counts_in(raw: bytes | None) -> Json:
    """Return soft bounces as (message, time), reports by code, time of escalation; from ``standing``."""
    known = json.loads(raw) if raw else {}
    return {
        "soft_bounces": list(known.get("m") or ()),
        "reports": {code: list(reports) for code, reports in (known.get("c") or {}).items()},
        "escalated": known.get("x"),
    }


def end_of(
    delivery: Delivery,
    cancels: Iterable[tuple[str, bytes | None]],
    suppressions: Iterable[bytes | None],
    *,
    now: int,
) -> Json | None:
    """Return what will end a waiting retry once it is due: {"state", "by", "reason", "a"}, or None.

    It is the first mark that counts, as ``claim.lua`` decides it; ``cancels`` are fields and entries.
    """
    for field, raw in cancels:
        if raw is None:
            continue
        entry, kind = json.loads(raw), field.partition(":")[0]
        if kind == "delivered" and entry["z"] > now:
            return {**entry, "state": "delivered"}
        if kind in ("reference", "claim") or (kind != "delivered" and entry["a"] >= delivery.first_failed):
            return {**entry, "state": "cancelled"}
    for raw in suppressions:
        if raw is None or "incident" in (entry := json.loads(raw)):  # a provisional one makes it wait
            continue
        if entry.get("z") is None or entry["z"] > now:
            return {**entry, "state": "suppressed"}
    return None


def _chunks(items: Sequence[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(items), LIST_BATCH):
        yield list(items[start : start + LIST_BATCH])
