"""Takes reports in, from the stream in batches or from Celery one by one, and gives each its outcome."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

from softbounce.core.decide import HEAD_BYTES, Arrived, DeadLetter, Decision, Plan, dead_letter, decide
from softbounce.core.events import OptedIn
from softbounce.core.policy.model import Policy
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidEvent, NewerRecord, ScriptFailed, TryAgain
from softbounce.store import Accepted, Entry, Store
from softbounce.store.ledger import Batch
from softbounce.store.limits import INTAKE_BATCH, LOGGED_SINGLY, STRIKES
from softbounce.telemetry import get_logger
from softbounce.worker.crash_points import reached
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.retrying import retrier

log = get_logger()

Part = tuple[Sequence[bytes], Batch]  # reports, and what was decided on them

ORDINARY = 1000  # bytes up to which a report costs the store no more than an ordinary one
EACH = 3  # recipients that cost the store as much as one more report, where it knows ten million deliveries
WAIT = 100  # ms that a read waits for the first entry
TAKE_OVER_VIRTUAL = 1_000  # ms; the server measures idle time in real time, also where ours is virtual

NAMES = {  # outcome -> event name, where it differs from "event.accepted"
    "scheduled": "retry.scheduled",
    "suppressed": "recipient.suppressed",
    "given_up": "retry.given_up",
    "held": "delivery.held",
    "delivered": "delivery.recovered",
    "cancelled": "retry.cancelled",
    "opted_in": "recipient.opted_in",
    "deferred": "event.deferred",
}
CRASHED = "softbounce itself failed on it: the worker's log has the error"  # the reason of a dead letter
DEFERRED = "deferred"  # is no outcome: a worker of a later release is to take the event


class Intake:
    """Gives each report its outcome. Safe to call from several threads."""

    def __init__(
        self,
        store: Store,
        policies: PolicyInForce,
        *,
        worker: str,
        lease: int,
        stopping: threading.Event,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over what another worker has read, and not acknowledged for two leases (ms).

        ``heard`` is called whenever the store has answered.
        """
        self.taken: Counter[str] = Counter()  # by outcome, since this worker started
        self._store, self._policies, self._worker = store, policies, worker
        self._ledger = store.ledger  # raises `WrongKey` where the store has another one
        self._accepting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="accept")
        self._under_way: Future[None] | None = None
        self._ahead: tuple[list[Entry], int] | None = None  # read, and not yet decided
        self._lease = lease
        self._reclaim_at = 0.0
        self._heard = heard
        self._patiently = retrier(stopping, on_failure=lambda _: heard())
        self._made_again = 0

    def take(self, raws: Sequence[bytes]) -> list[Accepted]:
        """Take in reports that did not come by the stream; return when the store has their outcomes.

        Raises ``NewerRecord`` where one of them is for a worker of a later release; the others are taken in.
        """
        if len(raws) > INTAKE_BATCH:  # a task may hold any number, and each call blocks the store
            batches = (raws[first : first + INTAKE_BATCH] for first in range(0, len(raws), INTAKE_BATCH))
            return [answer for batch in batches for answer in self.take(batch)]
        policy = self._policies.current
        decisions = self._decide(raws, policy=policy, now=self._store.now())
        parts = self._divided(raws, decisions, policy=policy)
        accepted = [answer for _, answer in self._commit(parts, policy=policy)]
        if any(answer.outcome == DEFERRED for answer in accepted):
            reason = "a later release of softbounce wrote its record: start workers of that release"
            raise NewerRecord(reason)
        return accepted

    def keep_unreadable(self, raw: bytes, reason: str, *, is_poison: bool = False) -> None:
        """Keep input that is no report, or has ended ``STRIKES`` workers, as a dead letter."""
        policy = self._policies.current
        letter = dead_letter(raw, InvalidEvent(reason), is_poison=is_poison)
        self._commit([self._part([raw], [letter], policy=policy)], policy=policy)

    def turn(self) -> bool:
        """Decide on a batch while the store still accepts the batch before it; then let it be accepted.

        Returns true, because the read has waited already. What fails stays unacknowledged.
        """
        self._reclaim()
        (entries, now), self._ahead = self._ahead or self._read(WAIT), None
        self._begin(entries, now, read_ahead=True)
        return True

    def settle(self) -> None:
        """Take in what was read ahead, and wait until all is accepted and acknowledged."""
        if self._ahead is not None:
            (entries, now), self._ahead = self._ahead, None
            self._begin(entries, now, read_ahead=False)
        self._wait()

    def _read(self, wait: int) -> tuple[list[Entry], int]:
        entries, now = self._store.events.read(self._worker, count=INTAKE_BATCH, block_ms=wait)
        if self._made_again != (again := self._store.events.made_again):
            self._made_again = again
            reason = "its stream or group was gone and is made again: what was unread may be lost"
            log.critical("intake.lost", worker=self._worker, stream=self._store.events.key, reason=reason)
        if entries:
            reached("intake.read")
        return entries, now

    def _begin(self, entries: list[Entry], now: int, *, read_ahead: bool) -> None:
        policy = self._policies.current
        parts = self._encode(entries, policy=policy, now=now)
        self._wait()
        if not entries:
            return
        try:
            if read_ahead:  # now, because a read waits while the store accepts a batch
                self._ahead = self._read(0)
        finally:
            self._under_way = self._accepting.submit(self._keep, entries, parts, policy)

    def _wait(self) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _reclaim(self) -> None:
        """Take over unacknowledged reports one by one, so that no report gets a strike for another."""
        if monotonic() < self._reclaim_at:
            return
        self.settle()
        now, is_virtual = self._store.clock()
        idle = TAKE_OVER_VIRTUAL if is_virtual else 2 * self._lease
        while entries := self._store.events.reclaim(self._worker, idle_ms=idle, count=1):
            reached("intake.taken_over")
            self._heard()
            policy = self._policies.current
            entry = entries[0]
            if entry.letter is None and entry.deliveries > STRIKES:
                reason = f"read {STRIKES} times, and each time the worker died before it was acknowledged"
                letter = dead_letter(entry.raw, InvalidEvent(reason), is_poison=True)
                parts = [self._part([entry.raw], [letter], policy=policy)]
            else:
                parts = self._encode(entries, policy=policy, now=now)
            self._keep(entries, parts, policy)
        self._reclaim_at = monotonic() + idle / 2000

    def _keep(self, entries: Sequence[Entry], parts: Sequence[Part], policy: Policy) -> None:
        reached("intake.decided")
        accepted = self._patiently(self._commit, parts, policy=policy)
        reached("intake.accepted")
        found = list(zip(entries, accepted, strict=True))
        replies = {
            entry.id: _reply(decision, answer, policy=policy)
            for entry, (decision, answer) in found
            if entry.reply
        }
        taken = [entry for entry, (_, answer) in found if answer.outcome != DEFERRED]
        self._patiently(self._store.events.ack, taken, replies=replies)
        if len(taken) < len(entries):
            left = [entry for entry, (_, answer) in found if answer.outcome == DEFERRED]
            self._patiently(self._store.events.defer, left, self._worker)
        reached("intake.acknowledged")

    def _encode(self, entries: Sequence[Entry], *, policy: Policy, now: int) -> list[Part]:
        """Decide on entries and encode the decisions; one that was too large is a dead letter already."""
        decisions = self._decide([entry.raw for entry in entries], policy=policy, now=now)
        decisions = [entry.letter or one for entry, one in zip(entries, decisions, strict=True)]
        return self._divided([entry.raw for entry in entries], decisions, policy=policy)

    def _divided(self, raws: Sequence[bytes], decisions: Sequence[Decision], *, policy: Policy) -> list[Part]:
        """Encode in parts of at most the work of an ordinary batch: a script blocks the store."""
        starts, work = [0], 0.0
        for number, (raw, decision) in enumerate(zip(raws, decisions, strict=True)):
            work += (more := _work(raw, decision))
            if work > INTAKE_BATCH and number > starts[-1]:
                starts.append(number)
                work = more
        ends = [*starts[1:], len(raws)]
        spans = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        return [self._part(raws[span], decisions[span], policy=policy) for span in spans]

    def _part(self, raws: Sequence[bytes], decisions: Sequence[Decision], *, policy: Policy) -> Part:
        try:
            return raws, self._ledger.encode(decisions, policy=policy)
        except TryAgain:
            raise
        except Exception as error:  # noqa: BLE001 - the worker's edge: a mistake of ours must not lose a report
            if len(raws) == 1:
                return raws, self._ledger.encode([self._culprit(raws[0], error)], policy=policy)
        parts = [self._part([raw], [one], policy=policy) for raw, one in zip(raws, decisions, strict=True)]
        sound = [decision for _, batch in parts for decision in batch.decisions]
        return raws, self._ledger.encode(sound, policy=policy)

    def _decide(self, raws: Sequence[bytes], *, policy: Policy, now: int) -> list[Decision]:
        """Decide on reports; one on which we fail is a dead letter."""
        try:
            return [decide(raw, policy=policy, now=now) for raw in raws]
        except Exception as error:  # noqa: BLE001 - as above
            if len(raws) == 1:
                return [self._culprit(raws[0], error)]
        return [decision for raw in raws for decision in self._decide([raw], policy=policy, now=now)]

    def _commit(self, parts: Iterable[Part], *, policy: Policy) -> list[tuple[Decision, Accepted]]:
        """Let the store accept what was encoded; return each decision, and what became of it.

        A report on which the store's script fails is found by halving the batch, and becomes a dead letter.
        A script that fails has changed nothing.
        """
        done: list[tuple[Decision, Accepted]] = []
        for raws, batch in parts:
            decisions = batch.decisions
            try:
                accepted = self._ledger.commit(batch)
            except ScriptFailed as error:
                if len(raws) == 1 and isinstance(decisions[0], DeadLetter):
                    raise
                if len(raws) == 1:
                    spans, decisions = [slice(1)], [self._culprit(raws[0], error)]
                else:
                    spans = [slice(len(raws) // 2), slice(len(raws) // 2, None)]
                halves = (self._part(raws[span], decisions[span], policy=policy) for span in spans)
                done += self._commit(halves, policy=policy)
            else:
                self._count(decisions, accepted, policy=policy)
                done += zip(decisions, accepted, strict=True)
        return done

    def _culprit(self, raw: bytes, error: Exception) -> DeadLetter:
        log.error("event.crashed", worker=self._worker, exc_info=error)
        reason = str(error) if isinstance(error, ScriptFailed) else CRASHED
        return dead_letter(raw, InvalidEvent(reason))

    def _count(self, decisions: Sequence[Decision], accepted: Sequence[Accepted], *, policy: Policy) -> None:
        outcomes = Counter(answer.outcome for answer in accepted)
        self.taken += outcomes
        if not (outcomes["dead_lettered"] or log.is_enabled_for(logging.INFO)):
            return
        if len(accepted) > LOGGED_SINGLY:
            log.info("event.accepted", worker=self._worker, count=len(accepted), **outcomes)
        for decision, answer in zip(decisions, accepted, strict=True):
            if isinstance(decision, DeadLetter):
                facts = {"identity": decision.identity, "reason": decision.reason, "path": decision.path}
                if answer.is_cut:  # the letters have used up their budget
                    facts["kept"] = f"{HEAD_BYTES} of {decision.length} bytes: no replay"
                log.warning("event.dead_lettered", worker=self._worker, **facts)
            elif len(accepted) <= LOGGED_SINGLY:
                name = NAMES.get(answer.outcome, "event.accepted")
                log.info(name, worker=self._worker, **_log_facts(decision, answer, policy=policy))


def _work(raw: bytes, decision: Decision) -> float:
    """Return what a report costs the store, in ordinary reports."""
    named: tuple[object, ...] = ()
    if isinstance(decision, Plan | Arrived):
        named = decision.event.recipients
    elif isinstance(decision, OptedIn):
        named = decision.people
    return max(1, len(raw) / ORDINARY, len(named) / EACH)


def _log_facts(decision: Decision, answer: Accepted, *, policy: Policy) -> dict[str, object]:
    facts: dict[str, object] = {
        "event_id": answer.event_id,
        "reference": answer.reference,
        "outcome": answer.outcome,
        "attempt": answer.attempt,
        "code": answer.code,
        "policy_revision": policy.revision,
    }
    if isinstance(decision, Plan):
        event, rule = decision.event, decision.rule
        facts |= {
            "channel": event.channel,
            "fault": decision.fault,
            "merchant": event.claim.merchant_id,
            "rule": rule.name,
            "rule_at": policy.at(rule.line),
            "rid": f"r_{answer.delivery[12:].partition('~')[0]}",
            "trace_id": event.traceparent,
            "due_at": iso(answer.due),
            "case": answer.case,
            "escalated": answer.escalated,
        }
    return {name: fact for name, fact in facts.items() if fact}


def _reply(decision: Decision, answer: Accepted, *, policy: Policy) -> dict[str, object]:
    """Return the reply to a producer that waits for the outcome of its report."""
    reply = {
        "eventId": answer.event_id,
        "reference": answer.reference or None,
        "outcome": answer.outcome,
        "first": answer.first,
        "nextTry": iso(answer.due),
        "attempt": answer.attempt or None,
        "case": answer.case,
        "escalated": answer.escalated or None,
    }
    if isinstance(decision, Plan):
        reply["because"] = f"{decision.rule.name} ({policy.at(decision.rule.line)})"
    if isinstance(decision, DeadLetter):
        reply |= {"reason": decision.reason, "path": decision.path}
    return {name: value for name, value in reply.items() if value is not None}
