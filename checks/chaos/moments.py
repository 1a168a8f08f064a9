"""Faults of time and order: repeats, reordering, clocks that step."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import servers

from softbounce import embedded
from softbounce.store.audit import By

from .rig import Rig
from .scenarios import Bench, Skipped, scenario
from .stores import Clock

HOUR = 3600


@scenario("reports three times, out of order, and again a day later", times=2000)
def repeats(bench: Bench) -> None:
    """Each report is one event, however often it comes; three soft bounces escalate once, in any order."""
    count = bench.times(1900)
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        clock = Clock(rig.store)
        rig.worker()
        rig.worker()
        messages = [*rig.world.messages(count), *rig.world.soft_bouncers(bench.times(33))]
        messages += rig.world.soft_bouncers(
            bench.times(33), days=(1, 20, 33), prefix="w"
        )  # outside the window
        for ref, plan, to, raws in messages:
            rig.history.add("fate", ref=ref, to=to, sends=plan.sends, ends=plan.ends, code=plan.code)
            rig.keep(ref, raws * 3)
        with rig.fault("three of each, shuffled"):
            rig.send_kept(shuffle=True)
            clock.settle(rig)
        for _ in range(5):
            clock.move(5 * HOUR * 1000)
            rig.settle(seconds=0.3)
        with rig.fault("all of it again a day later"):
            rig.send_kept(shuffle=True)
            clock.settle(rig)


@scenario("workers' clocks 2 h ahead, 2 h and 30 d behind", times=3)
def worker_clocks(bench: Bench) -> None:
    """A worker's own clock decides nothing."""
    with (
        servers.plain(bench.folder / "store") as server,
        bench.rig(server.url) as rig,
        _clocks(rig, "+2h", "-2h", "-30d"),
        rig.fault("workers with other clocks"),
    ):
        rig.load(seconds=8, rate=60).join()
        rig.settle()


@contextmanager
def _clocks(rig: Rig, *offsets: str) -> Iterator[None]:
    """Run one worker for each offset of its clock."""
    log = (rig.folder / "clocks.log").open("wb")
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "softbounce", "worker", "--name", f"clock{place}"],
            env={**os.environ, **rig.env, "SOFTBOUNCE_REDIS_URL": rig.door, **_faked(offset)},
            stdout=log,
            stderr=log,
        )
        for place, offset in enumerate(offsets)
    ]
    try:
        yield
        assert [worker.poll() for worker in workers] == [None] * len(workers), log.name
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        log.close()


def _faked(offset: str) -> dict[str, str]:
    return {"LD_PRELOAD": _library(), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _library() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise Skipped("libfaketime is missing (Debian: apt install faketime)")
    return str(found[0])


@scenario("the store's clock steps 2 h on, back, 2 h back, 30 d on", times=4)
def store_clock(bench: Bench) -> None:
    """Early by a step on, late by a step back; a step of 30 d is taken for an old backup, and a person decides."""
    path = bench.folder / "offset"
    path.write_text("+0\n")
    faked = {**_faked("+0"), "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1"}
    del faked["FAKETIME"]
    with (
        _environment(faked),
        servers.plain(
            bench.folder / "store", binary=embedded.binary()
        ) as server,  # Debian's clashes with libfaketime
    ):
        for name in faked:
            del os.environ[name]
        with bench.rig(server.url) as rig:
            rig.worker()
            rig.worker()
            loading = rig.load(seconds=8, rate=60)

            def step(offset: str) -> None:
                with rig.fault(f"the store's clock at {offset}"):
                    path.write_text(f"{offset}\n")
                    rig.pause(1.0, 1.5)
                path.write_text("+0\n")
                rig.pause(0.6, 1.2)

            step("+2h")
            step("-2h")
            loading.join()
            step("+30d")
            modes = rig.store.modes
            rig.until(lambda: modes.all()[0].mode == "off", "a step of 30 d stops all")
            now = rig.store.now()
            modes.set("on", by=By("chaos", "the clock is right"), now=now)
            path.write_text("+3h\n")  # what the wrong clock has scheduled leaves two hours late


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            os.environ.pop(name, None)
