"""A pump and what it hands over to: lost answers, and calls of Celery that we write ourselves."""

import json
import random
import threading
from base64 import b64decode

import fakeredis
import pytest
import redis
from celery import Celery
from proxy import Door
from tests.contract.store_driver import HOUR, LEASE, START, StoreDriver

import softbounce.worker.handover
from softbounce import embedded
from softbounce.core.policy.file import load
from softbounce.errors import StoreUnreachable
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.store.limits import HANDOVER_BATCH
from softbounce.worker.handover import Pump
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.sink import Handed
from softbounce.worker.sinks.stream import ToStream
from softbounce.worker.sinks.task import ToTask


def test_three_lost_answers_to_claim_hold_nobody(tmp_path):
    """The pump says which claim got no answer: its retries leave with the next one, without a strike."""
    with (
        embedded.start(tmp_path) as server,
        redis.Redis.from_url(server.url) as client,
        Door(server.socket) as door,
    ):
        store = Store.open(server.url)
        store.set_now(START)
        driver = StoreDriver(store, load(policy_text()[0], file="policy.yaml"), client=client)
        for n in range(5):
            driver.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n)
        pump = _pump(Store.open(door.url))
        assert not pump.turn()  # from now on the store knows the script
        driver.wait(5 * HOUR)
        for _ in range(4):
            door.lose_reply("answered")
            with pytest.raises(StoreUnreachable):
                pump.turn()

        assert pump.turn()
        assert len(store.stream("softbounce:resend").read()) == 5
        assert {driver.story(f"m{n}").delivery.state for n in range(5)} == {"out"}
        assert driver.cases() == []


class Full:
    """A sink that has room for two."""

    name = "full"

    def deliver(self, _messages, _may_begin):
        """Take two."""
        return Handed(count=2, failure="no room for more")


class Asking:
    """A sink that asks before each; after the second the worker is told to stop."""

    name = "asking"

    def __init__(self, stopping):
        self.stopping = stopping

    def deliver(self, messages, may_begin):
        """Take what may begin."""
        taken = 0
        while taken < len(messages) and may_begin():
            taken += 1
            if taken == 2:
                self.stopping.set()
        return Handed(count=taken)


@pytest.mark.parametrize(("kind", "later"), [("full", 1), ("asking", 0)])
def test_what_the_sink_did_not_take_goes_back_without_a_strike(kind, later):
    """Two of five have left. Where the sink refused the third, that one waits as long as it rests; all others are due at once."""
    client, stopping = fakeredis.FakeRedis(), threading.Event()
    store = Store(client)
    store.set_now(START)
    driver = StoreDriver(store, load(policy_text()[0], file="policy.yaml"), client=client)
    for n in range(5):
        driver.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n)
    driver.wait(5 * HOUR)
    pump = _pump(store, sink=Full() if kind == "full" else Asking(stopping), stopping=stopping)
    pump.turn()
    pump.settle()

    deliveries = [driver.story(f"m{n}").delivery for n in range(5)]
    assert sorted(one.state for one in deliveries) == ["out", "out", "waiting", "waiting", "waiting"]
    assert all("k" not in one.head for one in deliveries)
    dues = [due for _, due in client.zrange("{sb:default}:schedule", 0, -1, withscores=True)]
    assert sum(due > driver.now for due in dues) == later


def test_a_record_of_which_no_command_can_be_made_is_set_aside_and_the_others_leave(monkeypatch):
    """Its channel is none that we know: the script could read it, and we cannot."""
    monkeypatch.setattr(
        softbounce.worker.handover, "BATCH_TIME", 60.0
    )  # the log's traceback alone takes a second
    client = fakeredis.FakeRedis()
    store = Store(client)
    store.set_now(START)
    driver = StoreDriver(store, load(policy_text()[0], file="policy.yaml"), client=client)
    for n in range(2):
        driver.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n)
    key, ident = store.keys.fixed("deliveries"), driver.story("m0").delivery.id
    client.hset(key, ident, client.hget(key, ident).replace(b'"sms"', b'"fax"', 1))
    driver.wait(5 * HOUR)
    pump = _pump(store)
    pump.turn()
    pump.settle()

    assert len(store.stream("softbounce:resend").read()) == 1
    assert list(store.cases.damaged()) == [ident]


def _pump(store, policy=None, sink=None, stopping=None):
    return Pump(
        store,
        PolicyInForce(policy),
        sink or ToStream(store, "softbounce:resend", field="command"),
        worker="w",
        lease=LEASE,
        rng=random.Random(1),
        stopping=stopping or threading.Event(),
    )


@pytest.mark.parametrize(("lost", "mode"), [(3, "on"), (4, "on"), (5, "off")])
def test_claims_younger_than_what_a_failover_may_lose_raise_no_alarm(tmp_path, monkeypatch, lost, mode):
    """A replica may lack the last ten seconds; a store that lacks an older claim is an older state, and hand-overs wait."""
    times = [0.0]
    monkeypatch.setattr(softbounce.worker.handover, "monotonic", lambda: times[-1])
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = Store.open(server.url)
        store.set_now(START)
        StoreDriver(store, load(policy_text()[0], file="policy.yaml"), client=client).fail("m1")
        pump = _pump(store)
        for seconds in (0.0, 11.0, 12.0, 13.0, 14.0):
            times.append(seconds)
            pump.turn()
        client.hincrby("{sb:default}:meta", "claims", -lost)
        pump.turn()

        assert pump.mode == mode
        assert [known.mode for known in store.modes.all()] == [mode]


def test_a_call_sent_in_a_block_is_as_celery_writes_it(tmp_path):
    """The first goes Celery's own way, the others are written by us: no difference but what names the call."""
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        broker = server.url.replace("unix://", "redis+socket://")
        sink = ToTask(
            Celery(broker=broker, set_as_current=False), "p.resend", "p", argument="command", timeout=5
        )
        command = {"reference": "ü", "attempt": 1, "none": None, "list": [1, {"a": []}]}
        handed = sink.deliver([(f"id-{n}", command) for n in range(250)], lambda: True)
        calls = [json.loads(raw) for raw in reversed(client.lrange("p", 0, -1))]

        assert handed.count == 250
        assert [call["headers"]["id"] for call in calls] == [f"id-{n}" for n in range(250)]
        assert len({call["properties"]["delivery_tag"] for call in calls}) == 250
        assert _form(calls[0]) == _form(calls[1]) == _form(calls[249])


def _form(call):
    """Return a call without what names it, its body decoded; Celery repeats two headers as properties."""
    ident = call["headers"]["id"]
    body = json.loads(b64decode(call.pop("body")))
    for name in ("delivery_tag", "argsrepr", "kwargsrepr"):
        call["properties"].pop(name, None)
    return json.loads(json.dumps(call).replace(ident, "ID")), body


@pytest.mark.parametrize(("then", "finished"), [("turn", HANDOVER_BATCH + 1), ("settle", HANDOVER_BATCH)])
def test_a_full_batch_is_finished_with_the_next_claim_and_at_the_word_to_stop(
    tmp_path, monkeypatch, then, finished
):
    """Between the two it is leased: a worker that dies then hands it over again, under the same ids."""
    monkeypatch.setattr(
        softbounce.worker.handover, "BATCH_TIME", 60.0
    )  # a busy machine claims so many in over a second
    policy = tmp_path / "fast.yaml"
    policy.write_text(policy_text()[0].replace(" 50/s", " 5000/s"))
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = Store.open(server.url)
        store.set_now(START)
        driver = StoreDriver(store, load(policy.read_text(), file="policy.yaml"), client=client)
        count = HANDOVER_BATCH + 1
        for first in range(0, count, 200):
            numbers = range(first, min(first + 200, count))
            driver.accept(*(driver.failed(f"m{n}", to=[f"+49151{n:08}"], claim=n) for n in numbers))
        driver.wait(5 * HOUR)
        pump = _pump(store, policy)

        def out():
            return sum(driver.story(f"m{n}").delivery.state == "out" for n in range(count))

        pump.turn()
        assert (client.xlen("softbounce:resend"), out()) == (HANDOVER_BATCH, 0)
        getattr(pump, then)()
        assert out() == finished
