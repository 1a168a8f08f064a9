"""A delivery as the store keeps it: identity, record (Lua's head, our payload), resend command."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from msgspec import Struct, field
from msgspec.json import Decoder, Encoder

from softbounce.core.bounds import fold_id
from softbounce.core.events import Claim, Event
from softbounce.core.policy.model import Rule
from softbounce.core.reasons import Fault, cause
from softbounce.core.timestamps import iso

# the namespace of command ids; changing it breaks every dedupe
_COMMANDS = bytes.fromhex("5b6f0a3e6f0e5c0a9a551d3c6a1b7f10")

UNREADABLE = (ValueError, TypeError, ArithmeticError)  # what decode raises on damaged bytes

Json = dict[str, Any]
as_json, from_json = Encoder().encode, Decoder().decode


def digest(text: str) -> str:
    """Return 12 characters that stand for an id, see ``fold_id``: 72 bits, enough for a billion."""
    return urlsafe_b64encode(hashlib.blake2b(fold_id(text).encode(), digest_size=9).digest()).decode()


def command_id(delivery: str, attempt: int) -> str:
    """Return the id of one resend, the same for ever for one (delivery, attempt): a UUID of version 5.

    ``uuid.uuid5`` gives the same and costs five times as much, a tenth of a hand-over.
    """
    digits = hashlib.sha1(_COMMANDS + f"{delivery}/{attempt}".encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def payload(event: Event, rule: Rule, *, revision: str, channel: str) -> bytes:
    """Return what the store keeps of an event for its resend, without the recipients, as compact JSON."""
    failure, claim = event.failure, event.claim
    code = failure.code if failure else ""
    row: list[Any] = [
        event.reference,
        channel,
        _kept(claim.id),
        _kept(claim.merchant_id),
        _kept(claim.reference_number),
        _kept(claim.customer_number),
        failure.type if failure else "",
        code,
        revision,
        rule.line,
    ]
    has_own_rule = failure is not None and rule.name == f"codes.{code}"
    if not has_own_rule or event.traceparent or event.timezone or event.provider:
        extra = {
            "rule": None if has_own_rule else rule.name,
            "traceparent": event.traceparent,
            "timezone": event.timezone,
            "provider": event.provider,
        }
        row.append({name: value for name, value in extra.items() if value})
    return as_json(row)


def row_of(delivery: "Delivery", rule: Rule, *, revision: str) -> bytes:
    """Return ``payload`` of a delivery that the store has, under another rule."""
    claim, extra = delivery.claim, dict(delivery.extra)
    extra.pop("rule", None)
    if rule.name != f"codes.{delivery.code}":
        extra["rule"] = rule.name
    ids = (claim.id, claim.merchant_id, claim.reference_number, claim.customer_number)
    row = [delivery.reference, delivery.channel, *map(_kept, ids)]
    row += [delivery.error_type, delivery.code, revision, rule.line]
    return as_json([*row, extra] if extra else row)


class Delivery(Struct, frozen=True, kw_only=True):
    """One delivery as read from the store; times are ms. ``head`` has the rest, named in ``record.lua``."""

    id: str  # as ``record.lua`` tells
    state: str  # waiting | leased | out | held | ended
    outcome: str | None  # how it ended
    attempt: int
    max_attempts: int
    token: int
    due: int | None
    deadline: int
    first_failed: int
    waits_for: str | None
    reference: str
    channel: str
    recipients: tuple[Any, ...]
    claim: Claim
    error_type: str
    code: str
    revision: str
    rule: str
    line: int
    extra: Json = field(default_factory=dict)
    head: Json = field(default_factory=dict)

    @property
    def rid(self) -> str:
        """The recipient's hash; it starts with ``*`` where nobody in particular is meant."""
        return self.id[12:].partition("~")[0]

    @property
    def merchant(self) -> str:
        """The merchant as text, empty if none was reported."""
        return self.claim.merchant

    @property
    def provider(self) -> str:
        """The provider as reported, else channel and merchant: ``sms:42``; as breakers.lua names it."""
        named = f"{self.channel}:{self.merchant}" if self.merchant else self.channel
        return str(self.extra.get("provider") or named)

    @property
    def is_urgent(self) -> bool:
        """Whether a person said ``run-now``: quiet hours and pauses do not bind it."""
        return bool(self.head.get("q"))

    @property
    def own_deadline(self) -> int:
        """The deadline (ms) that its reports named; without one, later than any date."""
        return int(self.head.get("y", 2**53)) * 1000

    def answered(self, fault: Fault) -> int:
        """Return how many of its tries were answered with the provider's fault, or with any other."""
        return int(self.head.get("p" if fault is Fault.PROVIDER else "o", 0))


class _Payload(Struct, array_like=True):
    """What ``payload`` writes; a notice that is about no delivery has nothing of it."""

    reference: str = ""
    channel: str = ""
    claim: str | int | float = ""
    merchant: str | int | float = ""
    reference_number: str | int | float = ""
    customer_number: str | int | float = ""
    error_type: str = ""
    code: str = ""
    revision: str = ""
    line: int = 0
    extra: dict[str, str] = {}


_read = Decoder(tuple[dict[str, int | float | str | list[str]], _Payload, list[Any]]).decode


def decode(delivery: str, raw: bytes | str) -> Delivery:
    """Return the delivery that the store keeps as ``raw``. Raises one of ``UNREADABLE``."""
    text = raw.decode() if isinstance(raw, bytes) else raw
    first, second, third = text.split("\n", 2)
    known, row, recipients = _read(f"[{first},{second},{third or '[]'}]")
    head: Json = known
    state = head.get("s", "waiting")
    return Delivery(
        id=delivery,
        state=state,
        outcome=head.get("e"),
        attempt=_number(head, "a"),
        max_attempts=_number(head, "n") if "n" in head else _number(head, "a"),
        token=_number(head, "t"),
        due=_number(head, "d") * 1000 if "d" in head else None,
        deadline=_number(head, "x") * 1000,
        first_failed=_number(head, "f") * 1000,
        waits_for=head.get("w"),
        reference=row.reference,
        channel=row.channel,
        recipients=tuple(recipients),
        claim=Claim(
            id=_given(row.claim),
            merchant_id=_given(row.merchant),
            reference_number=_given(row.reference_number),
            customer_number=_given(row.customer_number),
        ),
        error_type=row.error_type,
        code=row.code,
        revision=row.revision,
        rule=row.extra.get("rule", f"codes.{row.code}"),
        line=row.line,
        extra=row.extra,
        head=head,
    )


def _number(head: Json, name: str) -> int:
    return int(head.get(name, 0) + 0)  # a text is refused


def readable(records: Iterable[tuple[str, bytes | None]]) -> list[Delivery]:
    """Return the deliveries among records; what is none, or damaged, is left to the scripts to set aside."""
    found = []
    for name, raw in records:
        if raw is not None:
            with suppress(*UNREADABLE):
                found.append(decode(name, raw))
    return found


def _kept(value: str | int | None) -> str | int:
    """Return an id as the payload keeps it: a number past 2**53 as text, because Lua's numbers end there."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) and abs(value) > 2**53 else value


def _given(value: Any) -> Any:  # noqa: ANN401 - JSON
    return None if value == "" else value


def claim_json(claim: Claim) -> Json:
    """Return the claim under the producers' names, without what was not reported."""
    named = {
        "id": claim.id,
        "merchantId": claim.merchant_id,
        "referenceNumber": claim.reference_number,
        "customerNumber": claim.customer_number,
    }
    return {name: value for name, value in named.items() if value is not None}


def resend_command(delivery: Delivery, *, file: str) -> Json:
    """Return what the pipeline receives when this delivery's try is due; ``file`` is the policy's path."""
    command: Json = {
        "type": "softbounce.resend",
        "version": 1,
        "id": command_id(delivery.id, delivery.attempt),
        "reference": delivery.reference,
        "channel": delivery.channel.upper(),
        "recipients": list(delivery.recipients),
        "claim": claim_json(delivery.claim),
        "attempt": delivery.attempt,
        "maxAttempts": delivery.max_attempts,
        "lastAttempt": delivery.attempt >= delivery.max_attempts,
        "reason": {"type": delivery.error_type, "reasonCode": delivery.code, "text": cause(delivery.code)},
        "firstFailedAt": iso(delivery.first_failed),
        "dueAt": iso(delivery.due),
        "notAfter": iso(delivery.deadline),
        "policy": {"revision": delivery.revision, "rule": delivery.rule, "ruleAt": f"{file}:{delivery.line}"},
    }
    if traceparent := delivery.extra.get("traceparent"):
        command["traceparent"] = traceparent
    return command
