"""What all commands share: options, output forms, exit codes, the store, and the question before a change."""

import getpass
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import typer
from typer.core import TyperCommand
from typing_extensions import override

from softbounce.errors import (
    InvalidEvent,
    InvalidPolicy,
    InvalidRecipient,
    InvalidSettings,
    NotFound,
    RefuseToStart,
    SoftbounceError,
    StoreUnreachable,
    TryAgain,
    UnsafeStore,
    WrongKey,
)

if TYPE_CHECKING:  # they take a quarter of a second, and not every command needs them
    from rich.progress import Progress

    from softbounce.core.filters import Filter
    from softbounce.core.policy import Policy
    from softbounce.store import Store

REFUSED, MISUSED, UNREACHABLE, IN_PART = 1, 2, 4, 5
SAMPLES = 5
TYPED_ABOVE = 100  # matches; from there on a person types the count
_CODES: tuple[tuple[type[SoftbounceError], int], ...] = (  # the first that fits
    (InvalidPolicy, REFUSED),
    (UnsafeStore, REFUSED),
    (WrongKey, REFUSED),
    (NotFound, REFUSED),
    (InvalidSettings, MISUSED),
    (InvalidEvent, MISUSED),
    (InvalidRecipient, MISUSED),
    (TryAgain, UNREACHABLE),
    (RefuseToStart, UNREACHABLE),  # the embedded server does not start
)

Json = dict[str, Any]
T = TypeVar("T")
K = TypeVar("K")


class Output(StrEnum):
    """How data goes to stdout."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


class Form(StrEnum):
    """What a list is exported as."""

    CSV = "csv"
    NDJSON = "ndjson"


def duration(text: str) -> int:
    """Return the ms of ``90m`` for an option; what is wrong is wrong usage."""
    from softbounce.core.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def moment(text: str) -> int:
    """Return the ms of a date for an option; without a zone it is meant in the local one."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        message = "write a time such as 2026-11-20T21:30:00+01:00, or 2026-11-20T21:30 in your own zone"
        raise typer.BadParameter(message) from None
    return int((date if date.tzinfo else date.replace(tzinfo=ZoneInfo(zone()))).timestamp() * 1000)


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, the others for programs")]
FormOption = Annotated[Form, typer.Option("--format", help="csv for spreadsheets, ndjson for programs")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILTER]...", help="key:value words; comma is or, a leading - is not"),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is what the audit shows")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who, for the audit; else your user name")]
Yes = Annotated[bool, typer.Option("--yes", help=f"Do not ask, also above {TYPED_ABOVE} matches")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be changed; change nothing")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show addresses in full; the audit notes it")]
ChannelOption = Annotated[str | None, typer.Option("--channel", help="sms, email or letter")]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="else SOFTBOUNCE_POLICY, else config/policy.yaml")
]


class Filtered(TyperCommand):
    """A command that takes filter words: ``-merchant:42`` among them is no option."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        negated = [word for word in args if re.match(r"-[a-z]+:", word)]
        others = [word for word in args if word not in negated]
        marker = [] if "--" in others or not negated else ["--"]
        return super().parse_args(ctx, [*others, *marker, *negated])


def explained(error: SoftbounceError) -> tuple[str, int]:
    """Return an error as a sentence, and the exit code that it stands for."""
    return str(error), next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


@contextmanager
def opened() -> "Iterator[Store]":
    """Open the store that the settings name; if it is away, say which one, without its password."""
    from softbounce.embedded import find_store
    from softbounce.settings import Settings
    from softbounce.store import Store
    from softbounce.telemetry import mask_url

    settings = Settings.load()
    url = find_store(settings)
    if url is None:
        message = f"no store: SOFTBOUNCE_REDIS_URL is not set and none runs on {settings.data} (SOFTBOUNCE_DATA). "
        message += "Start one there: softbounce run"
        raise StoreUnreachable(message)
    key = settings.pii_key.get_secret_value().encode() if settings.pii_key else None
    store = Store.open(url, namespace=settings.namespace, pii_key=key, keep_addresses=settings.keep_addresses)
    try:
        yield store
    except StoreUnreachable as error:
        message = f"{mask_url(url)}: {error}"
        raise StoreUnreachable(message) from error
    finally:
        store.close()


def policy_in_file(path: Path | None = None) -> "Policy":
    """Return the policy that the settings or ``path`` name. Raises ``InvalidPolicy``."""
    from softbounce.core import policy_file
    from softbounce.settings import policy_text

    text, file = policy_text(path)
    return policy_file.load(text, file=file)


def who(given: str | None) -> str:
    """Return who is acting, for the audit."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def now() -> int:
    """Return this machine's time in ms, for what asks no store."""
    return time.time_ns() // 1_000_000


@cache
def zone() -> str:
    """Return the name of the local time zone."""
    linked = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    known = available_timezones()
    return next((name for name in (os.environ.get("TZ", "").lstrip(":"), linked) if name in known), "UTC")


def time_of(at: int | None, now: int) -> str:
    """Return a time for a column whose head names the zone."""
    from softbounce.core.texts import stamp

    return "" if at is None else stamp(at, zone(), now)


def zoned(head: str) -> str:
    """Return a column's head with the zone its times are in."""
    from softbounce.core.texts import place

    return f"{head} ({place(zone())})"


def say(text: str) -> None:
    """Talk to the person: stderr."""
    typer.echo(text, err=True)


def plain(text: object) -> str:
    """Return text on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in str(text))


def show(head: Sequence[str], rows: Iterable[tuple[Json, Sequence[str]]], output: Output) -> None:
    """Print rows, each given as JSON and as the cells of a table."""
    match output:
        case Output.NDJSON:
            for row, _ in rows:
                typer.echo(json.dumps(row, ensure_ascii=False))
        case Output.JSON:
            typer.echo(json.dumps([row for row, _ in rows], ensure_ascii=False, indent=2))
        case Output.TABLE:
            cells = [[plain(cell) for cell in line] for _, line in rows]
            if not cells:
                say("none")
            elif sys.stdout.isatty():
                _rich_table(head, cells)
            else:
                for line in columns([head, *cells]):
                    typer.echo(line)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rich_table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console(highlight=False).print(table)


def tell(sentence: str, facts: Json, output: Output) -> None:
    """Print the result of a change: a sentence for people, its facts for programs."""
    match output:
        case Output.TABLE:
            typer.echo(sentence)
        case Output.JSON | Output.NDJSON:
            typer.echo(json.dumps(facts, ensure_ascii=False, indent=2 if output is Output.JSON else None))


def failed(failures: Sequence[Json], *, of: int) -> None:
    """Print what failed to stderr as NDJSON and exit 5, if anything did."""
    if failures:
        for failure in failures:
            say(json.dumps(failure, ensure_ascii=False))
        say(f"{len(failures):,} of {of:,} failed")
        raise typer.Exit(IN_PART)


def agreed(
    items: Iterable[T],
    *,
    key: Callable[[T], K],
    describe: Callable[[T], str],
    nouns: tuple[str, str],
    yes: bool,
    dry_run: bool,
    may_be_none: bool = False,
    always_typed: bool = False,
) -> list[K]:
    """Show how many match, and five of them; return all their keys if the person agrees, else exit.

    Above 100 matches the count must be typed, unless ``yes``.
    """
    keys: list[K] = []
    samples: list[str] = []
    with progress(f"looking for {nouns[1]}") as bar:
        for item in bar.track(items):
            keys.append(key(item))
            if len(samples) < SAMPLES:
                samples.append(plain(describe(item)))
    count = f"{len(keys):,} {nouns[len(keys) != 1]} {'matches' if len(keys) == 1 else 'match'}"
    if len(keys) > 1:
        say(f"{count}, for example:")
        for sample in samples:
            say(f"  {sample}")
    else:
        say(f"{count}: {samples[0]}" if samples else f"no {nouns[0]} matches")
    if dry_run:
        say("Dry run: nothing changed.")
        raise typer.Exit
    if not keys and not may_be_none:
        raise typer.Exit(REFUSED)
    if (len(keys) > TYPED_ABOVE or always_typed) and not yes:
        _ask_for(len(keys))
    return keys


def _ask_for(count: int) -> None:
    try:
        answer = typer.prompt(f"Type the count, {count}, to go on", err=True)
    except typer.Abort:  # no terminal, no answer
        answer = ""
    if answer.strip().replace(",", "") != str(count):
        say("\nNot confirmed: nothing changed. In a script: --yes")
        raise typer.Exit(REFUSED)


def progress(title: str, *, total: int | None = None) -> "Progress":
    """Return a bar on stderr that vanishes when done, and is not there unless that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
