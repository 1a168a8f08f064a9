"""Deliveries and what a store knows of them, made up: what explains them asks no store."""

from dataclasses import replace

from msgspec import convert

from softbounce.core.durations import HOUR
from softbounce.core.events import Claim
from softbounce.core.history import HistoryLine
from softbounce.core.records import Delivery
from softbounce.store import Situation, Verdict
from softbounce.store.situations import Gate, Story

ZONE = "Europe/Berlin"
FAILED = 1_795_192_343_000  # 2026-11-20T16:32:23Z
NOW = FAILED + 2 * HOUR
DUE = FAILED + HOUR


def delivery(**fields):
    """Return a delivery of an SMS that waits for its first try, which is due."""
    known = {
        "id": "abcdefghijkl" + "ABCDEFGHIJKL",
        "state": "waiting",
        "outcome": None,
        "attempt": 1,
        "max_attempts": 4,
        "token": 0,
        "due": DUE,
        "deadline": FAILED + 72 * HOUR,
        "first_failed": FAILED,
        "waits_for": None,
        "reference": "m1",
        "channel": "sms",
        "recipients": ("+491701234567",),
        "claim": Claim(id=54321, merchant_id=42, reference_number=None, customer_number="C1"),
        "error_type": "SEND_ERROR",
        "code": "SMS_EXPIRED",
        "revision": "r1",
        "rule": "codes.SMS_EXPIRED",
        "line": 1,
    }
    return Delivery(**(known | fields))


FIRST = {"t": FAILED, "at": FAILED // 1000, "k": "failed", "o": "scheduled", "code": "SMS_EXPIRED"}


def gate(why, becomes="waiting", *, until=None, field="", **entry):
    """Return what does not let a try pass."""
    return Gate(becomes=becomes, until=until, why=why, field=field, entry=entry or None)


def situation(*history, at=NOW, **fields):
    """Return a situation in which nothing is against the delivery and a worker lives."""
    known = {name: fields.pop(name) for name in list(fields) if name in Situation.__slots__}
    found = Situation(
        story=Story(delivery=delivery(**fields), history=convert([FIRST, *history], tuple[HistoryLine, ...])),
        now=at,
        at=at,
        gates=(),
        verdict=Verdict(allowed=True, recipient="r_ABCDEFGHIJKL"),
        soft_bounces=(),
        workers=("w1",),
    )
    return replace(found, **known)
