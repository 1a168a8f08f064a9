"""Celery as intake and as hand-over, with the store as its broker and with RabbitMQ."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from live import HOUR, START, WorkerProcess, empty, failed, until
from tests.servers import PATIENCE

from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

Start = Callable[..., WorkerProcess]
Report = Callable[..., list[dict[str, Any]]]
QUEUES = ("softbounce", "pipeline")


@pytest.fixture(params=["store", "amqp"])
def broker(request: pytest.FixtureRequest, server: Embedded) -> str:
    """The URL of a broker with empty queues."""
    if request.param == "store":
        return celery_url(server.url)
    url = request.getfixturevalue("amqp_url")
    empty(url, *QUEUES)
    return url


@pytest.fixture
def producer(broker: str) -> Iterator[Celery]:
    """A producer's own Celery app."""
    app = Celery("producer", broker=broker, set_as_current=False)
    yield app
    app.close()


def calls(broker: str, queue: str, *, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Take Celery messages from a queue and return the headers and keyword arguments of each."""
    with Connection(broker) as connection, closing(connection.SimpleQueue(queue)) as waiting:
        messages = [waiting.get(timeout=PATIENCE) for _ in range(count)]
        for message in messages:
            message.ack()
    return [(message.headers, message.payload[1]) for message in messages]


def test_a_task_is_a_report(start: Start, store: Store, producer: Celery):
    """One event or a list of them as the task's argument; each gets its outcome."""
    start(broker_url=str(producer.conf.broker_url))
    producer.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")
    producer.send_task("softbounce.report", args=[[failed("m2"), failed("m3")]], queue="softbounce")

    assert until(lambda: store.counters() == {"scheduled": 3})


def test_stream_and_celery_are_one_intake(start: Start, store: Store, report: Report, producer: Celery):
    """An event that came by the stream is a duplicate when it comes by Celery."""
    start(broker_url=str(producer.conf.broker_url))
    report(failed("m1"))
    producer.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")

    assert until(lambda: store.counters() == {"scheduled": 1, "duplicate": 1})


def test_what_celery_would_drop_is_a_dead_letter(start: Start, store: Store, producer: Celery):
    """No JSON, pickle, another task, no Celery message, odd arguments: kept, and the worker goes on."""
    worker = start(broker_url=str(producer.conf.broker_url))
    to_us = {"routing_key": "softbounce", "exchange": ""}
    named = {"id": "1", "task": "softbounce.report"}
    with producer.producer_pool.acquire() as publisher:
        publisher.publish(
            b"{torn", content_type="application/json", content_encoding="utf-8", headers=named, **to_us
        )
        publisher.publish(
            b"\x80\x04.", content_type="application/x-python-serialize", content_encoding="binary", **to_us
        )
        publisher.publish({"no": "task"}, serializer="json", **to_us)
    producer.send_task("softbounce.other", args=[failed("m0")], queue="softbounce")
    producer.send_task("softbounce.report", kwargs={"event": failed("m0")}, queue="softbounce")
    producer.send_task("softbounce.report", args=["{torn"], queue="softbounce")
    until(lambda: store.counters().get("dead_lettered") == 6)
    producer.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")

    assert until(lambda: store.counters().get("scheduled") == 1)
    assert worker.process.poll() is None
    assert failed("m0")["claim"]["communication"]["recipients"][0] not in worker.log


def test_a_retry_calls_the_pipelines_task(start: Start, store: Store, report: Report, broker: str):
    """The command is the task's argument and its id the task's id; headers hold no address."""
    worker = start(broker_url=broker, resend_to="celery:pipeline.resend@pipeline")
    report(failed("m1"), failed("m2"))
    store.set_now(START + 3 * HOUR)
    received = calls(broker, "pipeline", count=2)

    assert {headers["task"] for headers, _ in received} == {"pipeline.resend"}
    assert all(headers["id"] == named["command"]["id"] for headers, named in received)
    assert {named["command"]["reference"] for _, named in received} == {"m1", "m2"}
    assert "+4917" not in json.dumps([headers for headers, _ in received])
    assert until(lambda: store.counters().get("handed_over") == 2)
    assert worker.logged("retry.handed_over")[0]["sink"] == "celery:pipeline.resend"


def test_a_notice_calls_the_task_beside_it(start: Start, report: Report, broker: str):
    """Where retries leave by Celery, the pipeline hears of a suppression by a task as well."""
    start(broker_url=broker, resend_to="celery:pipeline.resend@pipeline")
    report(failed("m1", "INVALID_MOBILE_NUMBER"))
    ((headers, named),) = calls(broker, "pipeline", count=1)

    assert headers["task"] == "pipeline.notice"
    assert named["notice"]["type"] == "softbounce.suppressed"
    assert named["notice"]["id"] == headers["id"]


def test_a_broker_that_is_away_stops_neither_stream_nor_attempts(start: Start, store: Store, report: Report):
    """The stream goes on; a retry that cannot be handed over waits and keeps its attempt."""
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}//"
        worker = start(broker_url=url, resend_to="celery:pipeline.resend@pipeline")
        (answer,) = report(failed("m1"))
        store.set_now(START + 3 * HOUR)
        failure = until(lambda: worker.logged("handover.failed"))[0]
        (late,) = report(failed("m2"))

    assert (answer["outcome"], late["outcome"]) == ("scheduled", "scheduled")
    assert failure["sink"] == "celery:pipeline.resend"
    assert "guest" not in failure["reason"]
    assert store.counters() == {"scheduled": 2}
    assert worker.stop() == 0


@pytest.mark.parametrize("broker", ["amqp"], indirect=True)
def test_a_report_by_rabbitmq_waits_for_the_store(
    start: Start, server: Embedded, store: Store, producer: Celery
):
    """A report that comes while the store is away is kept, and gets its outcome when it is back."""
    worker = start(broker_url=str(producer.conf.broker_url))
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: worker.logged("store.unreachable"))
    producer.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")
    server.ensure()

    assert until(lambda: worker.logged("store.back"))
    assert until(lambda: store.counters() == {"scheduled": 1})


@pytest.mark.parametrize("broker", ["store"], indirect=True)
def test_celery_intake_comes_back_with_the_store(
    start: Start, server: Embedded, store: Store, producer: Celery
):
    """Where the store is the broker too, the Celery intake goes on after the store was killed and is back."""
    worker = start()
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: worker.logged("store.unreachable"))
    server.ensure()
    producer.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")

    assert until(lambda: store.counters() == {"scheduled": 1})


def test_celery_inspect_shows_what_a_worker_does(
    start: Start, server: Embedded, store: Store, report: Report, broker: str
):
    """``celery -A softbounce inspect softbounce`` shows intake, due, leased and handed over."""
    worker = start(broker_url=broker)
    report(failed("m1"), failed("m2"))
    store.set_now(START + 3 * HOUR)
    until(lambda: store.counters().get("handed_over") == 2)

    def inspected() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "softbounce", "inspect", "softbounce", "--json"],
            env={**os.environ, "SOFTBOUNCE_REDIS_URL": server.url, "SOFTBOUNCE_BROKER_URL": broker},
            capture_output=True,
            check=False,
            cwd=worker.path.parent,
        )
        return json.loads(done.stdout)["w0@test"] if done.returncode == 0 else {}

    shown = until(inspected)

    assert shown["intake"]["taken"] == {"scheduled": 2}
    assert (shown["due"], shown["leased"], shown["handed_over"], shown["mode"]) == (0, 0, 2, "on")
