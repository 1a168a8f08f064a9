"""A pump and what it hands over to: lost answers, and calls of Celery that we write ourselves."""

import json
import random
import threading
from base64 import b64decode

import pytest
import redis
from celery import Celery
from proxy import Door
from tests.contract.book import HOUR, LEASE, MINUTE, START, Book
from tests.outage.drain import POLICY, fill, policy

from softbounce import embedded
from softbounce.core.policy_file import load
from softbounce.errors import StoreUnreachable
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.worker.pump import Pump
from softbounce.worker.reload import PolicyInForce
from softbounce.worker.sinks import Handed, ToStream, ToTask


def test_three_lost_answers_to_claim_hold_nobody(tmp_path):
    """The pump says which claim got no answer: its retries leave with the next one, without a strike."""
    with (
        embedded.start(tmp_path) as server,
        redis.Redis.from_url(server.url) as client,
        Door(server.socket) as door,
    ):
        store = Store.open(server.url)
        store.set_now(START)
        book = Book(store, load(policy_text()[0], file="policy.yaml"), client=client)
        for n in range(5):
            book.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n)
        pump = _pump(Store.open(door.url))
        assert not pump.turn()  # from now on the store knows the script
        book.wait(5 * HOUR)
        for _ in range(4):
            door.lose_reply("answered")
            with pytest.raises(StoreUnreachable):
                pump.turn()

        assert pump.turn()
        assert len(store.stream("softbounce:resend").read()) == 5
        assert {book.story(f"m{n}").delivery.state for n in range(5)} == {"out"}
        assert book.cases() == []


def test_what_was_claimed_ahead_of_a_turn_that_fails_waits_for_no_lease(tmp_path):
    """The batch in hand comes back by its lease; the next one, claimed meanwhile, was in nobody's hand."""
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = Store.open(server.url)
        fill(store, policy(1_000_000), count=1_500, seed=1)
        store.set_now(store.now() + 2 * MINUTE)
        file = tmp_path / "policy.yaml"
        file.write_text(POLICY.format(cap=1_000_000))
        pump = _pump(store, sink=Breaks(), file=file)
        with pytest.raises(ConnectionAbortedError):
            _drain(pump)
        _drain(pump)

        assert pump.handed_over == 1_000
        assert client.zcount(store.keys.fixed("schedule"), store.now() + 1, "+inf") == 500


class Breaks:
    """A sink whose second batch ends in an error that nobody foresaw."""

    name = "breaks"

    def __init__(self):
        self._batches = 0

    def deliver(self, messages, may_begin):
        """Take a batch, but not the second."""
        self._batches += 1
        assert may_begin()
        if self._batches == 2:
            raise ConnectionAbortedError
        return Handed(count=len(messages))


def _drain(pump):
    while pump.turn():
        pass


def _pump(store, *, sink=None, file=None):
    return Pump(
        store,
        PolicyInForce(file),
        sink or ToStream(store, "softbounce:resend", field="command"),
        worker="w",
        lease=LEASE,
        rng=random.Random(1),
        stopping=threading.Event(),
    )


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
