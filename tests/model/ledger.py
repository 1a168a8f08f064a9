"""What the ledger must do, said once more in plain Python, from the design and not from the scripts.

Times are ms since the epoch, but for those that a record keeps in seconds: ``first``, ``deadline``, ``planned``.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LATE = 5 * MINUTE  # by a right clock: a failure dated so much before the newest claim still answers it
STRIKES, STRIKES_LAST = 3, 72 * 3600  # s
MAX_ATTEMPTS, MIN_DELAY = 4, 1000
HISTORY = 4 * DAY  # how long what has ended is remembered; what arrived is, too
GRACE = 72 * HOUR  # past its deadline, what left and got no answer ends
REPORTED = 90 * DAY  # how long it is known that arrivals are reported
WITHIN, ESCALATE_AT = 2 * DAY, 3
EVENING, MORNING = 19 * HOUR, 7 * HOUR  # in UTC: the machine begins in winter
ALL = "*"  # a delivery to several recipients that is about nobody in particular


@dataclass(frozen=True)
class Rule:
    """What a policy says of one code."""

    do: str
    fault: str
    delays: tuple[int, ...] = ()
    give_up: int = 80 * HOUR

    @property
    def kind(self) -> str:
        """Return which tries count against it: those that failed by a provider's fault, or all others."""
        return "provider" if self.fault == "provider" else "other"


_ALWAYS = {
    "INVALID_MOBILE_NUMBER": Rule("suppress", "recipient"),
    "PLACEHOLDER_ERROR": Rule("hold", "message"),
    "DEADLINE_EXCEEDED": Rule("drop", "message"),
}
RULES = (
    {
        "SMS_EXPIRED": Rule("retry", "recipient", (MINUTE, 2 * MINUTE, 4 * MINUTE)),
        "PROVIDER_ERROR": Rule("retry", "provider", (MINUTE // 2, MINUTE), 6 * HOUR),
        **_ALWAYS,
    },
    {  # calmer
        "SMS_EXPIRED": Rule("retry", "recipient", (5 * MINUTE, 20 * MINUTE), 70 * HOUR),
        "PROVIDER_ERROR": Rule("retry", "provider", (HOUR, HOUR, HOUR), 2 * HOUR),
        **_ALWAYS,
    },
    {  # no retries
        "SMS_EXPIRED": Rule("hold", "recipient"),
        "PROVIDER_ERROR": Rule("drop", "provider"),
        **_ALWAYS,
    },
)


_HEAD = f"""\
version: 1
limits: {{max_attempts: {MAX_ATTEMPTS}, min_delay: 1s, handover_rate: 9000/s, resends_per_claim: 900/1d, resends_per_recipient: 900/1d}}
retention: {{dedupe: {HISTORY // DAY}d, history: {HISTORY // DAY}d}}
defaults:
  quiet_hours: {{from: "20:00", to: "08:00", zone: Europe/Berlin, days: all, spread: 0s}}
  retry: {{jitter: 0%, give_up_after: 80h}}
  soft_bounce: {{escalate_at: {ESCALATE_AT}, within: {WITHIN // DAY}d, apart: 0s, then: notify}}
codes:
"""


def policy_text(rules: dict[str, Rule]) -> str:
    """Return the policy file of one set of rules."""
    text = _HEAD
    for code, rule in rules.items():
        text += f"  {code}: {{do: {rule.do}, fault: {rule.fault}"
        if rule.delays:
            delays = ", ".join(f"{delay // 1000}s" for delay in rule.delays)
            text += f", retry: {{delays: [{delays}], give_up_after: {rule.give_up // HOUR}h}}"
        text += "}\n"
    return text


POLICY = policy_text(RULES[0])


def out_of_quiet(moment: int) -> int:
    """Return the moment, or the next morning where it is night."""
    time = moment % DAY
    if MORNING <= time < EVENING:
        return moment
    return moment - time + MORNING + (DAY if time >= EVENING else 0)


Key = tuple[str, str]  # reference, and the recipient or ALL


@dataclass
class Message:
    """One delivery: one message to its recipient, or to several of which none is named."""

    first: int  # s; when it first failed
    state: str = "new"  # waiting leased out held ended
    ended: str = ""
    seen: set[str] = field(default_factory=set)  # events
    people: tuple[str, ...] = ()  # to whom a resend goes
    code: str = ""  # of the newest failure that counted
    attempt: int = 0
    last: int = 0  # the last try that the rule allows
    unsent: bool = False  # held, and its try never left
    answered: dict[str, int] = field(default_factory=lambda: {"provider": 0, "other": 0})
    own_deadline: float = inf  # s; the message's
    deadline: float = inf  # s; the nearer of its own and the rule's
    planned: int = 0  # s; when its try is due by its rule or by a person's word
    due: int = 0  # when it is looked at next, or the end of the lease
    failed: tuple[int, int] = (0, 0)  # when it failed, and was received, that its try was scheduled
    hurry: int = 0  # 1: quiet hours and pauses do not bind it, 2: nor does its deadline
    token: int = 0
    strikes: int = 0
    first_strike: int | None = None  # s
    newest: int = 0  # s; the newest date of its failures
    claimed: int = 0
    counted: int = 0  # the newest try that was ever claimed
    case: tuple[str, str] | None = None  # kind and code of the case that holds it
    until: float = inf  # when it is forgotten

    def end(self, how: str, now: int) -> str:
        """End it, and say how."""
        self.state, self.ended, self.case, self.until = "ended", how, None, now + HISTORY
        return how

    def hold(self, kind: str, now: int, *, unsent: bool) -> str:
        """Hold it for a person."""
        self.state, self.case, self.unsent, self.until = "held", (kind, self.code), unsent, now + HISTORY
        return "held"

    def wait(self, due: int) -> None:
        """Let its try wait for a time."""
        self.state, self.case, self.until = "waiting", None, inf
        self.planned, self.due, self.strikes, self.first_strike = due // 1000, due, 0, None

    def standing_strikes(self, now: int) -> int:
        """Return how many hand-overs began and did not end, within 72 h of the first."""
        if self.first_strike is not None and now // 1000 - self.first_strike > STRIKES_LAST:
            self.strikes, self.first_strike = 0, None
        return self.strikes

    @property
    def tries(self) -> int:
        """How many tries have left."""
        is_to_come = self.state == "waiting" or (self.state == "held" and self.unsent)
        return self.attempt - 1 if is_to_come else self.attempt


@dataclass
class Bounces:
    """The soft bounces of one recipient."""

    messages: dict[str, int] = field(default_factory=dict)  # reference -> when
    escalated: float = -inf
    until: int = 0

    def add(self, ref: str, at: int, now: int) -> bool:
        """Count one more; return whether the recipient is escalated by it. A window ends at the newest."""
        self.messages[ref] = max(at, self.messages.get(ref, at))
        newest = max(self.messages.values())
        self.messages = {one: when for one, when in self.messages.items() if when >= newest - WITHIN}
        self.until = now + WITHIN
        if len(self.messages) < ESCALATE_AT or newest - self.escalated <= WITHIN:
            return False
        self.escalated = newest
        return True


@dataclass
class Model:
    """All messages, and what binds them."""

    people: dict[str, tuple[str, ...]]  # reference -> its recipients
    rules: dict[str, Rule] = field(default_factory=lambda: RULES[0])
    messages: dict[Key, Message] = field(default_factory=dict)
    marks: dict[Key, int] = field(default_factory=dict)  # who of several has it, until when that is known
    arrived: tuple[set[Key], set[Key]] = field(default_factory=lambda: (set(), set()))  # and never failed
    turned: int | None = None  # when the newer of the two was begun
    blocked: set[str] = field(default_factory=set)  # by a person
    verdicts: dict[str, set[Key]] = field(
        default_factory=dict
    )  # recipient -> messages whose reports block it
    cancelled: set[str] = field(default_factory=set)  # references
    moved: dict[str, int] = field(default_factory=dict)  # recipient -> when it was cancelled
    paused: dict[tuple[str, str], int] = field(default_factory=dict)  # kind, value -> until
    bounces: dict[str, Bounces] = field(default_factory=dict)  # by recipient
    reported: int | None = None  # when it was noted that arrivals are reported
    mode: str = "on"
    closed_until: int = 0  # the breaker that a person opened
    lags: deque[int] = field(default_factory=lambda: deque(maxlen=20))  # s, of the last reports
    told: list[tuple[object, ...]] = field(default_factory=list)  # notices: type, reference, facts

    # --- reports -------------------------------------------------------------------------------------------

    def failed(
        self, event: str, key: Key, code: str, *, at: int, now: int, resend: int = 0, until: int | None = None
    ) -> tuple[str, bool]:
        """Return the outcome of a failure report, and whether it escalates its recipient."""
        ref, who = key
        self.dated(at, now)
        m = self.messages.get(key) or Message(at // 1000)
        if event in m.seen:
            return "duplicate", False
        m.seen.add(event)
        if until is not None:
            m.own_deadline = min(m.own_deadline, until // 1000)
        has_it = m.ended == "delivered" or self._has(key, now)
        rule, escalates = self.rules[code], False
        is_first = self._answers(m, code, at=at, resend=resend) or m.state in ("new", "held", "ended")
        is_first &= m.ended != "unanswered" or self._answers(m, code, at=at, resend=resend)
        if code == "SMS_EXPIRED" and rule.do == "retry" and who != ALL and not has_it and is_first:
            escalates = self.bounces.setdefault(who, Bounces()).add(ref, at, now)
        outcome = self._failed(m, key, code, at=at, now=now, resend=resend, has_it=has_it)
        m.newest = max(m.newest, m.first, at // 1000)
        self.messages[key] = m
        if escalates:
            self._tell("escalated", ref, count=ESCALATE_AT)
        for one in self.people[ref] if who == ALL else ():
            if self._arrived((ref, one)):
                self.marks[ref, one] = now + HISTORY
        return outcome, escalates

    def dated(self, at: int, now: int) -> None:
        """Note how late a report of the one source comes."""
        self.lags.append((now - at) // 1000)

    def _answers(self, m: Message, code: str, *, at: int, resend: int) -> bool:
        """Whether a report answers the newest send; another one of it proves nothing more."""
        is_sent = (
            m.state in ("leased", "out")
            or m.ended == "unanswered"
            or (m.state == "waiting" and resend == m.attempt == m.counted)
        )
        return is_sent and (resend == m.attempt or (not resend and not self._is_older(m, code, at)))

    def _is_older(self, m: Message, code: str, at: int) -> bool:
        """Whether a report is of an earlier send for certain: by a right clock, or as a copy of a known failure."""
        by_clock = at < m.claimed - LATE and min(self.lags) < LATE // 1000
        return by_clock or (at < m.claimed and at // 1000 == m.newest and code == m.code)

    def _failed(
        self, m: Message, key: Key, code: str, *, at: int, now: int, resend: int, has_it: bool
    ) -> str:
        (ref, who), rule, state = key, self.rules[code], m.state
        if state == "waiting" and resend == m.attempt == m.counted:
            state = "leased"  # it waits as if it had not left, and yet somebody answers it
        answers = self._answers(m, code, at=at, resend=resend)
        if m.ended == "unanswered" and answers:
            m.state, m.ended = state, _ = "out", ""
        if state == "new" or answers:
            m.deadline = min(m.first + rule.give_up // 1000, m.own_deadline)
        else:
            m.deadline = min(m.deadline, m.own_deadline)
        if answers:
            m.token += state == "leased"
            m.answered[rule.kind] += 1
        if rule.do == "suppress" and who != ALL:
            if has_it:  # the handset has confirmed it: nobody is blocked
                if m.state != "ended":
                    m.end("delivered", now)
                return "ended"
            self.verdicts.setdefault(who, set()).add(key)
            m.end("suppressed", now)
            self._tell("suppressed", ref)
            return "suppressed"
        if state == "ended":
            return "ended"
        if has_it:
            m.end("delivered", now)
            return "ended"
        if ref in self.cancelled:
            return m.end("cancelled", now)
        if state == "held":
            return "held"
        if self.refuses(who):
            return m.end("suppressed", now)
        if rule.do in ("hold", "suppress"):  # nobody is suppressed where nobody is named
            m.people, m.code = self._meant(key), code
            m.hold("held" if rule.do == "hold" else "ambiguous_recipient", now, unsent=state == "waiting")
            self._tell("held", ref, deadline=m.deadline)
            return "held"
        if state == "waiting":
            return "coalesced"
        if state != "new" and not answers:
            return "superseded"
        m.people, m.code = self._meant(key), code
        return self._next_try(m, ref, at=at, now=now)

    def _next_try(self, m: Message, ref: str, *, at: int, now: int) -> str:
        rule = self.rules[m.code]
        if rule.do == "drop":
            return self._give_up(m, ref, "dropped", now=now, tries=m.attempt)
        done = m.answered[rule.kind]
        if m.attempt >= MAX_ATTEMPTS or done >= len(rule.delays):
            return self._give_up(m, ref, "retries_used_up", now=now, tries=m.attempt)
        due = out_of_quiet(max(at + rule.delays[done], now + MIN_DELAY))
        if due > m.deadline * 1000:
            return self._give_up(m, ref, "too_late", now=now, tries=m.attempt)
        m.wait(due)
        m.attempt, m.hurry, m.unsent, m.failed = m.attempt + 1, 0, False, (at // 1000 * 1000, now)
        m.last = min(m.attempt + len(rule.delays) - done - 1, MAX_ATTEMPTS)
        return "scheduled"

    def _give_up(self, m: Message, ref: str, why: str, *, now: int, tries: int) -> str:
        self._tell("given_up", ref, why=why, tries=tries)
        return m.end("given_up", now)

    def delivered(self, key: Key, *, at: int, now: int) -> str:
        """Return the outcome of a delivery report, of one recipient or of all."""
        ref, who = key
        self.dated(at, now)
        m = self.messages.get(key)
        if self._arrived(key):
            return "duplicate"  # under whatever id, as no record of it keeps one
        if self.reported is None or self.reported + DAY <= now:
            self.reported = now
        if who == ALL:
            self.marks |= {(ref, one): now + HISTORY for one in self.people[ref]}
        else:
            bounces = self.bounces.get(who, Bounces())
            bounces.messages = {one: when for one, when in bounces.messages.items() if when > at}
            several = self.messages.get((ref, ALL))
            if several and (several.state != "ended" or several.ended == "unanswered"):
                self.marks[key] = now + HISTORY
                if all(self.marks.get((ref, one), 0) > now for one in several.people):
                    self._recover(several, ref, now=now, tries=several.tries)
        if m is None:
            self.arrived[0].add(key)
            return "delivered"
        if m.ended == "delivered" or (m.ended == "suppressed" and self._stays_refused(key, now)):
            return "ended"
        self._recover(m, ref, now=now, tries=m.tries)
        return "delivered"

    def _stays_refused(self, key: Key, now: int) -> bool:
        """Lift a verdict of which a message that has arrived is the only evidence; return whether that was not all."""
        _, who = key
        if self.verdicts.get(who) == {key}:
            del self.verdicts[who]
        if who != ALL and self.refuses(who):
            self.marks[key] = now + HISTORY  # a later verdict on it is disproved as well
        return who == ALL or self.refuses(who)

    def refuses(self, who: str) -> bool:
        """Whether a person or a message's verdict blocks a recipient."""
        return who in self.blocked or who in self.verdicts

    def _recover(self, m: Message, ref: str, *, now: int, tries: int) -> None:
        self._tell("recovered", ref, tries=tries, after=now - m.first * 1000)
        m.end("delivered", now)

    def _arrived(self, key: Key) -> bool:
        return key in self.arrived[0] or key in self.arrived[1]

    def _has(self, key: Key, now: int) -> bool:
        return self._arrived(key) or self.marks.get(key, 0) > now

    def _meant(self, key: Key) -> tuple[str, ...]:
        return self.people[key[0]] if key[1] == ALL else (key[1],)

    def _tell(self, kind: str, ref: str, **facts: object) -> None:
        self.told.append((kind, ref, *sorted(facts.items())))

    # --- hand-over -----------------------------------------------------------------------------------------

    def due(self, now: int) -> set[Key]:
        """Return what a claim may look at."""
        return {key for key, m in self.messages.items() if m.state in ("waiting", "leased") and m.due <= now}

    def verdict(self, key: Key, now: int) -> str:
        """Return how a due retry ends instead of leaving, or an empty text."""
        (ref, who), m = key, self.messages[key]
        left, gone = self.wanted(key, now)
        if self.marks.get(key, 0) > now:
            return "delivered"
        if ref in self.cancelled or self.moved.get(who, 0) >= m.first * 1000:
            return "cancelled"
        if self.refuses(who):
            return "suppressed"
        if gone and not left:
            return gone
        if m.deadline * 1000 < now and m.hurry < 2:
            return "given_up"
        return "held" if m.standing_strikes(now) >= STRIKES else ""

    def wanted(self, key: Key, now: int) -> tuple[tuple[str, ...], str]:
        """Return whom a retry may still go to, and what is said of the last of those that it may not."""
        (ref, who), m, left, gone = key, self.messages[key], [], ""
        if who != ALL:
            return m.people, ""
        for one in m.people:
            single = self.messages.get((ref, one))
            if self.refuses(one):
                gone = "suppressed"
            elif (single and single.ended == "delivered") or self.marks.get((ref, one), 0) > now:
                gone = "delivered"
            elif self.moved.get(one, 0) >= m.first * 1000:
                gone = "cancelled"
            else:
                left.append(one)
        return tuple(left), gone

    def paused_until(self, key: Key, now: int) -> int:
        """Return when the last pause of a due retry ends, 0 where none binds it."""
        m = self.messages[key]
        people, _ = self.wanted(key, now)
        whats = [("merchant", "1"), ("channel", "sms"), ("code", m.code), ("reference", key[0])]
        ends = [self.paused.get(what, 0) for what in [*whats, *(("recipient", one) for one in people)]]
        return 0 if m.hurry or max(ends) <= now else max(ends)

    def stop(self, key: Key, how: str, now: int) -> None:
        """End a due retry, or hold it, without a hand-over."""
        m = self.messages[key]
        if how == "held":
            m.people, _ = self.wanted(key, now)
            m.hold("crash_loop", now, unsent=True)
            self._tell("held", key[0], deadline=m.deadline)
        elif how == "given_up":
            self._give_up(m, key[0], "too_late", now=now, tries=m.attempt - 1)
        elif how == "delivered":
            self._recover(m, key[0], now=now, tries=m.attempt - 1)
        else:
            m.end(how, now)

    def put_off(self, key: Key, until: int, now: int) -> None:
        """Let a due retry wait; an expired lease with it."""
        m = self.messages[key]
        m.people, _ = self.wanted(key, now)
        m.state, m.due = "waiting", until

    def claim(self, key: Key, *, now: int, lease: int) -> int:
        """Lease one retry and return its token."""
        m = self.messages[key]
        m.people, _ = self.wanted(key, now)
        m.strikes = m.standing_strikes(now) + 1
        m.first_strike = now // 1000 if m.first_strike is None else m.first_strike
        m.state, m.token, m.claimed, m.counted, m.due = "leased", m.token + 1, now, m.attempt, now + lease
        return m.token

    def quiet_for(self, key: Key, now: int) -> int:
        """Return for how long a leased retry waits for the morning, as its worker asks once more."""
        return 0 if self.messages[key].hurry else out_of_quiet(now) - now

    def finish(self, key: Key, token: int, result: str, *, now: int, delay: int) -> str:
        """Return the answer to a hand-over that has ended."""
        m = self.messages.get(key)
        if m is None:
            return "stale"
        if token != m.token or m.state != "leased":
            again = ("waiting",) if result == "later" else ("out", "ended")
            return "done" if token == m.token and m.state in again else "stale"
        if result == "handed_over":
            m.state, m.strikes, m.first_strike, m.hurry, m.until = "out", 0, None, 0, now + HISTORY
        elif result == "later":  # its own strike is taken back, those of crashes stay
            m.state, m.due, m.strikes = "waiting", now + delay, m.strikes - 1
            m.first_strike = m.first_strike if m.strikes else None
        else:
            m.end("cancelled", now)
        return "done"

    # --- people --------------------------------------------------------------------------------------------

    def run_now(self, key: Key, now: int) -> None:
        """Make a waiting retry due, past quiet hours and pauses."""
        m = self.messages[key]
        m.hurry, m.planned, m.due = max(m.hurry, 1), now // 1000, now

    def resume(self, key: Key, now: int) -> None:
        """Give a waiting retry its own time back."""
        m = self.messages[key]
        m.due = max(now, m.planned * 1000)

    def held(self) -> Iterator[tuple[str, str]]:
        """Yield the cases that hold something, by kind and code."""
        return (m.case for m in self.messages.values() if m.state == "held" and m.case)

    def resolve(
        self, keys: list[Key], how: str, *, first: int, step: int, even_stale: bool, now: int
    ) -> tuple[int, int, int]:
        """Close a case that holds ``keys``; return how many it released, skipped and ended."""
        released = skipped = ended = 0
        for key in keys:
            m, due = self.messages[key], first + released * step
            attempt = m.attempt if m.unsent else m.attempt + 1  # a try that never left keeps its number
            if how == "release" and attempt <= MAX_ATTEMPTS and (even_stale or due <= m.deadline * 1000):
                m.wait(due)
                m.attempt, m.last, m.unsent = attempt, max(m.last, attempt), False
                m.hurry = 2 if even_stale else 0
                released += 1
            else:
                m.end("given_up", now)
                skipped, ended = skipped + (how == "release"), ended + (how != "release")
        self._tell("case_resolved", "", how=how)
        return released, skipped, ended

    def replan(self, key: Key, now: int) -> bool:
        """Give a waiting retry the time of the policy by now; return whether that moves it."""
        m = self.messages[key]
        rule, (failed, received) = self.rules[m.code], m.failed
        if m.hurry or m.planned * 1000 <= now or not received or rule.do not in ("retry", "drop"):
            return False
        done = m.answered[rule.kind]
        deadline = min(m.first + rule.give_up // 1000, m.own_deadline)
        is_over = rule.do == "drop" or done >= len(rule.delays) or m.attempt > MAX_ATTEMPTS
        due = 0 if is_over else out_of_quiet(max(failed + rule.delays[done], received + MIN_DELAY)) // 1000
        if is_over or due > deadline:  # the next claim gives it up
            m.planned, m.deadline, m.last = now // 1000, now // 1000 - 1, m.attempt
        elif abs(due - m.planned) <= 1:
            return False
        else:
            m.planned, m.deadline = max(due, now // 1000), deadline
            m.last = min(m.attempt + len(rule.delays) - done - 1, MAX_ATTEMPTS)
        m.due = m.planned * 1000
        return True

    def sweep(self, now: int) -> None:
        """Forget what has ended long enough ago; of what arrived there are two generations."""
        gone = {key for key, m in self.messages.items() if m.until <= now and m.state != "out"}
        for (ref, _), m in self.messages.items():
            if m.state == "out" and (max(m.deadline * 1000, m.claimed) + GRACE <= now or m.until <= now):
                m.end("unanswered", now)
                if self.reported is not None:
                    self._tell("given_up", ref, why="unanswered", tries=m.attempt)
        if self.reported is not None and self.reported + REPORTED <= now:
            self.reported = None
        self.messages = {key: m for key, m in self.messages.items() if key not in gone}
        self.bounces = {who: found for who, found in self.bounces.items() if found.until > now}
        self.paused = {what: until for what, until in self.paused.items() if until > now}
        if self.turned is None or now - self.turned >= HISTORY:
            if self.turned is not None:
                self.arrived = (set(), self.arrived[0])
            self.turned = now
