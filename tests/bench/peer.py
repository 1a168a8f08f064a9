"""The other way to do it: a Celery task for each event, with pydantic, the same libraries and two round trips.

``celery -A tests.bench.peer worker``; BENCH_STORE is the URL of the server, as redis-py spells it.
"""

import os
import time
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal
from uuid import UUID

import phonenumbers
import redis
from celery import Celery
from email_validator import validate_email
from pydantic import BaseModel, Field, ValidationError

QUEUE = "events"
TASK = "bench.handle"
DAY = 86_400
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
    """Validate one event, know its recipient, and schedule, suppress or hold, once."""
    try:
        report = Report.model_validate_json(raw)
    except ValidationError:
        store.hset("dead_letters", blake2b(raw.encode(), digest_size=12).hexdigest(), raw)
        return
    sent = report.claim.communication
    rid = _hash(f"{sent.channel}:{_normalised(sent.recipients[0], sent.channel)}")
    code = sent.error.reasonCode
    first = store.pipeline(transaction=False)
    first.set(f"seen:{report.eventId}", code, nx=True, ex=14 * DAY)
    first.hexists("suppressed", rid)
    first.hexists("cancelled", sent.reference)
    is_new, is_suppressed, is_cancelled = first.execute()
    if not is_new:
        return
    then = store.pipeline(transaction=True)
    if code.startswith(("BOUNCE_PERMANENT_", "INVALID_EMAIL", "INVALID_MOBILE")):
        then.hset("suppressed", rid, f"{time.time():.0f} {code} {report.eventId}")
    elif code in HELD:
        then.hset("held", sent.reference, raw)
    elif not is_suppressed and not is_cancelled:
        then.zadd("schedule", {sent.reference: time.time() + DELAYS.get(code, 7_200)})
        then.hset("deliveries", sent.reference, raw)
    then.hset("history", sent.reference, f"{time.time():.0f} {code} {sent.error.type} {report.eventId}")
    then.execute()


def _normalised(address: str, channel: str) -> str:
    if channel == "EMAIL":
        return validate_email(address, check_deliverability=False).normalized.lower()
    number = phonenumbers.parse(address)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _hash(recipient: str) -> str:
    return blake2b(recipient.encode(), key=b"bench", digest_size=9).hexdigest()
