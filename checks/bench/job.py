"""The peers' job in Python, with the libraries that one would take: pydantic, phonenumbers, email-validator, redis-py.

``take`` is what becomes of one report, ``hand_over`` what becomes of one retry that is due; how time passes in between
is each system's own delay mechanism, ``later``. Every report writes what softbounce's does: dedupe marker, suppression,
soft bounce, count of tries, history, notice, counter. It has no cases, no audit, no caps, no turns among merchants, and
what dies between its round trips is half done.
"""

import json
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import phonenumbers
import redis
from email_validator import EmailNotValidError, validate_email
from phonenumbers.timezone import time_zones_for_number
from pydantic import BaseModel, Field, ValidationError

URL = os.environ.get("BENCH_STORE", "unix:///nowhere")
DELAY = float(os.environ.get("BENCH_DELAY", "0"))  # s; instead of each code's own (verify)
DAY = 86_400
MORNING, EVENING = 8, 20
DELAYS = {"SMS_EXPIRED": 5_400, "PROVIDER_ERROR": 120}  # s
HELD = ("PLACEHOLDER_ERROR", "SNIPPET_ERROR", "INVALID_CLAIM", "INVALID_SENDER_ERROR")
PERMANENT = ("BOUNCE_PERMANENT_", "INVALID_EMAIL", "INVALID_MOBILE")
NAMESPACE = UUID("5f0f2b0c-6a53-4c6e-9d0a-3c7c5b8f6c11")

Later = Callable[[str, str, int, float], None]  # raw, recipient's hash, number of the try, seconds from now

store = redis.Redis.from_url(URL)


class Error(BaseModel):
    """What went wrong."""

    type: str
    reasonCode: str  # noqa: N815 - the producers' name
    details: dict[str, Any] = Field(default_factory=dict)


class Communication(BaseModel):
    """The message."""

    channel: Literal["SMS", "EMAIL"]
    reference: str = Field(min_length=1)
    recipients: list[str] = Field(min_length=1)
    error: Error | None = None


class Claim(BaseModel):
    """What the message belongs to."""

    id: int | str
    merchantId: int | str  # noqa: N815 - the producers' name
    referenceNumber: str  # noqa: N815 - the producers' name
    customerNumber: str  # noqa: N815 - the producers' name
    communication: Communication


class Report(BaseModel):
    """One event."""

    type: Literal["MESSAGE_NOT_DELIVERED", "MESSAGE_DELIVERED"]
    date: datetime
    eventId: UUID  # noqa: N815 - the producers' name
    source: str
    claim: Claim


def take(raw: str, later: Later) -> None:
    """Give one report its outcome."""
    try:
        report = Report.model_validate_json(raw)
        sent = report.claim.communication
        address, zone = normalised(sent.recipients[0], sent.channel)
    except (ValidationError, EmailNotValidError, phonenumbers.NumberParseException):
        write = store.pipeline(transaction=True)
        write.hset("dead_letters", blake2b(raw.encode(), digest_size=12).hexdigest(), raw)
        write.hincrby("counters", "dead_lettered")
        write.execute()
        return
    rid = hashed(address, sent.channel)
    if sent.error is None:
        write = store.pipeline(transaction=True)
        write.set(f"delivered:{sent.reference}", 1, ex=14 * DAY)  # a later failure of it starts nothing
        write.hdel("soft_bounces", rid)
        write.hincrby("counters", "delivered")
        write.execute()
    else:
        _failed(raw, report, rid, zone, later)


def _failed(raw: str, report: Report, rid: str, zone: str, later: Later) -> None:
    sent = report.claim.communication
    error, code = sent.error, sent.error.reasonCode
    read = store.pipeline(transaction=False)
    read.set(f"seen:{report.eventId}", code, nx=True, ex=14 * DAY)
    read.hexists("suppressed", rid)
    read.hmget("cancelled", [sent.reference, str(report.claim.id)])
    read.exists(f"delivered:{sent.reference}")
    read.hget("tries", sent.reference)
    read.hget("soft_bounces", rid)
    is_new, is_suppressed, cancels, has_arrived, tries, soft_bounces = read.execute()
    now = time.time()
    write = store.pipeline(transaction=True)
    if not is_new:
        outcome = "duplicate"
    elif code.startswith(PERMANENT):
        outcome = "suppressed"
        write.hset("suppressed", rid, f"{now:.0f} {code} {report.eventId}")
        write.xadd("notices", {"notice": f"suppressed {sent.reference}"})
    elif has_arrived:
        outcome = "ended"
    elif any(cancels):
        outcome = "cancelled"
    elif is_suppressed:
        outcome = "suppressed"
    elif code in HELD:
        outcome = "held"
        write.hset("held", sent.reference, raw)
        write.xadd("notices", {"notice": f"held {sent.reference}"})
    else:
        outcome = "scheduled"
        attempt = int(tries or 0) + 1
        later(raw, rid, attempt, due(code, now, zone) - now)
        write.hset("tries", sent.reference, attempt)
        if code != "PROVIDER_ERROR":
            write.hset("soft_bounces", rid, f"{(soft_bounces or b'').decode()} {now:.0f}")
    if outcome != "duplicate":
        write.hset("history", sent.reference, f"{now:.0f} {code} {error.type} {outcome} {report.eventId}")
    write.hincrby("counters", outcome)
    write.execute()


def hand_over(raw: str, rid: str, attempt: int) -> None:
    """Let one retry that is due go out to the pipeline's stream, unless it may not any more."""
    report = json.loads(raw)
    claim = report["claim"]
    sent = claim.pop("communication")
    reference = sent["reference"]
    read = store.pipeline(transaction=False)
    read.hexists("suppressed", rid)
    read.hmget("cancelled", [reference, str(claim["id"])])
    read.exists(f"delivered:{reference}")
    is_suppressed, cancels, has_arrived = read.execute()
    if is_suppressed or any(cancels) or has_arrived:
        return
    ident = str(uuid5(NAMESPACE, f"{reference} {attempt}"))
    command = {
        "type": "resend",
        "version": 1,
        "id": ident,
        "reference": reference,
        "channel": sent["channel"],
        "recipients": sent["recipients"],
        "claim": claim,
        "attempt": attempt,
        "reason": {"type": sent["error"]["type"], "reasonCode": sent["error"]["reasonCode"]},
        "firstFailedAt": report["date"],
        "dueAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write = store.pipeline(transaction=True)
    write.xadd("resend", {"id": ident, "command": json.dumps(command)})
    write.hset("history", f"{reference} {attempt}", f"{time.time():.0f} handed over")
    write.execute()


def normalised(address: str, channel: str) -> tuple[str, str]:
    """Return the address in its one form, and the zone whose night counts (none for e-mail)."""
    if channel == "EMAIL":
        return validate_email(address, check_deliverability=False).normalized.lower(), ""
    number = phonenumbers.parse(address)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164, time_zones_for_number(number)[0]


def hashed(address: str, channel: str) -> str:
    """Return what stands for a recipient."""
    return blake2b(f"{channel}:{address}".encode(), key=b"bench", digest_size=9).hexdigest()


def due(code: str, now: float, zone: str) -> float:
    """Return when the next try leaves: the code's delay, jittered, and out of the recipient's night."""
    if DELAY:
        return now + DELAY
    moment = now + DELAYS.get(code, 7_200) * random.uniform(0.8, 1.2)
    local = datetime.fromtimestamp(moment, ZoneInfo(zone)) if zone else None
    if local is None or MORNING <= local.hour < EVENING:
        return moment
    night_ends = local.replace(hour=MORNING, minute=0) + timedelta(days=local.hour >= EVENING)
    return night_ends.timestamp()
