"""``make bench``: softbounce beside its peers, in ratios within one run. Exits with 1 where a ratio falls below its recorded floor."""

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from pathlib import Path

from checks.bench import planted, report, rows, sections, verify


def main() -> int:
    """Measure, print, and say by the exit code whether the recorded floors hold."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--short", action="store_true", help="less of everything, in under two minutes")
    options.add_argument(
        "--only", nargs="+", choices=sections.SECTIONS, metavar="PART", help=", ".join(sections.SECTIONS)
    )
    options.add_argument("--rounds", type=int, help="instead of 5 (3 where short)")
    options.add_argument("--verify", action="store_true", help="let each contender count the same events")
    options.add_argument(
        "--planted", action="store_true", help="show that the guard notices a slower copy of our code"
    )
    options.add_argument(
        "--record", action="store_true", help="write what is found, less a margin, as the floors"
    )
    options.add_argument("--output", metavar="FILE", help="where all figures go as JSON")
    chosen = options.parse_args()
    if chosen.planted:
        return planted.show()
    for name in [name for name in os.environ if name.startswith("SOFTBOUNCE_")]:
        del os.environ[name]  # the developer's own store and policy are no part of this
    if chosen.verify:
        return verify.compare()
    size = sections.SHORT if chosen.short else sections.FULL
    if chosen.rounds:
        size = dataclasses.replace(size, rounds=chosen.rounds)
    began = time.monotonic()
    found: dict[str, rows.Section] = {}
    for name in chosen.only or sections.SECTIONS:
        print(f"bench: {name}, at {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        found[name] = sections.SECTIONS[name](size)
    targets = [row for section in found.values() for row in section.rows]
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "rounds": size.rounds,
        "seconds": round(time.monotonic() - began),
        "skipped": sections.skipped() if size.all else {},
        "size": dataclasses.asdict(size),
        "targets": [row.as_json() for row in targets],
        "figures": {section.title: section.figures for section in found.values()},
    }
    report.show(result, found)
    is_whole = not (chosen.short or chosen.only)
    if file := chosen.output or (report.path() if is_whole else None):
        Path(file).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if is_whole:
        report.write(result, found)
    if chosen.record:
        rows.record(targets)
    fell = rows.fallen(targets)
    for row in fell:
        print(f"FELL: {row}")
    return int(bool(fell))


if __name__ == "__main__":
    sys.exit(main())
