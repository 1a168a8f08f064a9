"""The ledger does what a plain model of it says, in any order of steps, on every server that can keep our state."""

import contextlib
import os
import shutil

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests import servers
from tests.contract.book import LEASE, START, Book
from tests.references import broken

from softbounce.core.policy_file import load
from softbounce.core.records import command_id
from softbounce.store import Store

from .ledger import POLICY, Model

EXAMPLES = int(os.environ.get("SOFTBOUNCE_TEST_EXAMPLES", "0"))  # more than the suite's own, for a night
STEPS = 80
NAMES = [f"m{n}" for n in range(9)]
REFS = st.sampled_from(NAMES)
PEOPLE = {name: f"+49151123456{70 + n % 3}" for n, name in enumerate(NAMES)}  # three messages each
RARELY = st.integers(0, 3)  # 0: do it; what ends a message at once would leave little to happen
CODES = st.sampled_from(
    ["SMS_EXPIRED"] * 8
    + ["PROVIDER_ERROR"] * 4
    + ["PLACEHOLDER_ERROR", "INVALID_MOBILE_NUMBER", "DEADLINE_EXCEEDED"]
)
POLICIES = [load(POLICY, file="a.yaml"), load(f"{POLICY}# another revision\n", file="b.yaml")]


class Ledger(RuleBasedStateMachine):
    """Every step is done to the store and to the model; what they say must be the same."""

    client: redis.Redis

    def __init__(self):
        super().__init__()
        with contextlib.suppress(AttributeError):
            self.client.flushdb()
        store = Store(self.client)
        store.set_now(START)
        self.book = Book(store, POLICIES[0], client=self.client)
        self.model = Model()
        self.leases = []  # (reference, lease): what some worker believes to hold
        self.reports = []  # (bytes, reference, code, resend): all that was ever reported
        self.ids = {}  # (reference, attempt) -> id of the command
        self.moves = 0

    @initialize(
        code=st.sampled_from(["SMS_EXPIRED", "PROVIDER_ERROR"]), hand_over=st.booleans(), line=st.booleans()
    )
    def begin(self, code, hand_over, line):
        """Some messages have failed already, and may be on their second way; there may be a line for the rate."""
        if line:  # what is due stands in line where somebody does
            self.client.zadd(self.book.store.keys.fixed("ready"), {"another merchant\n9999999999\nnobody": 0})
        for ref in NAMES[:5]:
            self._report(ref, code)
        if hand_over:
            self.hand_over()

    # --- reports -------------------------------------------------------------------------------------------

    def _report(self, ref, code, *, at=None, resend=0):
        options = {"to": [PEOPLE[ref]], "at": at or self.book.now}
        if resend:
            options["resendId"] = command_id(self.book.story(ref).delivery.id, resend)
        raw = self.book.failed(ref, code, **options)
        self.reports.append((raw, ref, code, resend))
        self._check(raw, ref, code, at=options["at"], resend=resend, event=str(len(self.reports)))

    def _check(self, raw, ref, code, *, at, resend, event):
        (answer,) = self.book.accept_all(raw)
        expected = self.model.failed(event, ref, PEOPLE[ref], code, at=at, now=self.book.now, resend=resend)
        assert (answer.outcome, answer.escalated) == expected
        if answer.outcome == "scheduled":
            m = self.model.messages[ref]
            assert (answer.attempt, answer.due // 1000) == (m.attempt, m.due // 1000)
            m.due = answer.due

    @rule(ref=REFS, code=CODES)
    def fail(self, ref, code):
        """A failure dated now."""
        self._report(ref, code)

    @rule(ref=REFS, code=CODES, data=st.data())
    @precondition(lambda self: any(m.counted for m in self.model.messages.values()))
    def fail_in_answer(self, ref, code, data):
        """A failure that names the resend it answers, the newest or an older one."""
        m = self.model.messages.get(ref)
        if m and m.counted:
            self._report(ref, code, resend=data.draw(st.integers(1, m.counted)))

    @rule(ref=REFS, code=CODES)
    def fail_late(self, ref, code):
        """A failure dated an hour ago: it speaks of an earlier send."""
        m = self.model.messages.get(ref)
        if m and m.state != "new":
            self._report(ref, code, at=self.book.now - 3_600_000)

    @rule(data=st.data())
    @precondition(lambda self: self.reports)
    def repeat(self, data):
        """The same bytes again, however old."""
        place = data.draw(st.integers(0, len(self.reports) - 1))
        raw = self.reports[place][0]
        assert self.book.accept(raw) == ["duplicate"]

    @rule(ref=REFS, now=RARELY)
    def arrive(self, ref, now):
        """A delivery report, which may be late."""
        if now:
            return
        answer = self.book.deliver(ref, to=[PEOPLE[ref]])
        assert answer.outcome == self.model.delivered(ref, PEOPLE[ref])

    # --- hand-over -----------------------------------------------------------------------------------------

    @rule(limit=st.sampled_from([1, 2, 100]))
    def claim(self, limit):
        """What leaves is due and allowed; what ends has a reason; if nothing is left to do, nothing is due."""
        now = self.book.now
        claimed = self.book.claimed(limit)
        assert claimed.mode == self.model.mode
        due = self.model.due(now)
        if self.model.mode == "off":
            assert not claimed.leases
            assert not claimed.ended
            return
        for ended in claimed.ended:
            ref = next(ref for ref in due if self.book.story(ref).delivery.id == ended.delivery)
            assert ended.outcome == self.model.verdict(ref)
            m = self.model.messages[ref]
            if ended.outcome == "held":
                m.state = "held"
            else:
                m.end(ended.outcome)
        if now < self.model.closed_until:
            assert not claimed.leases
            self._put_off(due)
        for lease in claimed.leases:
            ref = lease.delivery.reference
            assert ref in due
            assert not self.model.verdict(ref)
            assert lease.delivery.attempt == self.model.messages[ref].attempt
            ident = command_id(lease.delivery.id, lease.delivery.attempt)
            assert self.ids.setdefault((ref, lease.delivery.attempt), ident) == ident
            assert lease.token == self.model.claim(ref, now=now, lease=LEASE)
            self.leases.append((ref, lease))
        assert len(claimed.leases) <= limit
        if claimed.idle:
            assert not self.model.due(now)

    def _put_off(self, due):
        """What was looked at waits until the breaker's time is over; an expired lease with it."""
        for ref in due:
            delivery = self.book.story(ref).delivery
            if delivery.waits_for == "breaker" and delivery.state == "waiting":
                m = self.model.messages[ref]
                m.state = "waiting"
                m.due = int(self.book.client.zscore("{sb:default}:schedule", delivery.id) or m.due)

    @rule()
    def hand_over(self):
        """Time passes until something is due, and it leaves."""
        ends = [m.due for m in self.model.messages.values() if m.state in ("waiting", "leased")]
        if ends:
            self.book.wait(max(0, min(ends) - self.book.now) + 1000)
        self.claim(100)

    @rule(times=st.integers(1, 3))
    def crash(self, times):
        """Workers die with what they hold, and others take it over when the leases end."""
        for _ in range(times):
            self.claim(100)
            self.book.wait(LEASE + 1000)
        self.claim(100)

    @rule(data=st.data())
    @precondition(lambda self: self.leases)
    def finish_all(self, data):
        """All that is in hand has left, and one of it fails at once."""
        for ref, lease in self.leases[-3:]:
            (answer,) = self.book.finish(lease)
            assert answer == self.model.finish(ref, lease.token, "handed_over", now=self.book.now, delay=0)
        ref, lease = data.draw(st.sampled_from(self.leases[-3:]))
        self._report(ref, "SMS_EXPIRED", resend=lease.delivery.attempt)

    @rule(
        data=st.data(),
        result=st.sampled_from(["later", "later", "handed_over", "gone"]),
        delay=st.sampled_from([0, 60_000]),
    )
    @precondition(lambda self: self.leases)
    def finish(self, data, result, delay):
        """A hand-over ends: the newest lease of a retry counts, a zombie's changes nothing."""
        current = [one for one in self.leases if self._is_open(*one)]
        ref, lease = data.draw(st.sampled_from(current or self.leases[-6:]))
        (answer,) = self.book.finish(lease, result=result, delay=delay)
        assert answer == self.model.finish(ref, lease.token, result, now=self.book.now, delay=delay)

    @rule(seconds=st.sampled_from([1, 20, 31, 120, 3600]))
    def wait(self, seconds):
        """Time passes: retries fall due, leases of the dead run out."""
        self.book.wait(seconds * 1000)

    def _is_open(self, ref, lease):
        m = self.model.messages[ref]
        return m.state == "leased" and m.token == lease.token

    def _somebody(self, data):
        """Return a message, one that waits if there is any: a word on it must be obeyed."""
        waiting = sorted(ref for ref, m in self.model.messages.items() if m.state == "waiting")
        return data.draw(st.sampled_from(waiting or NAMES))

    # --- people --------------------------------------------------------------------------------------------

    @rule(data=st.data(), now=RARELY)
    def suppress(self, data, now):
        """A person blocks a recipient."""
        if now:
            return
        ref = self._somebody(data)
        self.book.store.suppressions.add(PEOPLE[ref], "sms", reason="asked", actor="test", now=self.book.now)
        self.model.suppressed.add(PEOPLE[ref])

    @rule(ref=REFS)
    def unsuppress(self, ref):
        """And lifts the block again."""
        found = self.book.store.suppressions.find(PEOPLE[ref], "sms")
        self.book.store.suppressions.remove([one.field for one in found], reason="mended", actor="test")
        self.model.suppressed.discard(PEOPLE[ref])

    @rule(data=st.data(), now=RARELY)
    def cancel(self, data, now):
        """A message is cancelled: what waits ends, and what fails later starts nothing."""
        if now:
            return
        ref = self._somebody(data)
        self.book.store.control.cancel("reference", ref, reason="paid", actor="test", now=self.book.now)
        self.model.cancelled.add(ref)

    @rule(mode=st.sampled_from(["on"] * 4 + ["off"]))
    def switch(self, mode):
        """Hand-overs are stopped and go on."""
        self.book.store.control.set_mode(mode, reason="test", actor="test", now=self.book.now)
        self.model.mode = mode

    @rule(seconds=st.sampled_from([60, 3600]), close=st.booleans())
    def switch_breaker(self, seconds, close):
        """A person stops the one provider for a time, or lets it go on."""
        control, now = self.book.store.control, self.book.now
        if close:
            control.close_breaker("sms:1", reason="test", actor="test", now=now)
        else:
            control.open_breaker("sms:1", until=now + seconds * 1000, reason="test", actor="test", now=now)
        self.model.closed_until = 0 if close else now + seconds * 1000

    @rule()
    def reload(self):
        """Another revision of the policy: what waits keeps what it got."""
        self.book.policy = POLICIES[self.book.policy is POLICIES[0]]

    # --- always --------------------------------------------------------------------------------------------

    @invariant()
    def each_message_is_where_the_model_says(self):
        """State, try, token and end are the same; a report has one outcome in the history."""
        if not self.model.messages:
            return
        ref = sorted(self.model.messages)[
            self.moves % len(self.model.messages)
        ]  # one a step: a look at all is slow
        self.moves += 1
        stories = self.book.store.retries.find(ref)
        if not stories:
            return  # a delivery that nobody had reported as failed keeps no history
        delivery, m = stories[0].delivery, self.model.messages[ref]
        assert (delivery.state, delivery.outcome or "", delivery.attempt) == (m.state, m.ended, m.attempt)
        if m.state in ("waiting", "leased", "out"):
            assert delivery.token == m.token
        failures = [entry["id"] for entry in stories[0].history if entry["k"] == "failed"]
        assert len(failures) == len(set(failures))
        assert self.book.is_suppressed(PEOPLE[ref]) == (PEOPLE[ref] in self.model.suppressed)

    def teardown(self):
        """Whatever was done, all that the store names exists."""
        assert not broken(self.client, self.book.store.keys)


def _run(client, *, examples):
    machine = type("Machine", (Ledger,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(EXAMPLES, examples),
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(3600 if EXAMPLES else 120)
def test_on_fakeredis():
    """The model holds on fakeredis, which users' tests run on."""
    _run(fakeredis.FakeRedis(), examples=40)


@pytest.mark.timeout(3600 if EXAMPLES else 120)
def test_on_valkey(valkey):
    """The model holds on the packaged Valkey."""
    with redis.Redis.from_url(valkey) as client:
        _run(client, examples=300)


@pytest.mark.timeout(3600 if EXAMPLES else 120)
def test_on_redis(redis_url):
    """The model holds on an external Redis."""
    with redis.Redis.from_url(redis_url) as client:
        _run(client, examples=150)


@pytest.mark.timeout(3600 if EXAMPLES else 120)
def test_on_a_cluster(tmp_path):
    """The model holds on a Redis Cluster of six nodes: all state is in one slot."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: a Cluster needs it")
    with servers.cluster(tmp_path) as nodes:
        client = nodes.client()
        client.flushdb = nodes.flush
        _run(client, examples=40)
