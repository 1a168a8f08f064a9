"""``softbounce policy simulate``: what two policies would have done with recorded reports, side by side."""

import json
import sys
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from pydantic import ValidationError

from softbounce import telemetry
from softbounce.cli.policy.examples import throw_away_stores
from softbounce.cli.shared.input_files import binary_file, read_reports, write_text
from softbounce.cli.shared.output import duration, say
from softbounce.cli.shared.session import fail_in_part, opened, policy_in_force, policy_of, tracked
from softbounce.core.durations import words
from softbounce.core.policy.model import QuietHours
from softbounce.core.policy.schema import Quiet
from softbounce.core.recipients import Channel
from softbounce.core.texts import columns, plain
from softbounce.errors import InvalidSettings


def simulate(
    *,
    a: Annotated[Path | None, typer.Option("-a", metavar="FILE", help="Else the policy in force")] = None,
    b: Annotated[Path, typer.Option("-b", metavar="FILE", help="The policy to compare it with")],
    events: Annotated[
        str | None, typer.Option("--events", metavar="FILE | -", help="Reports, as NDJSON or an array")
    ] = None,
    since: Annotated[
        int | None, typer.Option(parser=duration, metavar="AGE", help="Replay what the store remembers: 30d")
    ] = None,
    night: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM", help="At the recipient; else the quiet hours of A")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL[:COUNTRY]=PRICE", help="Of one resend: sms:DE=0.07")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False,
    bars: Annotated[bool, typer.Option("--bars", help="Print a plot below the table")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write the plot as SVG")] = None,
) -> None:
    """Replay recorded reports under two policies on a throw-away store, in virtual time; exit 5 if in part.

    The reports are those of a file, or of the messages first reported to the store within --since.

    exact: follows from the record and the policies alone. estimated: depends on sends that never happened,
    and is the range of two worlds: recipients are reachable as early as the record allows, or as late.
    """
    from softbounce import simulate as room  # noqa: PLC0415 - the other commands need none of it
    from softbounce.simulate import from_history, plot, recording, replay  # noqa: PLC0415

    telemetry.configure(stream=sys.stderr, level="ERROR")
    hours, prices = _hours(night), dict(map(_price, price or ()))
    if (events is None) == (since is None):
        message = "say what to replay: --events FILE, or --since 30d for what the store remembers"
        raise InvalidSettings(message)
    began = perf_counter()
    if since is not None:
        with opened() as store:
            policies = policy_in_force(store, a), policy_of(b)
            found = from_history.remembered(store, since=since)
        nothing = f"the store remembers no message first reported within {words(since)}"
    else:
        policies = policy_of(a), policy_of(b)
        with binary_file(str(events)) as source:
            reports = tracked(read_reports(source), "reading")
            found = recording.read(reports, lacks_plus=policies[0].lacks_plus)
        nothing = f"{plain(events)} holds no report: MESSAGE_NOT_DELIVERED or MESSAGE_DELIVERED"
    if not found.events:
        fail_in_part(found.wrong, of=len(found.wrong))
        raise InvalidSettings(nothing)
    with throw_away_stores() as stores:
        rows = room.compare(
            found,
            *policies,
            stores=stores,
            night=replay.Night(policy=policies[0], hours=hours),
            prices=prices,
        )
    rate = room.RUNS * found.events / (perf_counter() - began)
    title = f"{found.events:,} events   " + "   ".join(
        f"{name} {plain(policy.file)} {policy.revision}" for name, policy in zip("AB", policies, strict=True)
    )
    if as_json:
        facts = {
            "version": 1,
            "events": found.events,
            "unreadable": len(found.wrong),
            "eventsPerSecond": round(rate),
            "a": policies[0].revision,
            "b": policies[1].revision,
            "rows": [{**asdict(row), "label": row.label} for row in rows],
        }
        typer.echo(json.dumps(facts, indent=2, default=float))
    else:
        typer.echo(f"{title}   {rate:,.0f} events/s in {room.RUNS} runs")
        cells = [
            [
                row.title.ljust(20),
                *(plot.words(span, exact=row.exact) for span in (row.a, row.b)),
                plot.words(row.difference, exact=row.exact, sign="+"),
                row.label,
            ]
            for row in rows
        ]
        typer.echo("\n".join(columns([["", "A", "B", "B - A", ""], *cells])))
        if bars:
            typer.echo("\n".join(["", *plot.bars(rows)]))
    if svg:
        write_text(svg, plot.svg(rows, title=title))
        say(f"wrote {svg}")
    fail_in_part(found.wrong, of=found.events + len(found.wrong))


def _hours(text: str | None) -> QuietHours | None:
    if text is None:
        return None
    start, _, end = text.partition("-")
    try:
        return QuietHours(**dict(Quiet.model_validate({"from": start, "to": end, "spread": "0s"})))
    except ValidationError:
        message = "--night takes two times of day, such as 20:00-08:00"
        raise InvalidSettings(message) from None


def _price(text: str) -> tuple[str, Decimal]:
    """Return the key, ``sms`` or ``sms:DE``, and the price of a resend."""
    where, _, amount = text.partition("=")
    channel, colon, country = where.partition(":")
    try:
        cost = Decimal(amount)
        name = f"{Channel(channel.lower())}{colon}{country.upper()}"
    except (InvalidOperation, ValueError):
        cost, name = Decimal("NaN"), ""
    if not cost.is_finite() or cost < 0 or (colon and not country):
        message = f"--price {text}: write sms=0.07 or sms:DE=0.05; channels are sms, email, letter"
        raise InvalidSettings(message)
    return name, cost
