"""The list of faults: each a function of a bench (servers, processes, seed) that leaves a history."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from .history import History
from .nursery import Nursery
from .rig import Rig


class Skipped(Exception):
    """The fault cannot be made here; the sentence says why."""


@dataclass
class Bench:
    """What every fault gets: a folder, a nursery of processes, a random source, the AMQP URL if there is one."""

    folder: Path
    nursery: Nursery
    rng: Random
    amqp: str | None
    scale: float = 1.0  # of the counts; below 1 for a quick look
    history: History = field(default_factory=History)
    facts: dict[str, Any] = field(default_factory=dict)
    points: list[str] = field(default_factory=list)  # only these; empty: all
    _numbers: Iterator[int] = field(default_factory=count)

    def times(self, count: int) -> int:
        """Return how often to strike, at least once."""
        return max(1, round(count * self.scale))

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Return those of the named points that this run strikes."""
        return [name for name in names if not self.points or name in self.points]

    @contextmanager
    def rig(self, url: str, **options: Any):
        """Yield a rig on a store; afterwards wait until all is quiet, and export."""
        options = {"folder": self.folder / f"rig{next(self._numbers)}", **options}
        with Rig(nursery=self.nursery, history=self.history, rng=self.rng, url=url, **options) as rig:
            yield rig
            rig.settle()
            rig.export()


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    title: str
    count: int
    run: Callable[[Bench], None]


SCENARIOS: dict[str, Scenario] = {}


def scenario(title: str, *, times: int) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Put a function into the list; its docstring says what it does, its name is its name."""

    def note(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        name = run.__name__
        SCENARIOS[name] = Scenario(name=name, title=title, count=times, run=run)
        return run

    return note
