"""Simpler ways of retrying in the same world, and the oracle, who knows when each send would arrive."""

from dataclasses import dataclass, field

from softbounce.core.durations import HOUR, MINUTE, SECOND

from .carriers import Report
from .world import Message, World

EXPONENTIAL = [minutes * MINUTE for minutes in (1, 2, 4, 8, 16)]
# Svix's schedule in its long form; each delay begins at the failure of the try before, as its documentation says.
SVIX = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
SETTLE = 90 * MINUTE  # as the shipped policy for texts: a receipt may be late
LONGEST_VALIDITY = 72 * HOUR  # of all kinds


@dataclass(slots=True, kw_only=True)
class Trace:
    """All sends of one message, and what came of them."""

    message: Message
    failed: int | None = None  # when the first send had failed by its report (ms); None: no failure was heard
    settled: int = 0  # from when on the oracle may resend: the failure is heard, and a text's late receipt is not to come
    first_arrived: bool = False  # whether the first send has arrived, whatever was reported
    is_refused: bool = False  # the pipeline did not send at all, because the recipient was blocked
    resends: list[tuple[int, int | None]] = field(default_factory=list)  # (when, arrival or None), in order


@dataclass(slots=True, kw_only=True)
class Run:
    """One way of retrying in one world."""

    traces: list[Trace]
    blocked_before: int = 0  # healthy recipients who were blocked at some look
    blocked_after: int = 0  # and those who were still blocked at the end
    incidents: int = 0


def send_first(world: World, message: Message) -> tuple[Trace, tuple[Report, ...]]:
    """Send a message first, and return its trace and the reports."""
    carried = world.carry(message, message.sent)
    trace = Trace(message=message, first_arrived=carried.arrived is not None)
    reports = sorted(carried.reports, key=lambda report: report.heard)
    if reports[0].code is not None:
        trace.failed = trace.settled = reports[0].heard
        was_taken = reports[0].code != "PROVIDER_ERROR"  # what the provider never took cannot have arrived
        if message.person.channel == "sms" and was_taken:
            trace.settled = max(trace.failed, reports[0].at + SETTLE)
    return trace, carried.reports


def no_retry(world: World) -> Run:
    """Send once."""
    return Run(traces=[send_first(world, message)[0] for message in world.messages])


def plain(world: World, delays: list[int]) -> Run:
    """Send again so long after each failure, whatever its code, until a delivery is heard or the deadline."""
    return Run(traces=[_plain(world, message, delays) for message in world.messages])


def _plain(world: World, message: Message, delays: list[int]) -> Trace:
    trace, reports = send_first(world, message)
    known = [report.heard for report in reports if report.code is None]
    failures = [report.heard for report in reports if report.code]
    for delay in delays:
        if not failures:
            break
        at = min(failures) + delay
        if at >= message.deadline or any(heard <= at for heard in known):
            break
        carried = world.carry(message, at)
        trace.resends.append((at, carried.arrived))
        known += [report.heard for report in carried.reports if report.code is None]
        failures = [report.heard for report in carried.reports if report.code]
    return trace


def oracle(world: World) -> Run:
    """Send again once, where and when it arrives: after the failure is heard, by day, after ``settle``."""
    traces = []
    for message in world.messages:
        trace, _ = send_first(world, message)
        if trace.failed is not None and not trace.first_arrived:
            found = best(world, trace)
            trace.resends += [found] if found else []
        traces.append(trace)
    return Run(traces=traces)


def best(world: World, trace: Trace) -> tuple[int, int] | None:
    """Return the oracle's send and its arrival: the first minute that reaches the recipient at once.

    Where there is none, the first allowed minute from which a carrier brings it before the deadline.
    """
    message = trace.message
    earliest = -(-trace.settled // MINUTE) * MINUTE
    at: int | None = earliest
    while (at := _allowed(message, at, is_at_once=True)) is not None:
        carried = world.carry(message, at)
        if carried.arrived is not None and carried.arrived - at <= MINUTE:
            return at, carried.arrived
        at += MINUTE
    at = earliest
    while (at := _allowed(message, at, is_at_once=False)) is not None:
        arrives = message.person.reachable_from(at)
        if arrives is None or arrives > message.deadline:
            return None
        if arrives - at > LONGEST_VALIDITY:  # no carrier keeps it so long
            at = arrives - LONGEST_VALIDITY
            continue
        carried = world.carry(message, at)
        if carried.arrived is not None and carried.arrived <= message.deadline:
            return at, carried.arrived
        at += MINUTE
    return None


def is_within_rules(trace: Trace, at: int) -> bool:
    """Return whether the oracle might have resent this message at that moment: a text by day, once it is settled."""
    if trace.message.person.channel != "sms":
        return True
    return trace.settled <= at and not trace.message.person.is_night(at)


def _allowed(message: Message, at: int, *, is_at_once: bool) -> int | None:
    """Return the first moment from ``at`` on at which the oracle may send; None: not before the deadline.

    A text leaves by day; ``is_at_once``: only when the recipient can be reached.
    """
    person, before = message.person, -1
    while before != at:
        before = at
        if person.channel == "sms":
            at = person.day_from(at)
        reachable = person.reachable_from(at)
        if reachable is None or at >= message.deadline:
            return None
        if is_at_once:
            at = -(-reachable // MINUTE) * MINUTE
    return at
