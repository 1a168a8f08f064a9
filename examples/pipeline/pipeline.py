"""A small messaging pipeline beside softbounce: it sends, reports what fails, and takes resends.

celery -A pipeline worker         tasks messaging.send .resend .report .notice .paid on the queue messaging
"""

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from celery import Celery
from celery.utils.log import get_task_logger

from softbounce import InvalidEvent, Softbounce, TryAgain, handle_once
from softbounce.embedded import find_store
from softbounce.settings import Settings
from softbounce.worker.celery.broker import celery_url

log = get_task_logger(__name__)
sb = Softbounce.from_env()
broker = os.environ.get("SOFTBOUNCE_BROKER_URL") or celery_url(find_store(Settings.load()))
app = Celery("pipeline", broker=broker)
app.conf.update(
    task_default_queue="messaging",
    task_acks_late=True,  # a task counts as done when it is done, not when it begins
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_concurrency=2,
    broker_connection_retry_on_startup=True,
    # all clients of one Redis broker need the same visibility timeout (the shortest wins), RabbitMQ has none
    broker_transport_options={"confirm_publish": True} if "amqp" in broker else {"visibility_timeout": 60},
)
# Until it works: the store or the carrier may be away, another worker may act on the same id. The waits stay
# below the visibility timeout.
PATIENTLY = {
    "autoretry_for": (Exception,),
    "dont_autoretry_for": (InvalidEvent,),
    "max_retries": None,
    "retry_backoff": 1,
    "retry_backoff_max": 30,
}


@app.task(name="messaging.send", bind=True, **PATIENTLY)
def send(self, claim: int, recipient: str, channel: str = "sms", merchant: int = 1) -> None:
    """Send a message for the first time, unless its recipient is suppressed."""
    verdict = sb.may_send(recipient, channel=channel, merchant=merchant)
    if not verdict:
        log.info("nothing sent for claim %s: %s, %s", claim, verdict.reason, verdict.because)
        return
    reference = self.request.id  # one reference a message, also when this task is delivered twice
    sql(
        "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)",
        reference,
        claim,
        merchant,
        channel,
        recipient,
    )
    transmit(reference, attempt=0)


@app.task(name="messaging.resend", **PATIENTLY | {"autoretry_for": (TryAgain,)})
def resend(command: dict) -> None:
    """Take a resend of softbounce, and act once for each id. What always fails is reported."""
    try:
        handled = handle_once(command, again)
    except TryAgain:
        raise
    except Exception:
        sent = {key: command[key] for key in ("channel", "reference", "recipients")}
        sent["resendId"] = command["id"]
        tell(command["claim"], sent, event_id=f"{command['id']}-failed", error="PROVIDER_ERROR")
        raise
    log.info("resend %s of %s: %s", command["attempt"], command["reference"], handled)


def again(command: dict) -> None:
    """Send a message again, if it is still wanted."""
    transmit(command["reference"], attempt=command["attempt"], resend_id=command["id"])


@app.task(name="messaging.report", **PATIENTLY)
def report(event: dict) -> None:
    """Tell softbounce what became of a try. A task of its own, so that nothing is sent twice if it fails."""
    sb.report(event)


@app.task(name="messaging.notice")
def hear(notice: dict) -> None:
    """Hear what softbounce did beside resends; a pipeline may choose another channel here."""
    log.info("%s of %s", notice["type"], notice.get("reference"))


@app.task(name="messaging.paid", **PATIENTLY)
def paid(claim: int) -> None:
    """Note a payment: nothing more is sent for the claim."""
    sql("INSERT OR IGNORE INTO paid VALUES (?)", claim)
    sb.cancel(claim=claim, reason="paid")


def transmit(reference: str, *, attempt: int, resend_id: str | None = None) -> None:
    """Look whether a message is still wanted, render it, give it to the carrier, report what became of it."""
    wanted = sql(
        "SELECT * FROM messages WHERE reference = ? AND claim NOT IN (SELECT * FROM paid)", reference
    )
    if not wanted:
        log.info("%s is not wanted any more", reference)
        sb.cancel(reference=reference, reason="not wanted any more")
        return
    message = wanted[0]
    text = (
        f"Claim {message['claim']} is open. Yours, merchant {message['merchant']}"  # rendered anew each time
    )
    error = carrier(message["recipient"], text, attempt=attempt)
    log.info("%s try %s: %s", reference, attempt, error or "delivered")
    sent = {"channel": message["channel"], "reference": reference, "recipients": [message["recipient"]]}
    if resend_id:
        sent["resendId"] = resend_id  # which try this answers
    claim = {"id": message["claim"], "merchantId": message["merchant"]}
    tell(claim, sent, event_id=f"{reference}-{attempt}", error=error)


def tell(claim: dict, sent: dict, *, event_id: str, error: str | None) -> None:
    """Report what became of one try. One id a try: reporting it twice is harmless."""
    if error:
        details = {"message": "as the carrier says"}
        sent["error"] = {"type": "SEND_ERROR", "reasonCode": error, "details": details}
    event = {
        "type": "MESSAGE_NOT_DELIVERED" if error else "MESSAGE_DELIVERED",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventId": event_id,
        "source": "PIPELINE",
        "claim": claim | {"communication": sent},
    }
    report.delay(event)


def carrier(recipient: str, text: str, *, attempt: int) -> str | None:
    """Pretend to send; return a reason code, or None if it arrived. The recipient's last character decides.

    1: unreachable at the first send. 2: never reachable. 3: no such number. Others are always reached.
    """
    log.debug("%s characters to the carrier", len(text))
    if recipient.endswith("2") or (recipient.endswith("1") and attempt == 0):
        return "SMS_EXPIRED"
    return "INVALID_MOBILE_NUMBER" if recipient.endswith("3") else None


def sql(statement: str, *values: object) -> list[sqlite3.Row]:
    """Ask your own database, which knows each message by its reference, and which claims are paid."""
    path = os.environ.get("PIPELINE_DB", str(Path(tempfile.gettempdir()) / "softbounce-pipeline.db"))
    with closing(sqlite3.connect(path, timeout=10)) as db, db:
        db.row_factory = sqlite3.Row
        db.execute(
            "CREATE TABLE IF NOT EXISTS messages (reference PRIMARY KEY, claim, merchant, channel, recipient)"
        )
        db.execute("CREATE TABLE IF NOT EXISTS paid (claim PRIMARY KEY)")
        return db.execute(statement, values).fetchall()
