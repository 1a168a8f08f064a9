"""``softbounce shadow``: what softbounce would have done while observing, beside the system in place."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from softbounce import telemetry
from softbounce.cli.policy.examples import throw_away_stores
from softbounce.cli.shared.output import duration
from softbounce.cli.shared.session import opened, policy_in_force
from softbounce.core.durations import DAY, words
from softbounce.core.texts import columns
from softbounce.errors import NotFound

app = typer.Typer(add_completion=False)


@app.command()
def shadow(
    *,
    since: Annotated[
        int,
        typer.Option(
            parser=duration, metavar="AGE", show_default="7d", help="Messages first reported within it"
        ),
    ] = 7 * DAY,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False,
) -> None:
    """Show what would have been sent, saved and suppressed while observing, beside the system in place.

    softbounce is simulated under the policy in force; the system in place is seen by its reports.
    """
    from softbounce.simulate import plot  # noqa: PLC0415 - the other commands need none of it
    from softbounce.simulate import shadow as room  # noqa: PLC0415

    telemetry.configure(stream=sys.stderr, level="ERROR")
    with opened() as store:
        policy = policy_in_force(store)
        remembered = store.retries.stories(since=store.now() - since)
        stories = list(room.observed(remembered, store.modes.all()))
    if not stories:
        message = (
            f"nothing observed within {words(since)}: softbounce mode observe --reason ..., and report to it"
        )
        raise NotFound(message)
    with throw_away_stores() as stores:
        lines = room.beside(stories, policy, stores=stores)
    tries = sum(line.kind == "observed" for story in stories for line in story.history)
    if as_json:
        facts = {"version": 1, "since": words(since), "messages": len(stories), "observed": tries}
        shown = [{**asdict(line), "label": line.label} for line in lines]
        facts |= {"policy": policy.revision, "rows": shown}
        typer.echo(json.dumps(facts, indent=2))
        return
    left = f"{tries:,} tries would have left by now (exact)"
    typer.echo(f"{len(stories):,} messages observed within {words(since)}   {left}")
    rows = [
        [
            line.title.ljust(20),
            plot.words(line.ours, exact=line.exact),
            plot.words(line.theirs, exact=line.theirs.low == line.theirs.high) if line.theirs else "-",
            line.label,
        ]
        for line in lines
    ]
    typer.echo("\n".join(columns([["", "softbounce", "in place", ""], *rows])))
