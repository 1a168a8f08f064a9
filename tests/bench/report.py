"""The result as tables on stdout."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: dict[str, Any]) -> None:
    """Print every figure, and the targets with what was found."""
    console = Console(width=100)
    console.print(f"{result['machine']}; {result['seconds']} s. Median (least to most) over the rounds.")
    ours, theirs = result["intake"]["softbounce"], result["intake"]["celery"]
    intake = _table("Intake by one worker", "softbounce", "Celery, a task each", "ratio")
    for title, name, share in (
        ("events/s", "per_second", "per_second"),
        ("worker CPU, us an event", "worker", None),
        ("Valkey CPU, us an event", "server", None),
    ):
        mine, other = [one[name] for one in ours], [one[name] for one in theirs]
        pairs = zip(mine, other, strict=True)
        ratios = [a / b if share else b / a for a, b in pairs if a and b]  # more is better in both
        intake.add_row(title, _spread(mine), _spread(other), _spread(ratios, "x"))
    console.print(intake)

    memory = _table("Memory, bytes for each message whose retry waits", "bytes")
    kept = result["memory"]
    for part in ("schedule entry", "record"):
        memory.add_row(part, f"{kept['parts'][part]:.0f}")
    memory.add_row("a pending retry", f"{kept['retry']:.0f}", style="bold", end_section=True)
    for part, size in kept["parts"].items():
        if part not in ("schedule entry", "record"):
            memory.add_row(part, f"{size:.0f}")
    memory.add_row("all state of a waiting message", f"{kept['waiting']:.0f}")
    memory.add_row("all state of a failed message of the mix", f"{kept['failed']:.0f}")
    console.print(memory)

    cpu = _table("CPU by part, us an event, one step after the other", "us")
    for part, used in result["cpu"].items():
        cpu.add_row(part, f"{used:.1f}", end_section=part == "acknowledge")
    console.print(cpu)

    lookups = _table("May these be sent to?", "recipients/s", "ratio")
    asked = result["lookups"]
    many = median(asked["many"])
    for title, way in (
        ("may_send_many", "many"),
        ("a pipeline of single lookups", "pipelined"),
        ("may_send, one by one", "single"),
    ):
        lookups.add_row(title, _spread(asked[way]), f"{many / median(asked[way]):.1f}x")
    console.print(lookups)

    targets = _table("Targets", "goal", "floor", "found", "")
    for name, target in result["targets"].items():
        targets.add_row(
            name, str(target["goal"]), str(target["floor"]), f"{target['found']:.1f}", target["state"]
        )
    console.print(targets)


def _table(title: str, *columns: str) -> Table:
    table = Table(title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _spread(values: Sequence[float], unit: str = "") -> str:
    if not values:
        return "-"
    digits = 0 if max(values) >= 100 else 1
    return f"{median(values):,.{digits}f}{unit} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
