"""The ledger: what becomes of each event and each retry. Every method is one Lua call for a whole batch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, cast

import redis
from msgspec import Struct

from softbounce.core.decide import Arrived, Decision, Plan
from softbounce.core.policy.model import Policy
from softbounce.core.records import UNREADABLE, Delivery, decode
from softbounce.store.connection import as_text, reaching
from softbounce.store.encoding import Encoder, Row, as_json, gate_options, provider_terms
from softbounce.store.keys import Keys
from softbounce.store.limits import DEAD_LETTERS_BYTES, FINISH_BATCH
from softbounce.store.scripts import Script

_NOTHING: tuple[Any, ...] = (b"", 0, 0, b"", 0, b"", 0)  # what the script leaves out at the end of an answer


class Accepted(Struct, frozen=True, kw_only=True):
    """What the store says became of one event."""

    outcome: str
    event_id: str | None
    reference: str
    delivery: str
    code: str
    attempt: int
    due: int | None  # ms; of the try that waits
    case: str | None
    escalated: bool
    first: str | None  # the outcome of the event that this one repeats
    is_cut: bool = False  # of this dead letter only the head was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One retry to hand over before ``ends`` (ms by the store's clock)."""

    token: int
    delivery: Delivery
    ends: int
    raw: bytes  # its record


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A retry that left the schedule without a hand-over, and why."""

    delivery: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The answer of ``claim``. ``idle``: nothing was due; ``alarm``: why hand-overs wait for a person.

    A retry whose record cannot be read is set aside, and is among those that ``ended``.
    """

    leases: tuple[Lease, ...]
    ended: tuple[Ended, ...]
    mode: str
    idle: bool
    now: int
    number: int  # of claims of this store so far
    alarm: str
    breakers: tuple[tuple[str, str], ...] = ()  # provider and state, of those that opened or closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who claims, by a name of its own; the number of this claim; the newest claim whose answer it has."""

    name: str
    claim: int
    answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How one hand-over ended: ``handed_over``, ``later`` (after ``delay`` ms) or ``gone``."""

    delivery: str
    token: int
    result: str
    delay: int = 0
    note: str = ""  # the sink, or what it waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Decisions on their way to the store, as ``encode`` makes and ``commit`` takes them."""

    decisions: Sequence[Decision]
    rows: list[Row]
    arguments: list[Any]


class Ledger:
    """Accept, claim, finish, release."""

    def __init__(
        self, client: redis.Redis, keys: Keys, *, key: bytes, keep_addresses: bool, replicas: int = 0
    ) -> None:
        self._client = client
        self._replicas = replicas
        self._keys = keys
        self._key = key
        self._keep_addresses = keep_addresses
        self._accept = Script("accept")
        self._claim = Script("claim")
        self._finish = Script("finish")
        self._set_aside = Script("set_aside")

    def accept(self, decisions: Sequence[Decision], *, policy: Policy) -> list[Accepted]:
        """Give each event its outcome, in order. Repeating is harmless: it is then a ``duplicate``."""
        return self.commit(self.encode(decisions, policy=policy))

    def encode(self, decisions: Sequence[Decision], *, policy: Policy) -> Batch:
        """Do the part of ``accept`` that needs no store, while the store has another batch."""
        retention = policy.retention
        limits: dict[str, Any] = {
            "revision": policy.revision,
            "min_delay": policy.limits.min_delay,
            "max_attempts": policy.limits.max_attempts,
            "history": max(retention.history, retention.dedupe),  # a record knows the events it has seen
            "dead_letters": retention.dead_letters,
            "dead_letter_bytes": DEAD_LETTERS_BYTES,
            "providers": provider_terms(policy),
            "silence_is_good": policy.feedback == "none",
        }
        if brake := policy.brake:
            limits["brake"] = {
                "more_than": brake.more_than,
                "within": brake.within,
                "times_usual": brake.times_usual,
                "for": brake.lasts,
            }
        encoder = Encoder(
            key=self._key, revision=policy.revision, keep_addresses=self._keep_addresses, brake=policy.brake
        )
        rows = [encoder.row(decision) for decision in decisions]
        return Batch(
            decisions=decisions,
            rows=rows,
            arguments=[
                as_json(limits),
                as_json(encoder.rules),
                b"".join([*(row.probe for row in rows), *encoder.probes]),
                *chain.from_iterable(row.arguments for row in rows),
            ],
        )

    def commit(self, batch: Batch) -> list[Accepted]:
        """Let the store accept what ``encode`` made; see ``accept``.

        The outcome ``deferred``: a later release of softbounce wrote the record, and its worker is to take
        the event; nothing was changed. Raises ``ScriptFailed``, and has changed nothing, where an event of
        the batch cannot be taken.
        """
        if not batch.rows:
            return []
        with reaching():
            answers = self._accept(self._client, self._keys, batch.arguments, replicas=self._replicas)
        return [
            _accepted(row, decision, answer)
            for row, decision, answer in zip(batch.rows, batch.decisions, answers, strict=True)
        ]

    def claim(
        self,
        *,
        policy: Policy,
        limit: int,
        lease: int,
        epoch: str | None = None,
        seen: int | None = None,
        soon: int = 0,
        caller: Caller | None = None,
    ) -> Claimed:
        """Lease at most ``limit`` due retries for ``lease`` ms.

        A reply that is lost costs each a lease and a strike, but not with a ``caller``: what got no answer is
        due again with its next claim.
        ``soon``: how many the caller hands over within a minute; where more is due, or more than the rate
        allows at once, merchants take turns and the nearest deadlines go first.
        ``epoch`` and ``seen``, a ``Claimed.number``, are what the caller knows of the store: one that came
        back empty or older hands nothing over until a person says ``mode on``.
        """
        options = {
            **gate_options(policy),
            "limit": limit,
            "lease": lease,
            "history": policy.retention.history,
            "epoch": epoch,
            "seen": seen,
            "caller": asdict(caller) if caller else None,
            "soon": max(soon, limit),
        }
        known = {name: option for name, option in options.items() if option is not None}
        with reaching():
            mode, idle, now, leases, ended, number, alarm, breakers = self._claim(
                self._client, self._keys, [as_json(known)]
            )
        fields = iter(leases)
        read: list[Lease] = []
        unread: dict[bytes | str, bytes] = {}
        for name, token, raw in zip(fields, fields, fields, strict=True):
            try:
                delivery = decode(name.decode(), raw)
            except UNREADABLE:  # the script reads less of it
                unread[name] = raw
            else:
                read.append(Lease(token=token, delivery=delivery, ends=now + lease, raw=raw))
        return Claimed(
            leases=tuple(read),
            ended=(
                *(Ended(delivery=as_text(d), outcome=as_text(o), reason=as_text(r)) for d, o, r in ended),
                *self.set_aside(unread),
            ),
            mode=mode.decode(),
            idle=bool(idle),
            now=now,
            number=number,
            alarm=alarm.decode(),
            breakers=tuple((name.decode(), state.decode()) for name, state in breakers),
        )

    def set_aside(self, records: Mapping[bytes | str, bytes]) -> tuple[Ended, ...]:
        """Take deliveries whose records nobody can read off the schedule; a case keeps the bytes."""
        if records:
            with reaching():
                words = ["deliveries", *chain.from_iterable(records.items())]
                self._set_aside(self._client, self._keys, words)
        reason = "its record cannot be read: softbounce cases list kind:damaged_record"
        names = (name if isinstance(name, str) else as_text(name) for name in records)
        return tuple(Ended(delivery=name, outcome="held", reason=reason) for name in names)

    def finish(self, results: Sequence[Finish], *, policy: Policy) -> list[str]:
        """Record how hand-overs ended; each answer is ``done``, or ``stale`` where the lease passed on."""
        if not results:
            return []
        alike: dict[tuple[str, int, str], list[int]] = {}
        for place, result in enumerate(results):
            alike.setdefault((result.result, result.delay, result.note), []).append(place)
        groups = [
            {
                "r": kind,
                "delay": delay,
                "n": note,
                "d": [results[place].delivery for place in some],
                "t": [results[place].token for place in some],
            }
            for (kind, delay, note), places in alike.items()
            for start in range(0, len(places), FINISH_BATCH)
            for some in [places[start : start + FINISH_BATCH]]
        ]
        with reaching():
            answers = self._finish(self._client, self._keys, [policy.retention.history, as_json(groups)])
        order = chain.from_iterable(alike.values())
        found = {place: cast("bytes", answer).decode() for place, answer in zip(order, answers, strict=True)}
        return [found[place] for place in range(len(results))]

    def release(self, leases: Sequence[Lease], *, policy: Policy) -> list[str]:
        """Give leases back that were not begun: due again at once, the strike taken back."""
        back = [Finish(delivery=lease.delivery.id, token=lease.token, result="later") for lease in leases]
        return self.finish(back, policy=policy)


def _accepted(row: Row, decision: Decision, answer: list[Any]) -> Accepted:
    outcome, attempt, due, case, escalated, first, is_cut = *answer, *_NOTHING[len(answer) :]
    event = decision.event if isinstance(decision, Plan | Arrived) else None
    failure = event.failure if event else None
    return Accepted(
        outcome=outcome.decode(),
        event_id=event.event_id if event else getattr(decision, "event_id", None),
        reference=event.reference if event else "",
        delivery=row.delivery,
        code=failure.code if failure else "",
        attempt=attempt,
        due=due or None,
        case=case.decode() or None,
        escalated=bool(escalated),
        first=first.decode() or None,
        is_cut=bool(is_cut),
    )
