"""Faults of our own processes: killed at random, at each named point, frozen and back."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import servers

from softbounce.worker.crash_points import POINTS

from .lanes import CeleryLane
from .nursery import Child
from .rig import LEASE, Rig
from .scenarios import Bench, Skipped, scenario
from .world import Plan

ZOMBIES = (
    "pump.claimed",
    "handover.begun",
    "handover.out",
    "intake.decided",
    "intake.accepted",
    "notices.claimed",
)
BY_CELERY = ("celery.received", "celery.accepted", "celery.buried")


@scenario("kill -9 of a worker at random", times=100)
def kill_at_random(bench: Bench) -> None:
    """One worker at a time, killed under load at a moment that only the seed knows, and started again."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        kills = bench.times(100)
        worker = rig.worker()
        loading = rig.load(seconds=kills * 0.33, rate=120)
        for _ in range(kills):
            rig.pause(0.15, 0.5)
            rig.kill(worker)
            worker = rig.worker()
        loading.join()


@scenario("kill -9 of a group of workers", times=20)
def kill_group(bench: Bench) -> None:
    """Three workers share the work, and all die at once."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        _kill_groups(bench, rig, rate=150)


@scenario("kill -9 of a group, Celery on RabbitMQ", times=20)
def kill_group_celery(bench: Bench) -> None:
    """Reports come in and resends leave as Celery messages on RabbitMQ."""
    if not bench.amqp:
        raise Skipped("SOFTBOUNCE_TEST_AMQP_URL names no RabbitMQ")
    lane = CeleryLane(bench.amqp)
    lane.clear()
    with (
        servers.plain(bench.folder / "store") as server,
        bench.rig(server.url, intake=lane, sink=lane) as rig,
    ):
        _kill_groups(bench, rig, rate=60)


def _kill_groups(bench: Bench, rig: Rig, *, rate: float) -> None:
    kills = bench.times(20)
    loading = rig.load(seconds=kills * 1.2, rate=rate)
    for _ in range(kills):
        group = [rig.worker() for _ in range(3)]
        rig.pause(0.9, 1.5)
        with rig.fault("kill -9 of a group"):
            for worker in group:
                worker.send(signal.SIGKILL, group=True)
    loading.join()
    rig.worker()
    rig.worker()


@scenario("kill -9 at each named point", times=3 * len(POINTS))
def kill_at_points(bench: Bench) -> None:
    """A fresh worker dies where it stands, three times a point; a healthy one goes on from there."""
    names = bench.chosen(point for point in POINTS if point not in BY_CELERY)
    with servers.plain(bench.folder / "store") as server, ThreadPoolExecutor(6) as several:
        every = [
            several.submit(_at_point, bench, server.url, place, point) for place, point in enumerate(names)
        ]
        for one in every:
            one.result()
        if not bench.amqp:
            bench.facts["not struck, for want of RabbitMQ"] = list(BY_CELERY)
            return
        for place, point in enumerate(bench.chosen(BY_CELERY), start=len(names)):
            _at_point(bench, server.url, place, point)


def _at_point(bench: Bench, url: str, place: int, point: str) -> None:
    options = {}
    if point == "handover.half":
        if not bench.amqp:
            return
        options["sink"] = CeleryLane(bench.amqp)
    if point in BY_CELERY:
        options["intake"] = CeleryLane(bench.amqp or "", intake=f"softbounce-p{place}")  # of its namespace
        options["intake"].clear()
    with bench.rig(url, namespace=f"p{place}", place=place, **options) as rig:
        for turn in range(1, 1 + bench.times(3)):
            nth = 1 if point.startswith("stop.") or point == "intake.taken_over" else turn
            if point == "intake.taken_over":
                rig.send(rig.world.messages(8))
                die(rig, rig.worker(SOFTBOUNCE_FAULT="intake.read:1"), "intake.read")
            loading = rig.load(seconds=1.6, rate=24, chunk=4)
            rig.send([rig.world.message(Plan(sends=0, ends="suppressed", code="INVALID_MOBILE_NUMBER"))])
            die(rig, rig.worker(SOFTBOUNCE_FAULT=f"{point}:{nth}"), point)
            healthy = rig.worker()
            loading.join()
            rig.settle()
            assert healthy.stop() == 0, healthy.log[-2000:]


def die(rig: Rig, worker: Child, point: str) -> None:
    """Bring a worker to its point, and see it die there."""
    if point.startswith(("policy.", "stop.")):
        rig.ready(worker)
    text = rig.policy.read_text()
    ref = ""
    if point == "celery.buried":
        ref, _, _, _ = rig.world.message(Plan(sends=0, ends="dead"))
        rig.history.add("fate", ref=ref, to="", sends=0, ends="dead", code="")

    def provoked() -> bool:
        if point.startswith("policy."):
            rig.policy.write_text(f"{text}# {len(rig.history.lines)}\n")
            worker.send(signal.SIGHUP)
        if point.startswith("stop."):
            worker.send(signal.SIGTERM)
        if point == "celery.buried":
            lane = CeleryLane(rig.intake.broker, intake=rig.intake.intake)
            lane.publish([f'{{"torn": "{ref}"}}'.encode()], task="another.task")
        return not worker.is_alive

    with rig.fault(f"kill -9 at {point}"):
        rig.until(provoked, f"the worker dies at {point}; its log: {worker.path}", seconds=20)
    assert worker.code == -signal.SIGKILL, f"{point}: exit code {worker.code}\n{worker.log[-2000:]}"


@scenario("SIGSTOP beyond the lease, and back", times=16)
def zombies(bench: Bench) -> None:
    """A frozen worker loses its leases to another, and comes back to finish what is no longer its own."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        turns = 0 if bench.points else bench.times(10)
        loading = rig.load(seconds=turns * 3.2, rate=60)
        one, other = rig.worker(), rig.worker()
        for _ in range(turns):
            rig.pause(0.2, 0.6)
            with rig.fault("a zombie"):
                one.freeze()
                rig.pause(LEASE * 1.05, LEASE * 1.5)
            one.thaw()
            one, other = other, one
        loading.join()
    with servers.plain(bench.folder / "store2") as server, ThreadPoolExecutor(6) as several:
        points = bench.chosen(ZOMBIES)
        every = [
            several.submit(_zombie_at, bench, server.url, place, point)
            for place, point in enumerate(points, 30)
        ]
        for one in every:
            one.result()


def _zombie_at(bench: Bench, url: str, place: int, point: str) -> None:
    """Frozen at a point while the pipeline answers and another worker goes on; back before the next try."""
    with bench.rig(url, namespace=f"z{place}", place=place) as rig:
        out = (
            point == "handover.out"
        )  # each answer then says: failed again, so a stale finish would end what waits
        twice = Plan(sends=2, ends="delivered")
        messages = [rig.world.message(twice) for _ in range(40)] if out else list(rig.world.messages(40))
        rig.send(messages)
        first = sum(len(raws) for *_, raws in messages)
        zombie = rig.worker(SOFTBOUNCE_FAULT=f"{point}:1:stop")
        rig.until(lambda: is_stopped(zombie), f"a worker is frozen at {point}", seconds=20)
        with rig.fault(f"a zombie at {point}"):
            rig.worker()
            if out:
                rig.until(lambda: _answered(rig, first) and sum(_lag(rig)) == 0, "the answers are taken in")
            else:
                rig.pause(LEASE * 1.2, LEASE * 1.5)
        zombie.thaw()
        rig.pause(0.2, 0.4)
        rig.worker()


def _answered(rig: Rig, first: int) -> bool:
    """Whether the store has the pipeline's answer to each command that came, beside so many first reports."""
    return bool(rig.acted) and rig.told >= first + len(rig.acted)


def _lag(rig: Rig) -> tuple[int, int]:
    lag = rig.store.events.lag()
    return lag.unread, lag.pending


def is_stopped(worker: Child) -> bool:
    """Whether a process is frozen."""
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@scenario("a poisonous delivery and a poisonous report", times=6)
def poison(bench: Bench) -> None:
    """What kills three workers in a row is put aside with its bytes; its neighbours go on."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        poisonous = Plan(sends=0, ends="poison")
        rig.send([rig.world.message(poisonous)])
        for _ in range(3):
            die(rig, rig.worker(SOFTBOUNCE_FAULT="pump.claimed:1"), "pump.claimed")
        rig.worker()
        rig.send(rig.world.messages(200))
    with servers.plain(bench.folder / "store2") as server, bench.rig(server.url, place=1) as rig:
        rig.send([rig.world.message(Plan(sends=0, ends="buried"))])
        die(rig, rig.worker(SOFTBOUNCE_FAULT="intake.read:1"), "intake.read")
        for _ in range(2):
            die(rig, rig.worker(SOFTBOUNCE_FAULT="intake.taken_over:1"), "intake.taken_over")
        rig.worker()
        rig.send(rig.world.messages(200))
