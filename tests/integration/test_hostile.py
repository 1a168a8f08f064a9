"""One bad item costs only itself: each of the worst inputs, in the middle of a batch, on the packaged Valkey."""

import json
import random
import threading
from datetime import UTC, datetime

import pytest
import redis
from checks.chaos.world import POLICY, Plan, World
from tests import hostile
from tests.contract.store_driver import DAY, LEASE, SECOND, START
from tests.references import broken

from softbounce.store import Store
from softbounce.store.limits import INTAKE_BATCH
from softbounce.worker.handover import Pump
from softbounce.worker.intake import Intake
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.stream import ToStream

NOW = datetime.fromtimestamp(START / 1000, UTC)
DEADLINE = (START + DAY) // 1000  # s
NO_OUTCOME = (b"handed_over", b"escalated", b"dead_letters_cut")
NAMED = 20  # inputs that a failed test names; all of them would be a wall


class Line:
    """A store, an intake and a pump without a thread, and ordinary messages beside what a test sends."""

    def __init__(self, client, policies, *, in_line=False):
        client.flushdb()
        self.client, self.store = client, Store(client)
        self.store.set_now(START)
        self.store.events.make_group()
        self.world, self.resends = World(random.Random(1)), self.store.stream("softbounce:resend")
        stopping = threading.Event()
        stopping.set()  # what fails is not tried again and again
        self.intake = Intake(self.store, policies, worker="w", lease=LEASE, stopping=stopping)
        sink = ToStream(self.store, "softbounce:resend", field="command")
        rng = random.Random(1)
        self.pump = Pump(
            self.store, policies, sink, worker="w", lease=LEASE, rng=rng, stopping=threading.Event()
        )
        self.ordinary, self.added = [], 0
        if in_line:  # what is due stands in line where somebody does
            client.zadd(self.store.keys.fixed("ready"), {"another merchant\n9999999999\nnobody": 0})

    def add(self, *entries):
        """Let a producer add entries, with an ordinary report before and after them."""
        for fields in (self.report(), *entries, self.report()):
            self.client.xadd(self.store.events.key, fields)
            self.added += 1

    def report(self):
        """Return the entry of one more ordinary report, whose resend is due a second later."""
        ref, plan, to, _ = self.world.message(Plan(sends=1, ends="delivered"))
        self.ordinary.append(ref)
        return {"event": self.world.failed(ref, to, plan.code, at=NOW)}

    def plant(self, ident, raw):
        """Put a record into the store that is due."""
        self.client.hset(self.store.keys.fixed("deliveries"), ident, raw)
        self.client.zadd(self.store.keys.fixed("schedule"), {ident: START})

    def is_scheduled(self, ident):
        """Return whether a delivery has a place in the schedule, or in line."""
        places = self.client.zrange(self.store.keys.fixed("ready"), 0, -1)
        score = self.client.zscore(self.store.keys.fixed("schedule"), ident)
        return score is not None or any(place.endswith(b"\n" + ident) for place in places)

    def problems(self):
        """Take all in and hand over what is due; yield what went wrong, in words."""
        try:
            for _ in range(2 + self.added // INTAKE_BATCH):
                if self.store.events.lag().unread:  # else it waits for more
                    self.intake.turn()
            self.intake.settle()
        except Exception as error:  # noqa: BLE001 - each ends a turn of the worker's loop
            yield f"intake: {type(error).__name__}: {str(error)[:150]}"
        lag = self.store.events.lag()
        if lag.unread or lag.pending:
            yield f"{lag.unread} unread, {lag.pending} pending"
        counters = self.client.hgetall(self.store.keys.fixed("counters"))
        outcomes = sum(int(count) for name, count in counters.items() if name not in NO_OUTCOME)
        if outcomes < self.added:
            yield f"{self.added} entries, {outcomes} outcomes"
        yield from self._handed_over()
        yield from broken(self.client)

    def _handed_over(self):
        try:
            for _ in range(4):
                self.store.set_now(self.store.now() + 5 * SECOND)
                for _ in range(2 + self.added // INTAKE_BATCH):
                    self.pump.turn()
            self.pump.settle()
        except Exception as error:  # noqa: BLE001 - as above
            yield f"pump: {type(error).__name__}: {str(error)[:150]}"
        left = {json.loads(fields["command"])["reference"] for _, fields in self.resends.read()}
        if late := [ref for ref in self.ordinary if ref not in left]:
            yield f"never handed over: {', '.join(late)}"


@pytest.fixture(scope="module")
def client(valkey):
    """A client of the packaged Valkey."""
    with redis.Redis.from_url(valkey) as client:
        yield client
        client.flushdb()


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """A policy with delays of a second."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return PolicyInForce(path)


def said(found):
    """Return what a failed test says of the inputs that cost others something; nothing if there is none."""
    lines = [f"{name}: {'; '.join(problems)}" for name, problems in found.items() if problems]
    return "\n".join([f"{len(lines)} of {len(found)} inputs", *lines[:NAMED]]) if lines else ""


@pytest.mark.parametrize("in_line", [False, True])
def test_each_bad_report_costs_only_itself(client, policies, in_line):
    """Its neighbours are handed over, it has an outcome itself, and all that the store names exists."""
    found = {}
    for bad in hostile.inputs(share=0.2):
        line = Line(client, policies, in_line=in_line)
        line.add(*bad.entries)
        found[bad.name] = list(line.problems())

    assert not said(found), said(found)


def test_each_bad_reply_token_costs_only_its_reply(client, policies):
    """The report beside it is taken in, and so are its neighbours."""
    found = {}
    for name, token in hostile.tokens():
        line = Line(client, policies)
        client.set(line.store.keys.reply(hostile.TAKEN.decode()), "no list", ex=600)
        line.add({**line.report(), "reply": token})
        found[name] = list(line.problems())

    assert not said(found), said(found)


@pytest.mark.parametrize("in_line", [False, True])
def test_each_bad_record_costs_only_itself(client, policies, in_line):
    """A claim that meets it goes on with the others, and sets it aside: it is in nobody's way again."""
    found = {}
    for name, ident, raw in hostile.records(deadline=DEADLINE):
        line = Line(client, policies, in_line=in_line)
        line.plant(ident, raw)
        line.add()
        quoted = repr(ident.decode(errors="backslashreplace"))
        found[name] = [one for one in line.problems() if quoted not in one]
        found[name] += ["it is scheduled still"] if line.is_scheduled(ident) else []

    assert not said(found), said(found)


def test_a_record_of_a_newer_release_is_left_alone(client, policies):
    """It is scheduled still, with the bytes that it had, and its neighbours are handed over."""
    ident, raw = hostile.newer(deadline=DEADLINE)
    line = Line(client, policies)
    line.plant(ident, raw)
    line.add()

    assert list(line.problems()) == []
    assert line.is_scheduled(ident)
    assert client.hget(line.store.keys.fixed("deliveries"), ident) == raw
