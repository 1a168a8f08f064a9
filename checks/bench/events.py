"""The events of the bench, the seed's JSON: of failures alone, and of a pipeline that reports what arrived too."""

import json
import time
from typing import Any

Kind = tuple[str, str, str]  # channel, reason code, what the provider said

TRANSIENT: list[Kind] = [
    ("SMS", "SMS_EXPIRED", "handset did not answer within the validity period"),
    ("SMS", "PROVIDER_ERROR", "the provider answered 503 three times in a row"),
    ("EMAIL", "BOUNCE_TRANSIENT_MBX_FULL", "552 5.2.2 mailbox full, the user is over quota"),
    ("EMAIL", "BOUNCE_TRANSIENT_GENERAL", "451 4.3.0 local error in processing, try again"),
]
PERMANENT: list[Kind] = [
    ("EMAIL", "BOUNCE_PERMANENT_GENERAL", "550 5.1.1 no such user here, address rejected"),
    ("SMS", "INVALID_MOBILE_NUMBER", "the number is not assigned to any subscriber"),
    ("EMAIL", "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", "the address is on the account's own list"),
    ("EMAIL", "INVALID_EMAIL_ADDRESS", "the domain of the address does not exist"),
]
MESSAGE: list[Kind] = [
    ("EMAIL", "PLACEHOLDER_ERROR", "missing data to resolve the placeholders in the content")
]
MALFORMED: list[Kind] = [("SMS", "", "")]
ARRIVED: list[Kind] = [("SMS", "DELIVERED", ""), ("EMAIL", "DELIVERED", "")]

FAILURES = TRANSIENT * 7 + PERMANENT * 2 + MESSAGE * 3 + MALFORMED  # 28, 8, 3 and 1 of 40
DELIVERIES = ARRIVED * 97 + (TRANSIENT + PERMANENT[:1] + MESSAGE)  # 194 of 200; none of them ever failed


def make(count: int, *, kinds: list[Kind] = FAILURES, first: int = 0) -> list[bytes]:
    """Return so many events of today, each about another message and another recipient, from number ``first``."""
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # 7 is prime to the length of every mix: its kinds come well mingled
    return [event(n, kinds[n * 7 % len(kinds)], today) for n in range(first, first + count)]


def recipients(count: int) -> list[str]:
    """Return so many different e-mail addresses."""
    return [address(n, "EMAIL") for n in range(count)]


def address(number: int, channel: str) -> str:
    """Return the recipient of that number."""
    return f"+49151{number:08}" if channel == "SMS" else f"first.last{number}@example{number % 97}.com"


def event(number: int, kind: Kind, date: str, *, to: int | None = None) -> bytes:
    """Return one event about message ``number``, sent to recipient ``to``, by default of the same number."""
    channel, code, said = kind
    message: dict[str, Any] = {
        "channel": channel,
        "reference": f"a6590eb9-497a-4a7f-b5df-{number:012}",
        "recipients": [address(number if to is None else to, channel)],
    }
    if code != "DELIVERED":
        details: dict[str, Any] = {"message": said}
        if channel == "EMAIL":
            details["smtpCode"] = int(said[:3]) if said[:3].isdigit() else 250
        what = "CONTACT_ERROR" if code.startswith("INVALID") else "SEND_ERROR"
        what = "RENDER_ERROR" if kind in MESSAGE else what
        message["error"] = {"type": what, "reasonCode": code, "details": details}
    whole = {
        "type": "MESSAGE_DELIVERED" if code == "DELIVERED" else "MESSAGE_NOT_DELIVERED",
        "date": date,
        "eventId": f"a1daaeb5-7a71-4df1-9278-{number:012}",
        "source": "ESCALATION",
        "claim": {
            "id": 5_000_000 + number,
            "merchantId": number % 50,
            "referenceNumber": f"REF-{number:08}",
            "customerNumber": f"{number:08}",
            "communication": message,
        },
    }
    raw = json.dumps(whole).encode()
    return raw if code else raw[:-9]  # the malformed one is cut off
