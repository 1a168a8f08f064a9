"""What all commands print: output forms, exit codes, times."""

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import typer
from typer.core import TyperCommand
from typing_extensions import override

from softbounce.core.durations import parse_duration
from softbounce.core.texts import columns, place, plain, stamp

REFUSED, MISUSED, UNREACHABLE, IN_PART = 1, 2, 4, 5  # exit codes

Json = dict[str, Any]
Row = tuple[Json, Sequence[str]]  # JSON for programs, and the cells of a table


class Output(StrEnum):
    """How data goes to stdout."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


class Form(StrEnum):
    """What a list is exported as."""

    CSV = "csv"
    NDJSON = "ndjson"


def duration(value: str | int) -> int:
    """Return the ms of an option such as ``90m``; its default is in ms already."""
    try:
        return value if isinstance(value, int) else parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def moment(text: str) -> int:
    """Return the ms of an option that is a date; one without a zone is in the local one."""
    try:
        date = datetime.fromisoformat(text)
        return int((date if date.tzinfo else date.replace(tzinfo=ZoneInfo(zone()))).timestamp() * 1000)
    except (ValueError, OverflowError):
        message = "write a time such as 2026-11-20T21:30:00+01:00, or 2026-11-20T21:30 for the local zone"
        raise typer.BadParameter(message) from None


class Filtered(TyperCommand):
    """A command with filter words: ``-merchant:42`` among them is no option."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        negated = [word for word in args if re.match(r"-[a-z]+:", word)]
        others = [word for word in args if word not in negated]
        end = ["--"] if negated and "--" not in others else []
        return super().parse_args(ctx, [*others, *end, *negated])


def release() -> str:
    """Return our own version."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 15 ms, and few commands ask

    try:
        return version("softbounce")
    except PackageNotFoundError:
        return "unreleased"


def now() -> int:
    """Return this machine's time in ms, for what asks no store."""
    return time.time_ns() // 1_000_000


@cache
def zone() -> str:
    """Return the name of the local time zone."""
    given = os.environ.get("TZ", "").lstrip(":")
    named = given or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    return named if named in available_timezones() else "UTC"


def time_of(at: int | None, now: int) -> str:
    """Return a time for a column whose head, ``zoned``, names the zone."""
    return "" if at is None else stamp(at, zone(), now)


def zoned(head: str) -> str:
    """Return a column's head with the zone of its times."""
    return f"{head} ({place(zone())})"


def say(text: str) -> None:
    """Print a message to the person, on stderr."""
    typer.echo(text, err=True)


def as_line(value: Json) -> str:
    """Return one line of NDJSON."""
    return json.dumps(value, ensure_ascii=False)


def tell(sentence: str, facts: Json, output: Output) -> None:
    """Print a result: a sentence for people, its facts for programs."""
    match output:
        case Output.TABLE:
            typer.echo(sentence)
        case Output.JSON:
            typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        case Output.NDJSON:
            typer.echo(as_line(facts))


def show(head: Sequence[str], rows: Iterable[Row], output: Output) -> None:
    """Print rows: a table on a terminal, plain columns in a pipe, an array, or a line each."""
    match output:
        case Output.NDJSON:
            for row, _ in rows:
                typer.echo(as_line(row))
        case Output.JSON:
            typer.echo(json.dumps([row for row, _ in rows], ensure_ascii=False, indent=2))
        case Output.TABLE:
            cells = [[plain(cell) for cell in line] for _, line in rows]
            if not cells:
                say("none")
            elif sys.stdout.isatty():
                _table(head, cells)
            else:
                for line in columns([head, *cells]):
                    typer.echo(line)


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - most commands print no table
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console(highlight=False).print(table)
