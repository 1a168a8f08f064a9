"""``softbounce explain``: why. For events in a file, for a message, or for a recipient."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.input_files import binary_file, read_lines, read_reports
from softbounce.cli.shared.output import Output, moment, now, show, tell, zone
from softbounce.cli.shared.session import channel_of, opened, policy_in_force, policy_of
from softbounce.core.decide import plan
from softbounce.core.events import Ignored, OptedIn, parse
from softbounce.core.policy.model import Policy
from softbounce.core.texts import label, plain
from softbounce.core.timestamps import LAST
from softbounce.errors import InvalidEvent, InvalidSettings
from softbounce.explain import decision as core
from softbounce.explain import message, recipient
from softbounce.explain.delivery import find
from softbounce.store import Store

app = typer.Typer(add_completion=False)


@app.command()
def explain(
    what: Annotated[
        str,
        typer.Argument(metavar="EVENT.json | - | REFERENCE | RECIPIENT", help="-: stdin, one event a line"),
    ],
    *,
    channel: options.Channel = None,
    at: Annotated[
        int | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="A file: as if received then; a message: how it will stand then",
        ),
    ] = None,
    policy: options.Policy = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As if the rule said so: retry.delays=[1h]"),
    ] = None,
    all_layers: Annotated[
        bool,
        typer.Option("--all-layers", help="Each setting, with all layers of the policy under it"),
    ] = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Say why. Events in a file or on stdin need no store: nothing is reported, nothing changes."""
    if what == "-" or _is_file(what):
        as_they_come = what == "-" and output is Output.NDJSON
        with binary_file(what) as file:
            events = (read_lines if as_they_come else read_reports)(file)
            rules = policy_of(policy, what_if or ())
            _explain_events(events, rules, at=at, output=output, all_layers=all_layers)
    elif what.endswith((".json", ".ndjson")):
        missing = f"there is no file {plain(what)}"
        raise InvalidSettings(missing)
    else:
        with opened() as store:
            if channel or what.startswith(("+", "r_")) or "@" in what:
                if at is not None:
                    misused = "--at is for events and messages; a recipient is told of as of now"
                    raise InvalidSettings(misused)
                _explain_recipient(what, channel, store=store, output=output)
            else:
                rules = policy_in_force(store, policy, what_if or ())
                _explain_message(what, rules, store=store, at=at, output=output, all_layers=all_layers)


def _is_file(what: str) -> bool:
    try:
        return Path(what).is_file()
    except OSError:  # a reference may be longer than a file's name can be
        return False


def _explain_events(
    events: Iterator[bytes], policy: Policy, *, at: int | None, output: Output, all_layers: bool
) -> None:
    if output is Output.TABLE:
        for number, raw in enumerate(events):
            text = _event_text(raw, policy, at=at, all_layers=all_layers)
            typer.echo("\n".join(["", *text][number == 0 :]))
        return
    decisions = (core.explain(raw, policy=policy, now=at, all_layers=all_layers) for raw in events)
    if output is Output.NDJSON:
        show((), ((decision, ()) for decision in decisions), output)
        return
    found = list(decisions)
    if len(found) == 1:
        tell("", found[0], output)
    else:
        show((), ((decision, ()) for decision in found), output)


def _event_text(raw: bytes, policy: Policy, *, at: int | None, all_layers: bool) -> list[str]:
    try:
        event = parse(raw, lacks_plus=policy.lacks_plus)
    except InvalidEvent as error:
        return [f"{label('dead_lettered', reason=plain(error))}   outcome: dead_lettered"]
    if isinstance(event, Ignored):
        return [f"{label('ignored', why=f'type {plain(event.type)}')}   outcome: ignored"]
    if isinstance(event, OptedIn):
        return [f"{label('opted_in')}   outcome: opted_in"]
    if event.delivered:
        return [f"{label('delivered')}   outcome: delivered"]
    seen = now() if at is None else at
    received = next(moment for moment in (at, event.at, seen) if moment is not None)
    planned = plan(event, policy=policy, now=min(received, LAST))
    facts = core.Facts(plan=planned, policy=policy, now=seen, zone=zone(), all_layers=all_layers)
    return core.explain_text(facts)


def _explain_message(
    reference: str, policy: Policy, *, store: Store, at: int | None, output: Output, all_layers: bool
) -> None:
    situations = find(reference, store, policy=policy, at=at)
    if at is not None and at < situations[0].now:
        past = (
            "--at is in the past: the store knows how a message stands now, and its history says what was. "
            "Give a time to come, or none"
        )
        raise InvalidSettings(past)
    if output is not Output.TABLE:
        told = (message.as_json(found, policy, zone=zone(), all_layers=all_layers) for found in situations)
        show((), ((one, ()) for one in told), output)
        return
    for number, found in enumerate(situations):
        text = message.as_text(found, policy, zone=zone(), all_layers=all_layers)
        typer.echo("\n".join(["", *text][number == 0 :]))


def _explain_recipient(value: str, channel: str | None, *, store: Store, output: Output) -> None:
    known = recipient.known_of(value, channel_of(value, channel), store)
    text = recipient.as_text(known, zone=zone()) if output is Output.TABLE else ()
    tell("\n".join(text), recipient.as_json(known), output)
