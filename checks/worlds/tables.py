"""The tables: one for each world, and one for the mean of all worlds, in Markdown."""

from collections.abc import Callable, Sequence
from math import isnan

from .figures import COLUMNS, Figures, interval
from .kinds import Kind
from .measuring import SHIPPED, Found


def tables(found: Found, kinds: Sequence[Kind]) -> str:
    """Return the table of each world below its sentence, and before them the one of the mean world."""
    parts = []
    if len(found) > 1:
        strategies = next(iter(found.values()))
        each = {name: [world[name] for world in found.values()] for name in strategies}
        rows = _rows(list(each), lambda name, value: _means(each[name], value))
        parts.append(f"### All worlds\n\nThe mean of the {len(found)} worlds.\n\n{rows}")
    about = {kind.name: kind.about for kind in kinds}
    for world, by_strategy in found.items():
        rows = _rows(list(by_strategy), lambda name, value, by=by_strategy: [value(one) for one in by[name]])
        parts.append(f"### {world.capitalize()}\n\n{about[world]}.\n\n{rows}")
    return "\n\n".join(parts) + "\n"


def comparison(found: Found, name: str) -> str:
    """Return by how much a policy's share of the oracle's recoveries and its sends differ, seed by seed."""
    rows = [
        f"| {name} less {SHIPPED} | share, points | sends a recovery | healthy blocked, after |",
        "| --- | --: | --: | --: |",
    ]
    values: list[Callable[[Figures], float]] = [
        lambda f: f.share,
        lambda f: f.each,
        lambda f: f.blocked_after,
    ]
    for world, by_strategy in found.items():
        pairs = list(zip(by_strategy[name], by_strategy[SHIPPED], strict=True))
        cells = [_cell([value(tried) - value(shipped) for tried, shipped in pairs], 1) for value in values]
        rows.append(f"| {world} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _means(worlds: list[list[Figures]], value: Callable[[Figures], float]) -> list[float]:
    """Return for each seed the mean over the worlds; a world without a value is left out."""
    means = []
    for of_one_seed in zip(*worlds, strict=True):
        known = [value(one) for one in of_one_seed if not isnan(value(one))]
        means.append(sum(known) / len(known) if known else float("nan"))
    return means


def _rows(names: list[str], values: Callable[[str, Callable[[Figures], float]], list[float]]) -> str:
    rows = ["| | " + " | ".join(names) + " |", "| --- |" + " --: |" * len(names)]
    for heading, value, decimals in COLUMNS:
        cells = [_cell(values(name, value), decimals) for name in names]
        rows.append(f"| {heading} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(values: list[float], decimals: int) -> str:
    mean, half = interval(values)
    if isnan(mean):
        return ""
    return f"{mean:,.{decimals}f}" + ("" if isnan(half) or not half else f" ± {half:,.{decimals}f}")
