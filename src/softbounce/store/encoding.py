"""Encodes a batch of decisions for ``accept.lua``; each rule is written once."""

import hashlib
from dataclasses import asdict
from typing import Any
from zlib import crc32

from msgspec import Struct, field
from msgspec.json import Encoder as JsonEncoder

from softbounce.core.decide import (
    HEAD_BYTES,
    Arrived,
    DeadLetter,
    Decision,
    Plan,
    confirmation,
    dead_letter_entry,
)
from softbounce.core.events import Claim, Event, Ignored, OptedIn
from softbounce.core.policy.model import Brake, Disposition, Policy
from softbounce.core.reasons import CONSENT, Fault
from softbounce.core.recipients import hashed, mask, with_plus
from softbounce.core.records import command_id, digest, payload
from softbounce.store.limits import REUSED_AFTER

_SOFT = ("count", "escalate_at", "within", "apart", "then", "hold_for")
_OCTAL = bytes(ord("0") + (byte & 7) for byte in range(256))
_REUSES = 3  # further messages under one reference whose resends a report may name
_ANSWERABLE = 100  # a report's resendId may be of so many tries: the most that a policy allows


def probe_of(delivery: str, claim: Claim) -> bytes:
    """Return a hash of a delivery: seven octal digits choose a bucket, seven bytes are its entry in there.

    The last two of them tell merchant and claim, 0 where they are not named.
    """
    hashed = hashlib.blake2b(delivery.encode(), digest_size=12).digest()
    folded = (name.strip().strip("{}").lower() for name in (claim.merchant, claim.text))
    names = bytes(1 + crc32(name.encode()) % 255 if name else 0 for name in folded)
    return hashed[:7].translate(_OCTAL) + hashed[7:] + names


class Row(Struct, frozen=True, kw_only=True):
    """One event as ``accept.lua`` takes it: its facts, then payload, recipients and history to be stored."""

    identity: str
    delivery: str
    arguments: tuple[bytes | str, ...]
    probe: bytes = bytes(14)  # ``probe_of`` its delivery, for accept/delivered.lua


class Facts(Struct, kw_only=True, omit_defaults=True, tag_field="y", tag="failure"):
    """The facts of a failure, with the names of ``accept.lua``; a field with its default is left out."""

    i: str  # identity
    d: str  # delivery
    rid: str
    ch: str
    m: str  # merchant
    cl: str  # claim
    ref: str
    code: str
    detail: str | None = None
    mask: str
    bare: bool = False
    name: str | None = None  # a bare report's eventId as JSON, as in the history
    do: Disposition
    hold: str = "held"
    at: int
    counts: bool = False
    dues: list[int] = []
    quiet: str = ""  # for each due time "1" if quiet hours moved it, else "0"; empty: none was moved
    answers: int = 0
    rule: int
    id: str | None = None  # eventId or identity, as evidence of a suppression
    not_after: int | None = None
    rids: list[str] | None = None
    first: int | None = None  # index of the first recipient's probe, where there are several
    address: str | None = None
    src: str | None = None  # whose clock dated it; None: it has no date that counts
    also: str | None = None  # the hash under which a refusal is written as well
    b: str | None = None  # group of the brake in which a new suppression counts
    odd: list[str] = []  # what of it could not be taken as it was: misdated, no_zone
    from_: str | None = field(name="from", default=None)  # the source of what is odd


class Said(Struct, kw_only=True, omit_defaults=True):
    """What the history keeps of a failure in clear, because a hash cannot be reversed; never the address."""

    id: str | None = None
    at: int  # s
    type: str | None = None
    code: str | None = None
    smtp: str | None = None
    text: str | None = None
    ch: str | None = None
    to: str | None = None  # masked
    m: str | None = None
    do: Disposition | None = None  # if it differs from the rule's
    f: Fault
    r: str | None = None  # the rule's name, if it is not the code's
    l: int  # noqa: E741 - the rule's line
    rev: str
    country: str | None = None
    domain: str | None = None
    operator: str | None = None
    campaign: str | None = None
    provider: str | None = None
    zone: str | None = None
    no_zone: str | None = None  # timezone named none and was left out
    until: int | None = None
    endless: bool = False  # notAfter was a placeholder date and was ignored
    several: int | None = None
    misdated: str | None = None
    unread: str | None = None  # why its recipient cannot be read, or which of several was left out


class Encoder:
    """Encodes one batch; what depends on the rule alone is sent once for all of its events."""

    def __init__(
        self, *, key: bytes, revision: str, keep_addresses: bool, brake: Brake | None = None
    ) -> None:
        self.rules: list[dict[str, Any]] = []
        self.probes: list[bytes] = []  # one for each recipient of the events that have several
        self._key, self._revision, self._brake = key, revision, brake
        self._keep_addresses = keep_addresses
        self._numbers: dict[int, int] = {}

    def row(self, decision: Decision) -> Row:
        """Return one event's row."""
        match decision:
            case Plan():
                return self._failure(decision)
            case Arrived():
                return self._arrived(decision)
            case OptedIn():
                return self._opted_in(decision)
            case DeadLetter():
                facts = {"y": "dead_letter", "i": decision.identity, "d": "", "poison": decision.is_poison}
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
        event = decision.event  # one that nobody can read may be any of its people: then all have it
        rid = hashed(event.subject, self._key) if event.subject and not event.unreadable else ""
        plain = digest(event.reference) + (rid or f"*{event.channel or ''}")
        delivery, answers = _answered(event.resend_id, plain) if event.resend_id else (plain, 0)
        facts: dict[str, Any] = {
            "y": "delivered",
            "i": event.identity,
            "id": event.event_id or event.identity,
            "d": delivery,
            "ch": event.channel or "",
            "m": event.claim.merchant,
            "cl": event.claim.text,
            "rid": rid,
            "whole": not rid,  # accept.lua uses rids instead if there are some
            "reset": decision.resets_count and rid != "",
        }
        if answers:
            facts["answers"] = answers
        if event.at is not None:
            facts["at"], facts["src"] = event.at, _source(event)
        if odd := _odd(event):
            facts["odd"], facts["from"] = odd, _source(event)
        if not rid and not event.unreadable and (rids := list(filter(None, self._rids(event)))):
            facts["rids"] = rids
        arguments = (as_json(facts), "", as_json(event.recipients), "")
        probe = probe_of(plain, event.claim)
        return Row(identity=event.identity, delivery=delivery, arguments=arguments, probe=probe)

    def _opted_in(self, event: OptedIn) -> Row:
        rids = [hashed(who, self._key) for who in event.people]
        facts: dict[str, Any] = {
            "y": "opted_in",
            "id": event.event_id or event.identity,
            "d": "",
            "ch": event.channel,
            "m": event.claim.merchant,
            "rids": rids,
            "masks": [mask(who.address) for who in event.people],
        }
        if event.at is not None:
            facts["at"], facts["src"] = event.at, _source(event)
        elif event.misdated:
            facts["odd"], facts["from"] = ["misdated"], _source(event)
        return Row(
            identity=event.identity,
            delivery="",
            arguments=(as_json(facts), "", "", ""),
            probe=probe_of(
                " ".join(("opt-in", event.identity, event.claim.merchant, *sorted(rids))), Claim()
            ),
        )

    def _failure(self, plan: Plan) -> Row:
        event, subject, failure = plan.event, plan.subject, plan.event.failure
        rid = hashed(subject, self._key) if subject else ""
        channel = f"{event.channel}" if event.channel else ""
        delivery = digest(event.reference) + (rid or f"*{channel}")
        masked = mask(subject.address) if subject else ""
        answers, probe = 0, probe_of(delivery, event.claim)
        if event.resend_id is not None:
            delivery, answers = _answered(event.resend_id, delivery)
        facts = Facts(
            i=event.identity,
            d=delivery,
            rid=rid,
            ch=channel,
            m=event.claim.merchant,
            cl=event.claim.text,
            ref=event.reference,
            code=failure.code if failure else "",
            detail=event.unreadable or (failure.detail if failure else None),
            mask=masked,
            bare=event.is_bare,
            name=as_json(event.event_id).decode() if event.is_bare and event.event_id else None,
            do=plan.do,
            hold=plan.hold,
            at=plan.at,
            counts=plan.counts,
            dues=[due.at for due in plan.dues],
            answers=answers,
            src=None if event.at is None else _source(event),
            rule=self._number(plan),
            not_after=event.not_after,
        )
        if (odd := _odd(event)) or event.at is None:
            facts.odd, facts.from_ = odd, _source(event)
        if any(due.quiet for due in plan.dues):
            facts.quiet = "".join("1" if due.quiet else "0" for due in plan.dues)
        if subject is None and event.recipients:
            facts.rids = self._rids(event)
            facts.first = len(self.probes) + 1  # Lua counts from 1
            self.probes += (probe_of(digest(event.reference) + one, event.claim) for one in facts.rids)
        if subject is not None and self._keep_addresses and plan.fault is Fault.RECIPIENT:
            facts.address = subject.address
        if subject is not None and _may_suppress(plan):
            if other := with_plus(subject):
                facts.also = hashed(other, self._key)
            facts.id = event.event_id or event.identity
            if self._brake is not None and facts.code not in CONSENT:
                facts.b = self._brake.group(facts.code, subject.country, subject.domain)
        kept = payload(event, plan.rule, revision=self._revision, channel=channel)
        said = as_json(_said(plan, channel, masked, revision=self._revision))
        arguments = (as_json(facts), kept, as_json(_addressed(event)), said[1:])
        return Row(identity=event.identity, delivery=delivery, arguments=arguments, probe=probe)

    def _rids(self, event: Event) -> list[str]:
        """Return the hash of each recipient, empty for one that is not known."""
        people = event.people or [None] * len(event.recipients)
        return [hashed(who, self._key) if who else "" for who in people]

    def _number(self, plan: Plan) -> int:
        """Return the index of the plan's rule in ``rules``; it counts from 1, as Lua does."""
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
            "soft": {name: getattr(soft, name) for name in _SOFT} | {"keeps": soft.reset_on == "never"},
        }
        if term.expires is not None:
            row["suppression"]["expires"] = term.expires
        if confirm is not None:
            row["confirm"] = confirm
        self.rules.append(row)
        self._numbers[id(rule)] = len(self.rules)
        return len(self.rules)


def _odd(event: Event) -> list[str]:
    """Return what of an event could not be taken as it was."""
    return ["misdated"] * bool(event.misdated) + ["no_zone"] * bool(event.unread_timezone)


def _source(event: Event | OptedIn) -> str:
    """Return whose clock dates an event: its source, else its provider, else its merchant."""
    return event.source or event.provider or event.claim.merchant or "-"


def _may_suppress(plan: Plan) -> bool:
    rule = plan.rule
    return "suppress" in (plan.do, rule.then, rule.soft_bounce.then)


def _answered(resend: str, delivery: str) -> tuple[str, int]:
    """Return the delivery and the number of its try that a report's ``resendId`` names, or 0.

    It may be of another message under the same reference, see accept/messages.lua.
    """
    for name in (delivery, *(f"{delivery}~{number}" for number in range(2, 2 + _REUSES))):
        for attempt in range(1, _ANSWERABLE + 1):
            if command_id(name, attempt) == resend:
                return name, attempt
    return delivery, 0


def _addressed(event: Event) -> tuple[object, ...]:
    """Return the recipients of a resend: the subject alone if there is one, else all as reported."""
    pairs = zip(event.recipients, event.people, strict=False)
    chosen = tuple(one for one, who in pairs if event.subject and who == event.subject)
    return chosen or event.recipients


def _said(plan: Plan, channel: str, masked: str, *, revision: str) -> Said:
    event, failure, subject, rule = plan.event, plan.event.failure, plan.subject, plan.rule
    said = Said(
        id=event.event_id,
        at=plan.at // 1000,
        ch=channel or None,
        to=masked or None,
        m=event.claim.merchant or None,
        do=None if plan.do is rule.do else plan.do,
        f=plan.fault,
        l=rule.line,
        rev=revision,
        operator=event.operator,
        campaign=event.campaign,
        provider=event.provider,
        zone=event.timezone,
        no_zone=event.unread_timezone,
        until=event.not_after,
        endless=event.is_unbounded,
        misdated=event.misdated or None,
        unread=event.unreadable or event.left_out or None,
    )
    if failure:
        said.type, said.code = failure.type or None, failure.code or None
        said.smtp, said.text = failure.smtp, rule.text
    if not failure or rule.name != f"codes.{failure.code}":
        said.r = rule.name
    if subject:
        said.country, said.domain = subject.country, subject.domain
    if len(event.recipients) > 1:
        said.several = len(event.recipients)
    return said


as_json = JsonEncoder().encode


def gate_options(policy: Policy) -> dict[str, Any]:
    """Return what the gates of a retry need of the policy, see ``gates.lua``."""
    limits = policy.limits
    return {
        "rate": asdict(limits.handover_rate),
        "per_recipient": asdict(limits.resends_per_recipient),
        "per_claim": asdict(limits.resends_per_claim),
        "providers": provider_terms(policy),
        "silence_is_good": policy.feedback == "none",
        "reused": reused_after(policy),
    }


def reused_after(policy: Policy) -> int:
    """Return how long (ms) after the end of a message a failure is of another one under its reference."""
    return max(REUSED_AFTER, policy.retention.dedupe)


def provider_terms(policy: Policy) -> dict[str, Any]:
    """Return what policy says of each provider, without None: in Lua that would be true."""
    return {
        name: {key: value for key, value in asdict(provider).items() if value is not None}
        for name, provider in policy.providers.items()
    }
