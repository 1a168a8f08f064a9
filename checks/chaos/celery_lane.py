"""Celery on Redis under kills, frozen workers and cut connections: with our transport, and without (control).

``python -m checks.chaos.celery_lane [SEED] [--stock]`` prints what was lost. Stock Celery must lose something:
a harness that never sees a loss proves nothing.
"""

import contextlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from celery import Celery, signals
from checks.chaos.nursery import Child, Nursery
from checks.chaos.wire import Wire
from tests import servers

QUEUE = "lane"
OPTIONS = {  # seconds; short, so that a run need not wait for what comes back
    "visibility_timeout": 3,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 2,
    "socket_timeout": 5,
}
BACKLOG = 200  # messages waiting while workers are killed under load
FROZEN = 5  # of so many kills, one is of a frozen, idle worker
PER_CUT = 10  # messages sent around each cut


def app_of(broker: str, *, safe: bool) -> Celery:
    """Return the app of producer and worker; only the worker's transport differs."""
    amqp = "softbounce.worker.celery.transport:AMQP" if safe else None
    app = Celery("lane", broker=broker, amqp=amqp, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        worker_pool="threads",
        worker_concurrency=2,
        worker_prefetch_multiplier=8,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=OPTIONS,
    )
    return app


def consume(broker: str, done: str, *, safe: bool) -> int:
    """Run one worker; each execution is a line of the file ``done``, written whole at once."""
    app = app_of(broker, safe=safe)
    history = os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @app.task(name="lane.work")
    def work(number: int) -> None:
        os.write(history, b"%d\n" % number)
        time.sleep(0.002)

    signals.worker_ready.connect(lambda **_: print("READY"), weak=False)
    worker = app.Worker(
        hostname=f"{os.getpid()}@lane", loglevel="INFO", quiet=True, without_gossip=True, without_mingle=True
    )
    worker.start()
    return worker.exitcode or 0


class Lane:
    """One run: a producer, workers, and what becomes of them."""

    def __init__(self, folder: Path, nursery: Nursery, url: str, *, seed: int, safe: bool) -> None:
        self.rng = random.Random(seed)
        self.sent: list[int] = []
        self._folder, self._nursery, self._safe = folder, nursery, safe
        self._broker = url
        self._producer = app_of(self._broker, safe=False)  # producers need nothing of ours
        self.redis = redis.Redis.from_url(url)

    def send(self, count: int = 1) -> None:
        """Send messages; each counts as sent once the broker has it."""
        for _ in range(count):
            number = len(self.sent)
            self._producer.send_task("lane.work", args=[number])
            self.sent.append(number)

    def start(self, broker: str | None = None) -> Child:
        """Start a worker."""
        return self._nursery.start(
            "checks.chaos.celery_lane:consume",
            broker or self._broker,
            str(self._folder / "done"),
            safe=self._safe,
        )

    @property
    def done(self) -> list[int]:
        """Return every execution so far."""
        path = self._folder / "done"
        return [int(line) for line in path.read_bytes().split()] if path.exists() else []

    def kill_under_load(self, kills: int, end: float) -> int:
        """Kill one of two busy workers after the other at random moments; return how many."""
        stop = threading.Event()

        def produce() -> None:
            while not stop.wait(0.005):
                self.send(max(0, BACKLOG - int(self.redis.llen(QUEUE))))

        producer = threading.Thread(target=produce)
        producer.start()
        workers = [self.start(), self.start()]
        count = 0
        try:
            while count < kills and time.monotonic() < end:
                victim = workers.pop(0)
                _ready(victim)
                time.sleep(self.rng.uniform(0, 0.2))
                victim.kill()
                count += 1
                workers.append(self.start())
        finally:
            stop.set()
            producer.join()
            for worker in workers:
                worker.kill()
        return count

    def kill_frozen(self, kills: int, end: float) -> int:
        """Freeze an idle worker, send one message, kill it; return how many."""
        for count in range(kills):
            if time.monotonic() > end:
                return count
            worker = self.start()
            _ready(worker)
            self._drained(end)
            time.sleep(self.rng.uniform(0.05, 0.2))  # it waits for a message, in whichever way it does
            worker.freeze()
            self.send()
            time.sleep(0.02)
            worker.kill()
        return kills

    def cut(self, cuts: int, wire: Wire, end: float) -> int:
        """Cut a worker's connections while messages come; return how many times."""
        worker = self.start(wire.url)
        _ready(worker)
        for count in range(cuts):
            if time.monotonic() > end:
                worker.kill()
                return count
            self._drained(end)
            time.sleep(self.rng.uniform(0.05, 0.2))
            wire.mode = self.rng.choice(("hole", "deaf"))
            self.send(PER_CUT)
            time.sleep(self.rng.uniform(0.05, 0.3))
            wire.cut()
        worker.kill()
        return cuts

    def settle(self, seconds: float) -> None:
        """Let one worker finish all that is still somewhere in the broker."""
        worker = self.start()
        _ready(worker)
        self._drained(time.monotonic() + seconds)
        worker.stop()

    def _drained(self, end: float) -> None:
        _until(lambda: not self.redis.llen(QUEUE) and not self.redis.hlen("unacked"), end)


def run(
    seed: int, *, kills: int = 100, cuts: int = 15, safe: bool = True, seconds: float = 60
) -> dict[str, Any]:
    """Kill, freeze and cut, then drain; begin nothing new after ``seconds``.

    ``sent`` and ``done`` hold ids in order, ``lost`` those never done, ``doubled`` how many done more than once.
    """
    began = time.monotonic()
    end = began + seconds
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lane-")))
        server = stack.enter_context(servers.plain(folder / "data"))
        nursery = stack.enter_context(Nursery(folder / "logs"))
        wire = stack.enter_context(Wire(server.port))
        lane = Lane(folder, nursery, server.url, seed=seed, safe=safe)
        frozen = kills // FROZEN
        killed = lane.kill_under_load(kills - frozen, end)
        lane.settle(20)
        lost_under_load = len(set(lane.sent) - set(lane.done))
        killed += lane.kill_frozen(frozen, end)
        cut = lane.cut(cuts, wire, end)
        lane.settle(20)
        left = int(lane.redis.llen(QUEUE)) + int(lane.redis.hlen("unacked"))
        sent, done = lane.sent, lane.done
    times = Counter(done)
    return {
        "seed": seed,
        "safe": safe,
        "kills": killed,
        "cuts": cut,
        "sent": sent,
        "done": done,
        "lost": sorted(set(sent) - set(done)),
        "lost_under_load": lost_under_load,
        "doubled": sum(count > 1 for count in times.values()),
        "left": left,  # still in the broker: the run was too short to tell
        "seconds": round(time.monotonic() - began, 1),
    }


def _ready(worker: Child) -> None:
    _until(lambda: "READY" in worker.log or not worker.is_alive, time.monotonic() + 20)
    assert worker.is_alive, worker.log


def _until(claim: Callable[[], Any], end: float) -> None:
    while not claim() and time.monotonic() < end:
        time.sleep(0.005)


def _words(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in result.items():
        yield name, len(value) if isinstance(value, list) else value


if __name__ == "__main__":
    stock = "--stock" in sys.argv
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()] or [1]
    for seed in seeds:
        outcome = run(seed, safe=not stock, kills=20 if stock else 100, cuts=5 if stock else 15)
        print(json.dumps(dict(_words(outcome))))
