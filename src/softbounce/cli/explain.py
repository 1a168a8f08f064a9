"""``softbounce explain``: why. For events in a file, for a message, or for a recipient."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from softbounce.cli import story
from softbounce.cli.breakers import state_of
from softbounce.cli.console import (
    ChannelOption,
    Json,
    Output,
    OutputOption,
    PolicyOption,
    moment,
    now,
    plain,
    show,
    tell,
    zone,
)
from softbounce.cli.desk import opened, policy_in_force, policy_of
from softbounce.cli.files import binary_file, read_lines, read_reports
from softbounce.cli.standing import explain_recipient, pauses_of, soft_bounces
from softbounce.core import explain as core
from softbounce.core.decide import plan
from softbounce.core.events import Ignored, parse
from softbounce.core.policy import Policy
from softbounce.core.records import Delivery, iso
from softbounce.core.texts import LAST, label, when, word
from softbounce.errors import InvalidEvent, InvalidSettings, NotFound
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
    channel: ChannelOption = None,
    at: Annotated[
        int | None,
        typer.Option(parser=moment, metavar="TIME", help="As if received then; else as if when it was dated"),
    ] = None,
    policy: PolicyOption = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As if the rule said so: retry.delays=[1h]"),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why. Events in a file or on stdin need no store: nothing is reported, nothing changes."""
    if what == "-" or _is_file(what):
        as_they_come = what == "-" and output is Output.NDJSON
        with binary_file(what) as file:
            events = (read_lines if as_they_come else read_reports)(file)
            _explain_events(events, policy_of(policy, what_if or ()), at=at, output=output)
    elif what.endswith((".json", ".ndjson")):
        message = f"there is no file {plain(what)}"
        raise InvalidSettings(message)
    else:
        with opened() as store:
            if channel or what.startswith(("+", "r_")) or "@" in what:
                explain_recipient(what, channel, store=store, output=output)
            else:
                rules = policy_in_force(store, policy, what_if or ())
                _explain_message(what, rules, store=store, output=output)


def _is_file(what: str) -> bool:
    try:
        return Path(what).is_file()
    except OSError:  # a reference may be longer than a file's name can be
        return False


def _explain_events(events: Iterator[bytes], policy: Policy, *, at: int | None, output: Output) -> None:
    if output is Output.TABLE:
        for number, raw in enumerate(events):
            typer.echo("\n".join(["", *_event_text(raw, policy, at=at)][number == 0 :]))
        return
    decisions = (core.explain(raw, policy=policy, now=at) for raw in events)
    if output is Output.NDJSON:
        show((), ((decision, ()) for decision in decisions), output)
        return
    found = list(decisions)
    if len(found) == 1:
        tell("", found[0], output)
    else:
        show((), ((decision, ()) for decision in found), output)


def _event_text(raw: bytes, policy: Policy, *, at: int | None) -> list[str]:
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
    return core.explain_text(core.Facts(plan=planned, policy=policy, now=seen, zone=zone()))


def _explain_message(reference: str, policy: Policy, *, store: Store, output: Output) -> None:
    stories = store.retries.find(reference)
    if not stories:
        raise NotFound(story.unknown(reference))
    if output is not Output.TABLE:
        show((), ((_message_json(found, policy, store), ()) for found in stories), output)
        return
    for number, found in enumerate(stories):
        typer.echo("\n".join(["", *_message_text(found, policy, store)][number == 0 :]))


def _message_json(found: Story, policy: Policy, store: Store) -> Json:
    told = story.as_json(found, reveal=False)
    became = story.becomes(found.delivery, store, store.now())
    if became in (
        "cancelled",
        "suppressed",
        "delivered",
    ):  # its record may say so later
        told |= {"outcome": became, "nextTry": None}
    if (report := story.last_report(found, policy)) is None:
        return told
    planned, _ = report
    decision = core.as_json(planned, policy=policy)
    if decision["escalate"]:
        decision["escalate"]["count"] = soft_bounces(store, found.delivery.rid, planned.rule.soft_bounce)
    if became == "suppressed":
        until = store.suppressions.check(
            f"r_{found.delivery.rid}", "sms", merchant=found.delivery.merchant
        ).until
        origin = planned.rule.suppression.origin
        decision["suppress"] = {"recipient": told["recipient"], "until": iso(until), "origin": origin}
    return told | decision | {"nextTry": told["nextTry"]}


def _message_text(found: Story, policy: Policy, store: Store) -> list[str]:
    delivery, now = found.delivery, store.now()
    if (report := story.last_report(found, policy)) is None:
        return story.as_text(found, store, now)
    planned, _ = report
    place, due = story.place(planned, delivery), delivery.due
    became = story.becomes(delivery, store, now)
    is_waiting = became == "waiting" and place <= len(planned.dues)
    if is_waiting and planned.dues[place - 1].at // 1000 * 1000 == due:
        due = planned.dues[place - 1].at  # the store keeps seconds
    outcome = {"waiting": "scheduled", "leased": "handed over", "out": "handed over"}.get(str(became), became)
    facts = core.Facts(
        plan=planned,
        policy=policy,
        now=now,
        zone=zone(),
        outcome=outcome,
        headline=None if is_waiting or outcome == "held" else story.headline(found, store, now),
        rid=None if delivery.rid.startswith("*") else delivery.rid,
        shown=story.shown(found),
        attempt=delivery.attempt,
        place=place,
        due=due,
        deadline=delivery.deadline,
        soft_bounces=soft_bounces(store, delivery.rid, planned.rule.soft_bounce),
        case=story.case_of(found),
        history=tuple(story.told(found)),
    )
    return [*core.explain_text(facts), *_brakes(delivery, policy, store, now)]


def _brakes(delivery: Delivery, policy: Policy, store: Store, now: int) -> Iterator[str]:
    """Yield what only the store knows of: why a try does not leave though its time has come."""
    if delivery.revision != policy.revision:
        yield f"  decided under policy {delivery.revision}; the lines are of {policy.file} as it is now"
    if story.becomes(delivery, store, now) != "waiting":
        return
    modes = store.control.modes()
    is_alone_on = any(mode.merchant == delivery.merchant and mode.mode == "on" for mode in modes)
    for mode in modes:
        if is_alone_on and mode.mode == "observe":
            continue
        if mode.mode != "on" and mode.merchant in ("*", delivery.merchant):
            whom = "" if mode.merchant == "*" else f" for merchant {mode.merchant}"
            by = plain(f"by {mode.by}: {mode.reason}")
            yield f"  mode {mode.mode}{whom} since {when(mode.at, zone(), now)}, {by}"
    for field, entry in pauses_of(delivery, store, now):
        by = plain(f"by {entry.get('by', '')}: {entry.get('reason', '')}")
        yield f"  its {field.partition(':')[0]} is paused until {when(int(entry['z']), zone(), now)}, {by}"
    name = delivery.provider
    state, until = state_of(name, store.control.breakers().get(name, ({}, ""))[0], policy, now)
    if state != "closed":
        end = f" until {when(until, zone(), now)}" if until else ""
        yield plain(f"  the breaker of its provider {name} is {state}{end}")
    if delivery.waits_for and delivery.waits_for not in ("quiet", "paused"):
        yield f"  waits for {word('state', delivery.waits_for)}"
