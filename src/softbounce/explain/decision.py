"""Why a report is treated as it is: the decision in JSON, or as lines for a person. No store is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from softbounce.core.decide import Plan, plan
from softbounce.core.durations import words
from softbounce.core.events import Ignored, OptedIn, parse
from softbounce.core.policy.model import Confirm, Disposition, Policy, Rule
from softbounce.core.reasons import Fault, cause
from softbounce.core.recipients import mask
from softbounce.core.schedule import Due, due_times
from softbounce.core.texts import clock, count, date, label, plain, span, stamp, when, word
from softbounce.core.timestamps import LAST, iso
from softbounce.errors import InvalidEvent
from softbounce.explain.remedies import Obstacle, reason_of, until_due, zones_of
from softbounce.explain.settings import Row, setting_rows, settings_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the human form tells of one delivery. What only the store knows is None or empty for a file."""

    plan: Plan
    policy: Policy
    now: int
    zone: str  # of the reader
    outcome: str | None = None
    headline: str | None = None  # for a file, what the plan says
    rid: str | None = None
    shown: str | None = None  # the masked recipient, where the address is not kept any more
    attempt: int = 1  # the number of the next try
    place: int = 1  # and its place among the rule's delays
    due: int | None = None  # when it is due, and when all trying ends, where the store knows
    deadline: int | None = None
    soft_bounces: int | None = None
    case: str | None = None
    history: tuple[Mapping[str, Any], ...] = ()  # {"at": ms, "what": "failed", "text": "SMS_EXPIRED, ..."}
    obstacles: tuple[Obstacle, ...] = ()  # what the store has against it
    all_layers: bool = False  # every setting, and each layer that it passed through


def explain(
    raw: bytes | str | Mapping[str, Any], *, policy: Policy, now: int | None, all_layers: bool = False
) -> Json:
    """Return the decision on one report in its JSON form, as ``explain -o ndjson`` prints it.

    Without ``now`` the event's own date stands for it, so that the same file gives the same answer for ever.
    An event without a date then has no times: ``nextTry`` and ``until`` are null, and ``because`` says why.
    """
    try:
        event = parse(raw, lacks_plus=policy.lacks_plus)
    except InvalidEvent as error:
        return {"outcome": "dead_lettered", "reason": error.reason, "path": error.path}
    if isinstance(event, Ignored):
        return {"outcome": "ignored"}
    if isinstance(event, OptedIn):
        return {"outcome": "opted_in"}
    if event.delivered:
        return {"outcome": "delivered"}
    received = event.at if now is None else now
    decision = plan(event, policy=policy, now=min(received or 0, LAST))
    return as_json(decision, policy=policy, is_dated=received is not None, all_layers=all_layers)


def explain_text(facts: Facts) -> list[str]:
    """Return the lines that tell a person what was decided, by which line of the policy, and what comes."""
    event, policy, outcome = facts.plan.event, facts.policy, _outcome(facts)
    tries = list(_tries(facts)) if outcome == "scheduled" else []
    merchant = event.claim.merchant_id
    identity = (
        (event.failure and event.failure.code) or "no reason code",
        event.channel or "channel unknown",
        f"merchant {merchant}" if merchant is not None else "",
        mask(facts.plan.subject.address) if facts.plan.subject else facts.shown or "nobody in particular",
        f"r_{facts.rid}" if facts.rid else "",
        f'policy {policy.revision} "{policy.name}"',
    )
    past = [(stamp(was["at"], facts.zone, facts.now), was["what"], was["text"]) for was in facts.history]
    return [
        f"{facts.headline or _headline(facts, tries)}   outcome: {outcome}",
        f"  {'   '.join(part for part in identity if part)}",
        *_columns(list(setting_rows(facts.plan, policy, outcome, all_layers=facts.all_layers))),
        *_columns([*past, *_coming(facts, tries), *_notes(facts, tries)]),
    ]


def as_json(decision: Plan, *, policy: Policy, is_dated: bool = True, all_layers: bool = False) -> Json:
    """Return a decision in its JSON form; without a date it has no times.

    ``all_layers`` adds ``settings``: every value of the rule, with what it overrode.
    """
    event, rule, dues = decision.event, decision.rule, decision.dues
    is_suppressed = decision.do is Disposition.SUPPRESS and not decision.confirm
    until = decision.suppress_until if is_dated else None
    leaves = is_dated and bool(dues) and dues[0].at <= decision.deadline
    subject = mask(decision.subject.address) if decision.subject else None
    suppress = {"recipient": subject, "until": iso(until), "origin": rule.suppression.origin}
    limit = rule.soft_bounce
    escalate = {
        "count": None,
        "at": limit.escalate_at,
        "within": words(limit.within),
        "then": limit.then,
    }
    return {
        "eventId": event.event_id,
        "reference": event.reference,
        "channel": event.channel and event.channel.value,
        "reasonCode": (event.failure and event.failure.code) or None,
        "disposition": decision.do.value,
        "fault": decision.fault.value,
        "rule": rule.name,
        "ruleAt": policy.at(rule.line),
        "delays": [delay // 1000 for delay in rule.delays] if dues else [],
        "nextTry": iso(dues[0].at) if leaves else None,
        "suppress": suppress if is_suppressed else None,
        "escalate": escalate if decision.counts else None,
        "because": list(_because(decision, is_dated=is_dated)),
    } | ({"settings": settings_json(rule, policy)} if all_layers else {})


def _because(decision: Plan, *, is_dated: bool) -> Iterator[str]:
    rule, confirm = decision.rule, decision.confirm
    yield f"{rule.name} says {rule.do}, fault {rule.fault}{_by_text(rule)}"
    yield from decision.why
    if confirm:
        yield _confirming(confirm)
    if decision.event.unread_timezone:
        yield f"timezone {_no_zone(decision.event.unread_timezone)}"
    if not is_dated:
        yield "the event has no date, so no times can be given"
    elif decision.dues:
        first = decision.dues[0]
        yield f"try 1 {reason_of(decision, first)}"
        if first.quiet and rule.quiet_hours:
            zone = zones_of(decision)[0]
            yield f"moved to {clock(first.at, zone)}, spread over {span(rule.quiet_hours.spread)}"
        if first.at > decision.deadline:
            yield f"that is past the deadline {iso(decision.deadline)}: given up, {word('then', rule.then)}"


def _by_text(rule: Rule) -> str:
    return f", because the reply says '{rule.text}'" if rule.text else ""


def _no_zone(written: str) -> str:
    return f"'{plain(written)}' names no time zone: left out"


def _confirming(confirm: Confirm) -> str:
    apart = f"within {words(confirm.within)}, at least {words(confirm.apart)} apart"
    return f"{confirm.reports} reports {apart}, suppress; until then: {confirm.meanwhile}"


def _outcome(facts: Facts) -> str:
    return facts.outcome or first_outcome(facts.plan)


def first_outcome(decision: Plan) -> str:
    """Return the outcome that a first report would have in an empty store."""
    do = decision.confirm.meanwhile if decision.confirm else decision.do
    match do:
        case Disposition.RETRY:
            is_in_time = bool(decision.dues) and decision.dues[0].at <= decision.deadline
            return "scheduled" if is_in_time else "given_up"
        case Disposition.SUPPRESS:
            return "suppressed"
        case Disposition.HOLD:
            return "held"
        case Disposition.DROP:
            return "given_up"
        case Disposition.IGNORE:
            return "ignored"


def _tries(facts: Facts) -> Iterator[tuple[int, Due]]:
    """Yield the next try and, as if each failed the moment it left, those after it, up to the deadline."""
    decision, event = facts.plan, facts.plan.event
    dues = decision.dues
    for attempt, place in enumerate(range(facts.place, len(dues) + 1), facts.attempt):
        due = dues[place - 1]
        if place == facts.place and facts.due is not None and facts.due != due.at:
            due = Due(at=facts.due, planned=facts.due, quiet=False)  # moved since: the store knows better
        if due.at > _deadline(facts):
            return
        yield attempt, due
        dues = due_times(
            decision.rule,
            at=due.at,
            now=due.at,
            min_delay=facts.policy.limits.min_delay,
            seed=f"{event.reference}|{event.channel or ''}",
            subject=decision.subject,
            timezone=event.timezone,
        )


def _deadline(facts: Facts) -> int:
    return facts.plan.deadline if facts.deadline is None else facts.deadline


def _headline(facts: Facts, tries: list[tuple[int, Due]]) -> str:
    decision, outcome, failure = facts.plan, _outcome(facts), facts.plan.event.failure
    known: Json = {"cause": cause(failure.code if failure else None), "case": facts.case}
    if tries:
        due = tries[0][1].at
        theirs = sorted({clock(due, zone) for zone in zones_of(decision)})
        known["time"] = f"{when(due, facts.zone, facts.now)} ({' or '.join(theirs)} for them)"
        known |= {"n": facts.attempt, "m": facts.attempt + len(decision.rule.delays) - facts.place}
    elif outcome == "suppressed" and decision.suppress_until is not None:
        known["date"] = date(decision.suppress_until, facts.zone, facts.now)
    elif outcome == "held":
        known["deadline"] = when(_deadline(facts), facts.zone, facts.now)
        if decision.hold == "held" and decision.fault in {Fault.MESSAGE, Fault.CONFIG}:
            known["fix"] = word("fix", decision.fault)
    elif outcome == "ignored":
        known["why"] = decision.why[0] if decision.why else f"{decision.rule.name} says ignore"
    return label(outcome, **known)


def _coming(facts: Facts, tries: list[tuple[int, Due]]) -> Iterator[Row]:
    """Yield the tries that may follow, and the end of all trying."""
    event, rule, zone = facts.plan.event, facts.plan.rule, facts.zone
    for attempt, due in tries:
        is_first = attempt == facts.attempt
        notes = [] if is_first else [f"if try {attempt - 1} fails at once"]
        if due.quiet and rule.quiet_hours:
            spread = span(rule.quiet_hours.spread)
            notes.append(f"moved from {clock(due.planned, zone)} (quiet hours, spread {spread})")
        name = f"try {attempt}" if is_first else f"try {attempt}, about"
        yield stamp(due.at, zone, facts.now), name, ", ".join(notes)
    if tries:
        reason = f"{words(rule.give_up_after)} after the first failure"
        if (source := rule.sources.get("retry.give_up_after")) and source.line:
            reason += f" (:{source.line})"
        if event.not_after is not None and event.not_after <= _deadline(facts):
            reason = "the message's own deadline"
        yield stamp(_deadline(facts), zone, facts.now), "gives up", f"{reason}, {word('then', rule.then)}"


def _notes(facts: Facts, tries: list[tuple[int, Due]]) -> Iterator[Row]:
    decision, limit = facts.plan, facts.plan.rule.soft_bounce
    for sentence in decision.why:
        yield "why", sentence
    if decision.event.is_unbounded:
        yield "notAfter", "no date that anybody means (unset, or for ever): left out"
    if decision.event.unread_timezone:
        yield "timezone", _no_zone(decision.event.unread_timezone)
    if decision.confirm:
        yield "to confirm", _confirming(decision.confirm)
    if decision.counts:
        so_far = "one more towards" if facts.soft_bounces is None else f"{facts.soft_bounces} of"
        share = f"{so_far} {count(limit.escalate_at, limit.count)} in {words(limit.within)}"
        yield "soft bounces", f"{share}; at {limit.escalate_at}: {word('escalate', limit.then)}"
    for obstacle in _not_sooner(facts, tries):
        command = f"   Send it now: {obstacle.change}" if obstacle.change else ""
        yield "why not sooner", f"{obstacle.what}.{command}"
    for obstacle in facts.obstacles:
        yield "why not now", obstacle.sentence


def why_not(facts: Facts) -> list[Json]:
    """Return what holds the next try back in its JSON form: ``what``, and ``change`` (null: nothing does)."""
    tries = list(_tries(facts)) if _outcome(facts) == "scheduled" else []
    found = (*_not_sooner(facts, tries), *facts.obstacles)
    return [{"what": one.what, "change": one.change or None} for one in found]


def _not_sooner(facts: Facts, tries: list[tuple[int, Due]]) -> Iterator[Obstacle]:
    for _, due in tries[:1]:
        if facts.due is None or due.at > facts.now:
            yield until_due(
                facts.plan, due, policy=facts.policy, place=facts.place, is_stored=bool(facts.history)
            )


def _columns(rows: list[Row]) -> list[str]:
    """Return the rows indented and aligned; the last column runs free."""
    widths = [max((len(row[n]) for row in rows if len(row) > n + 1), default=0) for n in range(5)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append(f"  {'   '.join([*cells, row[-1]])}".rstrip())
    return lines
