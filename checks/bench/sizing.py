"""The sizing tables of docs/operations/scaling.md, from the costs that stand in it: ``python -m checks.bench.sizing --write``.

``python -m checks.bench.sizing --events 3000 --failing 0.04`` prints the row of a load of your own.
"""

import argparse
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations" / "scaling.md"
DAY = 86_400
BUSY = 0.6  # of a core: what is left catches up after an outage, and carries a slow neighbour
WAIT = 6 * 3_600  # s that a retry waits, in the middle
NODE = 64e9  # bytes of memory of one node, half of it for data: AOF rewrites and replicas copy the rest
SHIPPED, SHORT = (90, 14), (6, 6)  # days of retention.history and retention.dedupe
LOADS = (0.1, 10, 1_000, 10_000, 100_000, 1_000_000)  # events/s
SHAPES = {
    "failures": None,
    "deliveries": 0.03,
}  # table -> share of all messages that fail; None: only those are reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What happens in a second."""

    events: float
    failed: float  # messages: each has a failure, a hand-over, an answer to it, and is forgotten in the end
    delivered: float  # messages that never failed and are reported all the same


def load(events: float, failing: float | None) -> Load:
    """Return what so many events a second are about."""
    if failing is None:
        return Load(events=events, failed=events / 2, delivered=0)
    messages = events / (1 + failing)  # one event each, and two of each that fails
    return Load(events=events, failed=messages * failing, delivered=messages * (1 - failing))


def rows(text: str, name: str) -> dict[str, list[float]]:
    """Return the rows of one table of the document by their first cell."""
    lines = [line.strip("| ").split(" | ") for line in _between(text, name)[0].strip().splitlines()[2:]]
    return {first: [float(cell.replace(",", "")) for cell in cells] for first, *cells in lines}


def row(found: Load, text: str) -> str:
    """Return what a load needs, by the costs in the document."""
    costs, kept = rows(text, "costs"), rows(text, "kept")
    way = [costs[step] for step in ("failure", "hand-over", "answer", "forgetting")]
    worker, store, aof, network = (
        found.failed * sum(step[n] for step in way) + found.delivered * costs["delivery"][n] for n in range(4)
    )
    waiting, answered, _, arrived = (cells[0] for cells in kept.values())
    retries = found.failed * WAIT

    def memory(history: int, dedupe: int) -> float:
        ended = found.failed * max(history, dedupe) * DAY * answered
        return retries * waiting + ended + found.delivered * 2 * dedupe * DAY * arrived

    by_cpu, by_memory = (ceil(need) for need in (store / 1e6 / BUSY, memory(*SHORT) / (NODE / 2)))
    masters = max(by_cpu, by_memory)
    limit = "-" if masters == 1 else "memory" if by_memory > by_cpu else "CPU"
    cells = [
        f"{found.events:,.10g}",
        f"{found.failed:,.2g}" if found.failed < 10 else f"{found.failed:,.0f}",
        f"{ceil(worker / 1e6 / BUSY):,} ({_short(worker / 1e6)})",
        _short(store / 1e6),
        _short(retries),
        _bytes(memory(*SHIPPED)),
        _bytes(memory(*SHORT)),
        f"{masters:,}",
        limit,
        _bytes(aof),
        _bytes(network),
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| events/s | messages that fail/s | workers (cores) | store cores | retries that wait | memory, 90 d | memory, 6 d "
    "| masters of 64 GB, 6 d | set by | AOF/s | network/s |\n" + "| ---: " * 8 + "| --- | ---: | ---: |"
)


def table(text: str, shape: str) -> str:
    """Return the sizing table of one shape of load, by the costs in the document."""
    return "\n".join([HEAD, *(row(load(events, SHAPES[shape]), text) for events in LOADS)])


def replaced(text: str, name: str, new: str) -> str:
    """Return the document with one of its tables anew."""
    old = _between(text, name)
    return f"{text[: old.start()]}\n{new}\n{text[old.end() :]}"


def _between(text: str, name: str) -> re.Match[str]:
    found = re.search(rf"(?<=<!-- {name} -->)\n.*?\n(?=<!-- end of {name} -->)", text, re.DOTALL)
    if found is None:
        message = f"{DOCUMENT.name} has no table {name}"
        raise ValueError(message)
    return found


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:,.3g}{unit}"
    return "< 0.01" if number < 0.01 else f"{number:.2g}" if number < 100 else f"{number:.0f}"


def _bytes(number: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.3g} {unit}"
    return f"{number / 1e3:,.3g} kB"


def main() -> None:
    """Print a row, or write the tables into the document."""
    options = argparse.ArgumentParser(prog="python -m checks.bench.sizing", description=__doc__)
    options.add_argument(
        "--write", action="store_true", help="put the tables into docs/operations/scaling.md"
    )
    options.add_argument("--events", type=float, default=1_000, help="a second")
    options.add_argument("--failing", type=float, help="share of all messages; else only those are reported")
    chosen = options.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    if not chosen.write:
        print(HEAD, row(load(chosen.events, chosen.failing), text), sep="\n")
        return
    for shape in SHAPES:
        text = replaced(text, shape, table(text, shape))
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
