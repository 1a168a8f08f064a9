"""Replays a record under one policy in one world, by the store's own scripts in virtual time."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from msgspec import structs

from softbounce.core.decide import Arrived, Plan, decide_event, quiet_for, rule_of
from softbounce.core.durations import HOUR, MINUTE
from softbounce.core.events import Event, content_hash
from softbounce.core.policy.model import Disposition, Policy, QuietHours, Rate
from softbounce.core.recipients import Channel
from softbounce.core.records import Delivery, command_id
from softbounce.core.schedule import out_of_quiet, zones_for
from softbounce.simulate.recording import NEVER, Key, Record, key_of
from softbounce.store import Accepted, Finish, Store
from softbounce.store.limits import HANDOVER_BATCH, LONGEST_STEP

STEP = 10 * MINUTE  # a step of the clock; what is due within it is claimed at once, and sent at its own time
LEASE = HOUR
NO_LIMIT = Rate(count=1_000_000, per=1_000)

Decided = tuple[int, Plan | Arrived]  # when a report was received, and what policy wants


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """Which texts leave in the night: within ``hours``, else within the quiet hours of ``policy``."""

    policy: Policy
    hours: QuietHours | None = None

    def holds(self, event: Event, moment: int) -> bool:
        """Say whether ``moment`` is in the night where the recipient of a text is."""
        if event.channel is not Channel.SMS:
            return False
        rule = rule_of(event, self.policy)
        hours = self.hours or rule.quiet_hours
        if hours is None:
            return False
        zones, _ = zones_for(replace(rule, quiet_hours=hours), event.subject, event.timezone)
        return out_of_quiet(moment, hours, zones, 0) != moment


@dataclass(slots=True, kw_only=True)
class Tally:
    """The result of one run, by row; ``guessed``: rows in which something follows from a simulated answer."""

    rows: dict[str, set[object]] = field(default_factory=dict)
    guessed: set[str] = field(default_factory=set)

    def of(self, row: str) -> set[object]:
        """Return what was counted in ``row``."""
        return self.rows.get(row, set())

    def note(self, row: str, what: object, *, guessed: bool) -> None:
        """Count ``what`` once in ``row``."""
        self.rows.setdefault(row, set()).add(what)
        if guessed:
            self.guessed.add(row)


def decided(record: Record, policy: Policy) -> list[Decided]:
    """Return what ``policy`` wants for each recorded report."""
    return [
        (report.received, decide_event(report.event, policy=policy, now=report.received))
        for report in record.reports
    ]


def _is_verdict(decision: Plan | Arrived) -> bool:
    """Say whether a recorded report suppresses by itself, whatever came before."""
    is_final = isinstance(decision, Plan) and decision.do is Disposition.SUPPRESS and not decision.confirm
    return is_final and decision.event.resend_id is None


class Replay:
    """One run. ``soon``: a recipient is reachable right after the last recorded failure."""

    def __init__(self, record: Record, policy: Policy, store: Store, *, night: Night, soon: bool) -> None:
        self._fates = record.fates
        self._policy = replace(
            policy,
            limits=replace(policy.limits, handover_rate=NO_LIMIT),
            providers={name: replace(one, rate=None) for name, one in policy.providers.items()},
        )
        self._store = store
        self._night = night
        self._soon = soon
        self._keys: dict[str, Key] = {}  # by id of the delivery
        self._failed = Counter(key[1:] for key in record.fates)  # failed messages of each recipient
        self._answered: set[tuple[str, ...]] = set(record.doubtful)  # recipients with a simulated answer
        self._tally = Tally()

    def run(self, reports: Sequence[Decided]) -> Tally:
        """Replay ``reports``, in the order of their times, until nothing waits any more."""
        place, due = 0, NEVER
        now = claimed = reports[0][0] if reports else 0
        while place < len(reports) or due < NEVER:
            moment = min(due, reports[place][0]) if place < len(reports) else due
            longest = claimed + LONGEST_STEP if due < NEVER else NEVER  # where nothing waits, years may pass
            now = max(now + 1, min(-(-moment // STEP) * STEP, longest))
            self._store.set_now(now)
            sent: list[Plan | Arrived] = []
            is_due = due <= now
            if is_due or place == 0 or now - claimed >= LONGEST_STEP:
                sent, claimed = self._leave(claimed, now), now
            end = bisect_right(reports, now, lo=place, key=itemgetter(0))
            due = min(due, self._accept([*sent, *(decision for _, decision in reports[place:end])]))
            place = end
            if is_due:
                due = self._due(now)
        return self._tally

    def _due(self, now: int) -> int:
        """Return when to claim next: now, where more is ready than one claim takes."""
        due = self._store.next_due()
        if due is not None:
            return due
        return now if self._store.sizes()["ready"] else NEVER

    def _accept(self, decisions: Sequence[Plan | Arrived]) -> int:
        """Let the store take the events, and return the earliest due of what they schedule."""
        due = NEVER
        for start in range(0, len(decisions), HANDOVER_BATCH):
            some = decisions[start : start + HANDOVER_BATCH]
            answers = self._store.ledger.accept(some, policy=self._policy)
            for decision, answer in zip(some, answers, strict=True):
                self._count(decision, answer)
                due = min(due, answer.due or NEVER)
        return due

    def _count(self, decision: Plan | Arrived, answer: Accepted) -> None:
        key = key_of(decision.event)
        self._keys[answer.delivery] = key
        guessed = key[1:] in self._answered
        if answer.outcome in ("delivered", "given_up"):
            self._tally.note(answer.outcome, key, guessed=guessed)
        elif answer.outcome == "suppressed":
            self._tally.note("suppressed", key[1:], guessed=guessed and not _is_verdict(decision))
        if answer.escalated:
            self._tally.note("escalated", answer.event_id or decision.event.identity, guessed=guessed)

    def _leave(self, before: int, now: int) -> list[Plan | Arrived]:
        """Let everything leave that is due, and return the answers of the world."""
        answers: list[Plan | Arrived] = []
        results: list[Finish] = []
        claimed = self._store.ledger.claim(policy=self._policy, limit=HANDOVER_BATCH, lease=LEASE)
        for ended in claimed.ended:
            if ended.outcome == "given_up":
                key = self._keys[ended.delivery]
                self._tally.note("given_up", key, guessed=key[1:] in self._answered)
        for lease in claimed.leases:
            delivery = lease.delivery
            moment = max(delivery.due or now, before)
            subject = self._fates[self._keys[delivery.id]].last.subject
            if quiet := quiet_for(delivery, policy=self._policy, now=moment, subject=subject):
                delay, result = max(moment + quiet - now, 1), "later"
            else:
                delay, result = 0, "handed_over"
                answers.append(self._answer(delivery, moment))
            results.append(Finish(delivery=delivery.id, token=lease.token, result=result, delay=delay))
        self._store.ledger.finish(results, policy=self._policy)
        return answers

    def _answer(self, delivery: Delivery, moment: int) -> Plan | Arrived:
        """Send one resend, and return the answer of the world."""
        key = self._keys[delivery.id]
        fate = self._fates[key]
        resend = command_id(delivery.id, delivery.attempt)
        sent = (key, delivery.attempt)
        guessed = key[1:] in self._answered
        self._tally.note("resends", sent, guessed=guessed)
        if self._night.holds(fate.last, moment):
            self._tally.note("nights", sent, guessed=guessed)
        self._answered.add(key[1:])
        self._tally.guessed |= self._rests_on(key, fate.last)
        arrives = moment >= fate.reachable(soon=self._soon)
        event = structs.replace(
            fate.last,
            delivered=arrives,
            event_id=resend,
            identity=content_hash(f"id:{resend}".encode()),
            at=moment,
            resend_id=resend,
            failure=None if arrives else fate.last.failure,
        )
        return decide_event(event, policy=self._policy, now=moment)

    def _rests_on(self, key: Key, event: Event) -> set[str]:
        """Return the rows that another answer to one send could change, also where no world gives it."""
        rule, is_known = rule_of(event, self._policy), self._failed[key[1:]] > 1
        soft = rule.soft_bounce
        rows = set()
        if is_known or rule.do is Disposition.SUPPRESS or "suppress" in (rule.then, soft.then):
            rows.add("suppressed")
        if is_known or soft.count == "events" or soft.escalate_at == 1:
            rows.add("escalated")
        return rows
