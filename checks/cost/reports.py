"""Reports for the measure: ordinary ones, and what a producer can make of each field at its largest."""

import json
from itertools import count
from typing import Any

from checks.bench.events import FAILURES, TRANSIENT, event

from softbounce.core import bounds, events

NOW = 1_795_186_800_000  # 2026-11-20T15:00:00Z, a Friday: quiet nowhere in Europe
DATE = "2026-11-20T14:59:00Z"
HOUR = 3_600_000
NAME = "\U0001f600" * ((bounds.NAME - 12) // 4)  # as large as is read
RECIPIENT = events._MAX_RECIPIENTS_BYTES // 100 - 50  # noqa: SLF001 - bytes of each of a hundred
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
    one = reference or f"{n}"  # all reports of a reference are of one claim
    whole = {
        "type": "MESSAGE_DELIVERED" if delivered else "MESSAGE_NOT_DELIVERED",
        "date": date,
        "eventId": f"e{n}",
        "claim": {
            "id": one,
            "merchantId": 7 if reference else n % 50,
            "customerNumber": one,
            "referenceNumber": one,
            "communication": message,
        },
    }
    if large:
        whole["eventId"] = label(n)
        known = label(0 if reference else n)
        whole["claim"] |= {"id": known, "customerNumber": known, "referenceNumber": known}
        message |= {"campaign": label(n), "operator": label(n), "provider": NAME}
        whole["claim"]["merchantId"] = NAME
    whole["claim"] |= claim or {}
    message |= sent or {}
    return json.dumps(whole, ensure_ascii=False).encode()


def label(n: int) -> str:
    """Return a name as large as is read that no other has."""
    return f"{n:010}{NAME}"


def large_people() -> list[dict[str, str]]:
    """Return 100 recipients, together as large as is read."""
    return [{"email": f"p{next(_numbers)}@example.com", "n": "x" * (RECIPIENT - 40)} for _ in range(100)]


def people(many: int = 100, *, first: int = 0) -> list[str]:
    """Return recipients."""
    return [f"person{n}@example.com" for n in range(first, first + many)]
