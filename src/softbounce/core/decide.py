"""What a policy wants done about an event. The store decides what happens, by all that it knows."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from msgspec import Struct, structs

from softbounce.core.durations import MINUTE
from softbounce.core.events import Event, Ignored, OptedIn, content_hash, parse
from softbounce.core.policy.model import Confirm, Disposition, Policy, Rule, is_retried
from softbounce.core.reasons import VETO_TYPES, Fault, built_in_fault
from softbounce.core.recipients import Channel, Recipient, identity
from softbounce.core.records import Delivery
from softbounce.core.schedule import Due, chances, due_times, out_of_quiet, zones_for
from softbounce.errors import InvalidEvent

_KEPT_BYTES = 64 * 1024  # so much of a dead letter is kept
_FAST = 5 * MINUTE  # a clock may be fast by so much
HEAD_BYTES = 2 * 1024  # so much of a new one is kept once all together have used up their budget

Dated = TypeVar("Dated", Event, OptedIn)


class Plan(Struct, frozen=True, kw_only=True):
    """What policy wants for one failure. Times are ms."""

    event: Event
    do: Disposition  # the rule's, unless a veto changed it
    fault: Fault
    rule: Rule
    why: tuple[str, ...]  # why ``do`` differs from the rule, in sentences
    hold: str  # kind of case if it is held: held, unknown_code, unclassified, ambiguous_recipient
    dues: tuple[Due, ...]  # one due time for each try of the rule
    at: int  # when it failed: the producer's date, at most the time of receipt
    confirm: Confirm | None
    counts: bool  # whether it may count as a soft bounce
    subject: Recipient | None
    suppress_until: int | None  # None: a suppression never ends
    deadline: int


class Arrived(Struct, frozen=True, kw_only=True):
    """A message was delivered."""

    event: Event
    resets_count: bool


class DeadLetter(Struct, frozen=True, kw_only=True):
    """Input that could not be read, with at most its first 64 KiB."""

    identity: str
    reason: str
    path: str
    raw: bytes
    length: int
    sha256: str
    is_poison: bool = False  # it has ended a worker three times: a case is opened


Decision = Plan | Arrived | OptedIn | Ignored | DeadLetter


def decide(raw: bytes | str | Mapping[str, Any], *, policy: Policy, now: int) -> Decision:
    """Return what to do about one report. Never raises: unreadable input becomes a dead letter."""
    try:
        event = parse(raw, lacks_plus=policy.lacks_plus)
    except InvalidEvent as error:
        return dead_letter(raw, error)
    match event:
        case Event():
            return decide_event(event, policy=policy, now=now)
        case OptedIn():
            return _believed(event, now)
        case Ignored():
            return event


def decide_event(event: Event, *, policy: Policy, now: int) -> Plan | Arrived:
    """Return what to do about one event that is parsed already."""
    if event.delivered:
        reset_on = rule_of(event, policy).soft_bounce.reset_on
        return Arrived(event=_believed(event, now), resets_count=reset_on == "delivered")
    return plan(event, policy=policy, now=now)


def dead_letter(
    raw: bytes | str | Mapping[str, Any], error: InvalidEvent, *, is_poison: bool = False
) -> DeadLetter:
    """Return the dead letter for input that ``parse`` refused with ``error``."""
    if isinstance(raw, Mapping):
        try:
            raw = json.dumps(raw, default=repr)
        except (TypeError, ValueError, RecursionError):  # only an embedded caller can pass such a mapping
            raw = f"a mapping that cannot be written as JSON, with {len(raw)} keys"
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    return DeadLetter(
        identity=content_hash(data),
        reason=error.reason,
        path=error.path,
        raw=data[:_KEPT_BYTES],
        length=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        is_poison=is_poison,
    )


def dead_letter_entry(letter: DeadLetter, *, most: int = _KEPT_BYTES) -> dict[str, Any]:
    """Return a dead letter as the store keeps it, with at most ``most`` of its bytes."""
    return {
        "reason": letter.reason,
        "path": letter.path,
        "length": letter.length,
        "sha256": letter.sha256,
        "bytes": b64encode(letter.raw[:most]).decode(),
    }


def _believed(event: Dated, now: int) -> Dated:
    """Return an event without a date that lies ahead: the time of receipt counts instead."""
    if event.at is None or event.at <= now + _FAST:
        return event
    return structs.replace(event, at=None, misdated="its date lies ahead")


def plan(event: Event, *, policy: Policy, now: int) -> Plan:
    """Return what ``policy`` wants for one failure that was received at ``now`` (ms)."""
    event = _believed(event, now)
    failure, rule = event.failure, rule_of(event, policy)
    code = failure.code if failure and failure.code else None
    at = min(event.at, now) if event.at is not None else now  # a clock may be a little fast
    do, hold, why = _verdict(event, rule, policy=policy, code=code, now=now)
    confirm = confirmation(rule) if do is Disposition.SUPPRESS else None
    if confirm and confirm.meanwhile is Disposition.RETRY and _holds_unreadable(event, policy):
        confirm = replace(confirm, meanwhile=Disposition.HOLD)
    is_vetoed = failure is not None and failure.type in VETO_TYPES
    is_somebody = event.subject is not None and not event.subject.is_masked
    can_count = rule.fault is Fault.RECIPIENT and is_somebody and not is_vetoed
    give_up = at + rule.give_up_after
    return Plan(
        event=event,
        do=do,
        fault=rule.fault,
        rule=rule,
        why=why,
        hold=hold,
        dues=due_times(
            rule,
            at=at,
            now=now,
            min_delay=policy.limits.min_delay,
            seed=f"{event.reference}|{event.channel or ''}",
            subject=event.subject,
            timezone=event.timezone,
        )
        if is_retried(do, confirm)
        else (),
        at=at,
        confirm=confirm,
        counts=can_count and (do in (Disposition.RETRY, Disposition.DROP) or confirm is not None),
        subject=event.subject,
        suppress_until=None if rule.suppression.expires is None else now + rule.suppression.expires,
        deadline=give_up if event.not_after is None else min(give_up, event.not_after),
    )


def quiet_for(delivery: Delivery, *, policy: Policy, now: int, subject: Recipient | None = None) -> int:
    """Return for how many more ms the recipient has quiet hours; 0 if none, or if a person overrides them.

    ``subject``: the recipient whose time zone counts, if the delivery does not tell it.
    """
    channel = Channel(delivery.channel) if delivery.channel else None
    rule = rule_of_delivery(delivery, policy)
    if rule.quiet_hours is None or delivery.is_urgent:
        return 0
    whose = subject or only_recipient(delivery.recipients, channel, lacks_plus=policy.lacks_plus)
    zones, _ = zones_for(rule, whose, delivery.extra.get("timezone"))
    if out_of_quiet(now, rule.quiet_hours, zones, 0) == now:
        return 0
    _, spread = chances(f"{delivery.reference}|{delivery.channel}", delivery.attempt)
    return out_of_quiet(now, rule.quiet_hours, zones, spread) - now


def rule_of(event: Event, policy: Policy) -> Rule:
    """Return the rule for an event."""
    failure, merchant = event.failure, event.claim.merchant or None
    if failure is None:
        return policy.rule_for(code=None, channel=event.channel, merchant=merchant)
    return policy.rule_for(
        code=failure.code or None,
        channel=event.channel,
        merchant=merchant,
        smtp=failure.smtp,
        text=failure.text,
    )


def rule_of_delivery(
    delivery: Delivery, policy: Policy, *, smtp: str | None = None, text: str | None = None
) -> Rule:
    """Return the rule for a stored delivery; its record does not keep the SMTP reply, its history does."""
    code, merchant = delivery.code or None, delivery.merchant or None
    channel = Channel(delivery.channel) if delivery.channel else None
    return policy.rule_for(code=code, channel=channel, merchant=merchant, smtp=smtp, text=text)


def only_recipient(
    recipients: Sequence[object], channel: Channel | None, *, lacks_plus: bool
) -> Recipient | None:
    """Return the recipient of a delivery, or None if it has several or its address cannot be read."""
    if channel is None or len(recipients) != 1:
        return None
    known = identity(recipients[0], channel, lacks_plus=lacks_plus)
    return None if known is None or known.unreadable else known


def confirmation(rule: Rule) -> Confirm | None:
    """Return the ``confirm`` block of ``rule``; where retries are off, the first report is held meanwhile."""
    confirm = rule.confirm
    if confirm is None or confirm.meanwhile is not Disposition.RETRY or not rule.off:
        return confirm
    return replace(confirm, meanwhile=Disposition.HOLD)


def _verdict(
    event: Event, rule: Rule, *, policy: Policy, code: str | None, now: int
) -> tuple[Disposition, str, tuple[str, ...]]:
    """Return the disposition after the vetoes, the kind of case of a hold, and the reasons for a change."""
    hold = "held"
    if code is None:
        hold = "unclassified"
    elif rule.name.endswith("unknown_code"):
        hold = "unknown_code"
    since = policy.ignore_failures_before
    if since is not None and event.at is not None and event.at < since:
        return Disposition.IGNORE, hold, ("dated before ignore_failures_before",)
    if event.at is not None and event.at < now - policy.retention.history:
        return Disposition.HOLD, "archive", ("dated before all that is remembered: held",)
    if rule.do in (Disposition.DROP, Disposition.IGNORE, Disposition.HOLD):
        return rule.do, hold, ()
    if event.channel is None:
        return Disposition.HOLD, "unclassified", ("the channel cannot be told: held",)
    if rule.do is Disposition.SUPPRESS:
        veto = _suppress_veto(event, rule, code=code, hold=hold)
    else:
        veto = _retry_veto(event, rule, policy=policy, hold=hold)
    if veto is None:
        return rule.do, hold, ()
    kind, why = veto
    return Disposition.HOLD, kind, (why,)


def _suppress_veto(event: Event, rule: Rule, *, code: str | None, hold: str) -> tuple[str, str] | None:
    """Return the kind of case and the reason if the event may not suppress anybody, else None."""
    failure = event.failure
    if failure is not None and failure.type in VETO_TYPES:
        return hold, f"type {failure.type} never suppresses: held"
    if rule.fault is not Fault.RECIPIENT or built_in_fault(code or "") not in (None, Fault.RECIPIENT):
        return hold, f"fault {rule.fault} never suppresses: held"
    if event.subject is None:
        return "ambiguous_recipient", "no single recipient is named: nobody is suppressed, held"
    if event.subject.is_masked:
        return "ambiguous_recipient", "a masked address stands for many: nobody is suppressed, held"
    return None


def _holds_unreadable(event: Event, policy: Policy) -> bool:
    """Whether policy lets no resend go to whom nobody can read: no limit, pause or block would know them."""
    return bool(event.unreadable) and policy.unreadable_recipient is Disposition.HOLD


def _retry_veto(event: Event, rule: Rule, *, policy: Policy, hold: str) -> tuple[str, str] | None:
    """Return the kind of case and the reason if the event may not be retried, else None."""
    if rule.off:
        return hold, "retry: off for this channel, merchant or code: held"
    are_several = len(event.recipients) > 1 or event.left_out
    if event.subject is None and are_several and rule.several_recipients is Disposition.HOLD:
        return "ambiguous_recipient", "several recipients and no culprit: held"
    if _holds_unreadable(event, policy):
        return "ambiguous_recipient", f"{event.unreadable}: held"
    return None
