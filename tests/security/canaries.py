"""Addresses that must not be seen where they do not belong, in every spelling; and waiting for what comes."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.servers import PATIENCE


def spellings(address: str) -> list[str]:
    """Return how an address may be written: as it is, percent-encoded, a number's digits (search in any case)."""
    digits = [address[1:]] if address.startswith("+") else []
    return list(dict.fromkeys([address, quote(address, safe=""), *digits]))


def failed(
    reference: str,
    recipients: list[Any],
    *,
    code: str = "SMS_EXPIRED",
    channel: str = "SMS",
    type: str = "SEND_ERROR",  # noqa: A002 - the field's name
) -> dict[str, Any]:
    """Return a report that ``reference`` failed just now."""
    communication = {
        "reference": reference,
        "channel": channel,
        "recipients": recipients,
        "error": {"type": type, "reasonCode": code},
    }
    claim = {"id": f"claim-{reference}", "merchantId": 1, "communication": communication}
    return {"type": "MESSAGE_NOT_DELIVERED", "eventId": f"event-{reference}", "claim": claim}


def until(claim: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """Poll until ``claim`` holds and return what it says; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not (said := claim()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
    return said
