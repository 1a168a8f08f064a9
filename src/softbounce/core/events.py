"""What producers report: bytes in, one typed event out, or ``InvalidEvent`` with the field's path."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any
from zoneinfo import available_timezones

from msgspec import Struct

from softbounce.core.culprits import channel_of, subject_of
from softbounce.core.recipients import Channel, Recipient
from softbounce.core.strict_json import read_object, refuse
from softbounce.errors import InvalidEvent


class Claim(Struct, frozen=True, kw_only=True):
    """The business object a message belongs to, echoed as reported."""

    id: int | str | None = None
    merchant_id: int | str | None = None
    reference_number: str | int | None = None
    customer_number: str | int | None = None


class Failure(Struct, frozen=True, kw_only=True):
    """What went wrong, as the producer says."""

    type: str  # CONTACT_ERROR RENDER_ERROR SEND_ERROR CONFIGURATION_ERROR, or any other text
    code: str  # upper case
    smtp: str | None = None  # "5.1.1" or "550"; None: says nothing (2xx, out of range, absent)
    text: str | None = None  # details.message, as reported; may hold addresses, never logged unscrubbed
    detail: str | None = None  # what groups a case: the snippet or placeholder named, else None


class Event(Struct, frozen=True, kw_only=True):
    """One report about one message. ``failure`` is None for a delivery and for a bare report."""

    delivered: bool
    event_id: str | None
    identity: str  # 16 characters; hash of eventId where there is one, else of the whole content
    at: int | None  # ms since the epoch, as dated by the producer; None: no usable date
    dated_without_zone: bool = False
    source: str | None = None
    claim: Claim
    reference: str
    channel: Channel | None  # None: cannot be told (then: hold)
    subject: Recipient | None  # the one recipient this is about; None: nobody in particular
    recipients: tuple[object, ...]  # as reported, for the resend command
    failure: Failure | None
    not_after: int | None = None  # ms
    timezone: str | None = None  # a valid IANA name
    provider: str | None = None
    campaign: str | None = None
    operator: str | None = None
    resend_id: str | None = None  # id of the resend command this answers
    traceparent: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether this is the old form of a failure, without any error."""
        return not self.delivered and self.failure is None


class Ignored(Struct, frozen=True, kw_only=True):
    """An event of a type that is not ours: acknowledged, counted, nothing else."""

    type: str
    event_id: str | None


_OURS = {"MESSAGE_NOT_DELIVERED": False, "MESSAGE_DELIVERED": True}  # delivered?
_COMMUNICATION = "claim.communication"
_ERROR = f"{_COMMUNICATION}.error"
_MAX_RECIPIENTS = 100
_MAX_NAME = 512  # characters of what is used to find, to group or to label
_MAX_TEXT = 4096  # characters of what is only shown, or sent back
_LARGEST = 2**63 - 1  # of an id that is a number
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE | re.ASCII
)
_LONGEST_TIME = 64  # characters: a thousand of them are kept
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_DIAGNOSTIC = r"(?i:smtp;\s*)?"  # how a bounce message quotes a reply
_ENHANCED = re.compile(_DIAGNOSTIC + r"(?:[45]\d\d[ -])?\W{0,2}([45]\.\d{1,3}\.\d{1,3})(?![\d.])", re.ASCII)
_THREE_DIGITS = re.compile(_DIAGNOSTIC + r"([45]\d\d)(?!\d)", re.ASCII)


def parse(raw: bytes | str | Mapping[str, Any]) -> Event | Ignored:
    """Return the event in ``raw``, or that it is none of ours. Raises ``InvalidEvent`` and nothing else.

    Bytes and text must be strict JSON in UTF-8. Guards depend on reference, claim, recipients and deadline:
    unreadable ones are refused. An unreadable label (provider, campaign, zone) is left out, and fields that
    we do not know are not judged. An error without ``reasonCode`` has the code ``""``: unclassified.
    """
    event = read_object(raw)
    kind = event.get("type")
    if not isinstance(kind, str):
        refuse("must be text" if "type" in event else "is missing", "type")
    if kind not in _OURS:
        return Ignored(type=kind[:_MAX_NAME], event_id=_label(event.get("eventId")))
    delivered = _OURS[kind]
    event_id = _name(event.get("eventId"), "eventId")
    claim = _object(event, "claim")
    sent = _object(claim, "communication", "claim.")
    recipients = _recipients(sent.get("recipients"))
    failure, details = (None, {}) if delivered else _failure(sent)
    code = failure.code if failure else ""
    channel = channel_of(sent.get("channel"), code=code, recipients=recipients, details=details)
    at, dated_without_zone = _moment(event.get("date"))
    zone = sent.get("timezone")
    trace = event.get("traceparent")
    return Event(
        delivered=delivered,
        event_id=event_id,
        identity=content_hash(f"id:{event_id}".encode() if event_id else _canonical(event)),
        at=at,
        dated_without_zone=dated_without_zone,
        source=_label(event.get("source")),
        claim=_claim(claim),
        reference=_reference(sent),
        channel=channel,
        subject=subject_of(
            recipients,
            channel=channel,
            failure_type=failure.type if failure else "",
            code=code,
            details=details,
        ),
        recipients=recipients,
        failure=failure,
        not_after=_deadline(sent.get("notAfter")),
        timezone=zone if isinstance(zone, str) and zone in _zones() else None,
        provider=_label(sent.get("provider")),
        campaign=_label(sent.get("campaign")),
        operator=_label(sent.get("operator")),
        resend_id=_label(sent.get("resendId")),
        traceparent=trace if isinstance(trace, str) and _TRACEPARENT.fullmatch(trace) else None,
    )


def content_hash(raw: bytes) -> str:
    """Return the 16 characters by which a content is known when it is seen again."""
    return base64.urlsafe_b64encode(blake2b(raw, digest_size=12).digest()).decode()


def _canonical(event: dict[str, Any]) -> bytes:
    """Return one form for equal content, whatever its spacing, its order of keys and its escapes."""
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _object(parent: dict[str, Any], name: str, above: str = "") -> dict[str, Any]:
    child = parent.get(name)
    if not isinstance(child, dict):
        refuse("is missing" if child is None else "must be an object", f"{above}{name}")
    return child


def _name(value: object, path: str) -> str | None:
    """Return text (or a number as text) that something is found by; None if absent or empty."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if len(value) > _MAX_NAME:
            refuse(f"is longer than {_MAX_NAME} characters", path)
        if not value.isprintable() and _CONTROL.search(value):
            refuse("holds a control character", path)
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return refuse("must be text", path)


def _label(value: object) -> str | None:
    """Return text that only describes, or None: a label that cannot be read is not worth a dead letter."""
    if value is None:
        return None
    try:
        return _name(value, "")
    except InvalidEvent:
        return None


def _reference(sent: dict[str, Any]) -> str:
    value = sent.get("reference")
    path = f"{_COMMUNICATION}.reference"
    if value is None:
        refuse("is missing", path)
    if not isinstance(value, str):
        refuse("must be text", path)
    if not value.strip():
        refuse("is empty", path)
    return _name(value, path) or value


def _claim(claim: dict[str, Any]) -> Claim:
    return Claim(
        id=_id(claim.get("id"), "claim.id"),
        merchant_id=_id(claim.get("merchantId"), "claim.merchantId"),
        reference_number=_id(claim.get("referenceNumber"), "claim.referenceNumber"),
        customer_number=_id(claim.get("customerNumber"), "claim.customerNumber"),
    )


def _id(value: object, path: str) -> int | str | None:
    if type(value) is not int:
        return _name(value, path)
    return value if -_LARGEST <= value <= _LARGEST else refuse("is a number out of range", path)


def _recipients(value: object) -> tuple[object, ...]:
    path = f"{_COMMUNICATION}.recipients"
    if value is None:
        return ()
    if not isinstance(value, list):
        refuse("must be an array", path)
    if len(value) > _MAX_RECIPIENTS:
        refuse(f"has more than {_MAX_RECIPIENTS} entries", path)
    for place, one in enumerate(value):
        if not isinstance(one, str | dict):
            refuse("must be text or an object", f"{path}[{place}]")
        if len(one if isinstance(one, str) else json.dumps(one)) > _MAX_TEXT:
            refuse(f"is longer than {_MAX_TEXT} characters", f"{path}[{place}]")
    return tuple(value)


def _failure(sent: dict[str, Any]) -> tuple[Failure | None, dict[str, Any]]:
    """Return what went wrong and its details; (None, {}) for the old form, which does not say."""
    if sent.get("error") is None:
        return None, {}
    error = _object(sent, "error", f"{_COMMUNICATION}.")
    details = error.get("details")
    if not isinstance(details, dict):
        details = {}
    text = details.get("message")
    failure = Failure(
        type=(_name(error.get("type"), f"{_ERROR}.type") or "").strip().upper(),
        code=(_name(error.get("reasonCode"), f"{_ERROR}.reasonCode") or "").strip().upper(),
        smtp=_smtp(details.get("smtpCode"), text),
        text=text[:_MAX_TEXT] if isinstance(text, str) and text else None,
        detail=_first_text(details.get("snippets")) or _first_text(details.get("placeholders")),
    )
    return failure, details


def _first_text(values: object) -> str | None:
    return next((one for one in values if _label(one)), None) if isinstance(values, list) else None


def _smtp(code: object, text: object) -> str | None:
    """Return a reply's enhanced status, else its three digits; None where it says nothing (2xx, 3xx).

    The text counts only where it begins with an enhanced status and the code has none.
    """
    reply = str(code).strip() if isinstance(code, str | int) else ""
    found = _ENHANCED.match(reply)
    if not found and isinstance(text, str):
        found = _ENHANCED.match(text.strip())
    found = found or _THREE_DIGITS.match(reply)
    return found[1] if found else None


def _moment(value: object) -> tuple[int | None, bool]:
    """Return an RFC 3339 time in ms (None: not one), and whether it came without a zone; then it is UTC."""
    return _read_moment(value) if isinstance(value, str) and len(value) <= _LONGEST_TIME else (None, False)


@lru_cache(maxsize=1000)  # many events are of one second
def _read_moment(text: str) -> tuple[int | None, bool]:
    found = _RFC3339.fullmatch(text)
    if not found:
        return None, False
    try:
        moment = datetime.fromisoformat(found[0].upper())
    except ValueError:
        return None, False
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - _EPOCH) // _MILLISECOND, moment.tzinfo is None


def _deadline(value: object) -> int | None:
    """Return ``notAfter`` in ms. One that cannot be read is refused: nothing may go out after it."""
    if value is None:
        return None
    moment = _moment(value)[0]
    if moment is None:
        refuse("must be a time such as 2026-11-20T15:32:23Z", f"{_COMMUNICATION}.notAfter")
    return moment


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
