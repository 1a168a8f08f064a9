"""``make worlds``: what a policy recovers, beside simpler ways and an oracle, in worlds that were not made for it."""

import argparse
import os
import sys
import time
from pathlib import Path

from softbounce import telemetry
from softbounce.core.policy.file import load
from softbounce.errors import InvalidPolicy

from .kinds import KINDS
from .measuring import measure
from .tables import comparison, tables

CHOOSING, REPORTING = "1-5", "101-105"  # whoever tunes a policy looks at the first, and reports the others
FULL, SHORT = 6_000, 4_000  # messages in a world; with fewer no campaign is large enough for the brake
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "worlds.md"
BEGIN, END = "<!-- begin: make worlds -->", "<!-- end: make worlds -->"


def main() -> int:
    """Measure and print; exit with 1 if the oracle was beaten by its own rules: then the measure is wrong."""
    options = argparse.ArgumentParser(prog="make worlds", description=__doc__)
    options.add_argument(
        "--short", action="store_true", help=f"every world once, with {SHORT:,} messages; one to two minutes"
    )
    options.add_argument(
        "--seeds", type=_seeds, help=f"such as 7 or 1-5; by default {CHOOSING}, which are for choosing"
    )
    options.add_argument("--messages", type=int, help=f"in each world; by default {FULL:,}")
    options.add_argument(
        "--only", nargs="+", choices=[kind.name for kind in KINDS], metavar="WORLD", help="some worlds"
    )
    options.add_argument("--policy", type=Path, metavar="FILE", help="another policy, beside the shipped one")
    options.add_argument(
        "--record", action="store_true", help=f"write the tables of the seeds {REPORTING} into the page"
    )
    chosen = options.parse_args()
    if chosen.record and (chosen.policy or chosen.short or chosen.only or chosen.seeds or chosen.messages):
        options.error("--record takes no other option: the page shows the shipped policy in all worlds")
    if chosen.policy:
        try:
            load(chosen.policy.read_text(encoding="utf-8"), file=str(chosen.policy))
        except (OSError, InvalidPolicy) as error:
            options.error(f"--policy: {error}")
    for name in [name for name in os.environ if name.startswith("SOFTBOUNCE_")]:
        del os.environ[name]  # the developer's own store and policy are no part of this
    telemetry.configure(stream=sys.stderr, level="ERROR")
    kinds = [kind for kind in KINDS if not chosen.only or kind.name in chosen.only]
    seeds = (
        _seeds(REPORTING)
        if chosen.record
        else chosen.seeds or (_seeds("1") if chosen.short else _seeds(CHOOSING))
    )
    messages = chosen.messages or (SHORT if chosen.short else FULL)
    began = time.monotonic()
    found = measure(kinds, seeds=seeds, messages=messages, policy=chosen.policy, told=_tell)
    head = f"{messages:,} messages in each world, seeds {seeds[0]} to {seeds[-1]}.\n\n"
    text = head + tables(found, kinds)
    print(text)
    if chosen.policy:
        print(comparison(found, chosen.policy.name))
    if chosen.record:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    _tell(f"took {time.monotonic() - began:.0f} s")
    beaten = [
        f"{world}: {name}"
        for world, by_strategy in found.items()
        for name, runs in by_strategy.items()
        if any(run.beyond for run in runs)
    ]
    if beaten:
        print(f"the oracle was beaten, so the measure is wrong: {', '.join(beaten)}", file=sys.stderr)
    return 1 if beaten else 0


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
        raise argparse.ArgumentTypeError(f"{text!r}: write one seed, such as 7, or several, such as 1-5")
    return list(range(int(first), int(last or first) + 1))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
