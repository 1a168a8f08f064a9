"""The ledger does what a plain model of it says, in any order of steps, on every server that can keep our state."""

import contextlib
import math
import os

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests import servers
from tests.conftest import needs_redis_server
from tests.contract.store_driver import ANYTHING, LEASE, START, StoreDriver
from tests.properties import hold
from tests.references import broken

from softbounce.core.decide import quiet_for
from softbounce.core.policy.file import load
from softbounce.core.records import command_id, decode
from softbounce.core.replan import Move, replanned
from softbounce.core.timestamps import iso
from softbounce.store import Store
from softbounce.store.audit import By

from .ledger import ALL, DAY, HOUR, MINUTE, RULES, Model, policy_text

EXAMPLES = int(os.environ.get("SOFTBOUNCE_TEST_EXAMPLES", "0"))  # more than the suite's own, for a night
STEPS = 80
ANNA, BERT, CARL = "+4915112345670", "+4915112345671", "+4915112345672"
PEOPLE = {
    **{f"m{n}": ((ANNA, BERT, CARL)[n % 3],) for n in range(6)},
    "m6": (ANNA, BERT),
    "m7": (BERT, CARL),
    "m8": (ANNA, BERT, CARL),
}
KEYS = [
    (ref, who) for ref, people in PEOPLE.items() for who in (people if len(people) == 1 else (ALL, *people))
]
SEVERAL = [key for key in KEYS if key[1] == ALL]
ANY_KEY = st.sampled_from(KEYS + SEVERAL * 2)  # of a message to several, mostly a report that names none
RARELY = st.integers(0, 3)  # 0: do it; what ends a message at once would leave little to happen
CODES = st.sampled_from(
    ["SMS_EXPIRED"] * 8
    + ["PROVIDER_ERROR"] * 4
    + ["PLACEHOLDER_ERROR", "INVALID_MOBILE_NUMBER", "DEADLINE_EXCEEDED"]
)
DEADLINES = st.sampled_from([None] * 6 + [-HOUR, 90_000, 200_000, 12 * HOUR])  # ms from now
POLICIES = [load(policy_text(rules), file=f"{n}.yaml") for n, rules in enumerate(RULES)]
FACTS = ("tries", "why", "after", "deadline", "count", "how")  # of a notice, that the model knows
WAITS = ("waiting", "leased")


class Ledger(RuleBasedStateMachine):
    """Every step is done to the store and to the model; what they say must be the same."""

    client: redis.Redis

    def __init__(self):
        super().__init__()
        with contextlib.suppress(AttributeError):
            self.client.flushdb()
        store = Store(self.client)
        store.set_now(START)
        self.driver = StoreDriver(store, POLICIES[0], client=self.client)
        self.model = Model(PEOPLE)
        self.names = {}  # delivery -> key
        self.leases = {}  # key, token -> lease: what some worker believes to hold
        self.reports = []  # (bytes, key, date): all that was ever reported
        self.now = START  # the store's time; to ask it would double the round trips
        self.moves = 0

    @initialize(
        code=st.sampled_from(["SMS_EXPIRED", "PROVIDER_ERROR"]), hand_over=st.booleans(), line=st.booleans()
    )
    def begin(self, code, hand_over, line):
        """Some messages have failed already, and may be on their second way; there may be a line for the rate."""
        if line:  # what is due stands in line where somebody does
            self.client.zadd(
                self.driver.store.keys.fixed("ready"), {"another merchant\n9999999999\nnobody": 0}
            )
        for key in [*KEYS[:4], SEVERAL[0]]:
            self._report(key, code)
        if hand_over:
            self.hand_over()

    def _wait(self, ms):
        self.driver.wait(ms)
        self.now += ms

    def _ident(self, key):
        return next(ident for ident, name in self.names.items() if name == key)

    def _keys(self, *states):
        return sorted(key for key, m in self.model.messages.items() if m.state in states)

    def _somebody(self, data):
        """Return a delivery, one that waits if there is any: a word on it must be obeyed."""
        return data.draw(st.sampled_from(self._keys("waiting") or KEYS))

    # --- reports -------------------------------------------------------------------------------------------

    def _report(self, key, code, *, at=None, resend=0, until=None):
        ref, who = key
        options = {"to": list(PEOPLE[ref]), "at": at or self.now}
        if who != ALL and len(PEOPLE[ref]) > 1:
            options["details"] = {"invalidValues": [who]}
        if resend:
            options["resendId"] = command_id(self._ident(key), resend)
        if until is not None:
            options["notAfter"] = iso(until)
        raw = self.driver.failed(ref, code, **options)
        self.reports.append((raw, key, options["at"]))
        (answer,) = self.driver.accept_all(raw)
        self.names[answer.delivery] = key
        assert (answer.outcome, answer.escalated) == self.model.failed(
            str(len(self.reports)), key, code, at=options["at"], now=self.now, resend=resend, until=until
        )
        if answer.outcome == "scheduled":
            m = self.model.messages[key]
            assert (answer.attempt, answer.due) == (m.attempt, m.due)

    @rule(key=ANY_KEY, code=CODES, until=DEADLINES)
    def fail(self, key, code, until):
        """A failure dated now, perhaps of a message that has a deadline."""
        self._report(key, code, until=until and self.now + until)

    @rule(code=CODES, data=st.data())
    @precondition(lambda self: any(m.counted for m in self.model.messages.values()))
    def fail_in_answer(self, code, data):
        """A failure that names the resend it answers, the newest or an older one."""
        key = data.draw(st.sampled_from([key for key, m in self.model.messages.items() if m.counted]))
        newest = self.model.messages[key].counted
        self._report(key, code, resend=data.draw(st.sampled_from([newest, *range(1, newest + 1)])))

    @rule(data=st.data(), code=CODES)
    @precondition(lambda self: self.model.messages)
    def fail_late(self, data, code):
        """A failure dated an hour ago: of an earlier send, unless all reports come so late."""
        known = self._keys("leased", "out") or sorted(self.model.messages)
        self._report(data.draw(st.sampled_from(known)), code, at=self.now - HOUR)

    @rule(data=st.data())
    @precondition(lambda self: self.reports)
    def repeat(self, data):
        """The same bytes again, while anybody remembers them."""
        place = data.draw(st.integers(0, len(self.reports) - 1))
        raw, key, at = self.reports[place]
        m = self.model.messages.get(key)
        if m and str(place + 1) in m.seen:
            self.model.dated(at, self.now)
            assert self.driver.accept(raw) == ["duplicate"]

    @rule(key=ANY_KEY, now=RARELY, age=st.sampled_from([0, 0, 2 * HOUR]))
    def arrive(self, key, now, age):
        """A delivery report, which may be late; of several it says that all have it, or one."""
        if now:
            return
        ref, who = key
        at = self.now - age
        answer = self.driver.deliver(ref, to=list(PEOPLE[ref] if who == ALL else (who,)), at=at)
        assert answer.outcome == self.model.delivered(key, at=at, now=self.now)

    # --- hand-over -----------------------------------------------------------------------------------------

    @rule(limit=st.sampled_from([1, 2, 100]))
    def claim(self, limit):
        """What leaves is due and allowed, to exactly its people; what ends or waits has a reason."""
        now, model = self.now, self.model
        claimed = self.driver.claimed(limit)
        assert claimed.mode == model.mode
        due = model.due(now) if model.mode != "off" else set()
        verdicts = {key: model.verdict(key, now) for key in due}
        pauses = {key: model.paused_until(key, now) for key in due}
        left = set(due)
        for ended in claimed.ended:
            key = self.names[ended.delivery]
            assert ended.outcome == verdicts[key], key
            model.stop(key, ended.outcome, now)
            left.remove(key)
        leased = {self.names[lease.delivery.id]: lease for lease in claimed.leases}
        for key, lease in leased.items():
            assert (verdicts[key], pauses[key]) == ("", 0)
            assert now >= model.closed_until
            self._leave(key, lease)
            left.remove(key)
        self._put_off(left, verdicts, pauses, is_all=not leased)
        assert len(leased) <= limit
        if claimed.idle and model.mode != "off":
            assert not model.due(now)

    def _leave(self, key, lease):
        now, delivery = self.now, lease.delivery
        assert lease.token == self.model.claim(key, now=now, lease=LEASE)
        m = self.model.messages[key]
        assert (delivery.attempt, delivery.max_attempts, delivery.recipients) == (m.attempt, m.last, m.people)
        assert quiet_for(delivery, policy=self.driver.policy, now=now) == self.model.quiet_for(key, now)
        self.leases[key, lease.token] = lease

    def _put_off(self, keys, verdicts, pauses, *, is_all):
        """What was due and neither left nor ended waits for something; where nothing left, that is all of it."""
        for key in keys:
            delivery = decode(
                "", self.client.hget(self.driver.store.keys.fixed("deliveries"), self._ident(key))
            )
            due = int(self.client.zscore(self.driver.store.keys.fixed("schedule"), self._ident(key)) or 0)
            if delivery.state == "waiting" and delivery.waits_for in ("paused", "breaker") and due > self.now:
                assert not verdicts[key]
                assert (delivery.waits_for == "paused") == (pauses[key] > 0)
                assert due == pauses[key] or due >= self.model.closed_until > self.now
                self.model.put_off(key, due, self.now)
            else:
                assert not is_all

    @rule()
    def hand_over(self):
        """Time passes until something is due, and it leaves."""
        ends = [m.due for m in self.model.messages.values() if m.state in WAITS]
        if ends:
            self._wait(max(0, min(ends) - self.now) + 1000)
        self.claim(100)

    @rule(times=st.integers(1, 3))
    def crash(self, times):
        """Workers die with what they hold, and others take it over when the leases end."""
        for _ in range(times):
            self.claim(100)
            self._wait(LEASE + 1000)
        self.claim(100)

    @rule(data=st.data())
    @precondition(lambda self: self.leases)
    def finish_all(self, data):
        """All that is in hand has left, and one of it fails at once."""
        newest = list(self.leases)[-5:]
        for key, token in newest:
            self._finish(key, token, "handed_over")
        key, token = data.draw(st.sampled_from(newest))
        attempt, m = self.leases[key, token].delivery.attempt, self.model.messages.get(key)
        if m and attempt <= m.counted:
            self._report(key, "SMS_EXPIRED", resend=attempt)

    @rule(
        data=st.data(),
        result=st.sampled_from(["later", "later", "handed_over", "gone"]),
        delay=st.sampled_from([0, 60_000]),
    )
    @precondition(lambda self: self.leases)
    def finish(self, data, result, delay):
        """A hand-over ends: the newest lease of a retry counts, a zombie's changes nothing."""
        current = [one for one in self.leases if self._is_open(*one)]
        self._finish(*data.draw(st.sampled_from(current or list(self.leases)[-6:])), result, delay)

    def _finish(self, key, token, result, delay=0):
        (answer,) = self.driver.finish(self.leases[key, token], result=result, delay=delay)
        assert answer == self.model.finish(key, token, result, now=self.now, delay=delay)

    def _is_open(self, key, token):
        m = self.model.messages.get(key)
        return m is not None and m.state == "leased" and m.token == token

    @rule(seconds=st.sampled_from([1, 20, 31, 120, 3600, 2 * 3600]))
    def wait(self, seconds):
        """Time passes: retries fall due, leases of the dead run out."""
        self._wait(seconds * 1000)

    @rule(hours=st.sampled_from([10, 73, 97]), sweep=st.booleans(), now=RARELY)
    def wait_long(self, hours, sweep, now):
        """Night falls; strikes are forgotten; what has ended long enough ago is swept, with all that names it."""
        if now:
            return
        self._wait(hours * HOUR)
        if sweep:
            self._sweep()

    @rule(now=RARELY, hours=st.sampled_from([70, 80, 100]))
    def stay_silent(self, now, hours):
        """What is due leaves, and nobody says what became of it, perhaps until after its deadline and the grace."""
        if now:
            return
        self.hand_over()
        for key, token in [one for one in self.leases if self._is_open(*one)]:
            self._finish(key, token, "handed_over")
        self._wait(hours * HOUR)
        self._sweep()

    def _sweep(self):
        self.driver.store.sweep(policy=self.driver.policy)
        self.model.sweep(self.now)
        assert not broken(self.client, self.driver.store.keys)

    # --- people --------------------------------------------------------------------------------------------

    @rule(who=st.sampled_from([ANNA, BERT, CARL]), word=st.sampled_from(["add", "lift", "lift", "cancel"]))
    def speak_of_a_recipient(self, who, word):
        """A person blocks a recipient, lifts the block, or cancels what waits for the recipient by now."""
        suppressions = self.driver.store.suppressions
        if word == "add":
            suppressions.add(who, "sms", by=By("test", "asked"), now=self.now)
            self.model.blocked.add(who)
        elif word == "lift":
            suppressions.remove(suppressions.find(who, "sms"), by=By("test", "mended"))
            self.model.blocked.discard(who)
            self.model.verdicts.pop(who, None)
        else:
            self._control("cancel", "recipient", who, now=self.now)
            self.model.moved[who] = self.now

    @rule(data=st.data(), now=RARELY)
    def cancel(self, data, now):
        """A message is cancelled: what waits ends, and what fails later starts nothing."""
        if not now:
            ref, _ = self._somebody(data)
            self._control("cancel", "reference", ref, now=self.now)
            self.model.cancelled.add(ref)

    def _control(self, what, kind, value, **options):
        channel = "sms" if kind == "recipient" else None
        store = self.driver.store
        change = {"cancel": store.cancels.add, "pause": store.pauses.add, "resume": store.pauses.end}[what]
        return change(kind, value, channel=channel, by=By("test", "asked"), **options)

    @rule(data=st.data(), kind=st.sampled_from(["merchant", "channel", "code", "reference", "recipient"]),
          minutes=st.sampled_from([5, 120]))  # fmt: skip
    def pause(self, data, kind, minutes):
        """What becomes due for somebody or something waits until a time."""
        ref, who = self._somebody(data)
        one = PEOPLE[ref][0] if who == ALL else who
        values = {
            "merchant": "1",
            "channel": "sms",
            "code": "SMS_EXPIRED",
            "reference": ref,
            "recipient": one,
        }
        until = self.now + minutes * MINUTE
        self._control("pause", kind, values[kind], until=until)
        self.model.paused[kind, values[kind]] = until

    @rule(data=st.data())
    @precondition(lambda self: self.model.paused)
    def resume(self, data):
        """A pause ends by a person's word, and what waits gets its own time back."""
        kind, value = data.draw(st.sampled_from(sorted(self.model.paused)))
        assert self._control("resume", kind, value)
        del self.model.paused[kind, value]
        for key in self._keys("waiting"):
            self.driver.store.retries.resume([self._ident(key)], by=By("test", "asked"))
            self.model.resume(key, self.now)

    @rule(data=st.data())
    @precondition(lambda self: self._keys("waiting"))
    def run_now(self, data):
        """A person hurries one retry: it leaves at once, at night and in a pause, within its deadline."""
        key = self._somebody(data)
        assert self.driver.store.retries.run_now([self._ident(key)], by=By("test", "asked")) == 1
        self.model.run_now(key, self.now)

    @rule(data=st.data(), how=st.sampled_from(["release"] * 4 + ["drop", "fixed"]), even_stale=st.booleans(),
          step=st.sampled_from([0, MINUTE, 30 * MINUTE]))  # fmt: skip
    @precondition(lambda self: any(self.model.held()))
    def resolve(self, data, how, even_stale, step):
        """A case is closed: what it held waits anew, one a step and within its deadline, or has ended."""
        kind, code = data.draw(st.sampled_from(sorted(set(self.model.held()))))
        case = next(
            one for one in self.driver.cases()
            if one.state != "resolved" and (one.kind, one.entry["code"]) == (kind, code)
        )  # fmt: skip
        held = [ident for ident, key in self.names.items() if self._is_held(key, kind, code)]
        keys = [self.names[ident] for ident in sorted(held)]
        options = {"how": how, "first": self.now, "step": step, "even_stale": even_stale}
        found = self.driver.store.cases.resolve(
            case.id, by=By("test", "mended"), policy=self.driver.policy, **options
        )
        expected = self.model.resolve(keys, now=self.now, **options)
        assert (found.released, found.skipped, found.ended) == expected

    def _is_held(self, key, kind, code):
        m = self.model.messages.get(key)
        return m is not None and m.state == "held" and m.case == (kind, code)

    @rule(mode=st.sampled_from(["on"] * 4 + ["off"]))
    def switch(self, mode):
        """Hand-overs are stopped and go on."""
        self.driver.store.modes.set(mode, by=By("test", "test"), now=self.now)
        self.model.mode = mode

    @rule(seconds=st.sampled_from([60, 3600]), close=st.booleans())
    def switch_breaker(self, seconds, close):
        """A person stops the one provider for a time, or lets it go on."""
        breakers, now = self.driver.store.breakers, self.now
        if close:
            breakers.close("sms:1", by=By("test", "test"), now=now)
        else:
            breakers.open("sms:1", until=now + seconds * 1000, by=By("test", "test"), now=now)
        self.model.closed_until = 0 if close else now + seconds * 1000

    @rule(place=st.sampled_from([0, 0, 0, 1, 1, 2]), reschedule=st.booleans())
    def reload(self, place, reschedule):
        """Another policy: what waits keeps what it got, unless a person says that it gets the new times, too."""
        self.driver.policy, self.model.rules = POLICIES[place], RULES[place]
        if not reschedule:
            return
        store = self.driver.store
        waiting = [one.delivery for one in store.retries.select(ANYTHING, now=self.now)]
        waiting = [delivery for delivery in waiting if delivery.state == "waiting"]
        failures = zip(waiting, store.retries.scheduled_by(waiting), strict=True)
        plans = [replanned(one, why, policy=self.driver.policy, now=self.now) for one, why in failures if why]
        moves = [plan for plan in plans if isinstance(plan, Move)]
        store.policies.replan(moves, revision=self.driver.policy.revision, by=By("test", "asked"))
        moved = {key for key in self._keys("waiting") if self.model.replan(key, self.now)}
        assert {self.names[move.delivery] for move in moves} == moved

    # --- always --------------------------------------------------------------------------------------------

    @invariant()
    def the_store_and_the_model_agree(self):
        """After each step."""
        self.each_delivery_is_where_the_model_says()
        self.each_report_has_one_outcome()
        self.everybody_is_told_what_the_model_says()

    def each_delivery_is_where_the_model_says(self):
        """State, end, try, token, deadline and people are the same."""
        found = self.client.hgetall(self.driver.store.keys.fixed("deliveries"))
        assert {self.names[ident.decode()] for ident in found} == set(self.model.messages)
        for ident, raw in found.items():
            delivery = decode(ident.decode(), raw)
            m = self.model.messages[self.names[delivery.id]]
            told = delivery.state, delivery.outcome or "", delivery.attempt
            assert told == (m.state, m.ended, m.attempt), self.names[delivery.id]
            if m.state in ("waiting", "leased", "out"):
                assert (delivery.token, delivery.deadline) == (m.token, m.deadline * 1000)
            if m.state in ("waiting", "leased", "held"):
                assert delivery.recipients == m.people

    def each_report_has_one_outcome(self):
        """In the history, which stays as long as its delivery; one message a step, as a look at all is slow."""
        if self.model.messages:
            key = sorted(self.model.messages)[self.moves % len(self.model.messages)]
            self.moves += 1
            (story,) = [
                one for one in self.driver.store.retries.find(key[0]) if self.names[one.delivery.id] == key
            ]
            failures = [line.event_id for line in story.history if line.kind == "failed"]
            assert len(failures) == len(set(failures))
            who = PEOPLE[key[0]][0]
            is_paused = self.model.paused.get(("recipient", who), 0) > self.now
            assert self.driver.is_suppressed(who) == (self.model.refuses(who) or is_paused)

    def everybody_is_told_what_the_model_says(self):
        """One notice for each end, hold, escalation and closed case, with its numbers."""
        notices = self.driver.store.notices.claim(limit=1000, lease=LEASE)
        self.driver.store.notices.finish(notices)
        told = [
            (one.type, one.body.get("reference", ""),
             *((name, one.body[name]) for name in sorted(FACTS) if name in one.body))
            for one in notices
        ]  # fmt: skip
        expected = [
            (kind, ref, *((name, iso(fact * 1000) if name == "deadline" else fact) for name, fact in facts))
            for kind, ref, *facts in self.model.told
        ]
        self.model.told.clear()
        assert sorted(told, key=repr) == sorted(expected, key=repr)

    def teardown(self):
        """Whatever was done, all that the store names exists, and what was handed over comes to an end (I11)."""
        assert not broken(self.client, self.driver.store.keys)
        self._wait(100 * DAY)
        self.driver.store.sweep(policy=self.driver.policy)
        found = self.client.hgetall(self.driver.store.keys.fixed("deliveries"))
        assert "out" not in {decode(ident.decode(), raw).state for ident, raw in found.items()}


GENERATING = 50  # s; a busy machine tries fewer examples
SHRINKS = os.environ.get("SOFTBOUNCE_TEST_SHRINKING") != "0"  # else what fails stays as it was found


def _run(client, *, examples):
    """Try so many examples, or as many as there is time for. What fails is printed before it is shrunk."""
    options = settings(
        max_examples=max(EXAMPLES, examples),
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if SHRINKS else [Phase.generate],
    )
    machine = get_state_machine_test(type("Machine", (Ledger,), {"client": client}), settings=options)
    hold(machine, seconds=math.inf if EXAMPLES else GENERATING)


LIMIT = pytest.mark.timeout(3600 if EXAMPLES else 300)  # hold lifts it for shrinking


@LIMIT
def test_on_fakeredis():
    """The model holds on fakeredis, which users' tests run on."""
    _run(fakeredis.FakeRedis(), examples=40)


@LIMIT
def test_on_valkey(valkey):
    """The model holds on the packaged Valkey."""
    with redis.Redis.from_url(valkey) as client:
        _run(client, examples=300)


@LIMIT
def test_on_redis(redis_url):
    """The model holds on an external Redis."""
    with redis.Redis.from_url(redis_url) as client:
        _run(client, examples=150)


@LIMIT
def test_on_a_cluster(tmp_path):
    """The model holds on a Redis Cluster of six nodes: all state is in one slot."""
    needs_redis_server()
    with servers.cluster(tmp_path) as nodes:
        client = nodes.client()
        client.flushdb = nodes.flush
        _run(client, examples=40)
