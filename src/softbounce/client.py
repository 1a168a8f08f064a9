"""What producers import: report what failed and what arrived, ask who may be sent to, cancel what waits."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from time import monotonic
from typing import Any, Literal, ParamSpec, Self, TypeVar

import tenacity

from softbounce.core.bounds import bounded
from softbounce.core.events import Event, parse
from softbounce.core.recipients import Channel, channel_named, normalise, recipient
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidEvent, InvalidRecipient, InvalidSettings, StoreUnreachable, TryAgain
from softbounce.settings import Settings
from softbounce.store import Store, Verdict
from softbounce.store.audit import By
from softbounce.store.limits import LOOKUP_BATCH, REPORT_BATCH
from softbounce.stores import open_store, require_url

log = logging.getLogger(__name__)  # the producer's process is not ours: its own logging decides

REST = 1.0  # s in which an unreachable store is not asked again: a campaign must not wait for each recipient

Report = Mapping[str, Any] | bytes | str
IfUnreachable = Literal["allow", "deny"]

_PATIENCE = 2.0  # s in which a call is tried again
_again = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(StoreUnreachable),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=0.5),
    stop=tenacity.stop_after_attempt(2) | tenacity.stop_after_delay(_PATIENCE),
    reraise=True,
)
P = ParamSpec("P")
T = TypeVar("T")


def patiently(call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Make a call whose repeat is harmless; while the store is away, up to three times within two seconds.

    The first try does without tenacity, whose 20 microseconds are nearly the whole cost of ``may_send``.
    """
    began = monotonic()
    try:
        return call(*args, **named)
    except StoreUnreachable:
        if monotonic() - began >= _PATIENCE:
            raise
    return _again(call, *args, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A report is stored, as safe as AOF and ``SOFTBOUNCE_WAIT_REPLICAS`` make it. It has no outcome."""

    event_id: str | None
    entry_id: str


class Softbounce:
    """A producer's client of softbounce. Safe to share between threads; connects at the first call.

    Raises ``StoreUnreachable`` after three tries within about two seconds, ``Overloaded`` where the store is
    full, and ``WrongKey`` where the hash key differs from the store's.
    """

    def __init__(self, store: str | Store, *, namespace: str | None = None) -> None:
        """Use the store at ``redis://``, ``rediss://`` or ``unix://``; ``SOFTBOUNCE_*`` set the rest.

        ``namespace``: where merchants have namespaces of their own, one object for each.
        """
        self.unreachable = 0  # verdicts given without the store, since this object was made
        self._store = store if isinstance(store, Store) else store_at(store, namespace=namespace)
        self._ask_again_at = 0.0

    @classmethod
    def from_env(cls) -> Self:
        """Use ``SOFTBOUNCE_REDIS_URL``, else the store that ``softbounce run`` keeps in ./data."""
        return cls(store_at())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def report(self, event: Report) -> Receipt:
        """Report one event, unchanged. Repeating it is harmless. ``InvalidEvent`` names the field."""
        return next(self.report_many([event]))

    def report_many(self, events: Iterable[Report]) -> Iterator[Receipt]:
        """Report events in blocks of 500 and yield their receipts, in order.

        Lazy: an event is reported when its receipt is asked for, so consume it to the end. Events before an
        invalid one have been reported and have given their receipts when ``InvalidEvent`` is raised.
        """
        source = iter(events)
        while block := list(islice(source, REPORT_BATCH)):
            raws: list[bytes] = []
            ids: list[str | None] = []
            invalid: InvalidEvent | None = None
            for event in block:
                try:
                    raw = as_bytes(event)
                    ids.append(parse(raw).event_id)
                except InvalidEvent as error:
                    invalid = error
                    break
                raws.append(raw)
            entries = patiently(self._store.events.publish, raws) if raws else []
            for event_id, entry_id in zip(ids, entries, strict=True):
                yield Receipt(event_id=event_id, entry_id=entry_id)
            if invalid is not None:
                raise invalid

    def delivered(
        self,
        event: Report | None = None,
        *,
        reference: str | None = None,
        channel: Channel | str | None = None,
    ) -> Receipt:
        """Say that a message arrived: what waits of it is not sent again.

        Give ``reference`` and ``channel``, or a whole ``MESSAGE_DELIVERED``. Only the latter, with a
        recipient, also clears the recipient's soft bounces.
        """
        if (event is None) == (reference is None) or (reference is None) != (channel is None):
            message = "delivered(event), or delivered(reference=, channel=)"
            raise TypeError(message)
        if event is None:
            _bounded(reference, "reference")
            message_sent = {"reference": reference, "channel": channel_named(channel or "").upper()}
            date = iso(patiently(self._store.now))
            event = {"type": "MESSAGE_DELIVERED", "date": date, "claim": {"communication": message_sent}}
        found = parse(as_bytes(event))
        if not isinstance(found, Event) or not found.delivered:
            reason = "must be MESSAGE_DELIVERED; report() takes the others"
            raise InvalidEvent(reason, "type")
        return self.report(event)

    def opt_in(
        self,
        recipient: object,
        *,
        channel: Channel | str,
        merchant: int | str | None = None,
        event_id: str | None = None,
        at: datetime | None = None,
    ) -> Receipt:
        """Say that a recipient agrees to be written to again, as by START after STOP; a worker decides.

        It lifts complaints and opt-outs received before, those at ``merchant``, or without one those that
        refuse every merchant; other blocks stay.
        ``at``: when the recipient said so, with a zone; default now. Repeating an ``event_id`` is harmless.
        ``InvalidRecipient`` where ``recipient`` is no address on ``channel``.
        """
        if at is not None and at.utcoffset() is None:
            reason = "has no zone"
            raise InvalidEvent(reason, "at")
        normalise(recipient, on := channel_named(channel))
        _bounded(merchant, "merchant")
        _bounded(event_id, "event_id")
        sent = {"channel": on.upper(), "recipients": [recipient]}
        date = iso(patiently(self._store.now)) if at is None else at.isoformat()
        event = {"type": "RECIPIENT_OPTED_IN", "eventId": event_id, "date": date}
        return self.report(event | {"claim": {"merchantId": merchant, "communication": sent}})

    def cancel(
        self,
        *,
        reason: str,
        claim: int | str | None = None,
        reference: str | None = None,
        customer: int | str | None = None,
        merchant: int | str | None = None,
        recipient: object = None,
        channel: Channel | str | None = None,
        actor: str = "pipeline",
    ) -> None:
        """Cancel what waits for exactly one of these, from now on; ``reason`` goes to the audit.

        ``claim`` and ``reference`` also cover later events: a failure after the payment starts nothing.
        A recipient needs its ``channel``. What was handed over before cannot be called back.
        """
        given = {
            "claim": claim,
            "reference": reference,
            "customer": customer,
            "merchant": merchant,
            "recipient": recipient,
        }
        named = [(kind, value) for kind, value in given.items() if value is not None]
        if len(named) != 1:
            message = f"name exactly one of {', '.join(given)}"
            raise TypeError(message)
        ((kind, value),) = named
        on = None if channel is None else channel_named(channel)
        if kind != "recipient" and not _bounded(value, kind).strip():  # it would match whatever has none
            blank = "is empty"
            raise InvalidEvent(blank, kind)
        now = patiently(self._store.now)
        try:
            patiently(lambda: self._store.cancels.add(kind, value, by=By(actor, reason), now=now, channel=on))
        except InvalidSettings as error:
            raise _by_field(error) from None

    def may_send(
        self,
        recipient: object,
        *,
        channel: Channel | str,
        merchant: object = None,
        if_unreachable: IfUnreachable = "allow",
    ) -> Verdict:
        """Return whether ``recipient`` may be sent to: true or false, with ``.reason .until .because``.

        What is no address on ``channel`` is false. Without ``merchant`` an opt-out from any merchant, or a
        complaint about it, refuses as well. An unreachable store gives what ``if_unreachable`` says,
        counted in ``unreachable`` and logged: a suppression list must not stop invoices. Legal opt-outs deny.
        """
        allows = _allows(if_unreachable)
        return self._verdicts([recipient], channel_named(channel), merchant=merchant, allows=allows)[0]

    def may_send_many(
        self,
        recipients: Iterable[object],
        *,
        channel: Channel | str,
        merchant: object = None,
        if_unreachable: IfUnreachable = "allow",
    ) -> Iterator[Verdict]:
        """Return a verdict for each recipient, in order, any number of them; 5,000 a round trip."""
        asked = self._asked(
            recipients, channel_named(channel), merchant=merchant, allows=_allows(if_unreachable)
        )
        return chain.from_iterable(verdicts for _, verdicts in asked)

    def split(
        self,
        recipients: Iterable[object],
        *,
        channel: Channel | str,
        merchant: object = None,
        if_unreachable: IfUnreachable = "allow",
    ) -> tuple[list[object], list[object]]:
        """Return the recipients that may be sent to and those that may not, each in order."""
        allowed: list[object] = []
        blocked: list[object] = []
        asked = self._asked(
            recipients, channel_named(channel), merchant=merchant, allows=_allows(if_unreachable)
        )
        for block, verdicts in asked:
            for value, verdict in zip(block, verdicts, strict=True):
                (allowed if verdict else blocked).append(value)
        return allowed, blocked

    def _asked(
        self, recipients: Iterable[object], channel: Channel, *, merchant: object, allows: bool
    ) -> Iterator[tuple[list[object], list[Verdict]]]:
        source = iter(recipients)
        while block := list(islice(source, LOOKUP_BATCH)):
            yield block, self._verdicts(block, channel, merchant=merchant, allows=allows)

    def _verdicts(
        self, block: list[object], channel: Channel, *, merchant: object, allows: bool
    ) -> list[Verdict]:
        if monotonic() >= self._ask_again_at:
            try:
                return patiently(  # a lambda, because opening the list asks the store for its key
                    lambda: self._store.suppressions.check_block(block, channel, merchant=merchant)
                )
            except InvalidSettings as error:
                raise _by_field(error) from None
            except TryAgain as error:
                self._ask_again_at = monotonic() + REST
                said = "allowed" if allows else "denied"
                log.warning("store.unreachable: may_send is %s unasked for %g s: %s", said, REST, error)
        self.unreachable += len(block)
        return [_unasked(value, channel, allows=allows) for value in block]


def store_at(url: str | None = None, *, namespace: str | None = None) -> Store:
    """Return the store at a URL, by default the one that the settings name; other settings apply to both."""
    settings = Settings.load(redis_url=url, namespace=namespace)
    return open_store(settings, require_url(settings))


def as_bytes(event: Report) -> bytes:
    """Return an event as a stream entry holds it. Raises ``InvalidEvent`` where it is no JSON."""
    if isinstance(event, bytes):
        return event
    try:
        if isinstance(event, Mapping):
            event = json.dumps(dict(event), allow_nan=False, ensure_ascii=False)
        return event.encode()
    except (AttributeError, TypeError, ValueError, RecursionError):
        reason = "cannot be written as JSON"
        raise InvalidEvent(reason) from None


def _bounded(value: object, field: str) -> str:
    try:
        return bounded(value, field)
    except InvalidSettings as error:
        raise _by_field(error) from None


def _by_field(error: InvalidSettings) -> InvalidEvent | InvalidSettings:
    """Return the error about an argument as the error about the field of an event."""
    return InvalidEvent(error.reason, error.path) if error.path else error


def _allows(if_unreachable: IfUnreachable) -> bool:
    if if_unreachable not in ("allow", "deny"):
        message = "if_unreachable is allow or deny"
        raise ValueError(message)
    return if_unreachable == "allow"


def _unasked(value: object, channel: Channel, *, allows: bool) -> Verdict:
    """Return the verdict on one recipient without the store; what is no address is refused all the same."""
    try:
        recipient(value, channel)
    except InvalidRecipient as error:
        reason, because, allows = str(error), "not an address on this channel", False
    else:
        reason = "unreachable"
        because = f"the store does not answer, and if_unreachable is {'allow' if allows else 'deny'}"
    return Verdict(allowed=allows, recipient="", reason=reason, because=because)
