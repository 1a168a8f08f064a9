"""``softbounce explain``: why. For events in a file, for a message, or for a recipient."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from softbounce.cli import story
from softbounce.cli.obstacles import against
from softbounce.cli.shared import options
from softbounce.cli.shared.input_files import binary_file, read_lines, read_reports
from softbounce.cli.shared.output import Json, Output, moment, now, show, tell, zone
from softbounce.cli.shared.session import opened, policy_in_force, policy_of
from softbounce.cli.standing import explain_recipient, soft_bounces
from softbounce.core.decide import Plan, plan
from softbounce.core.events import Ignored, parse
from softbounce.core.policy.model import Policy
from softbounce.core.records import iso
from softbounce.core.texts import LAST, label, plain
from softbounce.errors import InvalidEvent, InvalidSettings
from softbounce.explain import decision as core
from softbounce.store import Store
from softbounce.store.retries import Story

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
        message = f"there is no file {plain(what)}"
        raise InvalidSettings(message)
    else:
        with opened() as store:
            if channel or what.startswith(("+", "r_")) or "@" in what:
                if at is not None:
                    message = "--at is for events and messages; a recipient is told of as of now"
                    raise InvalidSettings(message)
                explain_recipient(what, channel, store=store, output=output)
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
        event = parse(raw)
    except InvalidEvent as error:
        return [f"{label('dead_lettered', reason=plain(error))}   outcome: dead_lettered"]
    if isinstance(event, Ignored):
        return [f"{label('ignored', why=f'type {plain(event.type)}')}   outcome: ignored"]
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
    stories = story.stories_of(reference, store)
    now = store.now()
    if at is not None and at < now:
        message = (
            "--at is in the past: the store knows how a message stands now, and its history says what was. "
            "Give a time to come, or none"
        )
        raise InvalidSettings(message)
    moment = now if at is None else at
    if output is not Output.TABLE:
        told = (_message_json(found, policy, store, at=moment, all_layers=all_layers) for found in stories)
        show((), ((one, ()) for one in told), output)
        return
    for number, found in enumerate(stories):
        text = _message_text(found, policy, store, at=moment, all_layers=all_layers)
        typer.echo("\n".join(["", *text][number == 0 :]))


def _message_json(found: Story, policy: Policy, store: Store, *, at: int, all_layers: bool) -> Json:
    told, delivery = story.as_json(found, reveal=False), found.delivery
    became = story.becomes(delivery, store, at)
    if became in ("cancelled", "suppressed", "delivered"):  # its record may say so later
        told |= {"outcome": became, "nextTry": None}
    elif story.is_observed(found):
        told |= {"outcome": "observed"}
    if (planned := story.last_report(found, policy)) is None:
        return told
    decision = core.as_json(planned, policy=policy, all_layers=all_layers)
    if decision["escalate"]:
        decision["escalate"]["count"] = soft_bounces(store, delivery.rid, planned.rule.soft_bounce)
    if became == "suppressed":
        verdict = store.suppressions.check(f"r_{delivery.rid}", "sms", merchant=delivery.merchant)
        until, origin = iso(verdict.until), planned.rule.suppression.origin
        decision["suppress"] = {"recipient": told["recipient"], "until": until, "origin": origin}
    why_not = core.why_not(_facts(found, planned, policy, store, at=at))
    return told | decision | {"nextTry": told["nextTry"], "whyNot": why_not}


def _message_text(found: Story, policy: Policy, store: Store, *, at: int, all_layers: bool) -> Iterator[str]:
    if (planned := story.last_report(found, policy)) is None:
        yield from story.as_text(found, store, at)
        return
    facts = _facts(found, planned, policy, store, at=at)
    yield from core.explain_text(replace(facts, all_layers=all_layers))
    if found.delivery.revision != policy.revision:
        yield (
            f"  decided under policy {found.delivery.revision}; the lines are of {policy.file} as it is now"
        )


def _facts(found: Story, planned: Plan, policy: Policy, store: Store, *, at: int) -> core.Facts:
    delivery = found.delivery
    place, due = story.place(planned, delivery), delivery.due
    became = story.becomes(delivery, store, at)
    is_waiting = became == "waiting" and place <= len(planned.dues)
    if is_waiting and planned.dues[place - 1].at // 1000 * 1000 == due:
        due = planned.dues[place - 1].at  # the store keeps seconds
    if story.is_observed(found):
        became = "observed"
    outcome = {"waiting": "scheduled", "leased": "handed over", "out": "handed over"}.get(str(became), became)
    return core.Facts(
        plan=planned,
        policy=policy,
        now=at,
        zone=zone(),
        outcome=outcome,
        headline=None if is_waiting or outcome == "held" else story.headline(found, store, at),
        rid=None if delivery.rid.startswith("*") else delivery.rid,
        shown=story.shown(found),
        attempt=delivery.attempt,
        place=place,
        due=due,
        deadline=delivery.deadline,
        soft_bounces=soft_bounces(store, delivery.rid, planned.rule.soft_bounce),
        case=story.case_of(found),
        history=tuple(story.told(found)),
        obstacles=tuple(against(found, planned, policy=policy, store=store, at=at)),
    )
