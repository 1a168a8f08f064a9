"""The table: what was done to softbounce, and what it lost."""

from typing import Any

from .checker import Verdict

HEAD = (
    "fault",
    "times",
    "messages",
    "resends",
    "lost",
    "doubled",
    "other",
    "raw doubles",
    "recovery p50",
    "p99",
    "s",
)

OTHER = ("unexpected", "forbidden", "innocent", "left", "late", "broken")  # one column


def table(report: dict[str, Any], verdicts: list[tuple[dict[str, Any], Verdict | None]]) -> str:
    """Return the table as text."""
    rows = [HEAD]
    total = Verdict()
    for entry, verdict in verdicts:
        if verdict is None:
            rows.append((entry["title"], "skipped", *[""] * 8, f"{entry['seconds']:.0f}"))
            continue
        rows.append((entry["title"], *_cells(verdict), f"{entry['seconds']:.0f}"))
        for name in ("messages", "handed_over", "faults", "raw_doubles"):
            setattr(total, name, getattr(total, name) + getattr(verdict, name))
        for name in (*OTHER, "lost", "doubled", "recoveries"):
            getattr(total, name).extend(getattr(verdict, name))
    seconds = sum(entry["seconds"] for entry, _ in verdicts)
    rows.append(("all", *_cells(total), f"{seconds:.0f}"))
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(len(lines) - 1, "-" * len(lines[0]))
    return "\n".join(
        [f"softbounce under faults, seed {report['seed']}, {report['date']}, {report['machine']}", *lines]
    )


def _cells(verdict: Verdict) -> tuple[str, ...]:
    other = [said for name in OTHER for said in getattr(verdict, name)]
    recovery = verdict.recovery()
    return (
        f"{verdict.faults:,}",
        f"{verdict.messages:,}",
        f"{verdict.handed_over:,}",
        f"{len(verdict.lost):,}",
        f"{len(verdict.doubled):,}",
        f"{len(other):,}",
        f"{verdict.raw_doubles:,}",
        *(f"{one:.1f} s" for one in recovery or ()),
        *([] if recovery else ["", ""]),
    )
