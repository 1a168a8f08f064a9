"""One delivery of the store, told: how it stands, its history, and the report that was decided on."""

from msgspec.structs import replace

from softbounce.core.decide import Plan, plan
from softbounce.core.durations import HOUR
from softbounce.core.events import Event, parse
from softbounce.core.history import HistoryLine
from softbounce.core.policy.model import Disposition, Policy
from softbounce.core.reasons import Fault, cause
from softbounce.core.recipients import Channel, mask, recipient
from softbounce.core.records import Delivery, Json, command_id
from softbounce.core.texts import columns, date, label, plain, stamp, when
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidEvent, InvalidRecipient, NotFound
from softbounce.store import Situation, Store
from softbounce.store.situations import Story

UNDECIDED = {"coalesced", "superseded", "ended"}  # outcomes of reports that changed nothing
STEPS = {"hurried": "run now", "given_up": "given up"}  # of steps, where they differ from the history's


def find(
    reference: str, store: Store, *, policy: Policy | None = None, at: int | None = None
) -> tuple[Situation, ...]:
    """Return all deliveries of a message, see ``Situations.of``. Raises ``NotFound``."""
    if found := store.situations.of(reference, policy=policy, at=at):
        return found
    message = (
        f"nothing is known of {plain(reference)}: no report of it was taken in, or it is past its retention"
    )
    raise NotFound(message)


def recipient_of(delivery: Delivery) -> str | None:
    """Return the hash that people see, or None where nobody in particular is meant."""
    return None if delivery.rid.startswith("*") else f"r_{delivery.rid}"


def addresses(delivery: Delivery) -> str:
    """Return the addresses in full, while they are kept."""
    return ", ".join(to if isinstance(to, str) else str(to) for to in delivery.recipients)


def masked(delivery: Delivery) -> str:
    """Return the first address masked, and how many more there are; empty where none is kept any more."""
    if not delivery.recipients:
        return ""
    first, *more = delivery.recipients
    try:
        known = mask(recipient(first, Channel(delivery.channel)).address)
    except (ValueError, InvalidRecipient):  # no channel, or no address on it
        known = mask(first) if isinstance(first, str) else "•••"
    return f"{known} and {len(more)} more" if more else known


def shown(story: Story) -> str:
    """Return the masked recipient, also after the address was let go."""
    return masked(story.delivery) or next((line.shown for line in story.history if line.shown), "")


def history_json(story: Story) -> list[Json]:
    """Return the history, oldest first, under stable names."""
    delivery, rows = story.delivery, []
    for line in story.history:
        row = {
            "at": iso(line.dated),
            "what": line.kind,
            "outcome": line.outcome,
            "eventId": line.event_id,
            "reasonCode": line.code,
            "smtpCode": line.smtp,
            "attempt": line.attempt or None,
            "commandId": command_id(delivery.id, line.attempt) if line.kind == "resent" else None,
            "nextTry": iso(line.due_s * 1000) if line.due_s is not None else None,
            "case": line.case,
            "escalated": True if line.escalated else None,
            "note": line.note,
        }
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def history_text(story: Story) -> list[Json]:
    """Return the history as ``{"at": ms, "what": ..., "text": ...}``, for people."""
    return [
        {
            "at": line.dated,
            "what": STEPS.get(line.kind, line.kind),
            "text": plain(_step(story.delivery, line)),
        }
        for line in story.history
    ]


def _step(delivery: Delivery, line: HistoryLine) -> str:
    match line.kind:
        case "failed":
            code = line.code or "cause not reported"
            event = f", event {line.event_id}" if line.event_id else ""
            became = "" if line.outcome == "scheduled" else f": {str(line.outcome).replace('_', ' ')}"
            became += "; its notAfter is no date and was left out" if line.endless else ""
            became += f"; {line.misdated}: the time of receipt counts" if line.misdated else ""
            became += f"; not readable: {line.unread}" if line.unread else ""
            became += f"; its timezone '{line.no_zone}' is none and was left out" if line.no_zone else ""
            return code + (f" {line.smtp}" if line.smtp else "") + event + became
        case "resent":
            command = command_id(delivery.id, line.attempt)[:8]
            return f"try {line.attempt}, command {command}, accepted by {line.note}"
        case "delivered":
            event = f"event {line.event_id}" if line.event_id else ""
            return ": ".join(filter(None, (event, line.note)))
        case "released":
            return f"try {line.attempt}, case {line.case}"
        case "reused":
            return f"{line.note}, case {line.case}"
        case _:
            return f"try {line.attempt}" + (f", {line.note}" if line.note else "")


def case_of(story: Story) -> str | None:
    """Return the case that the delivery last came into."""
    return next((line.case for line in reversed(story.history) if line.case), None)


def becomes(situation: Situation) -> str | None:
    """Return the delivery's outcome, else its state; what waits and has been stopped counts as ended."""
    delivery = situation.story.delivery
    if delivery.state == "waiting" and situation.end:
        return situation.end.becomes
    return delivery.outcome if delivery.state == "ended" else delivery.state


def is_observed(story: Story) -> bool:
    """Whether the try that is out was only noted, because the mode was observe."""
    left = [line.kind for line in story.history if line.kind in ("resent", "observed")]
    return story.delivery.state == "out" and left[-1:] == ["observed"]


def headline(situation: Situation, *, zone: str) -> str:
    """Return in a sentence or two how a delivery stands; times are in the reader's ``zone``."""
    story, now = situation.story, situation.at
    delivery = story.delivery
    ended = story.history[-1].at
    facts: Json = {
        "cause": cause(delivery.code),
        "case": case_of(story),
        "time": when(ended, zone, now),
        "n": delivery.attempt,
        "hours": round((ended - delivery.first_failed) / HOUR),
    }
    match becomes(situation):
        case "waiting" if delivery.due is not None:
            due = {"time": when(delivery.due, zone, now), "m": delivery.max_attempts}
            told = label("scheduled", **facts | due)
        case "leased":
            told = f"{facts['cause']}. Try {delivery.attempt} is being handed over."
        case "out":
            told = _out(story, facts)
        case "held":
            told = label("held", **facts, deadline=when(delivery.deadline, zone, now))
        case "suppressed":
            verdict = situation.verdict
            again = "again" if verdict else None  # somebody took the block away, or it has ended
            until = verdict.until and date(verdict.until, zone, now)
            told = label("suppressed", **facts, again=again, date=until)
        case "cancelled":
            told = _stopped(situation, zone)
        case "delivered" if not delivery.attempt:
            told = label("delivered", time=facts["time"])
        case "given_up" if not delivery.attempt:
            told = label("given_up", cause=facts["cause"], case=facts["case"])
        case "delivered" | "given_up" | "unanswered" | "presumed" as outcome:
            told = label(outcome, **facts)
        case other:
            told = f"{facts['cause']}. Ended: {other}."
    return told


def _out(story: Story, facts: Json) -> str:
    """Return what became of the try that was due last: gone, or only noted."""
    known = f"{facts['cause']}. Try {facts['n']} of {story.delivery.max_attempts}"
    if is_observed(story):
        return f"{known} was observed {facts['time']}, not sent: the mode was observe."
    return f"{known} is out since {facts['time']}; no answer yet."


def _stopped(situation: Situation, zone: str) -> str:
    """Return who stopped it, when and why, where somebody did."""
    entry = situation.end and situation.end.entry
    if not entry or not entry.get("by"):
        return label("cancelled")
    time = when(int(entry["a"]), zone, situation.at)
    return label("cancelled", who=plain(entry["by"]), time=time, reason=plain(entry["reason"]))


def as_json(story: Story, *, reveal: bool) -> Json:
    """Return a delivery with its history, under stable names."""
    delivery = story.delivery
    claim = delivery.claim
    waits = delivery.state in ("waiting", "leased")
    return {
        "reference": delivery.reference,
        "recipient": recipient_of(delivery),
        "address": (reveal and addresses(delivery)) or shown(story),
        "channel": delivery.channel,
        "claim": {
            "id": claim.id,
            "merchantId": claim.merchant_id,
            "referenceNumber": claim.reference_number,
            "customerNumber": claim.customer_number,
        },
        "state": delivery.state,
        "outcome": delivery.outcome,
        "reasonCode": delivery.code or None,
        "attempt": delivery.attempt,
        "maxAttempts": delivery.max_attempts,
        "nextTry": iso(delivery.due) if waits else None,
        "waitsFor": delivery.waits_for,
        "firstFailedAt": iso(delivery.first_failed),
        "notAfter": iso(delivery.deadline) if delivery.deadline else None,
        "case": case_of(story),
        "rule": delivery.rule,
        "policy": delivery.revision,
        "history": history_json(story),
    }


def last_report(story: Story, policy: Policy) -> Plan | None:
    """Return what ``policy`` says of the report that was decided on last.

    Where the address was let go, the plan is of nobody in particular, but as it was decided.
    """
    reports = [line for line in story.history if line.kind == "failed"]
    decided = [line for line in reports if line.outcome not in UNDECIDED]
    if not reports:
        return None
    line = (decided or reports)[-1]
    try:
        event = parse(_report(story.delivery, line), lacks_plus=policy.lacks_plus)
    except InvalidEvent:  # taken in by an earlier release
        return None
    if not isinstance(event, Event):
        return None
    planned = plan(event, policy=policy, now=line.at)
    if event.subject is None and recipient_of(story.delivery):
        do = Disposition(line.do or planned.rule.do)
        counts = planned.fault is Fault.RECIPIENT and (
            do in (Disposition.RETRY, Disposition.DROP) or planned.rule.confirm is not None
        )
        planned = replace(planned, do=do, why=(), counts=counts)
    return planned


def _report(delivery: Delivery, line: HistoryLine) -> Json:
    """Return the report again, as far as it is kept."""
    claim = delivery.claim
    details = {"smtpCode": line.smtp, "message": line.text}
    error = {"type": line.type, "reasonCode": line.code, "details": details}
    return {
        "type": "MESSAGE_NOT_DELIVERED",
        "date": iso(line.dated),
        "eventId": line.event_id,
        "claim": {
            "id": claim.id,
            "merchantId": claim.merchant_id,
            "communication": {
                "reference": delivery.reference,
                "channel": delivery.channel,
                "recipients": list(delivery.recipients),
                "error": error if line.type or line.code else None,
                "notAfter": iso(line.until),
                "timezone": line.zone,
            },
        },
    }


def place(planned: Plan, delivery: Delivery) -> int:
    """Return the place of the waiting try among the rule's delays: after those answered by such a fault."""
    return delivery.answered(planned.fault) + 1


def as_text(situation: Situation, *, zone: str, reveal: bool = False) -> list[str]:
    """Return a delivery as lines: how it stands, whose it is, its history; times are in ``zone``."""
    story, now = situation.story, situation.at
    delivery, claim = story.delivery, story.delivery.claim
    whose = [
        delivery.code or "no reason code",
        delivery.channel,
        f"claim {claim.id}" if claim.id is not None else "",
        f"merchant {claim.merchant_id}" if claim.merchant_id is not None else "",
        (reveal and addresses(delivery)) or shown(story),
        recipient_of(delivery) or "",
        f"{delivery.rule}, policy {delivery.revision}" if delivery.revision else "",
    ]
    rows = [(stamp(step["at"], zone, now), step["what"], step["text"]) for step in history_text(story)]
    if delivery.state in ("waiting", "leased", "held"):
        rows.append((stamp(delivery.deadline, zone, now), "gives up", ""))
    return [
        f"{headline(situation, zone=zone)}   {plain(delivery.reference)}",
        f"  {'   '.join(plain(part) for part in whose if part)}",
        *(f"  {line}" for line in columns(rows)),
    ]
