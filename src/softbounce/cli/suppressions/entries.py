"""``softbounce suppressions``: who is not sent to any more."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated

import typer

from softbounce.cli import audit
from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.input_files import rows_of, text_file, text_lines
from softbounce.cli.shared.output import (
    REFUSED,
    Filtered,
    Form,
    Json,
    Output,
    Row,
    as_line,
    duration,
    say,
    show,
    tell,
    time_of,
    zone,
    zoned,
)
from softbounce.cli.shared.session import (
    channel_of,
    exit_in_part,
    hashed_words,
    note_list_reveal,
    opened,
    policy_in_force,
    tracked,
)
from softbounce.cli.suppressions.provider_exports import ProviderList, provider_rows
from softbounce.cli.suppressions.undo import NOUNS, described, undo
from softbounce.core.filters import Filter, parse_filter
from softbounce.core.reasons import cause
from softbounce.core.recipients import mask, normalise
from softbounce.core.table_files import write_rows
from softbounce.core.texts import plain
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidEvent, InvalidSettings
from softbounce.explain.recipient import PROVISIONAL, until_of, verdict_json, verdict_text
from softbounce.store import Store, Verdict
from softbounce.store.hash_key import hash_in
from softbounce.store.suppression_entries import COLUMNS, SuppressionEntry, exported
from softbounce.store.suppressions import FILTER_KEYS

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who is not sent to any more.")

app.command()(undo)

HEAD = ("RECIPIENT", "HASH", "CHANNEL", "CAUSE", "MERCHANT", "ORIGIN")
RecipientArgument = Annotated[str, typer.Argument(metavar="RECIPIENT", help="An address, or its r_... hash")]


def expiry(text: str) -> int:
    """Return the ms of an option such as ``90d``, and 0 for ``never``."""
    return 0 if text == "never" else duration(text)


@app.command("list", cls=Filtered)
def list_(
    words: options.Words = None, *, reveal: options.Reveal = False, output: options.Output = Output.TABLE
) -> None:
    """List who is refused.

    Keys: recipient (needs no key), channel, code, origin, merchant, expires, age, incident.
    """
    with opened() as store:
        now = store.now()
        found: Iterable[SuppressionEntry] = store.suppressions.select(_filter(words, store), now=now)
        if output is Output.TABLE:
            found = sorted(found, key=lambda entry: -entry.since)
        if reveal:
            note_list_reveal(store, "suppressions", words, bare="recipient")
        head = (*HEAD, zoned("SINCE"), "UNTIL")
        show(head, (_entry_row(entry, now, reveal=reveal) for entry in found), output)


@app.command()
def check(
    recipients: Annotated[
        list[str], typer.Argument(metavar="RECIPIENT | -", help="Addresses, or - for one a line on stdin")
    ],
    *,
    channel: options.Channel = None,
    merchant: options.Merchant = None,
    output: options.Output = Output.TABLE,
) -> None:
    """Say whether recipients may be sent to. Exit code 1 if one may not."""
    with opened() as store:
        if recipients == ["-"]:
            if channel is None:
                message = "a list on stdin needs --channel sms, email or letter"
                raise InvalidSettings(message)
            values = text_lines("-")
            verdicts = store.suppressions.check_many(values, channel_of("", channel), merchant=merchant)
        else:
            values = recipients
            verdicts = (
                store.suppressions.check(value, channel_of(value, channel), merchant=merchant)
                for value in values
            )
        now, pairs = store.now(), zip(values, verdicts, strict=True)
        rows = [_verdict_row(value, verdict, now, is_alone=len(values) == 1) for value, verdict in pairs]
        if output is Output.TABLE:
            for _, cells in rows:
                typer.echo("   ".join(plain(cell) for cell in cells if cell))
        elif len(rows) == 1:
            tell("", rows[0][0], output)
        else:
            show((), rows, output)
    if not all(facts["allowed"] for facts, _ in rows):
        raise typer.Exit(REFUSED)


@app.command()
@changing("output")
def add(
    recipient: RecipientArgument,
    *,
    intent: Intent,
    channel: options.Channel = None,
    merchant: options.Merchant = None,
    expires: Annotated[
        int, typer.Option(parser=expiry, metavar="TIME", show_default="never", help="90d, or never")
    ] = 0,
) -> None:
    """Refuse a recipient from now on. Other causes that stand, such as a complaint, stay beside yours."""
    with opened() as store:
        now, on = store.now(), channel_of(recipient, channel)
        causes = store.suppressions.add(
            recipient, on, by=intent.by, now=now, expires=expires or None, merchant=merchant
        )
        until, rid = now + expires if expires else None, causes[0].rid
        others = [one for one in causes if one.code != "MANUAL"]
        stands = [one for one in others if one is causes[0] or _is_longer(one, until)]
        said = [f"Listed: {mask(normalise(recipient, on))} r_{rid}, {_until(until, now)}."]
        said += [f"This stands as well: {cause(one.code)}, {_until(one.until, now)}." for one in stands]
        rows = [one.row(reveal=False) for one in stands]
        shown = [{name: row[name] for name in ("code", "origin", "until")} for row in rows]
        facts = {"action": "add", "recipient": f"r_{rid}", "until": iso(until), "stands": shown}
        intent.tell(" ".join(said), facts)


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def remove(
    words: Annotated[list[str], typer.Argument(metavar="RECIPIENT | FILTER")],
    *,
    intent: Intent,
    channel: options.Channel = None,
) -> None:
    """Take recipients off the list: one by its address, or what a filter finds.

    A recipient may be listed for several causes: an address lifts all of them, a filter such as code:OPT_OUT
    only those that it matches, and the others stay.
    """
    with opened() as store:
        found = store.suppressions.select(_filter(words, store, channel=channel), now=store.now())
        matching = intent.confirmed(found, describe=described, nouns=NOUNS)
        removed = store.suppressions.remove(matching, by=intent.by)
        left = store.suppressions.standing({one.field for one in matching}, now=store.now())
        facts = {"action": "remove", "matched": len(matching), "done": removed, "stillListed": left}
        allowed = "Sends are allowed again." if not left else f"Still listed for another cause: {left:,}."
        intent.tell(f"Removed: {removed:,} of {len(matching):,}. {allowed}", facts)


@app.command("import")
@changing("dry_run", "output")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE | -", help="CSV with a head line, or NDJSON")],
    *,
    intent: Intent,
    channel: options.Channel = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="csv or ndjson; else by the file's name")
    ] = None,
    source: Annotated[
        ProviderList | None, typer.Option("--from", help="The file is this list, as its provider exports it")
    ] = None,
) -> None:
    """Add recipients from a file: columns channel, address or recipient (r_...), the rest as in an export.

    A file that cannot be read changes nothing. Rows that cannot be taken are listed on stderr, exit code 5.
    A row never weakens what stands: it is one more cause beside the others. In whatever order rows and files
    come, the same recipients are refused for the same causes until the same time; a file again adds nothing.
    """
    form = form or (Form.NDJSON if file.endswith(("json", "ndjson", "jsonl")) else Form.CSV)
    on = None if channel is None else channel_of("", channel)
    with opened() as store, text_file(file) as opened_file:
        now, policy = store.now(), policy_in_force(store) if source else None

        def rows() -> Iterator[Json]:
            opened_file.seek(0)
            if source and policy:
                return provider_rows(opened_file, form, source, policy=policy, now=now)
            return rows_of(opened_file, form, on)

        total = sum(1 for _ in rows())
        results = store.suppressions.load(rows(), by=intent.by, now=now, dry_run=intent.dry_run)
        counts: Counter[str] = Counter()
        for number, result in enumerate(tracked(results, f"importing {total:,}"), 1):
            counts[result if isinstance(result, str) else "failed" if result else "done"] += 1
            if isinstance(result, InvalidEvent):
                say(as_line({"row": number, "path": result.path, "reason": result.reason}))
        is_dry = intent.dry_run
        said = [f"{'To be imported' if is_dry else 'Imported'}: {counts['done'] + counts['weaker']:,}."]
        if counts["weaker"]:
            said.append(
                f"{counts['weaker']:,} of these would weaken what stands: the stronger cause stays, theirs is"
                " kept beneath it."
            )
        if counts["listed"]:
            said.append(f"Listed already, and left as they are: {counts['listed']:,}.")
        if counts["past"]:
            said.append(f"Past their end, and left out: {counts['past']:,}.")
        if is_dry:
            said.append("Dry run: nothing changed.")
        facts = {name: counts[name] for name in ("done", "weaker", "listed", "past")}
        facts["done"] += counts["weaker"]
        intent.tell(" ".join(said), {"action": "import", "dryRun": is_dry, "matched": total, **facts})
        exit_in_part(counts["failed"], of=total)


@app.command(cls=Filtered)
def export(
    words: options.Words = None, *, form: options.Form = Form.CSV, reveal: options.Reveal = False
) -> None:
    """Write the list to stdout. Masked, it imports again under the same key; providers need --reveal."""
    with opened() as store:
        if reveal:
            note_list_reveal(store, "suppressions", words, bare="recipient")
        found = store.suppressions.select(_filter(words, store), now=store.now())
        key = store.suppressions.fingerprint
        rows = exported(tracked(found, "exporting"), reveal=reveal, key=key)
        say(f"{write_rows(rows, sys.stdout, form=form, columns=COLUMNS):,} exported")


@app.command()
def history(
    recipient: RecipientArgument, *, channel: options.Channel = None, output: options.Output = Output.TABLE
) -> None:
    """Show each change of a recipient's entries that the audit remembers, the newest first.

    An import counts as one change of many recipients and is not found here; audit list action:import is.
    """
    with opened() as store:
        now, rid = store.now(), store.suppressions.rid(recipient, channel_of(recipient, channel))
        changes = [
            entry
            for entry in store.audit.entries(count=audit.EVERYTHING)
            if str(entry["what"]).removeprefix("r_").removeprefix("recipient:").partition("@")[0] == rid
        ]
        show((zoned("WHEN"), *audit.HEAD), (audit.entry_row(entry, now) for entry in changes), output)


def _filter(words: Collection[str] | None, store: Store, *, channel: str | None = None) -> Filter:
    known = hashed_words(words, store, channel=channel, bare="recipient")
    return parse_filter(known, keys=FILTER_KEYS, bare="recipient")


def _is_longer(one: SuppressionEntry, until: int | None) -> bool:
    return until is not None and (one.until is None or one.until > until)


def _until(end: int | None, now: int) -> str:
    return until_of(end, zone=zone(), now=now)


def _entry_row(entry: SuppressionEntry, now: int, *, reveal: bool) -> Row:
    row, until = entry.row(reveal=reveal), entry.until
    incident = f" {PROVISIONAL}, {row['incident']}" if "incident" in row else ""
    code = cause(row["code"]) if row["origin"] != "person" else row["reason"]
    return row, (
        row["address"],
        row["recipient"],
        row["channel"],
        code,
        row["merchant"],
        row["origin"],
        time_of(entry.since, now),
        (time_of(until, now) or "for ever") + incident,
    )


def _verdict_row(value: str, verdict: Verdict, now: int, *, is_alone: bool) -> Row:
    address = value if hash_in(value) else mask(value)
    name = "allowed" if verdict else "paused" if verdict.reason == "paused" else "suppressed"
    why = [verdict.reason, f"event{'s' * (len(verdict.evidence) > 1)} {' '.join(verdict.evidence)}"]
    return verdict_json(verdict) | {"address": address}, (
        "" if is_alone else address,
        name if verdict.recipient else "invalid",
        verdict_text(verdict, zone=zone(), now=now),
        ", ".join(why[: 1 + bool(verdict.evidence)]) if verdict.recipient else "",
        verdict.because if verdict.recipient else "",
    )
