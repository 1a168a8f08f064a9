# ruff: noqa: SLF001 - Redis and RabbitMQ have no common way to ask how much waits
"""The worst Celery messages beside ordinary reports, on the real worker with both brokers."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import redis
from amqp import serialization
from celery import Celery
from celery.worker.control import Panel
from kombu import Connection, Exchange
from live import WorkerProcess, empty, failed, until
from tests.servers import PATIENCE
from worst_messages import ELSEWHERE, ITEMS, ORDERS, TAKEN, WORST, Worst

from softbounce.core.filters import parse_filter
from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

Start = Callable[..., WorkerProcess]
Send = Callable[[Worst, int], None]


@pytest.fixture(params=["store", "amqp"])
def broker(request: pytest.FixtureRequest, server: Embedded) -> str:
    """The URL of a broker with empty queues."""
    if request.param == "store":
        return celery_url(server.url)
    url = request.getfixturevalue("amqp_url")
    empty(url, "softbounce", ELSEWHERE)
    return url


@pytest.fixture
def producer(broker: str) -> Iterator[Celery]:
    """A producer's own Celery app."""
    app = Celery("producer", broker=broker, set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def send(producer: Celery, client: redis.Redis) -> Send:
    """Send one of the worst messages, in the form that its broker has."""

    def by_amqp(worst: Worst, number: int) -> None:
        with producer.producer_pool.acquire() as publisher:
            publisher.publish(
                worst.written(number),
                content_type=worst.content_type,
                content_encoding=worst.content_encoding,
                headers=worst.all_headers(number),
                exchange="",
                routing_key="softbounce",
                **worst.properties,
            )

    def by_redis(worst: Worst, number: int) -> None:
        properties = {
            "delivery_info": {"exchange": "", "routing_key": "softbounce"},
            "body_encoding": "base64",
        }
        envelope = {
            "body": b64encode(worst.written(number)).decode(),
            "content-type": worst.content_type,
            "content-encoding": worst.content_encoding,
            "headers": worst.all_headers(number),
            "properties": {**properties, "delivery_tag": str(number), "priority": 0, **worst.properties},
        }
        client.lpush("softbounce", json.dumps(envelope))

    return by_amqp if str(producer.conf.broker_url).startswith("amqp") else by_redis


def letters(store: Store) -> dict[bytes, str]:
    """Return the bytes and the reason of every dead letter."""
    found = store.dead_letters.select(parse_filter("", keys=()), now=0)
    return {letter.raw: letter.reason for letter in found}


def possible(broker: str) -> list[Worst]:
    """Return the messages that a broker can carry; RabbitMQ takes 16 MiB at most."""
    is_amqp = broker.startswith("amqp")
    return [w for w in WORST if not (is_amqp and (w.redis_only or len(w.written(0)) >= 16 << 20))]


def redeliver(broker: str, *, count: int, client: redis.Redis) -> None:
    """Let each message be one that a consumer had in hand when it died."""
    if not broker.startswith("amqp"):
        for index, item in enumerate(client.lrange("softbounce", 0, -1)):
            envelope = json.loads(item)
            envelope["properties"]["delivery_info"]["redelivered"] = True
            client.lset("softbounce", index, json.dumps(envelope))
        return
    with Connection(broker) as connection, closing(connection.channel()) as channel:
        for _ in range(count):
            until(lambda: channel.basic_get("softbounce"))


def waiting(connection: Connection, queue: str) -> int:
    """Return how many messages wait in a queue, also where there is none."""
    with closing(connection.channel()) as channel:
        if hasattr(
            channel, "_size"
        ):  # kombu's own transports; Redis has a list only while it holds something
            return channel._size(queue)
        return channel.queue_declare(queue, passive=True).message_count


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_each_bad_message_costs_only_itself(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, client: redis.Redis, producer: Celery, broker: str, send: Send, *, again: bool
):
    """Ordinary reports get their outcome; bad ones are taken in or kept with the field; exit code 0."""
    found = possible(broker)
    for number, worst in enumerate(found):
        send(worst, number)
        producer.send_task("softbounce.report", args=[failed(f"good{number}")], queue="softbounce")
    if again:
        redeliver(broker, count=2 * len(found), client=client)
    worker = start(broker_url=broker)
    taken = sum(worst.reason == TAKEN for worst in found)
    wanted = {"scheduled": len(found) + taken, "dead_lettered": len(found) - taken}
    until(
        lambda: worker.process.poll() is not None or sum(store.counters().values()) == 2 * len(found),
    )

    assert store.counters() == wanted, worker.log[-4000:]
    assert "event.crashed" not in worker.log
    kept = letters(store)
    for number, worst in enumerate(found):
        said = TAKEN if worst.reason == TAKEN else kept[worst.written(number)[: 64 * 1024]]
        assert said.startswith(worst.reason), worst
    with Connection(broker) as connection:
        assert waiting(connection, ELSEWHERE) == 0
    assert worker.stop() == 0


@pytest.mark.parametrize("broker", ["store"], indirect=True)
def test_what_no_client_puts_on_a_list_costs_only_itself(
    start: Start, store: Store, client: redis.Redis, producer: Celery
):
    """No JSON, no envelope, too large, or what kombu could not give back: each is kept whole, in good company."""
    items = [*ITEMS, b'{"body": "' + b"x" * (33 << 20)]
    no_text = b'{"body": "\\ud800", "content-type": "application/json", "headers": {}, "properties": {"delivery_info": {}}}'
    client.lpush("softbounce", no_text)
    for number, item in enumerate(items):
        client.lpush("softbounce", item)
        producer.send_task("softbounce.report", args=[failed(f"good{number}")], queue="softbounce")
    worker = start()

    assert until(lambda: store.counters() == {"scheduled": len(items), "dead_lettered": len(items) + 1})
    assert letters(store).keys() == {item[: 64 * 1024] for item in items} | {b"\xed\xa0\x80"}
    assert set(letters(store).values()) == {
        "no Celery message",
        "is larger than 32 MiB",
        "holds more than 2,097,152 values",
        "body: is no text (UnicodeEncodeError)",
    }
    assert worker.stop() == 0


@pytest.mark.parametrize("broker", ["amqp"], indirect=True)
def test_properties_that_amqp_cannot_read_cost_only_their_message(
    start: Start, store: Store, producer: Celery, monkeypatch: pytest.MonkeyPatch
):
    """A time after the year 9999 and tables without end in a header: a dead letter each, and no new connection."""
    worker = start(broker_url=str(producer.conf.broker_url))
    with monkeypatch.context() as patch, Connection(str(producer.conf.broker_url)) as connection:
        for number, table in enumerate([b"\x01aT" + b"\xff" * 8, b"\x01aF" + _nested(9000)]):

            def write(*given: Callable[[bytes], object], table: bytes = table) -> None:
                given[1](len(table).to_bytes(4) + table)

            patch.setattr(serialization, "_write_table", write)
            body = json.dumps([[failed(f"bad{number}")], {}, {}]).encode()
            with connection.Producer() as raw:
                raw.publish(body, content_type="application/json", headers={"a": 1}, routing_key="softbounce")
    producer.send_task("softbounce.report", args=[failed("good")], queue="softbounce")

    assert until(lambda: store.counters() == {"scheduled": 1, "dead_lettered": 2}), worker.log
    assert set(letters(store).values()) == {"content-type: is not application/json"}
    assert len(worker.logged("amqp.properties")) == 2
    assert "Connection to broker lost" not in worker.log
    assert worker.stop() == 0


def _nested(levels: int) -> bytes:
    """Return a table in a table, so many levels deep."""
    table = b""
    for _ in range(levels):
        table = len(table).to_bytes(4) + table
        table = b"\x01aF" + table
    return len(table).to_bytes(4) + table


def test_a_broken_order_ends_nothing(
    start: Start, store: Store, producer: Celery, broker: str, client: redis.Redis
):
    """No object, odd methods, arguments and places to reply to: refused in the log, and the next ping is answered."""
    worker = start(broker_url=broker)
    until(lambda: producer.control.inspect(timeout=1).ping())  # it listens
    exchange = Exchange("celery.pidbox", type="fanout", durable=False, delivery_mode="transient")
    with producer.producer_pool.acquire() as publisher:
        for body in ORDERS:
            for clock in (1, 2**62, "x", {}):
                publisher.publish(
                    body, serializer="json", exchange=exchange, declare=[exchange], headers={"clock": clock}
                )
        for raw, kind, encoding in (
            (b"{torn", "application/json", "idna"),
            (b"\x80\x04.", "application/x-python-serialize", "x"),
        ):
            publisher.publish(raw, content_type=kind, content_encoding=encoding, exchange=exchange)
        publisher.publish({}, serializer="json", compression="gzip", exchange=exchange)
    if not broker.startswith("amqp"):
        for raw in (
            b"5",
            b"[" * 99_999,
            b"{}",
            b"junk",
            b'{"properties": 5}',
            b'{"properties": {"delivery_tag": {}}}',
        ):
            client.publish("/0.celery.pidbox", raw)
    producer.send_task("softbounce.report", args=[failed("good")], queue="softbounce")

    assert until(lambda: store.counters() == {"scheduled": 1})
    assert until(lambda: producer.control.inspect(timeout=5).ping()) == {"w0@test": {"ok": "pong"}}
    with Connection(broker) as connection:
        assert waiting(connection, ELSEWHERE) == 0
    assert store.counters() == {"scheduled": 1}
    assert worker.logged("remote.refused")
    assert worker.stop() == 0


REFUSED = {
    "error": "this worker answers ping, stats and softbounce only; SOFTBOUNCE_REMOTE_CONTROL=all allows the rest"
}


def test_remote_control_takes_three_questions_only(start: Start, producer: Celery, broker: str):
    """Ping, stats and softbounce are answered; whatever else Celery knows is refused and said, and ends nothing."""
    worker = start(broker_url=broker)
    ask = partial(producer.control.broadcast, reply=True, limit=1, timeout=5)
    until(lambda: ask("ping", timeout=1))
    refused = sorted(Panel.data.keys() - {"ping", "stats", "softbounce"})
    assert {"shutdown", "pool_restart", "cancel_consumer", "revoke", "active", "conf", "election"} <= set(
        refused
    )
    if broker.startswith("amqp"):  # others may have workers there that would obey
        refused = ["active", "conf", "report"]
    answers = [ask(method, arguments={"queue": "x", "task_id": "x"}) for method in refused]

    assert answers == [[{"w0@test": REFUSED}]] * len(refused)
    assert ask("ping") == [{"w0@test": {"ok": "pong"}}]
    assert "rusage" in ask("stats")[0]["w0@test"]
    assert ask("softbounce")[0]["w0@test"]["mode"] == "on"
    assert worker.stop() == 0


@pytest.mark.parametrize("broker", ["store"], indirect=True)
def test_remote_control_takes_all_where_a_setting_says_so(start: Start, producer: Celery, broker: str):
    """SOFTBOUNCE_REMOTE_CONTROL=all; who is told to stop so, exits with 0."""
    worker = start(broker_url=broker, remote_control="all")
    ask = partial(producer.control.broadcast, reply=True, limit=1, timeout=5)
    until(lambda: ask("ping", timeout=1))

    assert ask("active") == [{"w0@test": []}]
    producer.control.broadcast("shutdown")
    assert worker.process.wait(PATIENCE) == 0


BROKEN = """
import sys
from celery.bootsteps import StartStopStep
from celery.exceptions import WorkerTerminate
from softbounce.settings import Settings
from softbounce.worker.celery import app as root

class Broken(StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)
    def start(self, consumer):
        raise {error}

def make_app(settings, make=root.make_app):
    app = make(settings)
    app.steps["consumer"].add(Broken)
    return app

root.make_app = make_app
if __name__ == "__main__":
    sys.exit(root.run_worker(Settings.load()))
else:
    app = make_app(Settings.load())
"""


@pytest.mark.parametrize("error", ["RuntimeError('unforeseen')", "WorkerTerminate(1)", "SystemExit('no')"])
@pytest.mark.parametrize(
    "command", [["broken.py"], ["-m", "celery", "-A", "broken", "worker"]], ids=["own", "celery"]
)
def test_an_error_that_ends_the_worker_is_a_failure(
    server: Embedded, policy: Path, tmp_path: Path, command: list[str], error: str
):
    """A worker that nobody asked to stop exits with another code than 0, so that a supervisor starts it again."""
    (tmp_path / "broken.py").write_text(BROKEN.format(error=error))
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *command],
        env={**os.environ, "SOFTBOUNCE_REDIS_URL": server.url, "SOFTBOUNCE_POLICY": str(policy)},
        cwd=tmp_path,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
