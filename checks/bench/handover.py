"""Retries that become due: how late they leave, how soon a dead worker's leave, and the plain loop beside ours."""

import itertools
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing

from celery import Celery
from checks.bench import race
from checks.bench.contenders import HANDOVER, POLICY, Contender, Stream, failures, load
from checks.bench.server import server, url_of

from softbounce.core.records import resend_command
from softbounce.worker.celery.broker import celery_url

STEP = 10  # ms between two moments at which retries are due
LEASE = 2.0  # s; the shortest that the settings allow
READY = 3.0  # s that a worker needs to be up


def lags(kind: type[Contender], *, per_second: int, seconds: float) -> list[int]:
    """Return by how many ms each retry left after it was due, so many becoming due each second; sorted."""
    raws = failures(int(per_second * seconds))
    with server() as client:
        contender = kind(client)
        lead = (
            READY if isinstance(contender, Stream) else READY + len(raws) / 1_000
        )  # peers are asked one by one
        begin = int((time.time() + lead) * 1000)
        due = [begin + number * 1000 // per_second // STEP * STEP for number in range(len(raws))]
        contender.schedule(raws, due)
        with tempfile.TemporaryFile() as log:
            worker = race.start(contender, HANDOVER, log)
            try:
                race.wait_for(contender.handed_over, len(raws), log=log, workers=[worker])
            finally:
                race.stop(worker)
        at = dict(zip(map(_number, raws), due, strict=True))
        found = sorted(left - at[int(reference[-12:])] for left, reference in contender.handed())
        contender.close()
    return found


def recoveries(rounds: int, *, count: int) -> list[float]:
    """Return so many times of ``recovery``; a kill that met no open lease is no case of it."""
    found: list[float] = []
    for _ in range(4 * rounds):
        if len(found) < rounds and (seconds := recovery(count=count)) > LEASE:
            found.append(seconds)
    return found


def recovery(*, count: int) -> float:
    """Return the seconds from ``kill -9`` of one of two workers until the last of what was due has left."""
    with server() as client, closing(Stream(client)) as contender, tempfile.TemporaryFile() as log:
        settings = {"SOFTBOUNCE_LEASE": f"{LEASE:g}s", "SOFTBOUNCE_HANDOVER_TIMEOUT": "1s"}
        first, second = workers = [race.start(contender, HANDOVER, log, **settings) for _ in range(2)]
        try:
            running, now = contender.store.workers, contender.store.now()
            race.wait_for(lambda: len(running.all(now=now)), 2, log=log, workers=workers)
            begin = int(time.time() * 1000) + int(count / 2)
            contender.schedule(failures(count), [begin] * count)
            race.wait_for(contender.handed_over, 1, log=log, workers=workers)
            first.kill()
            killed = time.time()

            def gone() -> int:
                some = contender.handed_over()
                return some if some < count else len({reference for _, reference in contender.handed()})

            race.wait_for(gone, count, log=log, workers=[second])
        finally:
            race.stop(first)
            race.stop(second)
        return max(left for left, _ in contender.handed()) / 1000 - killed


def loop(count: int) -> float:
    """Return the calls a second of a plain loop that publishes resend commands to a Celery queue."""
    with server() as client, closing(Stream(client)) as contender:
        contender.schedule(failures(100), [int(time.time() * 1000) - 1000] * 100)
        claimed = contender.store.ledger.claim(policy=load(POLICY), limit=100, lease=30_000)
        commands = [resend_command(lease.delivery, file="policy.yaml") for lease in claimed.leases]
        app = Celery(broker=celery_url(url_of(client)), set_as_current=False)
        numbered = list(zip(range(count), itertools.cycle(commands), strict=False))
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            began = time.perf_counter()
            for number, command in numbered:
                app.send_task(
                    "pipeline.resend",
                    kwargs={"command": command},
                    task_id=f"{number:08}-{command['id']}",
                    queue="pipeline",
                    producer=producer,
                )
            return count / (time.perf_counter() - began)


def quantile(values: Sequence[int], share: float) -> int:
    """Return the value that so large a share of the sorted ``values`` does not exceed."""
    return values[min(len(values) - 1, int(len(values) * share))]


def _number(raw: bytes) -> int:
    return int(raw.partition(b'"eventId": "')[2][24:36])
