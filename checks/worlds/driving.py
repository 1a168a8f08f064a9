"""Drives the real intake, store and pump through a world, in virtual time, beside a pipeline that keeps its contract."""

import heapq
import json
import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

from softbounce.core.durations import DAY, HOUR, MINUTE
from softbounce.core.filters import parse_filter
from softbounce.core.timestamps import iso
from softbounce.settings import LEASE
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.cases import FILTER_KEYS as CASE_KEYS
from softbounce.store.cases import Case
from softbounce.store.limits import HANDOVER_BATCH, LONGEST_STEP
from softbounce.store.retries import FILTER_KEYS as RETRY_KEYS
from softbounce.worker.handover import Pump
from softbounce.worker.intake import Intake
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.sink import Handed, MayBegin
from softbounce.worker.sinks.sink import Message as Command

from .carriers import Report
from .people import HORIZON, START, Person
from .strategies import Run, Trace, send_first
from .world import Message, World

Json = dict[str, object]

OFFICE, LOOKS_AT = ZoneInfo("Europe/Berlin"), 10  # every day at ten a person looks at what is blocked
COMES_AFTER = 2 * HOUR  # and so long after the notice of an incident, because the carrier is asked first
CONFIRMS = By("operations", "the carrier says that they are dead")
UNDOES = By("operations", "the recipients are good: the carrier says so")
INCIDENTS = parse_filter("kind:incident", keys=CASE_KEYS)
WAITING = parse_filter("state:incident", keys=RETRY_KEYS)


def drive(world: World, store: Store, *, policy: Path | None) -> Run:
    """Run a world on an empty store under a policy file (None: the one that ships), until nothing can happen."""
    return _Pipeline(world, store, policy).run()


class _Pipeline:
    """Asks before first sends, sends, reports every result, and resends what it is told to."""

    name = "worlds"  # as a sink

    def __init__(self, world: World, store: Store, policy: Path | None) -> None:
        self._world, self._store = world, store
        store.set_now(START)
        self._policies = policies = PolicyInForce(policy)
        stopping = threading.Event()
        rng = random.Random(0)  # only a failing sink needs it, and ours never fails
        self._intake = Intake(store, policies, worker="worlds", lease=LEASE, stopping=stopping)
        self._pump = Pump(store, policies, self, worker="worlds", lease=LEASE, rng=rng, stopping=stopping)
        self._traces = {
            message.reference: Trace(message=message, is_refused=True) for message in world.messages
        }
        self._first = 0  # the next message to send first
        self._coming: list[tuple[int, int, Message, Report, str | None]] = []  # reports on their way
        self._numbers = count()
        self._now = self._swept = START
        self._person_comes = _next_look(START)
        self._blocked: set[int] = set()  # healthy people who were blocked at some look
        self._incidents: set[str] = set()
        healthy = [person for person in world.people if not person.is_lost]
        self._healthy = {store.suppressions.rid(person.address, person.channel) for person in healthy}

    def run(self) -> Run:
        """Go from one thing that happens to the next."""
        while (now := self._next()) <= HORIZON:
            self._now = now
            self._store.set_now(now)
            while self._pump.turn():
                pass
            self._send_first()
            self._report()
            self._hear()
            if now >= self._person_comes:
                self._look()
                self._person_comes = _next_look(now)
            if now - self._swept >= DAY:
                self._store.sweep(policy=self._policies.current)
                self._swept = now
        self._pump.settle()
        after = self._look(may_undo=False)
        return Run(
            traces=list(self._traces.values()),
            blocked_before=len(self._blocked),
            blocked_after=after,
            incidents=len(self._incidents),
        )

    def deliver(self, messages: Sequence[Command], may_begin: MayBegin) -> Handed:  # noqa: ARG002 - a Sink
        """Send again what the pump hands over."""
        for _, command in messages:
            trace = self._traces[str(command["reference"])]
            carried = self._world.carry(trace.message, self._now)
            trace.resends.append((self._now, carried.arrived))
            self._expect(trace.message, carried.reports, resend=str(command["id"]))
        return Handed(count=len(messages))

    def _next(self) -> int:
        """Return the minute in which the next thing happens; the store asks for a look every few hours."""
        soonest = [self._now + LONGEST_STEP, self._person_comes]
        if self._first < len(self._world.messages):
            soonest.append(self._world.messages[self._first].sent)
        if self._coming:
            soonest.append(self._coming[0][0])
        if (due := self._store.next_due()) is not None:
            soonest.append(due)
        return max(self._now + MINUTE, -(-min(soonest) // MINUTE) * MINUTE)

    def _send_first(self) -> None:
        due: list[Message] = []
        while self._first < len(self._world.messages) and self._world.messages[self._first].sent <= self._now:
            due.append(self._world.messages[self._first])
            self._first += 1
        people = {message.person.number: message.person for message in due}
        refused = self._refused(list(people.values()))
        for message in due:
            if message.person.number not in refused:
                self._traces[message.reference], reports = send_first(self._world, message)
                self._expect(message, reports, resend=None)

    def _expect(self, message: Message, reports: Sequence[Report], *, resend: str | None) -> None:
        for report in reports:
            heapq.heappush(self._coming, (report.heard, next(self._numbers), message, report, resend))

    def _report(self) -> None:
        events = []
        while self._coming and self._coming[0][0] <= self._now:
            _, number, message, report, resend = heapq.heappop(self._coming)
            events.append(json.dumps(event(message, report, number=number, resend=resend)).encode())
        if events:
            self._intake.take(events)

    def _hear(self) -> None:
        while claimed := self._store.notices.claim(limit=HANDOVER_BATCH, lease=LEASE):
            self._store.notices.finish(claimed)
            if any(notice.body["type"] == "softbounce.incident" for notice in claimed):
                self._person_comes = min(self._person_comes, self._now + COMES_AFTER)

    def _look(self, *, may_undo: bool = True) -> int:
        """Count the healthy people who are blocked, and undo incidents, as a person would; return the count."""
        blocked = self._refused([person for person in self._world.people if not person.is_lost])
        self._blocked |= blocked
        if may_undo:
            for case in list(self._store.cases.select(INCIDENTS, now=self._now)):
                assert case.entry.get("code") != "quarantine", "no step may be so long that hand-overs wait"
                blocks = "brake" in case.entry  # the incident of a provider that is down blocks nobody
                if blocks and case.state != "resolved":
                    self._incidents.add(case.id)
                    self._judge(case)
        return len(blocked)

    def _judge(self, case: Case) -> None:
        """Undo an incident, or confirm it where most of its recipients are dead, as their carrier would say."""
        store = self._store
        entries = list(store.incidents.suppressions(case))
        if 2 * sum(entry.rid in self._healthy for entry in entries) >= len(entries):
            self._undo(case)
            return
        for _ in store.incidents.settle(case, "confirm"):
            pass
        policy = self._policies.current
        store.cases.resolve(case.id, how="suppress", by=CONFIRMS, policy=policy, first=self._now, step=MINUTE)

    def _undo(self, case: Case) -> None:
        """Do what ``softbounce suppressions undo`` does."""
        store = self._store
        for _ in store.incidents.settle(case, "undo"):
            pass
        waiting = [found.delivery.id for found in store.retries.select(WAITING, now=self._now)]
        if waiting:
            store.retries.resume(waiting, by=UNDOES)
        policy = self._policies.current
        rate = policy.limits.handover_rate
        store.cases.resolve(
            case.id, how="release", by=UNDOES, policy=policy, first=self._now, step=rate.per // rate.count
        )

    def _refused(self, people: Sequence[Person]) -> set[int]:
        """Return the numbers of those to whom ``may_send`` says no."""
        found: set[int] = set()
        for channel in ("sms", "email"):
            here = [person for person in people if person.channel == channel]
            verdicts = self._store.suppressions.check_many([person.address for person in here], channel)
            found |= {person.number for person, verdict in zip(here, verdicts, strict=True) if not verdict}
        return found


def event(message: Message, report: Report, *, number: int, resend: str | None) -> Json:
    """Return a carrier's report as a good pipeline reports it, dated as the carrier does."""
    person = message.person
    communication: Json = {
        "channel": person.channel.upper(),
        "reference": message.reference,
        "recipients": [person.address],
        "provider": message.provider,
        "notAfter": iso(message.deadline),
    }
    if person.channel == "sms":
        communication["operator"] = person.home
    if person.tells_zone:
        communication["timezone"] = person.zone.key
    if resend is not None:
        communication["resendId"] = resend
    if report.code is not None:
        details = {"message": "as the carrier says"} | ({"smtpCode": report.smtp} if report.smtp else {})
        communication["error"] = {"type": "SEND_ERROR", "reasonCode": report.code, "details": details}
    return {
        "type": "MESSAGE_DELIVERED" if report.code is None else "MESSAGE_NOT_DELIVERED",
        "date": iso(report.at),
        "eventId": f"world-{number}",
        "source": "WORLDS",
        "claim": {
            "id": message.claim,
            "merchantId": message.merchant,
            "customerNumber": f"C{person.number}",
            "communication": communication,
        },
    }


def _next_look(now: int) -> int:
    """Return the next moment after ``now`` at which it is ten in the office (ms)."""
    there = datetime.fromtimestamp(now / 1000, UTC).astimezone(OFFICE)
    look = there.replace(hour=LOOKS_AT, minute=0, second=0, microsecond=0)
    if look <= there:
        look += timedelta(days=1)
    return int(look.timestamp() * 1000)
