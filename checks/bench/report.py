"""The result: as tables on stdout, and as Markdown with plots in docs/reference/performance.md."""

from collections.abc import Iterator
from math import log10
from pathlib import Path
from statistics import median
from typing import Any

from checks.bench.rows import ROOT, Figures, Row, Section
from rich.console import Console
from rich.table import Table

DOCS = ROOT / "docs" / "reference"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- bench: begin; `make bench` writes from here -->", "<!-- bench: end -->"
PLOTS = {  # file -> section, what is drawn
    "bench-intake.svg": ("intake", "events/s"),
    "bench-due.svg": ("due", "retries/s"),
}


def show(result: dict[str, Any], sections: dict[str, Section]) -> None:
    """Print every figure, then the targets with what was found."""
    console = Console(width=140)
    console.print(_head(result))
    for section in sections.values():
        for title, columns, lines in _tables(section):
            console.print(_table(title, columns, lines))
    targets = [_target(row) for section in sections.values() for row in section.rows]
    console.print(_table("Targets", ("", "found", "goal", "floor", ""), targets))


def write(result: dict[str, Any], sections: dict[str, Section]) -> None:
    """Put tables and plots into docs/reference/performance.md, between its two markers."""
    lines = [_head(result), ""]
    targets = [_target(row) for section in sections.values() for row in section.rows]
    lines += _markdown(("", "found (least to most)", "goal", "floor", ""), targets)
    for file, (name, what) in PLOTS.items():
        if name in sections:
            section = sections[name]
            (DOCS / file).write_text(_plot(section.title, section.figures, what), encoding="utf-8")
            lines += ["", f"![{section.title}: {what}, logarithmic]({file})"]
    for section in sections.values():
        for title, columns, rows in _tables(section):
            lines += ["", f"**{title}**", "", *_markdown(columns, rows)]
    page = PAGE.read_text(encoding="utf-8")
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + after, encoding="utf-8")


def _head(result: dict[str, Any]) -> str:
    without = "".join(f" Without {name}: {why}." for name, why in result["skipped"].items())
    return f"{result['machine']}; {result['seconds']} s. Median (least to most) over {result['rounds']} rounds.{without}"


def _tables(section: Section) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Yield the title, the columns and the lines of what a section has measured."""
    if section.figures:
        columns = tuple(dict.fromkeys(what for found in section.figures.values() for what in found))
        lines = [(name, *(_cell(found, what) for what in columns)) for name, found in section.figures.items()]
        yield section.title, ("", *columns), lines


def _cell(found: dict[str, list[float]], what: str) -> str:
    if what not in found:
        return ""
    return spread(found[what]) if what.endswith("/s") else number(median(found[what]))


def _target(row: Row) -> tuple[str, ...]:
    def limit(value: float | None) -> str:
        return "" if value is None else f"{number(value)}{row.unit}"

    return row.title, spread(row.found, row.unit), limit(row.goal), limit(row.floor), row.state


def spread(values: list[float], unit: str = "") -> str:
    """Return the median, and the least and the most where there are several."""
    if len(values) == 1:
        return f"{number(values[0])}{unit}"
    return f"{number(median(values))}{unit} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Return three digits of it."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}" if value % 1 else f"{value:,.0f}"


def _table(title: str, columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for line in lines:
        table.add_row(*line)
    return table


def _markdown(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> list[str]:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (columns, rule, *lines)]


def _plot(title: str, figures: Figures, what: str) -> str:
    """Return bars on a logarithmic axis, best first, with a line from the least to the most."""
    bars = sorted(
        ((name, found[what]) for name, found in figures.items() if what in found),
        key=lambda bar: -median(bar[1]),
    )
    low = 10 ** int(log10(min(min(values) for _, values in bars)))
    high = max(max(values) for _, values in bars)
    left, width, line = 230, 420, 26

    def x(value: float) -> float:
        return round(left + width * log10(value / low) / log10(high / low), 1)

    drawn = []
    for place, (name, values) in enumerate(bars):
        y = 34 + place * line
        colour = "#2a6f97" if name.startswith("softbounce") else "#9aa5ad"
        middle = median(values)
        drawn.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>'
            f'<rect x="{left}" y="{y}" width="{max(1, x(middle) - left):.1f}" height="18" fill="{colour}"/>'
            f'<path d="M{x(min(values))} {y + 9}H{x(max(values))}" stroke="#d1495b" stroke-width="2"/>'
            f'<text x="{x(max(values)) + 6}" y="{y + 13}">{number(middle)}</text>'
        )
    tall = 44 + len(bars) * line
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 80} {tall}" font-family="sans-serif" '
        f'font-size="12" fill="#333"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="10" y="20" font-weight="bold">{title}: {what}, logarithmic</text>{"".join(drawn)}</svg>\n'
    )


def path() -> Path:
    """Return where the figures of a full run are kept."""
    return ROOT / "checks/bench/results.json"
