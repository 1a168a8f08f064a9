"""``softbounce policy plan | apply | rollback``: see what a policy changes, apply it, go back."""

import json
from collections import Counter
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from softbounce.cli.policy.examples import throw_away_stores
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.input_files import write_text
from softbounce.cli.shared.output import REFUSED, Json, duration, say
from softbounce.cli.shared.session import opened, policy_of
from softbounce.core.durations import DAY, words
from softbounce.core.filters import parse_filter
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.diff import Change, changes
from softbounce.core.policy.model import Policy
from softbounce.core.replan import Effect, Move, replanned
from softbounce.core.texts import columns, plain
from softbounce.errors import NotFound
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.limits import LIST_BATCH
from softbounce.store.policies import Revision

CHANGES = 3  # exit code where anything changes
MESSAGES = 1_000  # of the history that a plan simulates, in some seconds
ENDING = ("cancelled", "suppressed", "delivered", "leased")  # a retry leaves now, or has ended
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The policy that is to be")]
Reschedule = Annotated[bool, typer.Option("--reschedule", help="Give waiting retries the new times, too")]


def plan(
    file: NewFile,
    *,
    since: Annotated[
        int, typer.Option(parser=duration, metavar="AGE", show_default="7d", help="Simulated, too; 0s: none")
    ] = 7 * DAY,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan for `policy apply`")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a review")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False,
) -> None:
    """Show what FILE changes: rules, waiting retries, the last days. Exit code 3 if anything changes."""
    new = policy_of(file)
    with opened() as store:
        running = _running(store)
        if running is None:
            message = "no worker runs and nothing was applied: there is no policy to compare with"
            raise NotFound(message)
        old = policy_file.load(running.text, file=running.file)
        found = changes(old, new)
        effects, _ = _waiting(store, new)
        past = _past(store, old, new, since=since) if since and found else None
    facts = {
        "version": 1,
        "base": running.revision,
        "revision": new.revision,
        "file": str(file),
        "changes": [asdict(change) for change in found],
        "waiting": {"label": "exact", **{str(effect): effects[effect] for effect in Effect}},
        "past": past,
    }
    if output:
        write_text(output, json.dumps(facts, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        title = f"policy {running.revision} -> {new.revision}"
        lines = _markdown(title, found) if markdown else [title, *_lines(found)]
        typer.echo("\n".join([*lines, *_sentences(effects), *_past_sentences(past)]))
    if running.revision != new.revision:
        raise typer.Exit(CHANGES)


@changing()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE|PLAN", help="A policy, or what `plan -o` wrote")],
    *,
    intent: Intent,
    reschedule: Reschedule = False,
) -> None:
    """Let every worker follow a policy, whatever its own file says; within ten seconds.

    A plan is refused where another policy runs by now than it was made against, or its file has changed.
    """
    made = _read_plan(file)
    text, name = policy_text(Path(made["file"]) if made else file)
    new = policy_file.load(text, file=name)
    with opened() as store:
        applied = store.policies.applied()
        if made:
            _require_fresh(made, new, _running(store))
        _follow(store, new, text, applied=applied, action="policy apply", by=intent.by)
        if reschedule:
            effects, moves = _waiting(store, new)
            moved = store.policies.replan(moves, revision=new.revision, by=intent.by)
            missed = len(moves) - moved
            rest = f"; {missed:,} changed meanwhile and keep theirs" if missed else ""
            typer.echo(f"{moved:,} waiting retries rescheduled: {_counts(effects)}{rest}.")


@changing()
def rollback(
    revision: Annotated[
        str | None, typer.Argument(metavar="[REVISION|file]", help="Else the one applied before")
    ] = None,
    *,
    intent: Intent,
) -> None:
    """Let every worker follow an earlier revision; with the word ``file`` each its own file again."""
    action = "policy rollback"
    with opened() as store:
        applied = store.policies.applied()
        if applied is None and revision in (None, "file"):
            message = "nothing is applied: each worker follows its own file"
            raise NotFound(message)
        seen = applied.revision if applied else ""
        if revision == "file":
            done = store.policies.apply(None, seen=seen, action=action, by=intent.by)
            _require(done=done)
            typer.echo(f"Released {seen}: each worker follows its own file again, within ten seconds.")
            return
        name = revision or (applied.previous if applied else "")
        known = store.policies.find(name) if name else None
        if known is None:
            message = f"no text of revision '{plain(name)}' is kept: the audit names those that were applied"
            raise NotFound(message)
        new = policy_file.load(known.text, file=known.file)
        _follow(store, new, known.text, applied=applied, action=action, by=intent.by)


def _follow(store: Store, new: Policy, text: str, *, applied: Revision | None, action: str, by: By) -> None:
    """Write the policy that all follow; an interrupted call may be made again."""
    before = _running(store)
    if applied and applied.revision == new.revision:
        typer.echo(f"{new.revision} is applied already.")
        return
    now = store.now()
    store.policies.keep(new, text=text, now=now)
    entry = Revision(
        revision=new.revision,
        text=text,
        file=new.file,
        previous=before.revision if before else "",
        by=by.actor,
        at=now,
        reason=by.reason,
    )
    seen = applied.revision if applied else ""
    _require(done=store.policies.apply(entry, seen=seen, action=action, by=by))
    was = f", instead of {before.revision}" if before else ""
    workers = len(store.workers.all(now=now))
    follow = "1 worker follows" if workers == 1 else f"{workers} workers follow"
    typer.echo(f"Applied {new.revision}{was}: {follow} within ten seconds.")


def _require(*, done: bool) -> None:
    if not done:
        message = "somebody else has applied another policy meanwhile: plan again"
        raise NotFound(message)


def _require_fresh(made: Json, new: Policy, running: Revision | None) -> None:
    runs = running.revision if running else "none"
    if made["base"] != runs:
        say(plain(f"this plan was made against {made['base']}, but {runs} runs by now: plan again"))
        raise typer.Exit(REFUSED)
    if made["revision"] != new.revision:
        changed = f"from {made['revision']} to {new.revision}"
        say(plain(f"{new.file} has changed since the plan, {changed}: plan again"))
        raise typer.Exit(REFUSED)


def _running(store: Store) -> Revision | None:
    """Return what is applied, else what most workers run."""
    if applied := store.policies.applied():
        return applied
    runs = Counter(str(entry["revision"]) for entry in store.workers.all(now=store.now()).values())
    if len(runs) > 1:
        said = ", ".join(f"{number} run {name}" for name, number in runs.most_common())
        say(f"warning: workers differ ({said}); compared with the first")
    return next((known for name, _ in runs.most_common() if (known := store.policies.find(name))), None)


def _waiting(store: Store, new: Policy) -> tuple[Counter[Effect], list[Move]]:
    """Read all waiting retries, page by page; return what ``new`` would do to them, and the moves."""
    effects: Counter[Effect] = Counter()
    moves: list[Move] = []
    now = store.now()
    select = store.retries.select(parse_filter("", keys=()), now=now)
    rest = (waiting.delivery for waiting in select if waiting.state not in ENDING)
    while some := list(islice(rest, LIST_BATCH)):
        for delivery, failure in zip(some, store.retries.scheduled_by(some), strict=True):
            found = replanned(delivery, failure, policy=new, now=now) if failure else Effect.UNCHANGED
            effects[found.effect if isinstance(found, Move) else found] += 1
            if isinstance(found, Move):
                moves.append(found)
    return effects, moves


def _past(store: Store, old: Policy, new: Policy, *, since: int) -> Json:
    """Return what ``new`` would have made of the last days, beside ``old``, by simulation."""
    from softbounce import simulate  # noqa: PLC0415 - starts a store, where there is a history
    from softbounce.simulate import from_history, plot, replay  # noqa: PLC0415

    total = store.retries.remembered()
    record = from_history.remembered(store, since=since, most=MESSAGES)
    rows = []
    if record.reports:
        night = replay.Night(policy=old)
        with throw_away_stores() as stores:
            rows = simulate.compare(record, old, new, stores=stores, night=night, prices={})
    return {
        "since": words(since),
        "messages": len({key[0] for key in record.fates}),
        "looked_at": min(total, MESSAGES),
        "remembered": total,
        "rows": [
            {**asdict(row), "label": row.label, "text": plot.words(row.difference, exact=row.exact, sign="+")}
            for row in rows
        ],
    }


def _past_sentences(past: Json | None) -> list[str]:
    if past is None:
        return []
    cut = past["looked_at"] < past["remembered"]
    of = f", of {past['looked_at']:,} looked at among {past['remembered']:,}" if cut else ""
    moved = [row for row in past["rows"] if row["difference"] != {"low": 0, "high": 0}]
    said = ", ".join(f"{row['title']} {row['text']} ({row['label']})" for row in moved)
    what = f"would have meant {said}" if said else "would have changed no figure"
    return [f"In the last {past['since']} it {what}: {past['messages']:,} messages simulated{of}."]


def _counts(effects: Counter[Effect]) -> str:
    some = (Effect.EARLIER, Effect.LATER, Effect.DROPPED, Effect.UNCHANGED)
    parts = [f"{effects[effect]:,} {effect}" for effect in some]
    if kept := effects[Effect.KEPT]:
        parts.append(f"{kept:,} kept (the new rule would hold or block them)")
    return ", ".join(parts)


def _sentences(effects: Counter[Effect]) -> list[str]:
    total = effects.total()
    if not total:
        return ["No retry waits (exact)."]
    kept = f"{total:,} waiting retries keep their schedule (exact)."
    return [f"{kept} With --reschedule: {_counts(effects)} (exact)."]


def _lines(found: list[Change]) -> list[str]:
    rows = [(f"  ~ {one.key}", f"{plain(one.old)} -> {plain(one.new)}", plain(one.at)) for one in found]
    return columns(rows) if rows else ["  no rule changes"]


def _markdown(title: str, found: list[Change]) -> list[str]:
    cells = [[f"`{plain(text)}`" for text in (one.key, one.old, one.new, one.at)] for one in found]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    return [f"### {title}", "", "| what | from | to | where |", "| --- | --- | --- | --- |", *rows, ""]


def _read_plan(file: Path) -> Json | None:
    """Return the plan in ``file``, None where it is something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_plan = isinstance(found, dict) and all(
        isinstance(found.get(key), str) for key in ("base", "revision", "file")
    )
    return found if is_plan else None
