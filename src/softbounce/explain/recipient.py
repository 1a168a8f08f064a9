"""What is known of one recipient: whether it may be sent to, its evidence, and what waits for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from softbounce.core.filters import parse_filter
from softbounce.core.policy.model import SoftBounce
from softbounce.core.reasons import CONSENT, cause
from softbounce.core.recipients import Channel
from softbounce.core.records import Json
from softbounce.core.texts import columns, count, date, label, plain, stamp, when, word
from softbounce.core.timestamps import iso
from softbounce.explain.delivery import masked
from softbounce.store import Store, Verdict
from softbounce.store.pauses import Pause
from softbounce.store.retries import FILTER_KEYS, Waiting
from softbounce.store.suppression_entries import SuppressionEntry

PROVISIONAL = "provisional"  # refused only until a person has looked at the incident
BY_HAND = {"MANUAL", "IMPORTED"}  # codes of entries that no report made


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that a store knows of one recipient at a moment."""

    rid: str
    channel: Channel
    now: int
    verdict: Verdict
    entries: tuple[SuppressionEntry, ...]  # each cause for which it is on the list, of all scopes
    counts: Json  # soft bounces, reports by code, escalation
    pause: Pause | None  # that has not ended
    waiting: tuple[Waiting, ...]


def known_of(value: str, channel: Channel, store: Store) -> Known:
    """Read what a store knows of an address, or of a ``r_...`` hash. Raises ``InvalidRecipient``."""
    rid, now = store.suppressions.rid(value, channel), store.now()
    pause = store.pauses.all().get(f"recipient:{rid}")
    waiting = store.retries.select(parse_filter(f"recipient:r_{rid}", keys=FILTER_KEYS), now=now)
    return Known(
        rid=rid,
        channel=channel,
        now=now,
        verdict=store.suppressions.check(f"r_{rid}", channel),
        entries=tuple(store.suppressions.find(f"r_{rid}", channel)),
        counts=store.retries.standing(rid),
        pause=pause if pause and pause.until > now else None,
        waiting=tuple(waiting),
    )


def as_json(known: Known) -> Json:
    """Return verdict, list entries, pause, soft bounces, reports, waiting retries under stable names."""
    pause, counts = known.pause, known.counts
    return verdict_json(known.verdict) | {
        "channel": str(known.channel),
        "suppressions": [entry.row(reveal=False) for entry in known.entries],
        "change": _change(known) or None,
        "pause": pause and {"until": iso(pause.until), "by": pause.by, "reason": pause.reason},
        "softBounces": [{"message": name, "at": iso(int(at))} for name, at in counts["soft_bounces"]],
        "escalatedAt": counts["escalated"] and iso(int(counts["escalated"])),
        "reports": {
            code: [{"event": name, "at": iso(int(at))} for name, at in reports]
            for code, reports in counts["reports"].items()
        },
        "waiting": [
            {"reference": found.delivery.reference, "nextTry": iso(found.due), "state": found.state}
            for found in known.waiting
        ],
    }


def as_text(known: Known, *, zone: str) -> list[str]:
    """Return the same as lines for a person; times are in the reader's ``zone``."""
    rows = list(_rows(known, zone))
    listed = known.entries[0].row(reveal=False)["address"] if known.entries else ""
    shown = listed or next((masked(one.delivery) for one in known.waiting), "")
    whose = "   ".join(filter(None, [plain(shown), f"r_{known.rid}", str(known.channel)]))
    lines = columns(rows) if rows else ["nothing is known of it: no report, no entry, no pause"]
    sentence = verdict_text(known.verdict, zone=zone, now=known.now)
    return [f"{sentence}   {whose}", *(f"  {line}" for line in lines)]


def _rows(known: Known, zone: str) -> Iterator[tuple[str, str]]:
    now, pause = known.now, known.pause
    yield from _evidence(known.counts, zone, now)
    for entry in known.entries:
        row = entry.row(reveal=False)
        scope = f"merchant {row['merchant']}, " if row["merchant"] else ""
        scope += f"{PROVISIONAL}, incident {row['incident']}, " if "incident" in row else ""
        until = until_of(entry.until, zone=zone, now=now)
        dates = f"since {stamp(entry.since, zone, now)}, {until}"
        events = f", events {' '.join(row['evidence'])}" if row["evidence"] else ""
        yield "on the list", plain(f"{row['code']}, {scope}{dates}, by {row['origin']}{events}")
    if change := _change(known):
        yield "change it", change
    if pause:
        yield "paused", f"until {when(pause.until, zone, now)}, by {plain(pause.by)}"
    for found in known.waiting:
        due = stamp(found.due, zone, now)
        yield "waits", plain(f"{found.delivery.reference}, next try {due} ({found.state})")


def _change(known: Known) -> str:
    """Return the command that would let sends through again; empty where they are, or where nothing does."""
    own = [entry for entry in known.entries if entry.code == known.verdict.reason]  # the cause that is named
    incidents = [entry.incident for entry in own if entry.incident]
    return "" if known.verdict else lifting(f"r_{known.rid}", known.verdict.reason, incidents)


def _evidence(counts: Json, zone: str, now: int) -> Iterator[tuple[str, str]]:
    bounces = counts["soft_bounces"]
    if bounces:
        newest = stamp(int(bounces[-1][1]), zone, now)
        yield "soft bounces", f"{count(len(bounces), 'messages')}, the newest {newest}"
    if counts["escalated"]:
        yield "escalated", stamp(int(counts["escalated"]), zone, now)
    for code, reports in counts["reports"].items():
        newest = stamp(int(reports[-1][1]), zone, now)
        yield "reports", plain(f"{code}, {len(reports)}, the newest {newest}")


def verdict_text(verdict: Verdict, *, zone: str, now: int) -> str:
    """Return a verdict in plain words."""
    until = None if verdict.until is None else date(verdict.until, zone, now)
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


def until_of(end: int | None, *, zone: str, now: int) -> str:
    """Return how long an entry lasts."""
    return "for ever" if end is None else f"until {date(end, zone, now)}"


def verdict_json(verdict: Verdict) -> Json:
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


def counted(times: Sequence[int], limit: SoftBounce) -> int:
    """Count soft bounces, the oldest first, as ``limit`` does: in its window, and far enough apart."""
    found = 0
    last = None
    for at in times:
        if at >= times[-1] - limit.within and (last is None or at - last >= limit.apart):
            found, last = found + 1, at
    return found
