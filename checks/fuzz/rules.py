"""What must hold for any input: one function a target, for hypothesis and for the coverage-guided fuzzer.

Each takes bytes, returns a word for what became of them, and raises where the rule is broken: a crash is any
error that is not the documented one.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from softbounce.core import durations
from softbounce.core.decide import Arrived, DeadLetter, Decision, Plan, decide
from softbounce.core.durations import printable
from softbounce.core.events import Ignored, OptedIn
from softbounce.core.filters import parse_filter
from softbounce.core.policy.file import check, load
from softbounce.core.policy.model import Policy
from softbounce.core.recipients import Channel, form, hashed, listed, mask, recipient, scrub
from softbounce.core.records import decode, resend_command
from softbounce.core.strict_json import MAX_BYTES, MAX_DEPTH, read_object
from softbounce.errors import InvalidEvent, InvalidRecipient, InvalidSettings
from softbounce.explain.decision import Facts, explain, explain_text
from softbounce.store.encoding import Encoder
from softbounce.store.retries import FILTER_KEYS

from .inputs import POLICY

NOW = 1_763_888_400_000  # 2025-11-23T09:00:00Z
KEY = b"k" * 32


@cache
def shipped() -> Policy:
    """Return the policy that ships."""
    return load(POLICY, file="config/policy.yaml")


def event(raw: bytes) -> str:
    """Check that a report gets a decision that can be written, read back the same, and explained."""
    decision = decide(raw, policy=shipped(), now=NOW)
    as_utf8(explain(raw, policy=shipped(), now=NOW))
    row = Encoder(key=KEY, revision="r", keep_addresses=True).row(decision)
    *whole, history = row.arguments
    for argument in filter(None, (*whole, history and b"{" + history)):  # the script begins its line
        json.loads(argument)
    match decision:
        case DeadLetter():
            assert decision.reason, "a dead letter without a reason"
            assert decision.length == len(raw)
            return "dead_lettered"
        case Ignored():
            return "ignored"
        case OptedIn():
            return "opted_in"
        case Arrived():
            return "delivered"
        case Plan():
            said = explain_text(Facts(plan=decision, policy=shipped(), now=NOW, zone="Europe/Berlin"))
            "\n".join(said).encode()
            comes_back(decision, row.arguments)
            return str(decision.do)


def comes_back(plan: Plan, arguments: tuple[bytes | str, ...]) -> None:
    """Check that what the store keeps of a failure gives a resend command with its values."""
    _, payload, to, _ = (part if isinstance(part, str) else part.decode() for part in arguments)
    assert "\n" not in payload + to, "a record is three lines"
    head = {"a": 1, "n": 2, "d": NOW // 1000, "x": plan.deadline // 1000, "f": plan.at // 1000}
    delivery = decode("0" * 24, f"{json.dumps(head)}\n{payload}\n{to}")
    command = json.loads(as_utf8(resend_command(delivery, file="policy.yaml")))
    as_reported(plan, command)
    assert plan.subject or command["recipients"] == list(plan.event.recipients)


def as_reported(plan: Plan, command: dict[str, Any]) -> None:
    """Check that a resend command has the event's values; a number past 2**53 is text, as documented."""
    said, claim = plan.event, plan.event.claim
    assert command["reference"] == said.reference
    assert command["channel"] == (said.channel or "").upper()
    named = {"id": claim.id, "merchantId": claim.merchant_id}
    named |= {"referenceNumber": claim.reference_number, "customerNumber": claim.customer_number}
    for name, value in named.items():
        wanted = str(value) if isinstance(value, int) and abs(value) > 2**53 else value
        assert command["claim"].get(name) == wanted, name
    left = [
        one for one in said.recipients if one in command["recipients"]
    ]  # in their order; others may have it
    assert command["recipients"] == left or plan.subject
    assert all(one in said.recipients for one in command["recipients"])
    assert bool(command["recipients"]) == bool(said.recipients)


def strict_json(raw: bytes) -> str:
    """Check that what is accepted is what the standard library reads, and within the limits."""
    try:
        found = read_object(raw)
    except InvalidEvent as error:
        return said("refused", error.reason, error.path)
    assert len(raw) <= MAX_BYTES
    assert found == json.loads(raw)
    as_utf8(found)
    assert depth(found) <= MAX_DEPTH
    return "read"


def addresses(raw: bytes) -> str:
    """Check that an address is known by one normalised text, or refused without being repeated."""
    text = raw.decode(errors="replace")
    values: list[object] = [
        text,
        {"address": text},
        {"phone": text, "email": text, "street": text, "city": text},
    ]
    outcome = "refused"
    scrub(text).encode()
    mask(text).encode()
    for value in values:
        form(value)
        for channel in Channel:
            try:
                known = recipient(value, channel)
            except InvalidRecipient as error:
                said("", str(error).replace(text, "\n") if len(text) > 6 else "short")
                try:
                    known = listed(value, channel)
                except InvalidRecipient:
                    continue
            else:
                outcome = "known"
                if channel is not Channel.LETTER:
                    assert recipient(known.address, channel).address == known.address, "normalised twice"
            assert len(hashed(known, KEY)) == 12
            mask(known.address).encode()
    return outcome


def policy(raw: bytes) -> str:
    """Check that a policy is taken and works, or each problem has a place and a sentence on one line."""
    text = raw.decode(errors="replace")
    found, problems = check(text, file="policy.yaml")
    for problem in problems:
        assert problem.message
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in problem.message, problem.message
        assert problem.message.isprintable(), problem.message
        problem.rendered.encode()
    if found is None:
        assert any(problem.severity == "error" for problem in problems), "refused in silence"
        return "refused"
    for raw_event in _EVENTS:
        decision: Decision = decide(raw_event, policy=found, now=NOW)
        Encoder(key=KEY, revision=found.revision, keep_addresses=True).row(decision)
        explain(raw_event, policy=found, now=NOW)
    return "taken"


def filters(raw: bytes) -> str:
    """Check that filter words find, do not find, or are refused in a sentence."""
    facts = dict.fromkeys(FILTER_KEYS, "SMS_X") | {"due": -5, "age": 7, "claim": None}
    try:
        parse_filter(raw.decode(errors="replace"), keys=FILTER_KEYS).matches(facts)
    except InvalidSettings as error:
        return said(
            "refused", printable(str(error))
        )  # it repeats a word as written; so does the command line
    return "matched"


def words(raw: bytes) -> str:
    """Check that durations, rates, shares and times are a number, or refused in a sentence on one line."""
    text = raw.decode(errors="replace")
    outcome = "refused"
    for parser in (
        durations.parse_duration,
        durations.parse_rate,
        durations.parse_share,
        durations.parse_clock,
    ):
        try:
            found = parser(text)
        except ValueError as error:
            said("", str(error).replace("invalid literal", "\n"))
            continue
        assert text == text.strip(), f"{text!r} passes for {found}"
        outcome = "read"
        if parser is durations.parse_duration:
            assert durations.parse_duration(durations.words(found)) == found
    return outcome


def said(outcome: str, reason: str, *more: str) -> str:
    """Check that a refusal has a sentence that a terminal can show on one line; return ``outcome``."""
    assert reason
    as_utf8([reason, *more])
    assert reason.isprintable(), reason
    return outcome


TARGETS: dict[str, Callable[[bytes], str]] = {
    "event": event,
    "policy": policy,
    "json": strict_json,
    "addresses": addresses,
    "filters": filters,
    "words": words,
}
_EVENTS = tuple(
    json.dumps(
        {
            "type": "MESSAGE_NOT_DELIVERED",
            "date": "2025-11-23T08:00:00Z",
            "claim": {
                "merchantId": merchant,
                "communication": {
                    "reference": "m1",
                    "recipients": to,
                    "error": {"type": "SEND_ERROR", "reasonCode": code, "details": {"smtpCode": "552"}},
                },
            },
        }
    ).encode()
    for merchant, to, code in (
        (42, ["+4915112345678"], "SMS_EXPIRED"),
        (None, ["a@web.de"], "BOUNCE_TRANSIENT_MBX_FULL"),
        ("shop", ["a@web.de", "b@web.de"], "NEVER_HEARD"),
    )
)


def as_utf8(value: object) -> str:
    """Return JSON as the command line prints it; half a character would break its pipe."""
    text = json.dumps(value, ensure_ascii=False)
    text.encode()
    return text


def depth(value: Any) -> int:
    """Return how many levels a JSON value has."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)
