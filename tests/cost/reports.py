"""Reports for the measure: ordinary ones, and what a producer can make of each field at its largest."""

import json
from itertools import count
from typing import Any

from tests.bench.events import FAILURES, TRANSIENT, event

NOW = 1_795_186_800_000  # 2026-11-20T15:00:00Z, a Friday: quiet nowhere in Europe
DATE = "2026-11-20T14:59:00Z"
HOUR = 3_600_000
LABEL = "\U0001f600" * 500  # a label may have 512 characters
_numbers = count(1)


def ordinary(many: int, *, first: int = 0) -> list[bytes]:
    """Return failures in the mix of the bench."""
    return [event(n, FAILURES[n * 7 % len(FAILURES)], DATE) for n in range(first, first + many)]


def retried(many: int) -> list[bytes]:
    """Return ordinary failures that are all retried."""
    return [event(n, TRANSIENT[n % len(TRANSIENT)], DATE) for n in range(many)]


def report(
    *,
    reference: str | None = None,
    to: Any = None,
    code: str | None = "PROVIDER_ERROR",
    kind: str = "SEND_ERROR",
    channel: str = "EMAIL",
    date: str = DATE,
    delivered: bool = False,
    large: bool = False,
    details: dict[str, Any] | None = None,
    sent: dict[str, Any] | None = None,
    claim: dict[str, Any] | None = None,
) -> bytes:
    """Return one report with an id, a reference and a recipient of its own; ``large``: each label is one."""
    n = next(_numbers)
    message: dict[str, Any] = {
        "channel": channel,
        "reference": reference or f"r{n}",
        "recipients": [f"a{n}@example.com"] if to is None else to,
    }
    if code is not None and not delivered:
        message["error"] = {"type": kind, "reasonCode": code, "details": details or {}}
    whole = {
        "type": "MESSAGE_DELIVERED" if delivered else "MESSAGE_NOT_DELIVERED",
        "date": date,
        "eventId": f"e{n}",
        "claim": {
            "id": n,
            "merchantId": n % 50,
            "customerNumber": f"{n}",
            "referenceNumber": f"{n}",
            "communication": message,
        },
    }
    if large:
        whole["eventId"] = label(n)
        whole["claim"] |= {"id": label(n), "customerNumber": label(n), "referenceNumber": label(n)}
        message |= {"campaign": label(n), "operator": label(n), "provider": LABEL}
        whole["claim"]["merchantId"] = LABEL
    whole["claim"] |= claim or {}
    message |= sent or {}
    return json.dumps(whole, ensure_ascii=False).encode()


def label(n: int) -> str:
    """Return a label of about 2 KB that no other has."""
    return f"{n:010}{LABEL}"


def letters(size: int) -> list[dict[str, str]]:
    """Return 100 recipients of about so many bytes each."""
    return [{"email": f"p{next(_numbers)}@example.com", "note": "x" * size} for _ in range(100)]


def people(many: int = 100, *, first: int = 0) -> list[str]:
    """Return recipients."""
    return [f"person{n}@example.com" for n in range(first, first + many)]
