"""``make mutants``: plant each bug in a copy of the source, one at a time, and see whether the tests notice.

The tests that a bug names are run over it, the nearest first, until one fails. Exit code 1 where fewer are caught than
the gate asks for, or where the tests fail without any bug.
"""

import argparse
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from .catalogue import catalogue
from .mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
GOAL, GATE = 0.95, 0.90  # of those that are not equivalent
LONGEST = 900  # s of one run; who hangs is noticed, too
PASSED, FAILED = 0, 1  # pytest's exit codes


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of one planted bug."""

    mutant: Mutant
    caught_by: str  # the test that failed first; "": nobody noticed
    seconds: float


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[Path]:
    """Give a copy of the source with the bug in it; with none if there is none."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "config", Path(folder) / "config")
        if mutant is not None:
            path = source / "softbounce" / mutant.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        yield source


def unknown(tests: Sequence[str]) -> list[str]:
    """Return the tests that pytest does not find: a name that has changed would end a run of an hour."""
    paths = sorted({test.partition("::")[0] for test in tests})
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", *paths]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found = set()
    for ident in ran.stdout.splitlines():
        found |= {ident, ident.partition("[")[0], ident.partition("::")[0]}
    return [test for test in tests if test not in found]


def failing(tests: Sequence[str], source: Path) -> str:
    """Run the tests over a source; return the first that fails, "" if all pass."""
    unset = (
        "CI",
        "SOFTBOUNCE_TEST_REDIS_URL",
        "SOFTBOUNCE_TEST_AMQP_URL",
    )  # fakeredis and the packaged server suffice
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"SOFTBOUNCE_TEST_SHRINKING": "0"}  # that it fails is enough
    options = ("-x", "-q", "--tb=line", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=1")
    words = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        ran = subprocess.run(
            words, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (it hung)"
    said = [line.split(" ")[1] for line in ran.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if ran.returncode not in (PASSED, FAILED) and not said:
        raise RuntimeError(f"{' '.join(words)}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return (said or [tests[0]])[0] if ran.returncode else ""


def judged(mutant: Mutant) -> Verdict:
    """Plant one bug and see who notices."""
    began = time.monotonic()
    with planted(mutant) as source:
        caught_by = failing(mutant.tests, source)
    return Verdict(mutant=mutant, caught_by=caught_by, seconds=time.monotonic() - began)


def report(verdicts: Sequence[Verdict], equivalent: Sequence[Mutant]) -> bool:
    """Print the table; return whether enough were caught."""
    caught, missed = Counter[str](), Counter[str]()
    for one in verdicts:
        (caught if one.caught_by else missed)[_room(one.mutant)] += 1
    same = Counter(map(_room, equivalent))
    print(f"\n{'room':<14}{'caught':>8}{'missed':>8}{'equivalent':>12}")
    for room in sorted(caught | missed | same):
        print(f"{room:<14}{caught[room]:>8}{missed[room]:>8}{same[room]:>12}")
    share = caught.total() / max(1, len(verdicts))
    print(f"{'all':<14}{caught.total():>8}{missed.total():>8}{same.total():>12}")
    for mutant in equivalent:
        print(f"equivalent: {mutant.file}: {mutant.equivalent}")
    for one in verdicts:
        if not one.caught_by:
            print(
                f"MISSED: {one.mutant.file}: {one.mutant.rule}\n  - {one.mutant.old!r}\n  + {one.mutant.new!r}"
            )
    print(f"{share:.1%} of {len(verdicts)} caught (goal {GOAL:.0%}, gate {GATE:.0%})")
    return missed.total() <= math.ceil(len(verdicts) * (1 - GATE))  # of a sample of fifteen: two


def _room(mutant: Mutant) -> str:
    return "store/lua" if mutant.file.endswith(".lua") else mutant.file.split("/")[0].removesuffix(".py")


def main() -> int:
    """Plant them all, or a sample."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--sample", type=int, default=0, help="so many, by the seed; all of them without")
    options.add_argument("--seed", default="", help="any text: the same text, the same sample")
    options.add_argument("--only", default="", help="those whose file or rule has this")
    options.add_argument("--tested", action="store_true", help="the tests have just passed without any bug")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    chosen = options.parse_args()
    found = [one for one in catalogue() if chosen.only in f"{one.file}: {one.rule}"]
    equivalent = [one for one in found if one.equivalent]
    live = [one for one in found if not one.equivalent]
    if lost := unknown(sorted({test for one in found for test in one.tests})):
        print("NOT JUDGED, as there are no such tests:", *lost, sep="\n")
        return 1
    if chosen.sample:
        live = random.Random(chosen.seed).sample(live, min(chosen.sample, len(live)))
    if not chosen.tested:
        with planted(None) as source:
            if broken := failing(sorted({test for one in live for test in one.tests}), source):
                print(f"NOT JUDGED: {broken} fails without any planted bug")
                return 1
    verdicts = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for one in pool.map(judged, live):
            verdicts.append(one)
            who = one.caught_by or "NOBODY"
            print(f"{one.seconds:5.0f} s  {one.mutant.file}: {one.mutant.rule}  <- {who}", flush=True)
    return 0 if report(verdicts, equivalent) else 1


if __name__ == "__main__":
    sys.exit(main())
