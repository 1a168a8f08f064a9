"""``softbounce audit``: who changed what, and why."""

import json
from typing import Annotated, Any

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.output import Filtered, Json, Output, Row, show, time_of, zoned
from softbounce.cli.shared.session import hashed_words, opened
from softbounce.core.filters import parse_filter
from softbounce.core.timestamps import iso

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who changed what, and why.")
app.callback()(lambda: None)  # so that its only command is called by name

HEAD = ("WHO", "ACTION", "WHAT", "REASON")
FILTER_KEYS = ("who", "action", "what", "reason", "age")
EVERYTHING = 100_000  # entries that a filter looks through


@app.command("list", cls=Filtered)
def list_(
    words: options.Words = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many")] = 100,
    output: options.Output = Output.TABLE,
) -> None:
    """List changes, the newest first: audit list who:alice action:mode* 'age:<2d'."""
    with opened() as store:
        now = store.now()
        wanted = parse_filter(hashed_words(words, store, bare="what"), keys=FILTER_KEYS, bare="what")
        entries = store.audit.entries(count=EVERYTHING if wanted.terms else limit)
        found = [entry for entry in entries if wanted.matches(_filter_facts(entry, now))]
        show((zoned("WHEN"), *HEAD), (entry_row(entry, now) for entry in found[:limit]), output)


def entry_row(entry: Json, now: int) -> Row:
    """Return one audit entry."""
    names = ("actor", "action", "what", "reason")
    shown = {"at": iso(entry["at"])} | {name: entry.get(name) for name in names}
    shown |= {name: _state(entry[name]) for name in ("before", "after") if entry.get(name)}
    return shown, (time_of(entry["at"], now), *(str(entry.get(name, "")) for name in names))


def _filter_facts(entry: Json, now: int) -> Json:
    names = ("action", "what", "reason")
    return {"who": entry["actor"], "age": now - entry["at"]} | {name: entry.get(name) for name in names}


def _state(text: str) -> Any:  # noqa: ANN401 - JSON, as the store wrote it
    state = json.loads(text)
    if isinstance(state, dict):
        state.pop("address", None)
    return state
