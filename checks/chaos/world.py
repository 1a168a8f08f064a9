"""The messages of a run and the pipeline that sends them: what must become of each is decided beforehand."""

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

POLICY = """\
version: 1
name: chaos
limits: {max_attempts: 6, min_delay: 1s, resends_per_recipient: 1000/1d, resends_per_claim: 1000/1d, handover_rate: 5000/s}
retention: {dedupe: 40d, dead_letters: 90d}
defaults:
  retry: {delays: [1s, 1s, 1s], jitter: 0%, give_up_after: 35d}
  soft_bounce: {escalate_at: 3, within: 30d, apart: 1h, then: notify}
  suppression: {brake: off}  # a world of an hour would be one incident
codes:
  SMS_EXPIRED: {do: retry, fault: recipient}
  SMS_SLOW: {do: retry, fault: recipient, retry: {delays: [6s]}}
  PROVIDER_ERROR: {do: retry, fault: provider}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
  PLACEHOLDER_ERROR: {do: hold, fault: message}
"""
"""Delays of a second: the faults of weeks fit into minutes, on the real clock."""
SILENCE = 39 * 86_400_000
"""Time (ms) in which every deadline of the policy has passed, and the 72 h after it in which an answer may come."""
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must become of one message."""

    sends: int  # resends, under ids of their own
    ends: str  # delivered | given_up | suppressed | held | dead | person | cancelled | unanswered
    code: str = "SMS_EXPIRED"
    copies: int = 1  # how often its first report is sent


PLANS = (  # each with its share
    (40, Plan(sends=1, ends="delivered")),
    (15, Plan(sends=2, ends="delivered")),
    (8, Plan(sends=TRIES, ends="delivered", code="PROVIDER_ERROR")),
    (6, Plan(sends=TRIES, ends="given_up")),
    (4, Plan(sends=1, ends="unanswered")),
    (8, Plan(sends=0, ends="suppressed", code="INVALID_MOBILE_NUMBER")),
    (5, Plan(sends=0, ends="held", code="PLACEHOLDER_ERROR")),
    (3, Plan(sends=0, ends="dead")),
    (8, Plan(sends=1, ends="delivered", copies=3)),
)


def address(number: int) -> str:
    """Return a phone number that is nobody's else in this run."""
    return f"+4917{number:08}"


class World:
    """Makes messages, and answers as the pipeline does. Events are named by a number of their own."""

    def __init__(self, rng: random.Random, *, plans=PLANS, place: int = 0) -> None:
        self.rng = rng
        self.text = "as the operator says"
        self.fates: dict[str, tuple[Plan, str]] = {}
        self._plans = [plan for _, plan in plans]
        self._shares = [share for share, _ in plans]
        first = place * 100_000 + 1  # several worlds of one run never meet
        self._numbers, self._events = count(first), count(first)  # several threads take from them

    def messages(self, number: int) -> Iterator[tuple[str, Plan, str, list[bytes]]]:
        """Yield (reference, plan, recipient, its first reports) of so many messages."""
        for plan in self.rng.choices(self._plans, self._shares, k=number):
            yield self.message(plan)

    def message(self, plan: Plan) -> tuple[str, Plan, str, list[bytes]]:
        """Return one message with a plan of its own."""
        number = next(self._numbers)
        ref, to = f"m{number}", address(number)
        self.fates[ref] = plan, to
        if plan.ends == "dead":
            return ref, plan, "", [f'{{"torn": "{ref}'.encode()]
        return ref, plan, to, [self.failed(ref, to, plan.code)] * plan.copies

    def soft_bouncers(
        self, recipients: int, *, days: tuple[int, ...] = (1, 15, 29), prefix: str = "s"
    ) -> Iterator[tuple[str, Plan, str, list[bytes]]]:
        """Yield three messages each to so many recipients, newest failure first: each escalates once."""
        for _ in range(recipients):
            number = next(self._numbers)
            to = address(number)
            for day in days:
                ref = f"{prefix}{number}-{day}"
                plan = (
                    Plan(sends=TRIES, ends="given_up") if prefix == "s" else Plan(sends=1, ends="delivered")
                )
                self.fates[ref] = plan, to
                at = datetime.now(UTC) - timedelta(days=day)
                yield ref, plan, to, [self.failed(ref, to, plan.code, at=at)]

    def answer(self, ref: str, attempt: int, ident: str) -> bytes | None:
        """Return what the pipeline reports after it has acted on a command; None if it reports nothing."""
        plan, to = self.fates.get(ref, (Plan(sends=0, ends="delivered"), address(0)))
        if plan.ends == "unanswered":
            return None
        if attempt < plan.sends or plan.ends == "given_up":
            return self.failed(ref, to, plan.code, resend=ident)
        return self._bytes("MESSAGE_DELIVERED", ref, to, None)

    def failed(
        self, ref: str, to: str, code: str, *, resend: str | None = None, at: datetime | None = None
    ) -> bytes:
        """Return one failure report."""
        error = {"type": "SEND_ERROR", "reasonCode": code, "details": {"message": self.text}}
        return self._bytes("MESSAGE_NOT_DELIVERED", ref, to, error, resend=resend, at=at)

    def _bytes(self, kind: str, ref: str, to: str, error: Any, *, resend=None, at=None) -> bytes:
        sent: dict[str, Any] = {"reference": ref, "channel": "SMS", "recipients": [to]}
        if error:
            sent["error"] = error
        if resend:
            sent["resendId"] = resend
        date = (at or datetime.now(UTC)).isoformat(timespec="milliseconds")
        claim = {"id": f"c-{ref}", "merchantId": zlib.crc32(ref.encode()) % 7, "communication": sent}
        return json.dumps(
            {"type": kind, "date": date, "eventId": f"e{next(self._events)}", "claim": claim}
        ).encode()
