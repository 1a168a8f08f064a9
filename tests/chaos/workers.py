"""Faults of our own processes: killed at random, at each named point, frozen and back."""

from tests import servers

from .scenarios import Bench, scenario


@scenario("kill -9 of a worker at random", count=100)
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
