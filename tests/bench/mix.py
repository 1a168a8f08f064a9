"""The events of the bench: the seed's JSON, 70 % transient, 20 % permanent, 10 % message-level or malformed."""

import json
import time
from typing import Any

TRANSIENT = [
    ("SMS", "SMS_EXPIRED", "handset did not answer within the validity period"),
    ("SMS", "PROVIDER_ERROR", "the provider answered 503 three times in a row"),
    ("EMAIL", "BOUNCE_TRANSIENT_MBX_FULL", "552 5.2.2 mailbox full, the user is over quota"),
    ("EMAIL", "BOUNCE_TRANSIENT_GENERAL", "451 4.3.0 local error in processing, try again"),
]
PERMANENT = [
    ("EMAIL", "BOUNCE_PERMANENT_GENERAL", "550 5.1.1 no such user here, address rejected"),
    ("SMS", "INVALID_MOBILE_NUMBER", "the number is not assigned to any subscriber"),
    ("EMAIL", "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", "the address is on the account's own list"),
    ("EMAIL", "INVALID_EMAIL_ADDRESS", "the domain of the address does not exist"),
]
MESSAGE = [("EMAIL", "PLACEHOLDER_ERROR", "missing data to resolve the placeholders in the content")]
MALFORMED = [("SMS", "", "")]
MIX = TRANSIENT * 7 + PERMANENT * 2 + MESSAGE * 3 + MALFORMED  # 28, 8, 3 and 1 of 40


def events(count: int, *, kinds: list[tuple[str, str, str]] = MIX) -> list[bytes]:
    """Return so many different events of today, each about another message and another recipient."""
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # 7 is prime to the 40 of the mix: its kinds come well mingled
    return [_event(n, kinds[n * 7 % len(kinds)], today) for n in range(count)]


def recipients(count: int) -> list[str]:
    """Return so many different e-mail addresses."""
    return [f"first.last{n}@example{n % 97}.com" for n in range(count)]


def _event(number: int, row: tuple[str, str, str], date: str) -> bytes:
    channel, code, said = row
    is_sms = channel == "SMS"
    kind = "CONTACT_ERROR" if code.startswith("INVALID") else "SEND_ERROR"
    details: dict[str, Any] = {"message": said}
    if not is_sms:
        details["smtpCode"] = int(said[:3]) if said[:3].isdigit() else 250
    event = {
        "type": "MESSAGE_NOT_DELIVERED",
        "date": date,
        "eventId": f"a1daaeb5-7a71-4df1-9278-{number:012}",
        "source": "ESCALATION",
        "claim": {
            "id": 5_000_000 + number,
            "merchantId": number % 50,
            "referenceNumber": f"REF-{number:08}",
            "customerNumber": f"{number:08}",
            "communication": {
                "channel": channel,
                "reference": f"a6590eb9-497a-4a7f-b5df-{number:012}",
                "recipients": [
                    f"+49151{number:08}" if is_sms else f"first.last{number}@example{number % 97}.com"
                ],
                "error": {
                    "type": "RENDER_ERROR" if row in MESSAGE else kind,
                    "reasonCode": code,
                    "details": details,
                },
            },
        },
    }
    raw = json.dumps(event).encode()
    return raw if code else raw[:-9]  # the malformed one is cut off
