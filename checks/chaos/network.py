"""Faults of the wire between the workers and the store."""

from tests import servers

from .rig import Rig
from .scenarios import Bench, scenario
from .wire import Wire


def _struck(bench: Bench, mode: str, *, times: int, low: float, high: float, calm: float) -> None:
    """Two workers behind a wire that fails so many times, for a time between low and high, then is cut."""
    with (
        servers.plain(bench.folder / "store") as server,
        Wire(server.port) as wire,
        bench.rig(server.url) as rig,
    ):
        rig.door = wire.url
        rig.worker()
        rig.worker()
        count = bench.times(times)
        loading = rig.load(seconds=count * ((low + high) / 2 + calm), rate=100)
        for _ in range(count):
            rig.pause(calm * 0.5, calm * 1.5)
            with rig.fault(f"the wire: {mode}"):
                wire.mode = mode
                rig.pause(low, high)
                wire.cut()
        loading.join()
        _alive(rig)


def _alive(rig: Rig) -> None:
    dead = [worker for worker in rig.workers if not worker.is_alive]
    assert not dead, f"a worker ended by itself: {dead[0].log[-2000:]}"


@scenario("connections cut", times=15)
def cut(bench: Bench) -> None:
    """Every connection of both workers breaks."""
    _struck(bench, "pass", times=15, low=0.0, high=0.05, calm=0.5)


@scenario("bytes vanish for 1.5 s, then cut", times=15)
def blackhole(bench: Bench) -> None:
    """Calls and replies vanish; nobody is told."""
    _struck(bench, "hole", times=15, low=0.8, high=1.5, calm=0.4)


@scenario("replies lost", times=15)
def replies_lost(bench: Bench) -> None:
    """The store does what it was asked, and the worker never learns of it."""
    _struck(bench, "deaf", times=15, low=0.1, high=0.3, calm=1.0)


@scenario("half-open connections", times=2)
def half_open(bench: Bench) -> None:
    """Nothing is read any more, for longer than the client's own 10 s."""
    _struck(bench, "stall", times=2, low=11, high=12, calm=0.5)


@scenario("200 ms more on every piece", times=1)
def slow(bench: Bench) -> None:
    """A store far away: everything takes longer, nothing else changes."""
    with (
        servers.plain(bench.folder / "store") as server,
        Wire(server.port) as wire,
        bench.rig(server.url) as rig,
    ):
        rig.door = wire.url
        rig.worker()
        rig.worker()
        with rig.fault("a slow wire"):
            wire.mode = "slow"
            rig.load(seconds=8, rate=60).join()
            rig.settle(seconds=20)
        wire.cut()
        _alive(rig)
