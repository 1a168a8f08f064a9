"""``softbounce retries``: what waits to be sent again, and how a person changes it."""

import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.output import Filtered, Form, Json, Output, Row, say, show, time_of, zone, zoned
from softbounce.cli.shared.session import hashed_words, note_list_reveal, opened, tracked
from softbounce.core.durations import HOUR
from softbounce.core.filters import Filter, parse_filter
from softbounce.core.reasons import cause
from softbounce.core.table_files import write_rows
from softbounce.core.texts import count, when, word
from softbounce.core.timestamps import iso
from softbounce.errors import NotFound
from softbounce.explain import delivery as deliveries
from softbounce.store import Store
from softbounce.store.retries import FILTER_KEYS, Waiting
from softbounce.store.scopes import KINDS

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What waits to be sent again.")

PAUSABLE = ("reference", "claim", "merchant", "recipient", "channel", "code")
LOOKED_AT = 20  # retries that are searched for other pauses
NOUNS = ("waiting retry", "waiting retries")
HEAD = ("TRY", "RECIPIENT", "CAUSE", "MERCHANT", "WAITS FOR", "REFERENCE")
COLUMNS = (
    "reference", "recipient", "address", "channel", "claim", "customer", "merchant", "reasonCode", "cause",
    "state", "attempt", "maxAttempts", "nextTry", "firstFailedAt", "notAfter", "rule", "policy",
)  # fmt: skip
Mark = tuple[str, str]  # kind and value of a cancel marker or a pause


@app.command("list", cls=Filtered)
def list_(
    words: options.Words = None, *, reveal: options.Reveal = False, output: options.Output = Output.TABLE
) -> None:
    """List waiting retries, the next one first: retries list channel:sms 'due:<2h'.

    Keys: reference (needs no key), claim, customer, merchant, recipient, channel, code, provider, due, age,
    try, rule and state (waiting quiet rate paused leased).
    """
    with opened() as store:
        now = store.now()
        found = store.retries.select(_filter(words, store), now=now)
        if reveal:
            note_list_reveal(store, "retries", words, bare="reference")
        rows = (_retry_row(waiting, now, reveal=reveal) for waiting in found)
        show((zoned("NEXT TRY"), *HEAD), rows, output)


@app.command("show")
def show_(
    reference: Annotated[str, typer.Argument(help="The message's reference")],
    *,
    reveal: options.Reveal = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Show all that is known of one message: its deliveries, and what happened to each."""
    with opened() as store:
        situations = deliveries.find(reference, store)
        if reveal:
            note_list_reveal(store, "retries", [reference], bare="reference")
        if output is not Output.TABLE:
            shown = (deliveries.as_json(found.story, reveal=reveal) for found in situations)
            show((), ((one, ()) for one in shown), output)
            return
        for situation in situations:
            typer.echo("\n".join(deliveries.as_text(situation, zone=zone(), reveal=reveal)))


@app.command(cls=Filtered)
def export(
    words: options.Words = None, *, form: options.Form = Form.NDJSON, reveal: options.Reveal = False
) -> None:
    """Write waiting retries to stdout."""
    with opened() as store:
        if reveal:
            note_list_reveal(store, "retries", words, bare="reference")
        found = store.retries.select(_filter(words, store), now=store.now())
        rows = (_retry_json(waiting, reveal=reveal) for waiting in tracked(found, "retries"))
        written = write_rows(rows, sys.stdout, form=form, columns=COLUMNS)
        say(f"{written:,} exported")


@app.command("run-now", cls=Filtered)
@changing("yes", "dry_run", "output")
def run_now(words: options.NeededWords, *, intent: Intent) -> None:
    """Send waiting retries now: quiet hours and pauses do not bind them, their deadline does."""
    with opened() as store:
        matching = _confirmed(_filter(words, store), store, intent)
        idents = [waiting.delivery.id for waiting in matching]
        moved = store.retries.run_now(idents, by=intent.by)
        sentence = f"Due now: {count(moved, 'retries')}. What is due leaves at the hand-over rate."
        intent.tell(sentence, {"action": "run-now", "matched": len(idents), "done": moved})
        mode = store.modes.all()[0]
        if mode.mode != "on":
            say(f"Mode is {mode.mode} ({mode.reason}): nothing leaves until: softbounce mode on --reason ...")


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def cancel(words: options.NeededWords, *, intent: Intent) -> None:
    """Stop what waits. claim:54321 or a reference alone also stops what is reported of it later.

    customer:, merchant: or recipient: alone stops what has failed by now. Any other filter stops
    the references of the retries that match, each with all its recipients.
    """
    with opened() as store:
        matching, marks = _marked(words, store, KINDS, intent)
        now = store.now()
        for kind, value in tracked(marks, "cancelling"):
            store.cancels.add(kind, value, by=intent.by, now=now)
        sentence = f"Cancelled: {count(len(matching), 'retries')}."
        if len(marks) == 1 and marks[0][0] in ("reference", "claim"):
            sentence += f" What is reported later of {':'.join(marks[0])} is cancelled too."
        if leased := sum(waiting.state == "leased" for waiting in matching):
            sentence += f" {leased:,} being handed over at this moment may still leave."
        intent.tell(sentence, {"action": "cancel", "matched": len(matching), "marks": len(marks)})


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def pause(words: options.NeededWords, *, intent: Intent, period: options.Period = HOUR) -> None:
    """Let what becomes due wait, at no cost of a try, for an hour or --for; the pause ends by itself.

    One of reference, claim, merchant, recipient, channel or code alone also covers what comes later. Any
    other filter pauses the references of the retries that match.
    """
    with opened() as store:
        matching, marks = _marked(words, store, PAUSABLE, intent)
        now = store.now()
        for kind, value in tracked(marks, "pausing"):
            store.pauses.add(kind, value, until=now + period, by=intent.by)
        sentence = f"Paused until {when(now + period, zone(), now)}: {count(len(matching), 'retries')}."
        facts = {"action": "pause", "matched": len(matching), "marks": len(marks), "until": iso(now + period)}
        intent.tell(sentence, facts)


@app.command(cls=Filtered)
@changing("yes", "dry_run", "output")
def resume(words: options.NeededWords, *, intent: Intent) -> None:
    """End a pause: name what was paused, in the same words."""
    with opened() as store:
        matching, marks = _marked(words, store, PAUSABLE, intent)
        paused = store.pauses.all()
        marks = [mark for mark in marks if store.pauses.field(*mark) in paused]
        if not marks:
            message = f"no pause on {' '.join(words)}; paused: {', '.join(sorted(paused)) or 'nothing'}"
            raise NotFound(message)
        for kind, value in tracked(marks, "resuming"):
            store.pauses.end(kind, value, by=intent.by)
        waited = [waiting.delivery.id for waiting in matching if waiting.state == "paused"]
        moved = store.retries.resume(waited, by=intent.by)
        sentence = f"Resumed: {count(moved, 'retries')} had become due."
        if others := _other_pauses(matching, store):
            sentence += f" Some wait still: paused by {', '.join(others)}."
        facts = {"action": "resume", "matched": len(matching), "done": moved, "paused": others}
        intent.tell(sentence, facts)


def _other_pauses(matching: Iterable[Waiting], store: Store) -> list[str]:
    """Return the pauses that still hold back what was to be resumed; a few retries are looked at."""
    idents = [waiting.delivery.id for waiting in islice(matching, LOOKED_AT)]
    held = {
        gate.field.partition(":")[0] if gate.field.startswith(("reference:", "recipient:")) else gate.field
        for _, gates in store.situations.gates(idents)
        for gate in gates
        if gate.why == "paused"
    }
    return sorted(held)


def _filter(words: Collection[str] | None, store: Store) -> Filter:
    return parse_filter(hashed_words(words, store, bare="reference"), keys=FILTER_KEYS)


def _confirmed(wanted: Filter, store: Store, intent: Intent, *, may_be_none: bool = False) -> list[Waiting]:
    found = store.retries.select(wanted, now=store.now())
    return intent.confirmed(found, describe=_described, nouns=NOUNS, may_be_none=may_be_none)


def _marked(
    words: Sequence[str], store: Store, kinds: Collection[str], intent: Intent
) -> tuple[list[Waiting], list[Mark]]:
    """Return the retries that match, and the marks to write: the one thing named, else each reference."""
    wanted = _filter(words, store)
    named = [(kind, value) for kind in kinds if (value := wanted.only(kind))]
    matching = _confirmed(wanted, store, intent, may_be_none=bool(named))
    spelled = {"channel": str.lower, "code": str.upper}  # as the store knows them
    return matching, [(kind, spelled.get(kind, str)(value)) for kind, value in named] or [
        ("reference", reference)
        for reference in dict.fromkeys(waiting.delivery.reference for waiting in matching)
    ]


def _described(waiting: Waiting) -> str:
    delivery = waiting.delivery
    tries = f"try {delivery.attempt} of {delivery.max_attempts}"
    return f"{delivery.reference} {deliveries.masked(delivery)} {tries}"


def _retry_row(waiting: Waiting, now: int, *, reveal: bool) -> Row:
    delivery = waiting.delivery
    is_due = waiting.state == "waiting" and waiting.due <= now
    shown = _retry_json(waiting, reveal=reveal)
    return shown, (
        time_of(waiting.due, now),
        f"{delivery.attempt}/{delivery.max_attempts}",
        shown["address"],
        shown["cause"],
        delivery.merchant,
        "its turn" if is_due else word("state", waiting.state),
        delivery.reference,
    )


def _retry_json(waiting: Waiting, *, reveal: bool) -> Json:
    delivery = waiting.delivery
    return {
        "reference": delivery.reference,
        "recipient": deliveries.recipient_of(delivery),
        "address": deliveries.addresses(delivery) if reveal else deliveries.masked(delivery),
        "channel": delivery.channel,
        "claim": delivery.claim.id,
        "customer": delivery.claim.customer_number,
        "merchant": delivery.claim.merchant_id,
        "reasonCode": delivery.code,
        "cause": cause(delivery.code),
        "state": waiting.state,
        "attempt": delivery.attempt,
        "maxAttempts": delivery.max_attempts,
        "nextTry": iso(waiting.due),
        "firstFailedAt": iso(delivery.first_failed),
        "notAfter": iso(delivery.deadline),
        "rule": delivery.rule,
        "policy": delivery.revision,
    }
