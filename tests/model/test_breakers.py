"""A provider's breaker, through any sequence of answers and times: what it lets through, for how long, and its end."""

import json

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.contract.store_driver import MINUTE, SECOND, START, StoreDriver
from tests.references import broken

from softbounce.core.policy.file import load
from softbounce.store import Store

PROBE, BASE, CAP, WITHIN, RAMP = 3, MINUTE, 3 * MINUTE, 10 * MINUTE, 10 * MINUTE
POLICY = load(
    """\
version: 1
limits: {resends_per_recipient: 900/1d, resends_per_claim: 900/1d, min_delay: 1s, handover_rate: 100/s, max_attempts: 90}
defaults: {quiet_hours: off}
codes:
  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [10s], max_attempts: 90, jitter: 0%, give_up_after: 9d}}
providers:
  "*":
    breaker:
      open_when: {failures: 50%, of_last: 6, least: 4, within: 10m}
      open_for: {base: 1m, factor: 2, cap: 3m}
      probe: 3
      ramp_up: 10m
""",
    file="policy.yaml",
)
NAME = "sms:1"
STATES = {None, "open", "half"}  # a closed one that ramps has r, and no s


class Provider(RuleBasedStateMachine):
    """Messages fail, time passes, what is due leaves, and the provider answers for better or worse."""

    client: redis.Redis

    def __init__(self):
        super().__init__()
        self.client.flushdb()
        store = Store(self.client)
        store.set_now(START)
        self.driver = StoreDriver(store, POLICY, client=self.client)
        self.count = 0
        self.out = []  # references that left, without an answer yet
        self.sent = {}  # when each left the last time
        self.good, self.bad = 0, 0  # answers to probes of these rounds
        self.left = []  # times at which probes left since it was last open
        self.opened, self.in_a_row, self.ends = 0, 0, 0  # when, how often, until when: as we reckon it
        self.was = None

    @property
    def head(self):
        """What the store knows of the provider."""
        known = self.driver.client.hget(self.driver.store.keys.fixed("breakers"), NAME) or b"{}"
        return json.loads(known.partition(b"\n")[0])

    @rule(count=st.integers(1, 6))
    def fail(self, count):
        """So many messages fail for the first time; their resends are due after ten seconds."""
        raws = [
            self.driver.failed(f"m{n}", "PROVIDER_ERROR", claim=n)
            for n in range(self.count, self.count + count)
        ]
        self.count += count
        self.driver.accept(*raws)

    @rule(seconds=st.sampled_from([1, 11, 30, 61, 121, 181, 601]))
    def wait(self, seconds):
        """Time passes, and nobody claims."""
        self.driver.wait(seconds * SECOND)

    @rule()
    def hand_over(self):
        """What may leave, leaves: nothing before the wait is over, and no more than the probes at a time after it."""
        was, now = self.head, self.driver.now
        left = [reference for reference, _ in self.driver.hand_over()]
        self.out += left
        self.sent |= dict.fromkeys(left, now)
        if was.get("s") == "open" and now < self.ends:
            assert left == []
        if was.get("s") != "half" and self.head.get("s") == "half":
            self.good, self.bad = 0, 0
        if was.get("s"):
            self.left += [now] * len(left)
            assert all(
                sum(first <= time < first + WITHIN for time in self.left) <= PROBE for first in self.left
            )

    @rule(good=st.booleans(), count=st.integers(1, 6), newest=st.booleans())
    def answer(self, good, count, newest):
        """Some of what left arrives, or fails again by the provider's fault; old answers come late, and decide no round.

        Two of three probes do, whichever way they went.
        """
        chosen = self.out[-count:] if newest else self.out[:count]
        self.out = [reference for reference in self.out if reference not in chosen]
        for reference in chosen:
            was = self.head
            tell = self.driver.deliver if good else self.driver.fail
            tell(reference, **({} if good else {"code": "PROVIDER_ERROR"}))
            if was.get("s") == "half":
                if self.sent[reference] >= was["c"]:
                    self.good, self.bad = self.good + good, self.bad + (not good)
                assert self.head.get("s") == ("open" if self.bad == 2 else None if self.good == 2 else "half")
            self.follow()

    @rule(times=st.integers(1, 4))
    def fail_the_probes(self, times):
        """The provider stays down: each round of probes, let out as soon as may be, fails."""
        for _ in range(times):
            self.fail(PROBE)
            self.driver.wait(max(11 * SECOND, self.ends - self.driver.now))
            self.hand_over()
            self.answer(good=False, count=PROBE, newest=True)

    @rule()
    def let_the_probes_arrive(self):
        """The provider is well again: it closes, and leaves its ramp behind."""
        self.fail(PROBE)
        self.driver.wait(max(11 * SECOND, self.ends - self.driver.now))
        self.hand_over()
        self.answer(good=True, count=PROBE, newest=True)
        self.driver.wait(RAMP)

    @rule()
    def break_down(self):
        """Enough resends fail to open it, wherever it is closed."""
        self.fail(6)
        self.driver.wait(11 * SECOND)
        self.hand_over()
        self.answer(good=False, count=6, newest=True)

    def follow(self):
        """Reckon the next wait wherever it opened: the base, doubled each time, up to the cap."""
        head, now = self.head, self.driver.now
        state = head.get("s")
        if state == "open" and head["c"] == now and (self.was, self.opened) != ("open", now):
            self.in_a_row += 1
            self.opened, self.ends, self.left = now, now + min(CAP, BASE * 2 ** (self.in_a_row - 1)), []
            assert head["u"] == self.ends
        elif state is None:
            self.in_a_row, self.left = 0, []
        self.was = state

    @invariant()
    def its_state_is_a_known_one(self):
        """Closed, open, half-open, or ramping; with the facts that belong to it."""
        head = self.head
        self.follow()

        assert head.get("s") in STATES
        assert head.get("s") is None or head["u"] > START
        assert head.get("n", 0) == self.in_a_row
        assert 0 <= head.get("p", 0) <= PROBE
        assert ("p" in head) == (head.get("s") == "half")

    def teardown(self):
        """All that the store names exists; good answers alone always close it, and after the ramp all that waits may leave."""
        assert not broken(self.client, self.driver.store.keys)
        for _ in range(4):
            self.fail(PROBE)
            self.driver.wait(WITHIN + CAP)
            for reference, _ in self.driver.hand_over():
                self.driver.deliver(reference)
        assert self.head.get("s") is None
        self.driver.wait(RAMP + CAP)
        self.driver.hand_over()
        self.fail(9)
        self.driver.wait(MINUTE)

        assert len(self.driver.hand_over()) >= 9


def _run(client, *, examples):
    machine = type("Machine", (Provider,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
def test_a_breaker_keeps_its_promises_on_fakeredis():
    """Its states, its waits and its probes are those of docs/operations/operations.md, whatever happens."""
    _run(fakeredis.FakeRedis(), examples=10)


@pytest.mark.timeout(120)
def test_a_breaker_keeps_its_promises_on_valkey(valkey):
    """The same on the packaged Valkey, with more examples."""
    with redis.Redis.from_url(valkey) as client:
        _run(client, examples=60)
