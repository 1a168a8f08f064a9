"""Accepts events, leases due retries, and records how hand-overs ended: one Lua call for a whole batch."""

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
from softbounce.store.encoding import Encoder, Row, as_json, gate_options, provider_terms, reused_after
from softbounce.store.keys import Keys
from softbounce.store.limits import DEAD_LETTERS_BYTES, FINISH_BATCH
from softbounce.store.scripts import Script

_NOTHING: tuple[Any, ...] = (b"", 0, 0, b"", 0, b"", 0)  # defaults for what an answer leaves out at its end


class Accepted(Struct, frozen=True, kw_only=True):
    """What happened to one event."""

    outcome: str
    event_id: str | None
    reference: str
    delivery: str
    code: str
    attempt: int
    due: int | None  # when the waiting try is due (ms)
    case: str | None
    escalated: bool
    first: str | None  # a duplicate has the outcome of the first event here
    is_cut: bool = False  # whether only the head of this dead letter was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One retry to hand over before ``ends`` (ms, the store's time)."""

    token: int
    delivery: Delivery
    ends: int
    raw: bytes  # the record of the delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A retry that ended without a hand-over, and why."""

    delivery: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The answer of ``claim``. ``idle``: nothing was due. ``alarm``: why hand-overs wait for a person.

    A retry with an unreadable record is set aside, and is in ``ended``.
    """

    leases: tuple[Lease, ...]
    ended: tuple[Ended, ...]
    mode: str
    idle: bool
    now: int
    number: int  # number of this claim among all of the store
    alarm: str
    breakers: tuple[tuple[str, str], ...] = ()  # provider and state of breakers that changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A worker's unique name, the number of its claim, and its newest claim whose answer arrived."""

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
    note: str = ""  # the sink, or the reason of ``later``


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Encoded decisions, from ``encode`` for ``commit``."""

    decisions: Sequence[Decision]
    rows: list[Row]
    arguments: list[Any]


class Ledger:
    """Accept, claim, finish, release."""

    def __init__(
        self, client: redis.Redis, keys: Keys, *, key: bytes, keep_addresses: bool, replicas: int = 0
    ) -> None:
        self._client, self._keys, self._replicas = client, keys, replicas
        self._key, self._keep_addresses = key, keep_addresses
        self._accept, self._claim = Script("accept"), Script("claim")
        self._finish, self._set_aside = Script("finish"), Script("set_aside")

    def accept(self, decisions: Sequence[Decision], *, policy: Policy) -> list[Accepted]:
        """Return the outcome of each event, in order. A repeated event is a ``duplicate``."""
        return self.commit(self.encode(decisions, policy=policy))

    def encode(self, decisions: Sequence[Decision], *, policy: Policy) -> Batch:
        """Do the part of ``accept`` that needs no store; meanwhile the store may work on another batch."""
        retention = policy.retention
        limits: dict[str, Any] = {
            "revision": policy.revision,
            "min_delay": policy.limits.min_delay,
            "max_attempts": policy.limits.max_attempts,
            "history": max(retention.history, retention.dedupe),  # a record holds the events that it has seen
            "dead_letters": retention.dead_letters,
            "dead_letter_bytes": DEAD_LETTERS_BYTES,
            "providers": provider_terms(policy),
            "silence_is_good": policy.feedback == "none",
            "reused": reused_after(policy),
        }
        if brake := policy.brake:
            limits["brake"] = {**asdict(brake), "for": brake.lasts}
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
        """Send a batch of ``encode`` to the store; return as ``accept`` does.

        Outcome ``deferred``: a later release of softbounce wrote the record, so its worker must take the
        event; nothing was changed. Raises ``ScriptFailed`` if an event of the batch cannot be accepted; then
        nothing of the batch was changed.
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

        ``caller``: after a lost reply its leases are due again with its next claim; without it they cost a
        lease's time and a strike.
        ``soon``: how many the caller hands over within a minute. If more are due, or more than the rate
        allows, merchants take turns and the nearest deadlines go first.
        ``epoch`` and ``seen`` (a ``Claimed.number``): what the caller knows of the store. A store that was
        restored empty or older hands nothing over until a person says ``mode on``.
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
            except UNREADABLE:  # the script reads only a part of a record
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
        """Remove deliveries with unreadable records from the schedule; a case keeps their bytes."""
        if records:
            with reaching():
                words = ["deliveries", *chain.from_iterable(records.items())]
                self._set_aside(self._client, self._keys, words)
        reason = "its record cannot be read: softbounce cases list kind:damaged_record"
        names = (name if isinstance(name, str) else as_text(name) for name in records)
        return tuple(Ended(delivery=name, outcome="held", reason=reason) for name in names)

    def finish(self, results: Sequence[Finish], *, policy: Policy) -> list[str]:
        """Record how hand-overs ended; answers ``done``, or ``stale`` if the lease has ended."""
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
        """Give unused leases back: the retries are due at once, without a strike."""
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
