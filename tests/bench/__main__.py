"""``make bench``: ratios within one run. Exits with 1 where a ratio misses its target, never over seconds."""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.bench import lookups, memory, parts, race, report

from softbounce.core import policy_file
from softbounce.settings import policy_text

FASTER = 20  # times the events a second of a Celery task for each event
FLOOR = 6  # below this the run fails; other load on the machine takes a third off the ratio
SMALL = 450  # bytes of a retry that waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each thing is measured."""

    rounds: int
    events: int
    tasks: int  # Celery takes so many in the same time, and a round must not last for ever
    state: int
    recipients: int


FULL = Size(rounds=5, events=60_000, tasks=4_000, state=50_000, recipients=100_000)
SHORT = Size(rounds=3, events=15_000, tasks=1_200, state=20_000, recipients=20_000)


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are met."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--short", action="store_true", help="less of everything, in under a minute")
    options.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON too")
    chosen = options.parse_args()
    for name in [name for name in os.environ if name.startswith("SOFTBOUNCE_")]:
        del os.environ[name]  # the developer's own store and policy are no part of this
    size = SHORT if chosen.short else FULL
    policy = policy_file.load(policy_text()[0], file="config/policy.yaml")
    began = time.monotonic()
    ours, theirs = [], []
    for number in range(1, size.rounds + 1):
        _say(f"intake, round {number} of {size.rounds}")
        theirs.append(race.celery(size.tasks))
        ours.append(race.softbounce(size.events))
    _say("memory")
    bytes_each = memory.measure(policy, count=size.state)
    _say("parts")
    microseconds = parts.measure(policy, count=size.state)
    _say("lookups")
    asked = lookups.measure(count=size.recipients, rounds=size.rounds)
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "size": asdict(size),
        "intake": {"softbounce": [asdict(one) for one in ours], "celery": [asdict(one) for one in theirs]},
        "memory": asdict(bytes_each),
        "cpu": microseconds,
        "lookups": asked,
        "seconds": round(time.monotonic() - began),
    }
    ratios = [our.per_second / their.per_second for our, their in zip(ours, theirs, strict=True)]
    result["targets"] = {
        "intake / Celery": _target(median(ratios), goal=FASTER, floor=FLOOR),
        "bytes a retry": _target(-bytes_each.retry, goal=-SMALL, floor=-SMALL),
    }
    report.show(result)
    if chosen.output:
        chosen.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if any(target["state"] == "below the floor" for target in result["targets"].values()) else 0


def _target(found: float, *, goal: float, floor: float) -> dict[str, float | str]:
    state = "reached" if found >= goal else "short of it" if found >= floor else "below the floor"
    return {"goal": abs(goal), "floor": abs(floor), "found": abs(found), "state": state}


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress, beside the result


if __name__ == "__main__":
    sys.exit(main())
