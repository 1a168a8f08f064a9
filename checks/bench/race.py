"""One worker, from its start until all is done: how fast, and by whose CPU."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.bench.contenders import HANDOVER, INTAKE, ROOT, Contender, Published
from checks.bench.server import cpu, cpu_of, resident, scripts, server

LIMIT = 120.0  # s for one round; longer is a failure
LOOK = 0.01  # s between two looks at what is done
WARM = 0.1  # of the work goes by before the clock starts: imports, first rules, first connections
LEAD = 1_000  # ms for what is scheduled to become due


class TooSlow(RuntimeError):
    """A worker ended, or did not end its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How the workers did their work; CPU in seconds."""

    per_second: float
    worker: float  # CPU for one
    server: float  # CPU for one
    script: float  # in our scripts, for one
    busy: float  # share of the time that the server's CPU was busy
    start: float  # s from the workers' start until the first is done
    resident: int  # bytes, of the workers at the end
    published: Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How much is done, and the clocks (s) at that moment."""

    done: int
    clock: float
    worker: float
    server: float
    script: float


def intake(kind: type[Contender], raws: Sequence[bytes], *, workers: int = 1) -> Round:
    """Let a contender take in events, on a store of its own."""
    with server() as client:
        contender = kind(client)
        try:
            return take_in(contender, raws, workers=workers)
        finally:
            contender.close()


def take_in(contender: Contender, raws: Sequence[bytes], *, workers: int = 1) -> Round:
    """Let a contender take in events, beside what its store has already."""
    before = sum(contender.outcomes().values())
    warm = int(len(raws) * WARM)
    first, rest = (raws[:warm], raws[warm:]) if contender.live else (raws, [])
    published = contender.publish(first)

    def go_on() -> None:
        nonlocal published
        published = contender.publish(rest)

    drained = _drain(
        contender,
        INTAKE,
        lambda: sum(contender.outcomes().values()) - before,
        count=len(raws),
        warm=warm,
        workers=workers,
        go_on=go_on if rest else None,
    )
    return Round(**drained, published=published)


def hand_over(kind: type[Contender], raws: Sequence[bytes], *, image: Path | None = None) -> Round:
    """Let a contender hand over retries that are all due when its worker starts, on a store of its own.

    ``image``: a folder in which they wait already; making 100,000 anew takes longer than all else.
    """
    with server(image) as client:
        contender = kind(client)
        try:
            if image is None:
                wait_until_due(contender, raws)
            count = len(raws)
            drained = _drain(contender, HANDOVER, contender.handed_over, count=count, warm=int(count * WARM))
            return Round(**drained, published=Published(count=0, seconds=0, cpu=0))
        finally:
            contender.close()


def wait_until_due(contender: Contender, raws: Sequence[bytes]) -> None:
    """Let retries wait, and return when all are due."""
    due = int(time.time() * 1000) + LEAD
    contender.schedule(raws, [due] * len(raws))
    time.sleep(max(0.0, due / 1000 - time.time()))


def start(contender: Contender, part: str, log, **settings: str) -> "subprocess.Popen[bytes]":
    """Start one worker of a contender."""
    command, own = contender.worker(part)
    return subprocess.Popen(
        command, env=os.environ | own | settings, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
    )


def stop(worker: "subprocess.Popen[bytes]") -> None:
    """End a worker; what waits in its memory is not wanted any more."""
    worker.terminate()
    try:
        worker.wait(5)
    except subprocess.TimeoutExpired:
        worker.send_signal(signal.SIGQUIT)
        try:
            worker.wait(5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def wait_for(
    done: Callable[[], int], least: int, *, log=None, workers: Sequence["subprocess.Popen[bytes]"] = ()
) -> int:
    """Wait until so much is done and return how much it is."""
    end = time.monotonic() + LIMIT
    while (found := done()) < least:
        if any(worker.poll() is not None for worker in workers) or time.monotonic() > end:
            said = ""
            if log:
                log.seek(0)
                said = log.read().decode(errors="replace")[-2_000:]
            raise TooSlow(f"{found} of {least} were done when a worker ended, or after {LIMIT:.0f} s\n{said}")
        time.sleep(LOOK)
    return found


def _drain(
    contender: Contender,
    part: str,
    done: Callable[[], int],
    *,
    count: int,
    warm: int,
    workers: int = 1,
    go_on: Callable[[], None] | None = None,
) -> dict[str, float]:
    with tempfile.TemporaryFile() as log:
        born = time.monotonic()
        running = [start(contender, part, log) for _ in range(workers)]

        def at(least: int) -> Look:
            found = wait_for(done, least, log=log, workers=running)
            return Look(
                done=found,
                clock=time.monotonic(),
                worker=sum(cpu_of(worker.pid) for worker in running),
                server=cpu(contender.client),
                script=scripts(contender.client),
            )

        try:
            first = at(1)
            began = at(max(warm, 1))
            if go_on:
                go_on()
            ended = at(count)
            most = max(resident(worker.pid) for worker in running)
        finally:
            for worker in running:
                stop(worker)
    if ended.done != count:
        raise TooSlow(f"{ended.done} outcomes for {count}: this was no fair race")
    number, seconds = ended.done - began.done, ended.clock - began.clock
    return {
        "per_second": number / seconds,
        "worker": (ended.worker - began.worker) / number,
        "server": (ended.server - began.server) / number,
        "script": (ended.script - began.script) / number,
        "busy": (ended.server - began.server) / seconds,
        "start": first.clock - born,
        "resident": most,
    }
