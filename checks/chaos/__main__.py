"""``python -m checks.chaos``: run the faults, judge what came of them, print one table."""

import argparse
import os
import platform
import random
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from . import celery_on_redis, failover, moments, network, people, producers, stores, workers
from .checker import judge
from .control import control
from .history import History, load, save
from .nursery import Nursery
from .report import table
from .scenarios import SCENARIOS, Bench, Skipped

del (
    celery_on_redis,
    failover,
    moments,
    network,
    people,
    producers,
    stores,
    workers,
)  # they have put their faults into the list


def main(words: list[str] | None = None) -> int:
    """Return 0 if nothing was lost, unexpected or doubled."""
    parser = argparse.ArgumentParser(prog="python -m checks.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's choices")
    parser.add_argument("--only", default="", help="names of faults, by comma")
    parser.add_argument("--scale", type=float, default=1.0, help="of the counts, for a quick look")
    parser.add_argument("--report", type=Path, help="keep the histories in this file")
    parser.add_argument("--judge", type=Path, help="judge a kept file again, run nothing")
    parser.add_argument("--points", default="", help="of kill_at_points and zombies, by comma")
    parser.add_argument("--control", action="store_true", help="stock Celery, and thirteen planted bugs")
    parser.add_argument(
        "--hours", type=float, help="go on with new seeds for so long, stop at the first loss"
    )
    parser.add_argument("--list", action="store_true", help="name the faults")
    options = parser.parse_args(words)
    if options.list:
        for one in SCENARIOS.values():
            print(f"{one.name:24} {one.count:4}  {one.title}")
        return 0
    if options.judge:
        return show(load(options.judge))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10_000)
    if options.control:
        print(f"seed {seed}")
        return control(seed=seed)
    names = [name for name in options.only.split(",") if name] or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no fault {', '.join(unknown)}; see --list")
    print(f"seed {seed}")
    if options.hours:
        return soak(names, seed=seed, hours=options.hours, kept=options.report or Path("chaos.json"))
    points = [point for point in options.points.split(",") if point]
    report = run(names, seed=seed, scale=options.scale, points=points)
    if options.report:
        save(options.report, report)
    return show(report)


def soak(names: list[str], *, seed: int, hours: float, kept: Path) -> int:
    """Run all faults again and again with new seeds; keep the histories of the first run that is not clean."""
    end = time.monotonic() + hours * 3600
    while time.monotonic() < end:
        report = run(names, seed=seed)
        if show(report):
            save(kept, report)
            print(f"seed {seed} is not clean; its histories are in {kept}")
            return 1
        seed += 1
    return 0


def run(names: list[str], *, seed: int, scale: float = 1.0, points: list[str] | None = None) -> dict:
    """Run the faults one after the other; return the histories."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    report = {
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "runs": [],
    }
    with tempfile.TemporaryDirectory(prefix="softbounce-chaos-") as folder:
        for name in names:
            one = SCENARIOS[name]
            place = Path(folder) / name
            place.mkdir()
            began = time.monotonic()
            print(f"{one.title} ...", end=" ", flush=True)
            entry = {"name": name, "title": one.title, "error": "", "skipped": ""}
            history = History()
            with Nursery(place / "processes") as nursery:
                amqp = os.environ.get("SOFTBOUNCE_TEST_AMQP_URL")
                bench = Bench(
                    place, nursery, random.Random(f"{seed}/{name}"), amqp, scale, history, points=points or []
                )
                try:
                    one.run(bench)
                except Skipped as reason:
                    entry["skipped"] = str(reason)
                except Exception:  # noqa: BLE001 - one broken fault must not hide the others
                    entry["error"] = traceback.format_exc(limit=-4)
            entry |= {
                "seconds": round(time.monotonic() - began, 1),
                "facts": bench.facts,
                "lines": history.lines,
            }
            report["runs"].append(entry)
            print(
                f"{entry['seconds']:.0f} s{' skipped: ' + entry['skipped'] if entry['skipped'] else ''}",
                flush=True,
            )
    return report


def show(report: dict) -> int:
    """Judge and print; return 0 if all is clean."""
    verdicts = [(entry, judge(entry["lines"]) if not entry["skipped"] else None) for entry in report["runs"]]
    print(table(report, verdicts))
    bad = False
    for entry, verdict in verdicts:
        if entry["error"]:
            bad = True
            print(f"\n{entry['name']} broke:\n{entry['error']}")
        if verdict and not verdict.is_clean:
            bad = True
            print(f"\n{entry['name']}: {len(verdict.problems)} problems")
            print("\n".join(f"  {said}" for said in verdict.problems[:12]))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
