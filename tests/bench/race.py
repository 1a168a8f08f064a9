"""Intake: one softbounce worker process and one Celery worker process, in turns, each on a store of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from tests.bench import mix, peer
from tests.bench.server import cpu, server

from softbounce.store import Store

ROOT = Path(__file__).parents[2]
LIMIT = 90.0  # s for one round; longer is a failure
LOOK = 0.005  # s between two looks at what is left
WARM = 0.1  # of the events go by before the clock starts: imports, first rules, first connections
BLOCK = 1_000  # events published at once
TICKS = os.sysconf("SC_CLK_TCK")
# The best of prefork, threads and solo with one and two at a time, on an idle machine; prefork is two processes.
PEER_WORKER = ["-A", "tests.bench.peer", "worker", "-l", "WARNING", "--pool", "prefork", "--concurrency", "1"]
PEER_WORKER += ["--without-gossip", "--without-mingle", "--without-heartbeat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How one worker took in its events."""

    per_second: float
    worker: float  # CPU microseconds an event, of the worker and its children
    server: float  # CPU microseconds an event


def softbounce(count: int) -> Round:
    """Let one softbounce worker drain its stream."""
    with server() as url, redis.Redis.from_url(url) as client:
        store = Store.open(url)
        store.events.make_group()
        raws = mix.events(count)
        for start in range(0, count, BLOCK):
            store.events.publish(raws[start : start + BLOCK])
        command = ["-A", "softbounce", "worker", "-l", "INFO"]
        measured = _drain(
            command, {"SOFTBOUNCE_REDIS_URL": url}, client, lambda: client.xlen(store.events.key), count
        )
        _require(sum(store.counters().values()), count)
        store.close()
        return measured


def celery(count: int) -> Round:
    """Let one Celery worker drain its queue."""
    with server() as url, redis.Redis.from_url(url) as client:
        peer.app.conf.broker_url = peer.broker(url)
        with peer.app.connection_for_write() as connection, peer.app.amqp.Producer(connection) as producer:
            for raw in mix.events(count):
                peer.handle.apply_async((raw.decode("utf-8"),), producer=producer)
        measured = _drain(
            PEER_WORKER,
            {"BENCH_STORE": url},
            client,
            lambda: client.llen(peer.QUEUE) + client.hlen("unacked"),
            count,
        )
        kept = sum(client.hlen(key) for key in ("suppressed", "held", "dead_letters"))
        _require(kept + client.llen(peer.RESENDS), count)
        return measured


def _drain(
    command: list[str], settings: dict[str, str], client: redis.Redis, left: Callable[[], int], count: int
) -> Round:
    """Start a worker, wait until nothing is left, end it, and say how fast it was once it was warm."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOFTBOUNCE_")}
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-W", "ignore", "-m", "celery", *command],
            env={**kept, **settings},
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            began = _at(worker, client, left, most=count - int(count * WARM))
            ended = _at(worker, client, left, most=0)
        except TimeoutError as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace")[-2_000:])
            raise
        finally:
            worker.terminate()
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
    done = began.left - ended.left
    return Round(
        per_second=done / (ended.clock - began.clock),
        worker=(ended.worker - began.worker) / done * 1e6,
        server=(ended.server - began.server) / done * 1e6,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is left, and the clocks (s) at that moment."""

    left: int
    clock: float
    worker: float
    server: float


def _at(
    worker: "subprocess.Popen[bytes]", client: redis.Redis, left: Callable[[], int], *, most: int
) -> Look:
    """Wait until at most so many events are left."""
    end = time.monotonic() + LIMIT
    while (rest := left()) > most:
        if worker.poll() is not None or time.monotonic() > end:
            message = f"{rest} events were left when the worker ended, or after {LIMIT:.0f} s"
            raise TimeoutError(message)
        time.sleep(LOOK)
    clock = time.monotonic()
    return Look(left=rest, clock=clock, worker=_cpu(worker.pid), server=cpu(client))


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far; 0 where the system has no /proc."""
    path = Path(f"/proc/{pid}")
    if not path.exists():
        return 0.0
    user, system = (path / "stat").read_text().rpartition(")")[2].split()[11:13]
    children = (path / "task" / str(pid) / "children").read_text().split()
    return (int(user) + int(system)) / TICKS + sum(_cpu(int(child)) for child in children)


def _require(found: int, expected: int) -> None:
    if found != expected:
        message = f"{found} outcomes for {expected} events: this was no fair race"
        raise RuntimeError(message)
