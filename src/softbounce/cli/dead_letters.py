"""``softbounce dead-letters``: input that could not be read."""

from collections.abc import Collection
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.output import Filtered, Json, Output, Row, say, show, tell, time_of, zoned
from softbounce.cli.shared.session import fail_in_part, note_reveal, opened, spelled
from softbounce.core.decide import HEAD_BYTES
from softbounce.core.filters import Filter, parse_filter
from softbounce.core.recipients import scrub
from softbounce.core.texts import plain
from softbounce.core.timestamps import iso
from softbounce.store import Store
from softbounce.store.dead_letters import FILTER_KEYS, KeptInput
from softbounce.store.limits import DEAD_LETTER_BYTES, DEAD_LETTERS_BYTES

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Input that could not be read.")

HEAD = ("ID", "REASON", "FIELD", "BYTES")
NOUNS = ("dead letter", "dead letters")
PREFIX = "d_"  # begins an id as it is shown: a hash may begin with a dash, like an option or a "not"


@app.command("list", cls=Filtered)
def list_(words: options.Words = None, *, output: options.Output = Output.TABLE) -> None:
    """List what could not be read, the newest first. Keys: id (needs no key), reason, path, age."""
    with opened() as store:
        now = store.now()
        letters = sorted(store.dead_letters.select(_filter(words), now=now), key=lambda letter: -letter.at)
        show((zoned("SINCE"), *HEAD), (_letter_row(letter, now) for letter in letters), output)
        if full := fullness(store):
            say(full)


@app.command("show")
def show_(
    ident: Annotated[str, typer.Argument(metavar="ID")],
    *,
    reveal: options.Reveal = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Show a dead letter with its text; addresses in it are masked unless --reveal."""
    with opened() as store:
        now, letter = store.now(), store.dead_letters.show(ident.removeprefix(PREFIX))
        if reveal:
            note_reveal(store, f"dead letter {ident}")
        text = letter.raw.decode(errors="backslashreplace")
        text = text if reveal else scrub(text)
        facts = _letter_row(letter, now)[0] | {"text": text, "whole": letter.is_whole}
        if output is not Output.TABLE:
            tell("", facts, output)
            return
        field = f"{letter.path}: " if letter.path else ""
        typer.echo(f"{PREFIX}{letter.id}   {time_of(letter.at, now)}   {plain(field + letter.reason)}")
        typer.echo("\n".join(f"  {plain(line)}" for line in text.splitlines()))
        if not letter.is_whole:
            typer.echo(
                f"  ... {letter.length:,} bytes in all; too long to be kept whole, so it cannot be replayed"
            )


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def replay(words: options.NeededWords, *, intent: Intent) -> None:
    """Report dead letters again, after a fix. What still cannot be read is kept again."""
    with opened() as store:
        matching = _confirmed(words, store, intent)
        whole = [letter for letter in matching if letter.is_whole]
        store.dead_letters.replay(whole, events=store.events, by=intent.by)
        facts = {"action": "replay", "matched": len(matching), "done": len(whole)}
        intent.tell(f"Replayed: {len(whole):,}. What they become: softbounce dead-letters list", facts)
        too_long = [
            {"id": PREFIX + letter.id, "reason": f"its {letter.length:,} bytes were not kept whole"}
            for letter in matching
            if not letter.is_whole
        ]
        fail_in_part(too_long, of=len(matching))


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def drop(words: options.NeededWords, *, intent: Intent) -> None:
    """Delete dead letters for good."""
    with opened() as store:
        matching = _confirmed(words, store, intent)
        dropped = store.dead_letters.drop([letter.id for letter in matching], by=intent.by)
        intent.tell(f"Dropped: {dropped:,}.", {"action": "drop", "matched": len(matching), "done": dropped})


def fullness(store: Store) -> str | None:
    """Return a warning where the kept letters fill their room, so that new ones are cut; else None."""
    kept = store.dead_letters.kept_bytes()
    if kept <= DEAD_LETTERS_BYTES - DEAD_LETTER_BYTES:
        return None
    return (
        f"dead letters take {kept / 2**20:.0f} of {DEAD_LETTERS_BYTES // 2**20} MiB: of a larger new one "
        f"only its first {HEAD_BYTES // 1024} KiB are kept, and it cannot be replayed. Mend the producer, "
        "then: softbounce dead-letters replay or drop FILTER --reason ..."
    )


def _filter(words: Collection[str] | None) -> Filter:
    known = [word.removeprefix("id:").removeprefix(PREFIX) for word in words or ()]
    return parse_filter(spelled(known, bare="id"), keys=FILTER_KEYS)


def _confirmed(words: Collection[str], store: Store, intent: Intent) -> list[KeptInput]:
    found = store.dead_letters.select(_filter(words), now=store.now())
    return intent.confirmed(found, describe=_described, nouns=NOUNS)


def _described(letter: KeptInput) -> str:
    return f"{PREFIX}{letter.id} {letter.path} {letter.reason}"


def _letter_row(letter: KeptInput, now: int) -> Row:
    facts: Json = {
        "id": PREFIX + letter.id,
        "at": iso(letter.at),
        "reason": letter.reason,
        "path": letter.path,
        "length": letter.length,
        "kept": len(letter.raw),
    }
    size = f"{letter.length:,}" if letter.is_whole else f"{letter.length:,} ({len(letter.raw):,} kept)"
    return facts, (time_of(letter.at, now), facts["id"], letter.reason, letter.path, size)
