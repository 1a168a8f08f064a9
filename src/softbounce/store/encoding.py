"""How a batch of decisions is written down for ``accept.lua``: flat, and each rule once."""

from typing import Any

from pydantic_core import to_json

from softbounce.core.decide import (
    HEAD_BYTES,
    Arrived,
    DeadLetter,
    Decision,
    Plan,
    confirmation,
    dead_letter_entry,
)
from softbounce.core.events import Event, Ignored
from softbounce.core.policy import Fault
from softbounce.core.recipients import Channel, Recipient, as_written, hashed, mask, recipient
from softbounce.core.records import command_id, digest, payload
from softbounce.core.value import value
from softbounce.errors import InvalidRecipient

_ANSWERABLE = 100  # tries among which a report's resendId is looked for: the most that a policy may allow


@value
class Row:
    """One event as ``accept.lua`` takes it: facts, and payload, recipients, history, kept as they are."""

    identity: str
    delivery: str
    arguments: tuple[bytes | str, ...]


class Encoder:
    """Encodes one batch; what depends on the rule alone goes out once for all its events."""

    def __init__(self, *, key: bytes, revision: str, keep_addresses: bool) -> None:
        self.rules: list[dict[str, Any]] = []
        self._key = key
        self._revision = revision
        self._keep_addresses = keep_addresses
        self._numbers: dict[int, int] = {}

    def row(self, decision: Decision) -> Row:
        """Return one event's row."""
        match decision:
            case Plan():
                return self._failure(decision)
            case Arrived():
                return self._arrived(decision)
            case DeadLetter():
                facts = {"y": "dead_letter", "i": decision.identity, "d": ""}
                whole = as_json(dead_letter_entry(decision))
                head = as_json(dead_letter_entry(decision, most=HEAD_BYTES))
                arguments = (as_json(facts), whole, head, "")
                return Row(identity=decision.identity, delivery="", arguments=arguments)
            case Ignored():
                facts = {"y": "ignored", "d": ""}
                return Row(
                    identity=decision.event_id or decision.type,
                    delivery="",
                    arguments=(as_json(facts), "", "", ""),
                )

    def _arrived(self, decision: Arrived) -> Row:
        event = decision.event
        rid = hashed(event.subject, self._key) if event.subject else ""
        delivery = digest(event.reference) + (rid or f"*{event.channel or ''}")
        facts: dict[str, Any] = {
            "y": "delivered",
            "i": event.identity,
            "id": event.event_id or event.identity,
            "d": delivery,
            "ch": event.channel or "",
            "rid": rid,
            "whole": not rid,  # unless several are named, each by a readable address
            "reset": decision.resets_count and rid != "",
        }
        if event.at is not None:
            facts["at"] = event.at
        if len(event.recipients) > 1 and not rid and (rids := list(filter(None, self._rids(event)))):
            facts["rids"] = rids
        arguments = (as_json(facts), "", as_json(event.recipients), "")
        return Row(identity=event.identity, delivery=delivery, arguments=arguments)

    def _failure(self, plan: Plan) -> Row:
        event, subject, failure = plan.event, plan.subject, plan.event.failure
        rid = hashed(subject, self._key) if subject else ""
        channel = event.channel.value if event.channel else ""  # an enum costs to_json a microsecond
        delivery = digest(event.reference) + (rid or f"*{channel}")
        masked = mask(subject.address) if subject else ""
        merchant = _text(event.claim.merchant_id)
        facts: dict[str, Any] = {
            "y": "failure",
            "i": event.identity,
            "id": event.event_id or event.identity,
            "d": delivery,
            "rid": rid,
            "ch": channel,
            "m": merchant,
            "cl": _text(event.claim.id),
            "ref": event.reference,
            "code": failure.code if failure else "",
            "detail": _text(failure.detail if failure else None),
            "mask": masked,
            "bare": event.is_bare,
            "do": plan.do.value,
            "hold": plan.hold,
            "at": plan.at,
            "counts": plan.counts,
            "dues": [due.at for due in plan.dues],
            "quiet": [int(due.quiet) for due in plan.dues],
            "answers": _answered(event, delivery),
            "rule": self._number(plan),
        }
        if event.not_after is not None:
            facts["not_after"] = event.not_after
        if subject is None and event.recipients:
            facts["rids"] = self._rids(event)
        if subject is not None and self._keep_addresses and plan.fault is Fault.RECIPIENT:
            facts["address"] = subject.address
        kept = payload(event, plan.rule, revision=self._revision, channel=channel)
        said = as_json(_history(plan, masked, merchant, revision=self._revision))
        arguments = (as_json(facts), kept, as_json(_addressed(event)), said)
        return Row(identity=event.identity, delivery=delivery, arguments=arguments)

    def _rids(self, event: Event) -> list[str]:
        """Return the hash of each recipient, "" for one that cannot be read."""
        if event.channel is None:
            return [""] * len(event.recipients)
        known = [_known(one, event.channel) for one in event.recipients]
        return [hashed(one, self._key) if one else "" for one in known]

    def _number(self, plan: Plan) -> int:
        """Return the place of the plan's rule in ``rules``, from 1 as Lua counts."""
        rule = plan.rule
        if number := self._numbers.get(id(rule)):
            return number
        soft, term = rule.soft_bounce, rule.suppression
        confirm = confirmation(rule)
        row: dict[str, Any] = {
            "name": rule.name,
            "line": rule.line,
            "kind": "p" if rule.fault is Fault.PROVIDER else "o",
            "give_up": rule.give_up_after,
            "settle": rule.settle,
            "then": rule.then,
            "suppression": {"scope": term.scope, "origin": term.origin},
            "soft": {
                "count": soft.count,
                "escalate_at": soft.escalate_at,
                "within": soft.within,
                "apart": soft.apart,
                "then": soft.then,
                "hold_for": soft.hold_for,
                "keeps": soft.reset_on == "never",
            },
        }
        if term.expires is not None:
            row["suppression"]["expires"] = term.expires
        if confirm is not None:
            row["confirm"] = {
                "reports": confirm.reports,
                "within": confirm.within,
                "apart": confirm.apart,
                "meanwhile": confirm.meanwhile,
            }
        self.rules.append(row)
        self._numbers[id(rule)] = len(self.rules)
        return len(self.rules)


def _answered(event: Event, delivery: str) -> int:
    """Return the try that the event's ``resendId`` belongs to, or 0."""
    if event.resend_id is None:
        return 0
    return next((n for n in range(1, _ANSWERABLE + 1) if command_id(delivery, n) == event.resend_id), 0)


def _addressed(event: Event) -> tuple[object, ...]:
    """Return whom a resend goes to: the one it is about where there is one, else all as reported."""
    subject = event.subject
    if subject is None or len(event.recipients) < 2:  # noqa: PLR2004
        return event.recipients
    for one in event.recipients:
        known = _known(one, subject.channel) or as_written(one, subject.channel)
        if known is not None and known.address == subject.address:
            return (one,)
    return event.recipients


def _known(value: object, channel: Channel) -> Recipient | None:
    try:
        return recipient(value, channel)
    except InvalidRecipient:
        return None


def _history(plan: Plan, masked: str, merchant: str, *, revision: str) -> dict[str, Any]:
    """Return what the history keeps of a failure in clear, as no hash gives it back; never the address."""
    event, failure, subject = plan.event, plan.event.failure, plan.subject
    facts = {
        "id": event.event_id,
        "at": plan.at // 1000,
        "type": failure.type if failure else None,
        "code": failure.code if failure else None,
        "smtp": failure.smtp if failure else None,
        "ch": event.channel.value if event.channel else None,
        "to": masked,
        "m": merchant,
        "do": plan.do.value if plan.do is not plan.rule.do else None,
        "f": plan.fault.value,
        "r": None if failure and plan.rule.name == f"codes.{failure.code}" else plan.rule.name,
        "l": plan.rule.line,
        "rev": revision,
        "country": subject.country if subject else None,
        "domain": subject.domain if subject else None,
        "operator": event.operator,
        "campaign": event.campaign,
        "provider": event.provider,
        "zone": event.timezone,
        "until": event.not_after,
        "several": len(event.recipients) if len(event.recipients) > 1 else None,
    }
    return {name: value for name, value in facts.items() if value or value == 0}


def _text(value: object) -> str:
    """Return a value as it stands in a group, a queue or a marker; the parser lets no line break through."""
    return "" if value is None else str(value)


def as_json(value: object) -> bytes:
    """Return compact JSON."""
    return to_json(value)
