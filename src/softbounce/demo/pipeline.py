"""The simulated pipeline: it asks whom it may send to, sends, reports, and acts once on each resend."""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from softbounce.core.durations import DAY
from softbounce.core.timestamps import iso
from softbounce.demo.lockstep import STEP, Lockstep
from softbounce.demo.rivals import Score, count_arrivals, count_send
from softbounce.demo.world import UNDONE, Message, Report, World, event
from softbounce.store.limits import LONGEST_STEP

Json = dict[str, Any]
PERMANENT = ("INVALID_", "BOUNCE_PERMANENT_")
MISLABEL = "INVALID_MOBILE_NUMBER"  # only the mislabelling operator says so: the world has no such number
CONFIRMED = "SMS_NOT_DELIVERED"  # the policy believes it at the second report, so it sends once more
TAIL = 12 * DAY  # ms after the last first send in which every window of the policy ends


@dataclass(slots=True)
class Seen:
    """What the world saw of softbounce. The claims are counted from it alone."""

    commands: list[tuple[int, Json]] = field(default_factory=list)  # (time, command); repeats too
    delivered_at: dict[str, int] = field(default_factory=dict)  # reference -> when softbounce had accepted it
    delivered_by: dict[str, str | None] = field(default_factory=dict)  # reference -> the resend that arrived
    suppressed_at: dict[tuple[str, str], int] = field(default_factory=dict)  # (channel, address) -> when
    reported: Counter[str] = field(default_factory=Counter)  # event id -> how often it was reported
    answers: dict[str, list[str]] = field(default_factory=dict)  # event id -> the outcome that each copy had
    duplicates: int = 0  # answers that call a report a duplicate
    escalated: set[str] = field(default_factory=set)  # ids of notices, which may come twice too
    first: int = 0  # messages sent first
    refused_first: int = 0  # first sends that may_send refused
    lifted: int = 0  # suppressions that the undo lifted
    undone: set[str] = field(default_factory=set)  # references of mislabelled reports
    still_refused: int | None = None  # healthy recipients, right after the undo; None before it


class Pipeline:
    """Runs the world against softbounce, step by step, and keeps count."""

    def __init__(
        self,
        world: World,
        lockstep: Lockstep,
        *,
        tell: Callable[[int, str, Json], None],
        save: IO[str] | None = None,
    ) -> None:
        """``tell`` is called with all that happens; ``save`` gets each report as NDJSON, in order."""
        self.seen = Seen()
        self._world, self._lockstep, self._tell, self._save = world, lockstep, tell, save
        self._by_reference = {message.reference: message for message in world.messages}
        self._coming: list[tuple[int, int, Message, Report, str | None]] = []  # reports on their way
        self._order = 0
        self._numbers: Counter[str] = Counter()
        self._arrivals: defaultdict[str, list[int]] = defaultdict(list)
        self._failed: set[str] = set()
        self._done: set[str] = set()  # ids of commands that were acted on
        self._first = 0  # the next message to send first
        self._score = Score(cases=0)

    def run(self, *, progress: Callable[[int], None], kills: Sequence[int] = ()) -> Score:
        """Run all days, and on until nothing waits; return the score.

        ``kills``: from each of these steps on the worker is killed once, as soon as it is caught at its
        work: in turn while it hands over and while it takes in.
        """
        now, steps = self._world.messages[0].sent, 0
        lockstep = self._lockstep
        while (soonest := self._next(now)) is not None:
            now = soonest
            steps += 1
            armed = lockstep.kills < len(kills) and steps >= sorted(kills)[lockstep.kills]
            hits_pump = lockstep.kills % 2 == 0
            for command in lockstep.advance(now, kill=armed and hits_pump):
                self._resend(command, now)
            self._send_first(now)
            self._report(now, kill=armed and not hits_pump)
            self._hear(now)
            if self.seen.still_refused is None and now >= self._world.last_day + UNDONE:
                self._undo(now)
            progress(now)
        for message in self._world.messages:
            reference = message.reference
            count_arrivals(
                self._score, message, self._arrivals[reference], has_failed=reference in self._failed
            )
        self._score.cases = len(self.seen.escalated)
        return self._score

    def _next(self, now: int) -> int | None:
        """Return the next step's time: when something happens, rounded up; None when nothing will."""
        waiting = [self._coming[0][0]] if self._coming else []
        if self._first < len(self._world.messages):
            waiting.append(self._world.messages[self._first].sent)
        due = self._lockstep.store.next_due()
        if due is not None:
            waiting.append(due)
        if not waiting or now > self._world.end + TAIL:
            return None
        soonest = min(max(min(waiting), now + 1), now + LONGEST_STEP)
        return -(-soonest // STEP) * STEP

    def _send_first(self, now: int) -> None:
        due: list[Message] = []
        while self._first < len(self._world.messages) and self._world.messages[self._first].sent <= now:
            due.append(self._world.messages[self._first])
            self._first += 1
        for channel in ("sms", "email"):
            messages = [message for message in due if message.person.channel == channel]
            addresses = [message.person.address for message in messages]
            verdicts = self._lockstep.store.suppressions.check_many(addresses, channel)
            for message, verdict in zip(messages, verdicts, strict=True):
                if verdict:
                    self.seen.first += 1
                    self._carry(message, message.sent, resend_id=None)
                else:
                    self.seen.refused_first += 1

    def _carry(self, message: Message, moment: int, *, resend_id: str | None) -> None:
        arrived, reports = self._world.carry(message, moment)
        if arrived is not None:
            self._arrivals[message.reference].append(arrived)
        for report in reports:
            self._order += 1
            heapq.heappush(self._coming, (report.at, self._order, message, report, resend_id))

    def _resend(self, command: Json, now: int) -> None:
        self.seen.commands.append((now, command))
        if command["id"] in self._done:
            return
        self._done.add(command["id"])
        message = self._by_reference[command["reference"]]
        count_send(self._score, message, now)
        self._tell(now, "resent", command)
        self._carry(message, now, resend_id=command["id"])

    def _report(self, now: int, *, kill: bool) -> None:
        events: list[Json] = []
        while self._coming and self._coming[0][0] <= now:
            _, _, message, report, resend_id = heapq.heappop(self._coming)
            reference = message.reference
            self._numbers[reference] += 1
            if report.code is not None:
                self._failed.add(reference)
            made = event(message, report, number=self._numbers[reference], resend_id=resend_id)
            events += [made, made] if message.is_doubled else [made]
        if self._save is not None:
            for made in events:  # by the world's clock; the report has a date of its own
                self._save.write(json.dumps(made | {"receivedAt": iso(now)}) + "\n")
        by_id = {str(made["eventId"]): made for made in events}
        self.seen.reported.update(str(made["eventId"]) for made in events)
        for answer in self._lockstep.report(events, kill=kill):
            made = by_id[str(answer["eventId"])]
            self._understand(now, answer, made)
            self._tell(now, str(answer["outcome"]), {**answer, "event": made})

    def _understand(self, now: int, answer: Json, made: Json) -> None:
        """Note what softbounce knows from now on."""
        reference, outcome = str(answer["reference"]), str(answer["outcome"])
        self.seen.duplicates += outcome == "duplicate"
        outcome = str(answer.get("first", outcome))
        self.seen.answers.setdefault(str(answer["eventId"]), []).append(outcome)
        if made["type"] == "MESSAGE_DELIVERED":
            self.seen.delivered_at.setdefault(reference, now)
            self.seen.delivered_by.setdefault(reference, made["claim"]["communication"].get("resendId"))
            return
        code = made["claim"]["communication"]["error"]["reasonCode"]
        if code == MISLABEL:
            self.seen.undone.add(reference)
        if outcome == "suppressed" or (outcome == "held" and code == MISLABEL):
            person = self._by_reference[reference].person
            self.seen.suppressed_at.setdefault((person.channel, person.address), now)

    def _undo(self, now: int) -> None:
        """Look at the incidents and undo them, as somebody in operations would."""
        for case in self._lockstep.operate("cases", "list", "kind:incident"):
            words = (f"incident:{case['case']}", "--reason", "operator mislabels", "--yes")
            for done in self._lockstep.operate("suppressions", "undo", *words):
                self.seen.lifted += int(done["lifted"])
        check = self._lockstep.store.suppressions.check_many
        self.seen.still_refused = 0
        for channel in ("sms", "email"):
            healthy = [p.address for p in self._world.people if p.channel == channel and not p.is_lost]
            for address, verdict in zip(healthy, check(healthy, channel), strict=True):
                self.seen.still_refused += not verdict
                if verdict:
                    self.seen.suppressed_at.pop((channel, address), None)
        for reference in sorted(self.seen.undone)[:1]:
            self._tell(now, "undone", {"reference": reference, "lifted": self.seen.lifted})

    def _hear(self, now: int) -> None:
        for notice in self._lockstep.notices():
            kind = str(notice["type"]).removeprefix("softbounce.")
            if kind == "escalated":
                self.seen.escalated.add(notice["id"])
            self._tell(now, f"notice.{kind}", notice)
