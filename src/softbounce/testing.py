"""For users' tests: makes reports, and runs softbounce in memory, in a time that the test moves.

    box = Sandbox()
    box.report(failed("m1"))             returns "scheduled"
    box.advance("5h")                    returns the resend commands that leave meanwhile
    box.client                           is for the code under test: report, may_send, cancel

Needs ``pip install 'fakeredis[lua]'``.
"""

import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from softbounce.client import Report, Softbounce, as_bytes
from softbounce.core.durations import DAY, MINUTE, parse_duration
from softbounce.core.filters import parse_filter
from softbounce.settings import LEASE
from softbounce.store import Accepted, Store
from softbounce.store.limits import HANDOVER_BATCH, LONGEST_STEP
from softbounce.store.memory import in_memory
from softbounce.worker.handover import Pump
from softbounce.worker.intake import Intake
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.sink import Handed, MayBegin, Message

Json = dict[str, Any]

START = datetime(2026, 11, 23, 9, tzinfo=UTC)  # a Monday morning, 10:00 in Berlin
PHONE, EMAIL = "+4915112345678", "jane@example.com"

_numbers = count(1)
_MILLISECOND = timedelta(milliseconds=1)


class Sandbox:
    """The worker's own intake, policy, ledger and hand-over on a store in memory, in virtual time."""

    def __init__(
        self,
        *,
        policy: Path | None = None,
        start: datetime = START,
        pipeline: Callable[[Json], object] | None = None,
        store: Store | None = None,
    ) -> None:
        """Begin at ``start``, under a policy file (default: the one a worker would take).

        ``pipeline`` is called with each resend command as it leaves, at its time; what it reports by
        ``client`` counts from then on. ``store``: an empty one, else one in memory.
        """
        self.store = store or in_memory()
        self.store.set_now(_ms(start))
        self.store.events.make_group()
        self.client = Softbounce(self.store)
        self.commands: list[Json] = []  # every resend command that has left
        self.notices: list[Json] = []  # every notice that has left
        self._pipeline = pipeline
        self._policies = policies = PolicyInForce(policy)
        stopping = threading.Event()
        self._swept = self.store.now()
        self._intake = Intake(self.store, policies, worker="sandbox", lease=LEASE, stopping=stopping)
        self._pump = Pump(
            self.store,
            policies,
            _Kept(self._leave),
            worker="sandbox",
            lease=LEASE,
            rng=random.Random(0),  # noqa: S311 - only a failing sink needs it, and ours never fails
            stopping=stopping,
        )

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return datetime.fromtimestamp(self.store.now() / 1000, UTC)

    def report(self, event: Report) -> str:
        """Report one event and return its outcome: scheduled, suppressed, held, delivered, dead_lettered."""
        return self.accept(event).outcome

    def accept(self, event: Report) -> Accepted:
        """Report one event and return all that the store says became of it."""
        self.settle()
        (answer,) = self._intake.take([as_bytes(event)])
        return answer

    def settle(self) -> None:
        """Decide on everything that ``client`` has reported so far."""
        while entries := self.store.events.read("sandbox", count=HANDOVER_BATCH, block_ms=0)[0]:
            self._intake.take([entry.raw for entry in entries])
            self.store.events.ack(entries)

    def advance(self, by: str | timedelta) -> list[Json]:
        """Let time pass (``"5h"``, ``"90m"``) and return the resend commands that left, in their order."""
        before = len(self.commands)
        milliseconds = parse_duration(by) if isinstance(by, str) else by // _MILLISECOND
        now = self.store.now()
        end = now + milliseconds
        self._work()
        while now < end:
            now = min(end, self._next(now))
            self.store.set_now(now)
            self._work()
            if now - self._swept >= DAY:
                self.store.sweep(policy=self._policies.current)
                self._swept = now
        return self.commands[before:]

    def _next(self, now: int) -> int:
        """Return the time of the next look: when a retry gets due; in a minute if one waits for its rate."""
        dues = [waiting.due for waiting in self.store.retries.select(parse_filter("", keys=()), now=now)]
        step = MINUTE if any(due <= now for due in dues) else LONGEST_STEP
        return min([now + step, *(due for due in dues if due > now)])

    def _work(self) -> None:
        self.settle()
        while self._pump.turn():
            self.settle()
        while claimed := self.store.notices.claim(limit=HANDOVER_BATCH, lease=LEASE):
            self.notices += [notice.body for notice in claimed]
            self.store.notices.finish(claimed)

    def _leave(self, command: Json) -> None:
        self.commands.append(command)
        if self._pipeline is not None:
            self._pipeline(command)


class _Kept:
    """A sink: hands each message to a function."""

    name = "sandbox"

    def __init__(self, receive: Callable[[Json], None]) -> None:
        self._receive = receive

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:  # noqa: ARG002 - a Sink
        """Hand over all ``messages``."""
        for _, body in messages:
            self._receive(dict(body))
        return Handed(count=len(messages))


def failed(  # the defaults are right for most tests
    reference: str = "m1",
    code: str = "SMS_EXPIRED",
    *,
    channel: str | None = None,
    to: object = None,
    at: datetime | None = None,
    claim: int | str = 54321,
    merchant: int | str = 1,
    customer: str = "C-1",
    error_type: str = "SEND_ERROR",
    details: Json | None = None,
    **communication: object,
) -> Json:
    """Return a MESSAGE_NOT_DELIVERED, each call another event; report one twice to see a duplicate.

    By default an e-mail for codes of e-mail, else a text, failed at the moment it is received. More fields of
    ``claim.communication`` by their own names: ``failed(resendId=command["id"], notAfter=...)``.
    """
    channel = channel or ("email" if code.startswith("BOUNCE") or "EMAIL" in code else "sms")
    error = {"type": error_type, "reasonCode": code, "details": details or {}}
    sent = _sent(reference, channel, to) | {"error": error} | communication
    about = _claim(claim, merchant, customer)
    return _event("MESSAGE_NOT_DELIVERED", about | {"communication": sent}, at=at)


def delivered(
    reference: str = "m1",
    *,
    channel: str = "sms",
    to: object = None,
    at: datetime | None = None,
    claim: int | str = 54321,
    merchant: int | str = 1,
    customer: str = "C-1",
    **communication: object,
) -> Json:
    """Return a MESSAGE_DELIVERED, with the same defaults as ``failed``."""
    sent = _sent(reference, channel, to) | communication
    about = _claim(claim, merchant, customer)
    return _event("MESSAGE_DELIVERED", about | {"communication": sent}, at=at)


def opted_in(
    to: object = None,
    *,
    channel: str = "sms",
    at: datetime | None = None,
    merchant: int | str | None = 1,
) -> Json:
    """Return a RECIPIENT_OPTED_IN, each call another event, with the same defaults as ``failed``."""
    sent = _addressed(channel, to)
    return _event("RECIPIENT_OPTED_IN", {"merchantId": merchant, "communication": sent}, at=at)


def _sent(reference: str, channel: str, to: object) -> Json:
    return {"reference": reference} | _addressed(channel, to)


def _addressed(channel: str, to: object) -> Json:
    recipients = to if isinstance(to, list) else [to or (EMAIL if channel == "email" else PHONE)]
    return {"channel": channel.upper(), "recipients": recipients}


def _claim(claim: int | str, merchant: int | str, customer: str) -> Json:
    return {"id": claim, "merchantId": merchant, "referenceNumber": f"R-{claim}", "customerNumber": customer}


def _event(kind: str, claim: Json, *, at: datetime | None) -> Json:
    event: Json = {"type": kind, "eventId": f"test-{next(_numbers)}", "claim": claim}
    return event if at is None else event | {"date": at.isoformat()}


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND
