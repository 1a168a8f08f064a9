"""What is known of one recipient: whether it may be sent to, its evidence, and what waits for it."""

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from softbounce.cli import story
from softbounce.cli.shared.output import Json, Output, tell, time_of, zone
from softbounce.cli.shared.session import channel_of
from softbounce.core.filters import parse_filter
from softbounce.core.policy.model import SoftBounce
from softbounce.core.reasons import cause
from softbounce.core.records import Delivery, iso
from softbounce.core.texts import columns, count, date, label, plain, when, word
from softbounce.store import Store, Verdict
from softbounce.store.encoding import CONSENT
from softbounce.store.retries import FILTER_KEYS

PROVISIONAL = "provisional"  # refused only until a person has looked at the incident
BY_HAND = {"MANUAL", "IMPORTED"}  # codes of entries that no report made


def explain_recipient(value: str, channel: str | None, *, store: Store, output: Output) -> None:
    """Print a recipient's standing: verdict, list entries, pause, soft bounces, reports, waiting retries."""
    on = channel_of(value, channel)
    rid, now = store.suppressions.rid(value, on), store.now()
    verdict = store.suppressions.check(f"r_{rid}", on)
    entries = store.suppressions.find(f"r_{rid}", on)
    standing = store.retries.standing(rid)
    pause = store.control.pauses().get(f"recipient:{rid}")
    pause = pause if pause and int(pause["z"]) > now else None
    waiting = list(store.retries.select(parse_filter(f"recipient:r_{rid}", keys=FILTER_KEYS), now=now))
    incidents = [str(entry.entry["incident"]) for entry in entries if "incident" in entry.entry]
    facts: Json = as_json(verdict) | {
        "channel": str(on),
        "suppressions": [entry.row(reveal=False) for entry in entries],
        "change": None if verdict else lifting(f"r_{rid}", verdict.reason, incidents) or None,
        "pause": pause
        and {"until": iso(int(pause["z"])), "by": pause.get("by"), "reason": pause.get("reason")},
        "softBounces": [{"message": name, "at": iso(int(at))} for name, at in standing["soft_bounces"]],
        "escalatedAt": standing["escalated"] and iso(int(standing["escalated"])),
        "reports": {
            code: [{"event": name, "at": iso(int(at))} for name, at in reports]
            for code, reports in standing["reports"].items()
        },
        "waiting": [
            {"reference": found.delivery.reference, "nextTry": iso(found.due), "state": found.state}
            for found in waiting
        ],
    }
    if output is not Output.TABLE:
        tell("", facts, output)
        return
    rows = list(_evidence(standing, now))
    for entry in entries:
        row = entry.row(reveal=False)
        scope = f"merchant {row['merchant']}, " if row["merchant"] else ""
        scope += f"{PROVISIONAL}, incident {row['incident']}, " if "incident" in row else ""
        dates = f"since {time_of(int(entry.entry['at']), now)}, {until_of(entry.entry.get('z'), now)}"
        events = f", events {' '.join(row['evidence'])}" if row["evidence"] else ""
        rows.append(("on the list", plain(f"{row['code']}, {scope}{dates}, by {row['origin']}{events}")))
    rows += [("change it", facts["change"])] if facts["change"] else []
    if pause:
        rows.append(
            ("paused", f"until {when(int(pause['z']), zone(), now)}, by {plain(pause.get('by', ''))}")
        )
    rows += [
        ("waits", plain(f"{found.delivery.reference}, next try {time_of(found.due, now)} ({found.state})"))
        for found in waiting
    ]
    shown = next((entry["address"] for entry in facts["suppressions"]), "") or next(
        (story.masked(found.delivery) for found in waiting), ""
    )
    typer.echo(f"{sentence(verdict, now)}   {'   '.join(filter(None, [plain(shown), f'r_{rid}', str(on)]))}")
    for line in columns(rows) if rows else ["nothing is known of it: no report, no entry, no pause"]:
        typer.echo(f"  {line}")


def _evidence(standing: Json, now: int) -> Iterator[tuple[str, str]]:
    bounces = standing["soft_bounces"]
    if bounces:
        newest = time_of(int(bounces[-1][1]), now)
        yield "soft bounces", f"{count(len(bounces), 'messages')}, the newest {newest}"
    if standing["escalated"]:
        yield "escalated", time_of(int(standing["escalated"]), now)
    for code, reports in standing["reports"].items():
        yield "reports", plain(f"{code}, {len(reports)}, the newest {time_of(int(reports[-1][1]), now)}")


def sentence(verdict: Verdict, now: int) -> str:
    """Return a verdict in plain words."""
    until = None if verdict.until is None else date(verdict.until, zone(), now)
    if verdict:
        return label("allowed")
    if not verdict.recipient:
        return f"{verdict.because}: {verdict.reason}"
    by, _, why = verdict.because.partition(": ")
    if verdict.reason == "paused":
        return label("paused", cause=word("case", plain(why)), date=until)
    by_hand = verdict.reason in BY_HAND
    return label(
        "refused",
        cause=f"Listed by {plain(by)}: {plain(why)}" if by_hand else cause(verdict.reason),
        date=until,
    )


def until_of(end: int | None, now: int) -> str:
    """Return how long an entry lasts."""
    return "for ever" if end is None else f"until {date(end, zone(), now)}"


def as_json(verdict: Verdict) -> Json:
    """Return a verdict under stable names."""
    return {
        "recipient": verdict.recipient or None,
        "allowed": verdict.allowed,
        "reason": verdict.reason or None,
        "until": iso(verdict.until),
        "because": verdict.because or None,
        "evidence": list(verdict.evidence),
    }


def lifting(recipient: str, code: str, incidents: Sequence[str] = ()) -> str:
    """Return the command that takes a block away; empty where the recipients themselves asked for it."""
    if code in CONSENT:
        return ""
    if incidents:
        return f"softbounce suppressions undo incident:{incidents[0]} --reason ..."
    if code == "paused":
        return f"softbounce retries resume recipient:{recipient} --reason ..."
    return f"softbounce suppressions remove {recipient} --reason ..."


def soft_bounces(store: Store, rid: str, limit: SoftBounce) -> int | None:
    """Count a recipient's soft bounces as ``limit`` does: in its window, and far enough apart."""
    if rid.startswith("*"):
        return None
    found = 0
    last = None
    times = [int(at) for _, at in store.retries.standing(rid)["soft_bounces"]]
    for at in times:
        if at >= times[-1] - limit.within and (last is None or at - last >= limit.apart):
            found, last = found + 1, at
    return found


def pauses_of(delivery: Delivery, store: Store, now: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pauses that hold a delivery back, by the field that they are kept under."""
    paused = store.control.pauses()
    for field in (
        f"reference:{delivery.id[:12]}",
        f"claim:{delivery.claim.id}",
        f"customer:{delivery.claim.customer_number}",
        f"merchant:{delivery.merchant}",
        *(f"recipient:{rid}" for rid in delivery.head.get("rs", [delivery.rid])),
        f"channel:{delivery.channel}",
        f"code:{delivery.code}",
    ):
        if (entry := paused.get(field)) and int(entry["z"]) > now:
            yield field, entry
