"""Faults of the store: killed, cut back, restored from an old backup, out of disk, out of memory."""

import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import servers

from softbounce.store import Store
from softbounce.store.audit import By

from .rig import Rig
from .scenarios import Bench, Skipped, scenario
from .world import Plan

DAY = 24 * 3600 * 1000
STALE = 5.0  # s in which nothing may leave of an old backup


@scenario("kill -9 of the store, again from its AOF", times=20)
def kill_store(bench: Bench) -> None:
    """The page cache survives: nothing that was acknowledged is gone."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        rig.worker()
        rig.worker()
        loading = rig.load(seconds=bench.times(20) * 0.9, rate=120)
        for _ in range(bench.times(20)):
            rig.pause(0.4, 1.0)
            with rig.fault("kill -9 of the store"):
                server.restart()
        loading.join()


@scenario("power cut: the AOF cut back by a second, torn", times=10)
def power_cut(bench: Bench) -> None:
    """The default, everysec: what was acknowledged in the last second may be gone, nothing else, and nothing twice."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        rig.worker()
        rig.worker()
        loading = rig.load(seconds=bench.times(10) * 2.4, rate=100)
        for _ in range(bench.times(10)):
            with _watched(server.folder) as sizes:
                rig.pause(1.3, 2.2)
            with rig.fault("power cut"):
                server.kill()
                struck = time.time()
                kept, size = max(pair for pair in sizes if pair[0] < struck - 1)
                os.truncate(_aof(server.folder), size + rig.rng.randrange(64))
                rig.history.add("window", since=round(kept, 3), until=round(time.time(), 3))
                server.start()
                server.ready()
        loading.join()
    bench.facts["window"] = "everysec: about a second"


@contextmanager
def _watched(folder: Path) -> Iterator[list[tuple[float, int]]]:
    """Note the size of the AOF every 10 ms."""
    sizes: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            sizes.append((time.time(), _aof(folder).stat().st_size))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def _aof(folder: Path) -> Path:
    return max(folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)


@scenario("a backup of 24 h ago restored", times=3)
def old_backup(bench: Bench) -> None:
    """What the backup holds as waiting left long ago. Nothing leaves again until a person says so; then under the old ids."""
    for place in range(bench.times(3)):
        with (
            servers.plain(bench.folder / f"store{place}") as server,
            bench.rig(server.url, place=place) as rig,
        ):
            clock = Clock(rig.store)
            rig.worker()
            rig.send(rig.world.messages(60))
            clock.settle(rig)
            rig.send(rig.world.messages(60))
            rig.until(lambda rig=rig: rig.store.sizes()["scheduled"] > 20, "the second half waits")
            taken = time.time()
            copy = bench.folder / f"backup{place}"
            server.kill()
            shutil.copytree(server.folder / "appendonlydir", copy)
            server.start()
            server.ready()
            clock.settle(rig)
            with rig.fault("an old backup"):
                for worker in rig.workers:
                    worker.kill()
                server.kill()
                shutil.rmtree(server.folder / "appendonlydir")
                shutil.copytree(copy, server.folder / "appendonlydir")
                server.start()
                server.ready()
                rig.history.add("window", since=taken, until=round(time.time(), 3))
                clock.move(DAY)
                since = time.time()
                worker = rig.worker()
                rig.ready(worker)
                rig.until(
                    lambda rig=rig: rig.store.modes.all()[0].mode == "off", "hand-overs are in quarantine"
                )
                rig.pause(STALE, STALE)
                rig.history.add(
                    "silence",
                    since=since,
                    until=round(time.time(), 3),
                    why="an old backup, and nobody's word",
                )
            rig.store.modes.set("on", by=By("chaos", "looked at it"), now=rig.store.now())
            clock.settle(rig)


class Clock:
    """The virtual time of one store, moved by hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._now = int(time.time() * 1000)
        store.set_now(self._now)

    def move(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now += milliseconds
        self._store.set_now(self._now)

    def settle(self, rig: Rig) -> None:
        """Let time pass until nothing waits any more."""
        for _ in range(200):
            if rig.settle(seconds=0.6):
                return
            self.move(1000)
        raise AssertionError("time passes, and something still waits")


@scenario("the disk full, and free again", times=3)
def disk_full(bench: Bench) -> None:
    """The store refuses writes (MISCONF): nothing is acknowledged, and all goes on by itself."""
    with _small_disk(bench.folder / "disk", megabytes=48) as disk, servers.plain(disk / "store") as server:  # noqa: SIM117
        with bench.rig(server.url) as rig:
            rig.worker()
            rig.worker()
            loading = rig.load(seconds=bench.times(3) * 4, rate=80)
            for number in range(bench.times(3)):
                rig.pause(0.5, 1.0)
                ballast = disk / f"ballast{number}"
                with rig.fault("disk full"):
                    _fill(ballast)
                    rig.until(
                        lambda: rig.client.info("persistence")["aof_last_write_status"] == "err",
                        "the disk is full",
                    )
                    rig.pause(1.0, 1.5)
                    ballast.unlink()
            loading.join()


@contextmanager
def _small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(options, check=False, capture_output=True).returncode:
        raise Skipped("a small disk needs root and mount(8)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S607


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


@scenario("memory full, drained, accepting again", times=3)
def memory_full(bench: Bench) -> None:
    """Unread reports fill the store until it refuses more; workers drain it past maxmemory, and reports come in again."""
    for place in range(bench.times(3)):
        with (
            servers.plain(bench.folder / f"store{place}") as server,
            bench.rig(server.url, place=place) as rig,
        ):
            used = rig.client.info("memory")["used_memory"]
            rig.client.config_set("maxmemory", used + 14_000_000)
            rig.world.text = "x" * 6000  # what the store keeps of a report is smaller: it drains by deciding
            with rig.fault("memory full"):
                rig.send(rig.world.messages(2600))
                rig.until(lambda rig=rig: _refused(rig), "the store refuses reports")
                rig.worker()
                rig.worker()
                rig.until(lambda rig=rig: not rig.backlog, "all reports are stored", seconds=60)


def _refused(rig: Rig) -> bool:
    return int(rig.client.info("stats").get("total_error_replies", 0)) > 20 and rig.backlog > 0


@scenario("a script that fails half-way", times=5)
def half_done(bench: Bench) -> None:
    """A call of the store breaks after its first writes: the repeat makes it whole, and says no duplicate."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        rig.worker()
        audit = rig.store.keys.fixed("audit")
        plan = Plan(sends=0, ends="suppressed", code="INVALID_MOBILE_NUMBER")
        for _ in range(bench.times(5)):
            failures = len(rig.workers[0].logged("loop.failed"))
            with rig.fault("a script fails half-way"):
                rig.client.rename(audit, "aside") if rig.client.exists(audit) else None
                rig.client.set(audit, "no stream")
                rig.send([rig.world.message(plan) for _ in range(10)])
                rig.until(
                    lambda failures=failures: len(rig.workers[0].logged("loop.failed")) > failures,
                    "a call has failed",
                )
                rig.client.delete(audit)
                rig.client.rename("aside", audit) if rig.client.exists("aside") else None
            rig.send(rig.world.messages(30))
            rig.settle(seconds=20)


@scenario("records of a newer release", times=20)
def newer_records(bench: Bench) -> None:
    """A release ahead of ours has written them: left alone without a strike, and taken up by who can read them."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        clock = Clock(rig.store)
        rig.send(rig.world.messages(bench.times(20) * 3))
        rig.worker()
        rig.until(
            lambda: rig.store.events.lag().unread + rig.store.events.lag().pending == 0, "all is accepted"
        )
        deliveries = rig.store.keys.fixed("deliveries")
        waiting = list(
            itertools.islice(rig.client.zrange(rig.store.keys.fixed("schedule"), 0, -1), bench.times(20))
        )
        for ident in waiting:
            _version(rig, deliveries, ident, 2)
        with rig.fault("records of version 2"):
            for _ in range(8):
                clock.move(1000)
                rig.settle(seconds=0.3)
        for ident in waiting:
            _version(rig, deliveries, ident, None)
        for _ in range(4):
            clock.move(30_000)
            rig.settle(seconds=0.3)
        clock.settle(rig)


def _version(rig: Rig, key: str, ident: str, version: int | None) -> None:
    head, rest = rig.client.hget(key, ident).split("\n", 1)
    facts = json.loads(head)
    facts.pop("v", None)
    if version:
        facts["v"] = version
    rig.client.hset(key, ident, json.dumps(facts, separators=(",", ":")) + "\n" + rest)
