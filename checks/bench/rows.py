"""One figure beside its goal, its floor, and the floor that the last measurement recorded."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ROOT / "checks/bench/floors.json"

STEADY = 0.85  # bytes hardly move
CPU = 0.65  # a host that others use cost our events 2.8 times their CPU, and Celery's 1.9 times: 15.0x where 23.6x was found

Figures = dict[str, dict[str, list[float]]]  # who -> what -> round by round


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A target. ``less``: a smaller one is better. What is printed only has neither guard nor ``floor`` that fails."""

    key: str
    title: str
    found: list[float]
    goal: float | None = None
    floor: float | None = None
    unit: str = "x"
    less: bool = False
    margin: float = 0.5  # of the worst round, on a machine that others use

    @property
    def value(self) -> float:
        """The median over the rounds."""
        return median(self.found)

    @property
    def state(self) -> str:
        """Whether the goal is reached."""
        if self.goal is None or self.meets(self.goal):
            return "reached" if self.goal is not None else "printed"
        return "short" if self.floor is None or self.meets(self.floor) else "BELOW THE FLOOR"

    def meets(self, limit: float) -> bool:
        """Whether the median is as good as ``limit``."""
        return self.value <= limit if self.less else self.value >= limit

    def as_json(self) -> dict[str, object]:
        """Return it for ``checks/bench/results.json``."""
        return {**asdict(self), "median": self.value, "state": self.state}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one part of the bench has found."""

    title: str
    figures: Figures = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    note: str = ""


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Return ours / theirs, round by round."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def record(rows: list[Row]) -> None:
    """Write what was found as the floors, less a margin for a busy machine; never a time."""
    floors = json.loads(FLOORS.read_text(encoding="utf-8"))
    for row in rows:
        if row.unit in ("x", " B"):
            worst = max(row.found) / row.margin if row.less else min(row.found) * row.margin
            floors[row.key] = float(f"{worst:.3g}")
    FLOORS.write_text(json.dumps(floors, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def fallen(rows: list[Row]) -> list[str]:
    """Say which rows are worse than the recorded floor, and by how much."""
    floors = json.loads(FLOORS.read_text(encoding="utf-8"))
    return [
        f"{row.title}: {row.value:.3g}{row.unit}, recorded floor {floors[row.key]:.3g}{row.unit}"
        for row in rows
        if row.key in floors and not row.meets(floors[row.key])
    ]
