"""The store's master dies with its replication cut half a second before; Sentinel makes a replica the master."""

import time

from tests import servers

from .lanes import Stream
from .scenarios import Bench, Skipped, scenario


@scenario("failover with the link cut, WAIT 1", times=2)
def failover_wait(bench: Bench) -> None:
    """Reports count as stored once a replica has them, for the producer and for the worker: nothing is lost."""
    _failovers(bench, replicas=1)


@scenario("failover with the link cut", times=2)
def failover(bench: Bench) -> None:
    """Without WAIT the tail that was not replicated may be lost: what was acknowledged from the cut on, no more."""
    _failovers(bench, replicas=0)


def _failovers(bench: Bench, *, replicas: int) -> None:
    for place in range(bench.times(2)):
        try:
            group = servers.sentinels(bench.folder / f"group{place}", replicas=2)
        except servers.ServerError as error:
            raise Skipped(str(error)) from error
        with group as nodes:
            lane = Stream(nodes.url, replicas=replicas)
            with bench.rig(nodes.url, intake=lane, sink=lane, place=place) as rig:
                rig.worker(SOFTBOUNCE_WAIT_REPLICAS=str(replicas))
                rig.ready(rig.worker(SOFTBOUNCE_WAIT_REPLICAS=str(replicas)))
                loading = rig.load(seconds=7, rate=60)
                rig.pause(2.0, 2.5)
                with rig.fault("failover with the link cut"):
                    since, master = time.time(), nodes.master
                    nodes.cut()
                    rig.pause(0.5, 0.5)
                    master.kill()
                    nodes.failed_over(master)
                if not replicas:
                    rig.history.add("window", since=since, until=round(time.time(), 3))
                loading.join()
