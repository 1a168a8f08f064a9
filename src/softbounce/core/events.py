"""Parses a producer's report into a typed event, or raises ``InvalidEvent`` with the field's path."""

import base64
import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from msgspec import Struct
from msgspec.json import encode as _write

from softbounce.core.bounds import LARGEST, NAME, TEXT, fold_id
from softbounce.core.reasons import code_named
from softbounce.core.recipients import Channel, Recipient, identity, scrub
from softbounce.core.strict_json import read_object, refuse
from softbounce.core.subject import channel_of, named_by
from softbounce.core.timestamps import deadline, report_date
from softbounce.core.zones import zone_named
from softbounce.errors import InvalidEvent


class Claim(Struct, frozen=True, kw_only=True):
    """The business object that a message belongs to; resend commands repeat it, ids without outer blanks."""

    id: int | str | None = None
    merchant_id: int | str | None = None
    reference_number: str | int | None = None
    customer_number: str | int | None = None

    @property
    def merchant(self) -> str:
        """The merchant as text, empty if none was reported."""
        return "" if self.merchant_id is None else str(self.merchant_id)

    @property
    def text(self) -> str:
        """The claim's id as text, empty if none was reported."""
        return "" if self.id is None else str(self.id)


class Failure(Struct, frozen=True, kw_only=True):
    """What went wrong, according to the producer."""

    type: str  # CONTACT_ERROR, RENDER_ERROR, SEND_ERROR, CONFIGURATION_ERROR or any other text
    code: str  # upper case
    smtp: str | None = None  # "5.1.1", or three digits such as "550"; None if absent or no error (2xx, 3xx)
    text: str | None = None  # details.message as reported; it may hold addresses, so logs must scrub it
    detail: str | None = None  # the named snippet or placeholder, by which cases are grouped


class Event(Struct, frozen=True, kw_only=True):
    """One report about one message. ``failure`` is None if it was delivered, and for a bare report."""

    delivered: bool
    event_id: str | None
    identity: str  # 16 characters, see ``_identity``
    at: int | None  # ms since 1970, as dated by the producer; None: no usable date
    misdated: str = ""  # why the date was not used: the time of receipt counts instead
    source: str | None = None
    claim: Claim
    reference: str
    channel: Channel | None  # None: unknown, and the report is held
    subject: Recipient | None  # the one recipient that this is about; None: cannot be told
    recipients: tuple[object, ...]  # as reported, for the resend command, each once, without who is left out
    people: tuple[Recipient | None, ...] = ()  # who each of these is; (): not read, as without a channel
    unreadable: str = ""  # why none of its recipients can be read
    left_out: str = ""  # which of several recipients cannot be read, and why
    failure: Failure | None
    not_after: int | None = None  # ms
    is_unbounded: bool = False  # notAfter was a placeholder date (the year 1, 9999) and is ignored
    timezone: str | None = None  # a valid IANA name
    unread_timezone: str | None = None  # what was reported instead and names no zone
    provider: str | None = None
    campaign: str | None = None
    operator: str | None = None
    resend_id: str | None = None  # id of the resend command that this report answers
    traceparent: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether this is a failure report in the old form, which has no error."""
        return not self.delivered and self.failure is None


class OptedIn(Struct, frozen=True, kw_only=True):
    """Recipients who agree to be written to again, after a complaint or an opt-out."""

    event_id: str | None
    identity: str  # 16 characters, see ``_identity``
    at: int | None  # ms since 1970, as dated by the producer; None: no usable date
    misdated: str = ""  # why the date was not used: the time of receipt counts instead
    source: str | None = None
    provider: str | None = None
    claim: Claim  # its merchant alone: whose messages they agree to
    channel: Channel
    people: tuple[Recipient, ...]  # at least one, each once


class Ignored(Struct, frozen=True, kw_only=True):
    """An event of another type: it is acknowledged and counted, nothing else."""

    type: str
    event_id: str | None


_OURS = {"MESSAGE_NOT_DELIVERED": False, "MESSAGE_DELIVERED": True}  # type of event -> whether delivered
_COMMUNICATION = "claim.communication"
_ERROR = f"{_COMMUNICATION}.error"
_MAX_RECIPIENTS = 100
_MAX_RECIPIENTS_BYTES = 32 * 1024  # all recipients of one message together; each hand-over reads them
_MAX_LABEL = 200  # most bytes of a text that only describes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_DIAGNOSTIC = r"(?i:smtp;\s*)?"  # how a bounce message quotes a reply
# RFC 3463 has eight subjects, so 4.94.2 is a version; 5.7.1.9 is an IP address.
_STATUS = r"([45]\.[0-7]\.\d{1,3})(?!\.?\d)"
_LEADING = re.compile(_DIAGNOSTIC + r"(?:[45]\d\d[ -])?\W{0,2}" + _STATUS, re.ASCII)
_WITHIN = re.compile(r"(?<![\w.])(?:[45]\d\d[ -]\W{0,2}|#|dsn=)" + _STATUS, re.ASCII)  # "said: 550 5.7.1"
_QUOTED = re.compile(r"(?i:^|smtp;\s?|said:\s|returned ')([45]\d\d)(?=[ -])", re.ASCII)
_THREE_DIGITS = re.compile(_DIAGNOSTIC + r"([014-9]\d\d)(?!\.?\d)", re.ASCII)


def parse(raw: bytes | str | Mapping[str, Any], *, lacks_plus: bool = False) -> Event | OptedIn | Ignored:
    """Return the event in ``raw``, or ``Ignored`` for another type. Raises ``InvalidEvent`` and nothing else.

    Bytes and text must be strict JSON in UTF-8. An unreadable reference, claim, recipient or deadline is
    refused, because limits and cancels depend on it. An unreadable label (provider, campaign, zone) is left
    out, one of more than 200 bytes is cut, and unknown fields are accepted. An error without ``reasonCode``
    has the code ``""``. ``lacks_plus``: digits without a plus are an international number.
    Of an opt-in only merchant, channel and recipients are read, and each of these must be an address: no
    block is lifted by a guess.
    """
    event = read_object(raw)
    kind = event.get("type")
    if not isinstance(kind, str):
        refuse("must be text" if "type" in event else "is missing", "type")
    if kind not in _OURS:
        if kind == "RECIPIENT_OPTED_IN":
            return _opted_in(event, lacks_plus=lacks_plus)
        return Ignored(type=kind[:NAME], event_id=_label(event.get("eventId")))
    delivered = _OURS[kind]
    event_id = _name(event.get("eventId"), "eventId")
    claim = _object(event, "claim")
    sent = _object(claim, "communication", "claim.")
    recipients = _recipients(sent.get("recipients"))
    failure, details = (None, {}) if delivered else _failure(sent)
    code = failure.code if failure else ""
    channel = channel_of(sent.get("channel"), code=code, recipients=recipients, details=details)
    named = named_by(recipients, channel=channel, details=details, lacks_plus=lacks_plus)
    at, misdated = report_date(event.get("date"))
    resend_id = _label(sent.get("resendId"))
    resend_id = resend_id and fold_id(resend_id)
    not_after, is_unbounded = deadline(sent.get("notAfter"), f"{_COMMUNICATION}.notAfter")
    zone = _label(sent.get("timezone"))
    timezone = zone_named(zone) if zone else None
    trace = event.get("traceparent")
    return Event(
        delivered=delivered,
        event_id=event_id,
        identity=_identity(event_id, resend_id, "delivered" if delivered else code)
        if event_id
        else content_hash(_canonical(event)),
        at=at,
        misdated=misdated,
        source=_label(event.get("source")),
        claim=_claim(claim),
        reference=_reference(sent),
        channel=channel,
        subject=named.subject,
        recipients=named.recipients,
        people=named.people,
        unreadable=named.unreadable,
        left_out=named.left_out,
        failure=failure,
        not_after=not_after,
        is_unbounded=is_unbounded,
        timezone=timezone,
        unread_timezone=None if timezone or zone is None else scrub(zone),
        provider=_label(sent.get("provider")),
        campaign=_label(sent.get("campaign")),
        operator=_label(sent.get("operator")),
        resend_id=resend_id,
        traceparent=trace if isinstance(trace, str) and _TRACEPARENT.fullmatch(trace) else None,
    )


def _opted_in(event: dict[str, Any], *, lacks_plus: bool) -> OptedIn:
    event_id = _name(event.get("eventId"), "eventId")
    claim = _object(event, "claim")
    sent = _object(claim, "communication", "claim.")
    recipients = _recipients(sent.get("recipients"))
    channel = channel_of(sent.get("channel"), code="", recipients=recipients, details={})
    if channel is None:
        refuse("is missing, or is none of SMS, EMAIL, LETTER", f"{_COMMUNICATION}.channel")
    at, misdated = report_date(event.get("date"))
    return OptedIn(
        event_id=event_id,
        identity=_identity(event_id, None, "opted in") if event_id else content_hash(_canonical(event)),
        at=at,
        misdated=misdated,
        source=_label(event.get("source")),
        provider=_label(sent.get("provider")),
        claim=Claim(merchant_id=_id(claim.get("merchantId"), "claim.merchantId")),
        channel=channel,
        people=_addressees(recipients, channel, lacks_plus=lacks_plus),
    )


def _addressees(
    recipients: tuple[object, ...], channel: Channel, *, lacks_plus: bool
) -> tuple[Recipient, ...]:
    """Return who each of these is, each person once. ``InvalidEvent`` for what is no address."""
    path = f"{_COMMUNICATION}.recipients"
    if not recipients:
        refuse("is missing: it must name who agrees", path)
    people: dict[str, Recipient] = {}
    for place, one in enumerate(recipients):
        who = identity(one, channel, lacks_plus=lacks_plus)
        if who is None or who.unreadable or who.is_masked:
            why = who.unreadable if who else "it is empty"
            refuse(f"names nobody for certain: {why}", f"{path}[{place}]")
        people.setdefault(who.address, who)
    return tuple(people.values())


def _identity(event_id: str, resend_id: str | None, code: str) -> str:
    """Return what makes an event the same event: its id, the resend that it answers, its code.

    Some carriers give all reports of a message one id: four characters are of it alone. Two more are of the
    first two, by which ``dedupe.lua`` finds a bare report, which has no code; the rest is of all three.
    """
    name = f"id:{fold_id(event_id)}"
    send = f"{name}|{resend_id or ''}"
    parts = [content_hash(text.encode()) for text in (name, send, f"{send}|{code}")]
    return parts[0][:4] + parts[1][:2] + parts[2][:10]


def content_hash(raw: bytes) -> str:
    """Return 16 characters that are equal for equal content."""
    return base64.urlsafe_b64encode(blake2b(raw, digest_size=12).digest()).decode()


def _canonical(event: dict[str, Any]) -> bytes:
    """Return the same bytes for equal content, whatever its spacing, order of keys and escapes."""
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _object(parent: dict[str, Any], name: str, above: str = "") -> dict[str, Any]:
    child = parent.get(name)
    if not isinstance(child, dict):
        refuse("is missing" if child is None else "must be an object", f"{above}{name}")
    return child


def _name(value: object, path: str) -> str | None:
    """Return an id or a name as text; None if it is absent or empty. Raises ``InvalidEvent``."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        if len(value) > NAME or (not value.isascii() and len(value.encode()) > NAME):
            refuse(f"is longer than {NAME} bytes", path)
        if not value.isprintable() and _CONTROL.search(value):
            refuse("holds a control character", path)
        return value
    return refuse("must be text", path)


def _label(value: object) -> str | None:
    """Return a descriptive text, or None if it cannot be read: the report itself is still accepted."""
    if value is None:
        return None
    try:
        return _name(_shortened(value), "")
    except InvalidEvent:
        return None


def _shortened(label: object) -> object:
    """Return at most 200 bytes of a text, cut between characters: each history line holds the labels."""
    if type(label) is int:
        label = str(label)
    if not isinstance(label, str) or len(label) * 4 <= _MAX_LABEL:
        return label
    return label.encode()[:_MAX_LABEL].decode(errors="ignore")


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
        return _name(value.strip() if isinstance(value, str) else value, path)
    return value if -LARGEST <= value <= LARGEST else refuse("is a number out of range", path)


def _recipients(value: object) -> tuple[object, ...]:
    path = f"{_COMMUNICATION}.recipients"
    if value is None:
        return ()
    if not isinstance(value, list):
        refuse("must be an array", path)
    if len(value) > _MAX_RECIPIENTS:
        refuse(f"has more than {_MAX_RECIPIENTS} entries", path)
    total = 0
    for place, one in enumerate(value):
        if not isinstance(one, str | dict):
            refuse("must be text or an object", f"{path}[{place}]")
        size = len(one.encode()) if isinstance(one, str) else len(_write(one))
        if size > TEXT:
            refuse(f"is longer than {TEXT} bytes", f"{path}[{place}]")
        total += size
    if total > _MAX_RECIPIENTS_BYTES:
        refuse(f"are longer than {_MAX_RECIPIENTS_BYTES // 1024} KiB together", path)
    return tuple(value)


def _failure(sent: dict[str, Any]) -> tuple[Failure | None, dict[str, Any]]:
    """Return what went wrong and its details; (None, {}) for a report in the old form."""
    if sent.get("error") is None:
        return None, {}
    error = _object(sent, "error", f"{_COMMUNICATION}.")
    details = error.get("details")
    if not isinstance(details, dict):
        details = {}
    text = details.get("message")
    failure = Failure(
        type=(_name(error.get("type"), f"{_ERROR}.type") or "").strip().upper(),
        code=code_named(_name(error.get("reasonCode"), f"{_ERROR}.reasonCode") or ""),
        smtp=_smtp(details.get("smtpCode"), text),
        text=text[:TEXT] if isinstance(text, str) and text else None,
        detail=_first_text(details.get("snippets")) or _first_text(details.get("placeholders")),
    )
    return failure, details


def _first_text(values: object) -> str | None:
    return next(filter(None, map(_label, values)), None) if isinstance(values, list) else None


def _smtp(code: object, text: object) -> str | None:
    """Return a reply's enhanced status, else its three digits; None for 2xx, 3xx and anything else.

    In ``text``, of which 4,096 characters are read, a status counts at the beginning and after three digits,
    ``#`` or ``dsn=``; three digits do at the beginning and where another server is quoted (``said: 550 no``).
    A permanent status in the text does not overrule a ``code`` that is transient.
    """
    reply = str(code).strip() if isinstance(code, str | int) else ""
    words = text[:TEXT].strip() if isinstance(text, str) else ""
    digits = _THREE_DIGITS.match(reply)
    status = _LEADING.match(reply) or _LEADING.match(words) or _WITHIN.search(words)
    if status and digits and digits[1] < "5" <= status[1]:
        status = None
    found = status or digits or _QUOTED.search(words)
    return found[1] if found else None
