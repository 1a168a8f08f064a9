"""Recorded reports in the order of their times, and what happened to each delivery."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from softbounce.core.events import Event, parse
from softbounce.errors import InvalidEvent

Key = tuple[str, str, str]  # reference, channel and address of a delivery
NEVER = 2**62
_OBJECT = msgspec.json.Decoder(type=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One recorded event, and when it was received (ms)."""

    event: Event
    received: int

    @property
    def dated(self) -> int:
        """When it happened (ms): as its producer dates it, but never later than it was received."""
        return self.received if self.event.at is None else min(self.event.at, self.received)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What the record says of one delivery that failed; times in ms."""

    last: Event  # the last failure before it arrived
    failed: int
    arrived: int | None

    def reachable(self, *, soon: bool) -> int:
        """Return the time from which a send would have arrived: the earliest (``soon``) or the latest."""
        if soon:
            return self.failed + 1
        return NEVER if self.arrived is None else self.arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The reports that a policy is tried on."""

    events: int  # events that were read, with the answers to resends
    reports: tuple[Report, ...]  # reports before any resend, and receipts that no resend explains
    apart: int  # arrived messages apart from all that failed: delivered by any policy
    fates: dict[Key, Fate]
    wrong: tuple[dict[str, Any], ...]  # unreadable reports: the number and the reason of each
    doubtful: frozenset[tuple[str, ...]] = frozenset()  # recipients whose record is incomplete


def key_of(event: Event) -> Key:
    """Return what identifies a delivery."""
    return event.reference, f"{event.channel or ''}", event.subject.address if event.subject else ""


def read(raws: Iterable[bytes], *, lacks_plus: bool = False) -> Record:
    """Return the record in ``raws``, one event each. What cannot be read is in ``wrong``, by its number."""
    found: list[Report] = []
    wrong: list[dict[str, Any]] = []
    for number, raw in enumerate(raws, 1):
        try:
            event = parse(raw, lacks_plus=lacks_plus)
            if not isinstance(event, Event):  # another type, or an opt-in: neither fails nor arrives
                continue
            received = _received(raw) or event.at
            if received is None:
                wrong.append({"event": number, "reason": "has no time: neither date nor receivedAt"})
                continue
            found.append(Report(event=event, received=received))
        except InvalidEvent as error:
            wrong.append({"event": number, "reason": f"{error.path} {error.reason}".strip()})
    return recorded(found, wrong)


def recorded(
    reports: Iterable[Report], wrong: Iterable[dict[str, Any]] = (), *, tells_all: bool = True
) -> Record:
    """Return the record of ``reports``, in whatever order they come.

    ``tells_all``: false where receipts of messages that never failed are missing. Such a receipt clears what
    counts against its recipient: what several failed messages of one recipient lead to is then unknown.
    """
    found = sorted(reports, key=lambda report: report.received)
    fates = _fates(found)
    first = list(_before_resends(found, fates))
    references, recipients = {key[0] for key in fates}, {key[1:] for key in fates}
    apart = {
        key
        for report in first
        if (key := key_of(report.event))[0] not in references and key[1:] not in recipients
    }
    return Record(
        events=len(found),
        reports=tuple(report for report in first if key_of(report.event) not in apart),
        apart=len(apart),
        fates=fates,
        wrong=tuple(wrong),
        doubtful=frozenset()
        if tells_all
        else frozenset(who for who, number in Counter(key[1:] for key in fates).items() if number > 1),
    )


def _fates(reports: list[Report]) -> dict[Key, Fate]:
    failures: dict[Key, list[tuple[int, Event]]] = {}
    arrivals: dict[Key, int] = {}
    for report in reports:
        key, at = key_of(report.event), report.dated
        if report.event.delivered:
            arrivals[key] = min(at, arrivals.get(key, at))
        else:
            failures.setdefault(key, []).append((at, report.event))
    fates = {}
    for key, failed in failures.items():
        arrived = arrivals.get(key)
        before = [one for one in failed if arrived is None or one[0] < arrived] or failed[:1]
        at, last = max(before, key=lambda one: one[0])
        fates[key] = Fate(last=last, failed=at, arrived=arrived)
    return fates


def _before_resends(reports: list[Report], fates: dict[Key, Fate]) -> Iterable[Report]:
    """Yield first failures, and receipts that answer no resend. The simulated world gives the others."""
    failed: set[Key] = set()
    for report in reports:
        event, key = report.event, key_of(report.event)
        if event.delivered:
            if event.resend_id is None or key not in fates:
                yield report
        elif key not in failed:
            failed.add(key)
            yield report


def _received(raw: bytes) -> int | None:
    """Return the record's own ``receivedAt`` in ms, if it has one."""
    value = _OBJECT.decode(raw).get("receivedAt")
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000) if moment.tzinfo else None
