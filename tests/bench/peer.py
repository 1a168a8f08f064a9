"""The other way to do it: a Celery task for each event, with pydantic, the same libraries, Celery's own countdown.

``celery -A tests.bench.peer worker``; BENCH_STORE is the URL of the server, as redis-py spells it.
"""

import os
import random
import time
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import phonenumbers
import redis
from celery import Celery
from email_validator import validate_email
from phonenumbers.timezone import time_zones_for_number
from pydantic import BaseModel, Field, ValidationError

QUEUE = "events"
RESENDS = (
    "resends"  # what waits; nobody consumes it here, so the worker is spared what it would hold in memory
)
TASK = "bench.handle"
DAY = 86_400
MORNING, EVENING = 8, 20
URL = os.environ.get("BENCH_STORE", "unix:///nowhere")
DELAYS = {"SMS_EXPIRED": 5_400, "PROVIDER_ERROR": 120}  # seconds
HELD = ("PLACEHOLDER_ERROR", "SNIPPET_ERROR", "INVALID_CLAIM", "INVALID_SENDER_ERROR")


def broker(url: str) -> str:
    """Return the server's URL as Celery spells it."""
    return url.replace("unix://", "redis+socket://")


app = Celery("bench", broker=broker(URL), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=100,  # measured: less is slower, more is not faster
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
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
    error: Error


class Claim(BaseModel):
    """What the message belongs to."""

    id: int | str
    merchantId: int | str  # noqa: N815 - the producers' name
    referenceNumber: str  # noqa: N815 - the producers' name
    customerNumber: str  # noqa: N815 - the producers' name
    communication: Communication


class Report(BaseModel):
    """One event."""

    type: Literal["MESSAGE_NOT_DELIVERED"]
    date: datetime
    eventId: UUID  # noqa: N815 - the producers' name
    source: str
    claim: Claim


@app.task(name=TASK)
def handle(raw: str) -> None:
    """Validate one event, know its recipient, and schedule, suppress or hold it, once."""
    try:
        report = Report.model_validate_json(raw)
    except ValidationError:
        store.hset("dead_letters", blake2b(raw.encode(), digest_size=12).hexdigest(), raw)
        return
    sent = report.claim.communication
    code = sent.error.reasonCode
    address, zone = _normalised(sent.recipients[0], sent.channel)
    rid = blake2b(f"{sent.channel}:{address}".encode(), key=b"bench", digest_size=9).hexdigest()
    read = store.pipeline(transaction=False)
    read.set(f"seen:{report.eventId}", code, nx=True, ex=14 * DAY)
    read.hexists("suppressed", rid)
    read.hexists("cancelled", sent.reference)
    read.hget("tries", sent.reference)
    read.hget("soft_bounces", rid)
    is_new, is_suppressed, is_cancelled, tries, soft_bounces = read.execute()
    if not is_new:
        return
    now = time.time()
    write = store.pipeline(transaction=True)
    if code.startswith(("BOUNCE_PERMANENT_", "INVALID_EMAIL", "INVALID_MOBILE")):
        write.hset("suppressed", rid, f"{now:.0f} {code} {report.eventId}")
        write.xadd("notices", {"notice": f"suppressed {sent.reference}"})
    elif code in HELD:
        write.hset("held", sent.reference, raw)
        write.xadd("notices", {"notice": f"held {sent.reference}"})
    elif not is_suppressed and not is_cancelled:
        countdown = _due(code, now, zone) - now
        app.send_task("bench.resend", (sent.reference, raw), countdown=countdown, queue=RESENDS)
        write.hset("tries", sent.reference, int(tries or 0) + 1)
        if code != "PROVIDER_ERROR":
            write.hset("soft_bounces", rid, f"{(soft_bounces or b'').decode()} {now:.0f}")
    write.hset("history", sent.reference, f"{now:.0f} {code} {sent.error.type} {report.eventId}")
    write.execute()


def _normalised(address: str, channel: str) -> tuple[str, str]:
    """Return the address in its one form, and the zone whose night counts (none for e-mail)."""
    if channel == "EMAIL":
        return validate_email(address, check_deliverability=False).normalized.lower(), ""
    number = phonenumbers.parse(address)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164, time_zones_for_number(number)[0]


def _due(code: str, now: float, zone: str) -> float:
    """Return when the next try leaves: the code's delay, jittered, and out of the recipient's night."""
    due = now + DELAYS.get(code, 7_200) * random.uniform(0.8, 1.2)
    local = datetime.fromtimestamp(due, ZoneInfo(zone)) if zone else None
    if local is None or MORNING <= local.hour < EVENING:
        return due
    night_ends = local.replace(hour=MORNING, minute=0) + timedelta(days=local.hour >= EVENING)
    return night_ends.timestamp()
