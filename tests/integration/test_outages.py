"""What is away, and what the worker does meanwhile: it loses nothing, spends nothing, and goes on by itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery
from kombu import Connection
from live import HOUR, START, WorkerProcess, empty, failed, until
from proxy import Door
from tests.servers import PATIENCE, end

from softbounce import embedded
from softbounce.core.filters import parse_filter
from softbounce.embedded import Embedded
from softbounce.errors import Overloaded, StoreUnreachable
from softbounce.store import Store
from softbounce.store.audit import By

Start = Callable[..., WorkerProcess]
Report = Callable[..., list[dict[str, Any]]]
Commands = Callable[[], list[dict[str, Any]]]
SINK = "celery:pipeline.resend@pipeline"

IMPATIENT = """
import os, sys, threading
from softbounce.worker import runtime
from softbounce.worker.celery import app
app.HOLD = float(os.environ.get("HOLD", app.HOLD))
runtime.LOOP_SILENCE = int(os.environ.get("LOOP_SILENCE", runtime.LOOP_SILENCE))
from softbounce.settings import Settings
hang = threading.Event()
keep = (lambda: os.path.exists("hang") and hang.wait()) if os.environ.get("HANGS") else None
sys.exit(app.run_worker(Settings.load(), keep=keep))
"""


@pytest.fixture
def impatient(policy: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a worker whose limits are seconds where they would be a minute."""
    started: list[WorkerProcess] = []

    def begin(**settings: str) -> WorkerProcess:
        names = {
            name if name.isupper() else f"SOFTBOUNCE_{name.upper()}": value
            for name, value in settings.items()
        }
        path = tmp_path / f"impatient-{len(started)}.log"
        with path.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-c", IMPATIENT],
                env={**os.environ, "SOFTBOUNCE_POLICY": str(policy), **names},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        started.append(worker := WorkerProcess(process, path))
        until(lambda: process.poll() is not None or worker.logged("worker.started"))
        return worker

    yield begin
    for worker in started:
        end(worker.process, patience=15)


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Door]:
    """RabbitMQ behind a door, with empty queues."""
    empty(amqp_url, "softbounce", "pipeline")
    parts = urlsplit(amqp_url)
    with Door((str(parts.hostname), parts.port or 5672), scheme="amqp", path=parts.path) as door:
        door.url = door.url.replace("//", f"//{parts.username}:{parts.password}@", 1)
        yield door


@pytest.fixture
def producer(amqp_url: str) -> Iterator[Celery]:
    """A producer's own Celery app, which reaches RabbitMQ by no door."""
    with closing(Celery("producer", broker=amqp_url, set_as_current=False)) as app:
        yield app


def doctor(url: str, *words: str, **settings: str) -> tuple[int, str]:
    """Return the exit code and the words of ``softbounce doctor``."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "softbounce", "doctor", *words],
        env={**os.environ, "SOFTBOUNCE_REDIS_URL": url, **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_store_that_is_away_is_not_ready_and_no_reason_to_restart(  # noqa: PLR0917 - fixtures
    impatient: Start, server: Embedded, store: Store, broker: Door, producer: Celery, commands: Commands
):
    """Nothing is acknowledged or handed over; RabbitMQ has its message back; all goes on by itself."""
    with Door(server.socket) as door:
        worker = impatient(redis_url=door.url, broker_url=broker.url, HOLD="1")
        until(lambda: doctor(door.url, "--ready")[0] == 0)
        store.events.publish([json.dumps(failed("m1")).encode()])
        until(lambda: store.counters().get("scheduled") == 1)
        door.refuse()
        until(lambda: worker.logged("store.unreachable"))
        producer.send_task("softbounce.report", args=[failed("m2")], queue="softbounce")
        store.events.publish([json.dumps(failed("m3")).encode()])
        store.set_now(START + 3 * HOUR)
        probes = doctor(door.url, "--ready")[0], doctor(door.url, "--alive")[0]
        given_back = until(lambda: "Reject" in worker.log or "rejected" in worker.log.lower())
        meanwhile = store.counters(), commands()
        door.open()
        until(lambda: worker.logged("store.back"))
        until(lambda: store.counters().get("scheduled") == 3)
        until(lambda: [command["reference"] for command in commands()] == ["m1"])

        assert probes == (4, 0)
        assert given_back
        assert meanwhile == ({"scheduled": 1}, [])
        assert until(lambda: doctor(door.url, "--ready")[0] == 0)
        assert worker.process.poll() is None


def test_a_store_that_never_answers_makes_nobody_deaf(impatient: Start, server: Embedded, store: Store):
    """The socket's time limit makes it an error that says why there is no answer: the process stays."""
    with Door(server.socket) as door:
        worker = impatient(redis_url=door.url)
        door.swallow()
        until(lambda: worker.logged("store.unreachable"))
        door.open()
        store.events.publish([json.dumps(failed("m1")).encode()])

        assert until(lambda: store.counters().get("scheduled") == 1)
        assert not worker.logged("worker.deaf")


def test_a_loop_that_hangs_ends_the_process(impatient: Start, server: Embedded, store: Store, tmp_path: Path):
    """Whoever restarts it gets a worker that hears; a process that was frozen is given a chance first."""
    worker = impatient(redis_url=server.url, lease="2s", handover_timeout="1s", LOOP_SILENCE="6", HANGS="1")
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(8)  # frozen for longer than a loop may be silent: this wait is the fault itself
    worker.process.send_signal(signal.SIGCONT)
    store.events.publish([json.dumps(failed("m1")).encode()])
    until(lambda: store.counters().get("scheduled") == 1)
    survived = worker.process.poll() is None
    (tmp_path / "hang").touch()

    assert survived
    assert worker.process.wait(PATIENCE) == 1
    assert worker.logged("worker.deaf")[0]["loop"] == "chores"


def test_a_broker_that_goes_costs_no_attempt_and_no_strike(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, report: Report, broker: Door, producer: Celery, client: redis.Redis
):
    """Retries wait, each failure clears the strike of its claim; the stream goes on, Celery comes back."""
    worker = start(broker_url=broker.url, resend_to=SINK)
    report(failed("m1"))
    broker.refuse()
    store.set_now(START + 3 * HOUR)
    until(lambda: worker.logged("handover.failed"))
    until(lambda: "sink" in str(client.hgetall("{sb:default}:deliveries")))  # the lease is finished, too
    (answer,) = report(failed("m2"))
    record = str(client.hgetall("{sb:default}:deliveries"))
    meanwhile = store.counters()
    broker.open()
    producer.send_task("softbounce.report", args=[failed("m3")], queue="softbounce")
    store.set_now(START + 3 * HOUR + 120_000)
    until(lambda: store.counters().get("handed_over"))
    until(lambda: store.counters().get("scheduled") == 3)  # Celery waits 2, 4, 6 ... s between two tries

    assert answer["outcome"] == "scheduled"
    assert meanwhile == {"scheduled": 2}
    assert '"k":' not in record
    assert '"a":2' not in record


@pytest.mark.parametrize("sink", ["stream", "celery"])
def test_a_sink_that_refuses_rests_and_recovers(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, report: Report, amqp_url: str, client: redis.Redis, sink: str
):
    """A key that is no stream, a queue of another type: no strike, the intake goes on, mending it is enough."""
    empty(amqp_url, "softbounce")
    app = Celery("other", broker=amqp_url, set_as_current=False)

    def queue(act: Callable[[Any], None]) -> None:
        with app.connection_for_write() as connection:
            act(connection.default_channel)

    if sink == "stream":
        client.set("softbounce:resend", "no stream")
        worker = start()
    else:
        name = "pipeline-other"
        queue(
            lambda channel: channel.queue_declare(
                name, durable=True, auto_delete=False, arguments={"x-max-length": 9}
            )
        )
        worker = start(broker_url=amqp_url, resend_to=f"celery:pipeline.resend@{name}")
    try:
        report(failed("m1"))
        store.set_now(START + 3 * HOUR)
        until(lambda: worker.logged("handover.failed"))
        (answer,) = report(failed("m2"))
    finally:
        if sink == "celery":
            queue(lambda channel: channel.queue_delete("pipeline-other"))
        else:
            client.delete("softbounce:resend")
    until(lambda: store.set_now(store.now() + 2000) or store.counters().get("handed_over"))
    if sink == "celery":
        worker.stop()
        queue(lambda channel: channel.queue_delete("pipeline-other"))
    app.close()

    assert answer["outcome"] == "scheduled"
    assert not worker.logged("loop.failed")
    assert not worker.logged("delivery.held")


def test_a_full_store_refuses_producers_and_drains(
    start: Start, server: Embedded, store: Store, client: redis.Redis, report: Report
):
    """Producers hear of it at 90 %; what is in goes out, notices too; a mode can be set; then it takes again."""
    worker = start()
    report(failed("m0", "INVALID_MOBILE_NUMBER"))
    reports = [json.dumps(failed(f"m{n}")).encode() for n in range(1, 400)]
    store.events.publish(reports)
    until(lambda: store.counters().get("scheduled") == 399)
    worker.stop()
    store.events.publish([json.dumps(failed(f"u{n}", "INVALID_MOBILE_NUMBER")).encode() for n in range(100)])
    store.set_now(START + 3 * HOUR)  # a full store would take no new time
    before = client.info("memory")["used_memory"]
    with redis.Redis.from_url(server.url) as another:  # its buffers end with it
        another.set("ballast", "x" * 3_000_000)
    until(lambda: client.info("memory")["used_memory"] < before + 3_500_000)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 0.98))
    with closing(Store.open(server.url)) as other, pytest.raises(Overloaded):
        other.events.publish([b"{}"])
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("another", "x")
    faults = doctor(server.url)
    store.modes.set("observe", by=By("test", "full"), now=store.now())
    store.modes.set("on", by=By("test", "full"), now=store.now())
    worker = start()  # a restart is what people try first
    until(lambda: store.counters().get("handed_over") == 399)
    until(lambda: client.xlen("softbounce:notices") == 102)  # so many suppressions are an incident, too
    until(lambda: store.events.lag().unread + store.events.lag().pending == 0)
    heard = until(lambda: store.workers.all(now=store.now()))
    still_full = client.info("memory")["used_memory"] > client.info("memory")["maxmemory"]
    client.delete("ballast")

    assert faults[0] == 1
    assert "of maxmemory" in faults[1]
    assert heard
    assert still_full
    assert client.xlen("softbounce:resend") == 399
    assert report(failed("late"))[0]["outcome"] == "scheduled"


def test_a_store_that_cannot_write_to_its_disk_counts_as_away(tmp_path: Path, impatient: Start):
    """MISCONF: nothing is taken, the doctor names the disk, and it goes on once the disk does."""
    data = tmp_path / "disk"
    data.mkdir()
    listens = tmp_path / "store.sock"
    words = ["--port", "0", "--unixsocket", listens, "--dir", data, "--save", "3600 1", "--appendonly", "no"]
    with subprocess.Popen([embedded.binary(), *map(str, words)], stdout=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            url = embedded.url_of(listens)
            until(listens.exists)
            with redis.Redis.from_url(url, decode_responses=True) as plain, closing(Store.open(url)) as store:
                worker = impatient(redis_url=url)
                shutil.rmtree(data)
                plain.bgsave()
                until(lambda: plain.info("persistence")["rdb_last_bgsave_status"] == "err")
                with pytest.raises(StoreUnreachable, match="disk"):
                    store.events.publish([json.dumps(failed("m1")).encode()])
                until(lambda: worker.logged("store.unreachable"))
                ready, alive, faults = (doctor(url, *flag) for flag in (["--ready"], ["--alive"], []))
                plain.config_set("stop-writes-on-bgsave-error", "no")
                store.events.publish([json.dumps(failed("m1")).encode()])
                taken = until(lambda: sum(store.counters().values()) == 1)
        finally:
            process.kill()  # it cannot save, so it would not end in order

    assert (ready[0], alive[0]) == (4, 0)
    assert faults[0] == 1
    assert "free space" in faults[1]
    assert taken


@pytest.mark.parametrize(
    ("rules", "says"),
    [(["-hdel"], "ACL"), (["resetpass", ">other"], "password")],
    ids=["NOPERM", "WRONGPASS"],
)
def test_a_store_that_forbids_it_says_what_to_mend(
    server: Embedded, client: redis.Redis, rules: list[str], says: str
):
    """No permission, another password: the worker waits as for a store that is away, with a sentence."""
    client.execute_command("ACL", "SETUSER", "app", "on", ">word", "~*", "&*", "+@all", *rules)
    with (
        Door(server.socket) as door,
        closing(Store.open(door.url.replace("//", "//app:word@"))) as store,
        pytest.raises(StoreUnreachable, match=says),
    ):
        store.require_writable()


def test_a_lost_store_waits_for_a_person(  # noqa: PLR0917 - fixtures
    start: Start, server: Embedded, store: Store, report: Report, client: redis.Redis, commands: Commands
):
    """Blocks and payments are gone with it: alarm, case, the doctor's fault, and nothing leaves until mode on."""
    worker = start()
    report(failed("m1"))
    client.flushall()
    store.set_now(START)
    alarm = until(lambda: worker.logged("store.lost"))[0]["reason"]
    until(lambda: worker.logged("intake.lost"))
    report(failed("m2"))
    store.set_now(START + 3 * HOUR)
    until(lambda: store.idle_at() == START + 3 * HOUR)
    held_back = commands()
    faults = doctor(server.url)
    store.modes.set("on", by=By("test", "asked for the payments again"), now=store.now())
    until(commands)

    assert "empty" in alarm
    assert held_back == []
    assert faults[0] == 1
    assert "softbounce mode on" in faults[1]
    assert [command["reference"] for command in commands()] == ["m2"]
    assert len(worker.logged("store.lost")) == 1


def test_a_message_that_kills_each_worker_is_buried(
    start: Start, store: Store, amqp_url: str, producer: Celery, client: redis.Redis
):
    """At its fourth delivery, with its bytes; those that were in hand beside it have their outcomes."""
    empty(amqp_url, "softbounce")
    for name in ("poison", "m1", "m2", "m3"):
        producer.send_task("softbounce.report", args=[failed(name)], queue="softbounce")
    deaths = 0
    for _ in range(4):
        worker = start(broker_url=amqp_url, fault="celery.received:1", may_refuse=True)
        until(
            lambda worker=worker: worker.process.poll() is not None or store.counters().get("dead_lettered")
        )
        if worker.process.poll() is None:
            break
        deaths += 1
    start(broker_url=amqp_url)
    until(lambda: store.counters() == {"dead_lettered": 1, "scheduled": 3})
    (letter,) = map(json.loads, client.hvals("{sb:default}:dead_letters"))

    assert deaths in (3, 4)
    assert "crash loop: delivered 4 times" in letter["reason"]
    assert [case.kind for case in store.cases.select(parse_filter("", keys=()), now=START)] == ["crash_loop"]


def test_mode_off_stops_what_is_already_claimed(
    start: Start, store: Store, broker: Door, amqp_url: str, capsys
):
    """From the word to the last hand-over at most two seconds, with hundreds due and a broker that takes its time."""
    store.events.publish([json.dumps(failed(f"m{n}")).encode() for n in range(3000)])
    broker.delay = 0.01
    worker = start(broker_url=broker.url, resend_to=SINK, log_level="INFO")
    until(lambda: store.counters().get("scheduled") == 3000)
    store.set_now(START + 3 * HOUR)
    with Connection(amqp_url) as connection:
        queue = connection.SimpleQueue("pipeline")  # what has left, not what the store knows of it
        until(lambda: len(queue) > 20)
        began = time.monotonic()
        store.modes.set("off", by=By("test", "wrong template"), now=store.now())
        last, count = began, 0
        while time.monotonic() < last + 2.5:
            if (now := len(queue)) != count:
                last, count = time.monotonic(), now
            time.sleep(0.02)
        queue.close()
    with capsys.disabled():
        print(f"\nmode off to the last hand-over: {last - began:.2f} s, {count} of 3000 had left")  # noqa: T201

    assert last - began <= 2
    assert count < 3000
    assert worker.process.poll() is None
