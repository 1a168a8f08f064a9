"""A person's word and an operator's file, in the middle of the work."""

import os
import signal
import subprocess
import sys
import time

from tests import servers

from softbounce.store.audit import By

from .rig import Rig
from .scenarios import Bench, scenario
from .world import POLICY, Plan

SOON = 2.0  # s from "mode off" to the last hand-over


@scenario("recipients suppressed and messages cancelled while they wait", times=200)
def a_persons_word(bench: Bench) -> None:
    """Nothing is handed over that was claimed after the word was committed; kills go on meanwhile."""
    count = bench.times(200)
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        rig.worker()
        waiting = [
            rig.world.message(Plan(sends=1, ends=("person", "cancelled")[n % 2], code="SMS_SLOW"))
            for n in range(count)
        ]
        rig.send(waiting)
        rig.until(lambda: rig.store.sizes()["scheduled"] >= count, "all of them wait")
        loading = rig.load(seconds=6, rate=60)
        for number, (ref, plan, to, _) in enumerate(waiting):
            now = rig.store.now()
            if plan.ends == "person":
                rig.store.suppressions.add(to, "sms", by=By("chaos", "asked for it"), now=now)
            else:
                rig.store.cancels.add("reference", ref, by=By("chaos", "paid"), now=now)
            rig.history.add("said", what=plan.ends, ref=ref)
            if number % 50 == 49:
                rig.kill(rig.workers[-1])
                rig.worker()
        loading.join()


@scenario("mode off under load, and on again", times=3)
def mode_off(bench: Bench) -> None:
    """From the command's return, the last hand-over comes within 2 s; nothing is lost meanwhile."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        rig.worker()
        rig.worker()
        loading = rig.load(seconds=bench.times(3) * 5, rate=300)
        latest = []
        for _ in range(bench.times(3)):
            rig.pause(1.0, 1.5)
            with rig.fault("mode off"):
                _command(rig, "mode", "off", "--reason", "wrong template")
                returned = time.time()
                rig.pause(SOON, SOON + 0.5)
                rig.history.add(
                    "silence", since=returned + SOON, until=round(time.time(), 3), why="mode is off"
                )
            got = [line["t"] for line in rig.history.lines if line["k"] == "got"]
            latest.append(round(max(got) - returned, 2))
            _command(rig, "mode", "on", "--reason", "mended")
        bench.facts["last hand-over after 'mode off' returned, s"] = latest
        loading.join()


def _command(rig: Rig, *words: str) -> None:
    env = {**os.environ, **rig.env, "SOFTBOUNCE_REDIS_URL": rig.url}
    subprocess.run([sys.executable, "-m", "softbounce", *words], env=env, check=True, capture_output=True)


@scenario("the policy rewritten under load: valid, invalid, torn, gone", times=30)
def policy_reload(bench: Bench) -> None:
    """A file that is broken, half written or gone changes nothing; what waits keeps the schedule it got."""
    with servers.plain(bench.folder / "store") as server, bench.rig(server.url) as rig:
        workers = [rig.ready(rig.worker()) for _ in range(2)]
        loading = rig.load(seconds=bench.times(30) * 0.35, rate=100)
        for number in range(bench.times(30)):
            rig.pause(0.15, 0.4)
            with rig.fault("a new policy file"):
                match number % 4:
                    case 0:
                        rig.policy.write_text(f"{POLICY}# edit {number}\n")
                    case 1:
                        rig.policy.write_text(POLICY.replace("do: retry", "do: sometimes"))
                    case 2:
                        rig.policy.write_text(POLICY[: rig.rng.randrange(10, len(POLICY) - 10)])
                    case _:
                        rig.policy.unlink()
                for worker in workers:
                    worker.send(signal.SIGHUP)
        loading.join()
        rig.policy.write_text(POLICY)
        assert all(worker.is_alive for worker in workers), "a worker ended over a policy file"
        refused = sum(len(worker.logged("policy.reload_failed")) for worker in workers)
        assert refused > 0, "nobody was told of a broken file"
        bench.facts["reloads refused and logged"] = refused
