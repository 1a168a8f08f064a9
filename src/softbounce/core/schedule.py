"""The due time of each try of a rule: delay, jitter, settle, moved out of the recipient's quiet hours.

All times are integer milliseconds since 1970 and follow from the arguments alone: jitter comes from a hash of
the seed, so that explain, replay and a second worker compute the same time.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from zoneinfo import ZoneInfo

from msgspec import Struct

from softbounce.core.durations import DAY, MINUTE
from softbounce.core.policy.model import LEAST_SENDABLE, QuietHours, Rule
from softbounce.core.reasons import Fault
from softbounce.core.recipients import Recipient

HORIZON = 8 * DAY  # quiet hours repeat weekly, so 8 days without a sendable minute mean never
SEASONS = (20468 * DAY, 20649 * DAY)  # 15 January and 15 July 2026: both clocks of a zone
QUARTER = 15 * MINUTE
LAST_SECOND = 16_725_225_600  # 2500-01-01; a later date, such as the year 9999, would overflow
DRAWS = struct.Struct("<16I")  # one hash gives jitter and spread of eight tries
TRIES_A_HASH = 8
DRAW = 2**32


class Due(Struct, frozen=True, kw_only=True):
    """One try: when it is due, and when it would be due without quiet hours."""

    at: int
    planned: int
    quiet: bool  # whether quiet hours moved it


@dataclass(frozen=True, slots=True)
class Quiet:
    """One stretch of quiet hours, and how much sendable time (at most the spread) follows it."""

    start: int
    end: int
    room: int


def due_times(
    rule: Rule,
    *,
    at: int,
    now: int,
    min_delay: int,
    seed: str,
    subject: Recipient | None,
    timezone: str | None,
) -> tuple[Due, ...]:
    """Return one due time for each try that ``rule`` allows, each counted from ``at``, the latest failure.

    No try is due before ``now + min_delay``; where the recipient is at fault, the first one also waits for
    late receipts (``settle``). ``seed`` names the delivery.
    """
    dues = []
    quiet, deviation = rule.quiet_hours, rule.jitter
    zones = zones_for(rule, subject, timezone)[0] if quiet else ()
    earliest = now + min_delay
    first = max(earliest, at + rule.settle) if rule.fault is Fault.RECIPIENT else earliest
    draws: tuple[int, ...] = ()
    for place, delay in enumerate(rule.delays):
        block, draw = divmod(place, TRIES_A_HASH)
        if draw == 0:
            draws = _draws(seed, block)
        jitter = draws[2 * draw] / DRAW
        planned = at + round(delay * (jitter if deviation is None else 1 + deviation * (2 * jitter - 1)))
        planned = max(planned, first)
        first = earliest  # settle binds the first try alone
        moment = out_of_quiet(planned, quiet, zones, draws[2 * draw + 1] / DRAW) if quiet else planned
        dues.append(Due(at=moment, planned=planned, quiet=moment != planned))
    return tuple(dues)


def zones_for(rule: Rule, subject: Recipient | None, timezone: str | None) -> tuple[tuple[str, ...], str]:
    """Return the zones whose quiet hours count, and their source: policy, event, country, merchant, default.

    ``policy`` is a fixed zone in the quiet hours themselves; else the event's ``timezone`` comes first, then
    the zones of the number's area or country, then the rule's zone. Of many zones those with the fewest
    people are left out until six hours a day are sendable in all others.
    """
    if rule.quiet_hours and rule.quiet_hours.zone != "recipient":
        return (rule.quiet_hours.zone,), "policy"
    if timezone is not None:
        return (timezone,), "event"
    if subject and subject.zones:
        quiet = rule.quiet_hours
        return (_sendable_zones(subject.zones, quiet.start, quiet.end) if quiet else subject.zones), "country"
    source = rule.sources.get("timezone")
    return (rule.timezone,), "merchant" if source and source.layer.startswith("merchants.") else "default"


def out_of_quiet(moment: int, quiet: QuietHours, zones: tuple[str, ...], spread: float) -> int:
    """Return ``moment`` if it is in no zone's quiet hours, else a time after those quiet hours.

    ``spread`` in [0, 1) is the position in the spread after the end; the spread ends early if quiet hours
    begin again. With no sendable minute in 8 days the result is 8 days later, still in quiet hours: the try
    then passes its deadline and becomes a case, instead of waiting for ever or leaving at night.
    """
    for night in _nights(quiet, zones, moment // DAY):
        if night.start <= moment < night.end:
            return night.end + int(spread * night.room) if night.room else moment + HORIZON
    return moment


@lru_cache(maxsize=1024)  # sets of zones x quiet hours; a miss of Russia's eleven zones costs 3 ms
def _sendable_zones(zones: tuple[str, ...], start: int, end: int) -> tuple[str, ...]:
    """Return the first of ``zones`` that leave six sendable hours a day, or one; times in minutes."""
    window = (start - end) % (DAY // MINUTE) * MINUTE
    for number in range(len(zones), 1, -1):
        shared = []
        for season in SEASONS:
            mornings = [end * MINUTE - _offset_at(zone, season) for zone in zones[:number]]
            times = range(0, DAY, QUARTER)
            shared.append(sum(all((time - at) % DAY < window for at in mornings) for time in times) * QUARTER)
        if min(shared) >= LEAST_SENDABLE:
            return zones[:number]
    return zones[:1]


def chances(seed: str, attempt: int) -> tuple[float, float]:
    """Return two independent fractions in [0, 1) for one try: for its jitter and for its spread."""
    block, draw = divmod(attempt - 1, TRIES_A_HASH)
    jitter, spread = _draws(seed, block)[2 * draw : 2 * draw + 2]
    return jitter / DRAW, spread / DRAW


def _draws(seed: str, block: int) -> tuple[int, ...]:
    """Return the pairs of eight tries; each number is below ``DRAW``."""
    return DRAWS.unpack(blake2b(f"{seed}|{block}".encode()).digest())


@lru_cache(maxsize=8192)  # quiet hours x zones in use x days ahead; a miss costs 30 us
def _nights(quiet: QuietHours, zones: tuple[str, ...], day: int) -> tuple[Quiet, ...]:
    """Return the stretches of quiet hours that touch one UTC day, in order, each to its real end."""
    nights = []
    moment, midnight = day * DAY, (day + 1) * DAY
    while moment < midnight:
        is_quiet, until = _run(moment, quiet, zones, moment + HORIZON)
        if is_quiet:
            room = _run(until, quiet, zones, until + max(quiet.spread, 1))[1] - until
            nights.append(Quiet(moment, until, room if until < moment + HORIZON else 0))
        moment = until
    return tuple(nights)


def _run(moment: int, quiet: QuietHours, zones: tuple[str, ...], limit: int) -> tuple[bool, int]:
    """Return whether ``moment`` is in quiet hours, and when that changes, at most ``limit``."""
    first, until = _reading(moment, quiet, zones)
    while until < limit:
        is_quiet, next_until = _reading(until, quiet, zones)
        if is_quiet != first:
            break
        until = next_until
    return first, min(until, limit)


def _reading(moment: int, quiet: QuietHours, zones: tuple[str, ...]) -> tuple[bool, int]:
    """Return whether it is quiet in any zone, and until when this is certain."""
    readings = [_reading_in(moment, quiet, zone) for zone in zones]
    return any(is_quiet for is_quiet, _ in readings), min(until for _, until in readings)


def _reading_in(moment: int, quiet: QuietHours, zone: str) -> tuple[bool, int]:
    """Return whether it is quiet in one zone, and until when this is certain.

    That is the next edge of the quiet hours, local midnight (the weekday changes), or the next change of the
    zone's offset, whichever comes first.
    """
    offset, until = _offset(zone, moment)
    day, time = divmod(moment + offset, DAY)
    weekday = (day + 3) % 7  # the epoch was a Thursday
    start, end = quiet.start * MINUTE, quiet.end * MINUTE
    begun = time >= start and weekday in quiet.days
    if start < end:
        is_quiet = begun and time < end
    else:
        is_quiet = begun or (time < end and (weekday - 1) % 7 in quiet.days)
    edge = min(edge for edge in (start, end, DAY) if edge > time)
    return is_quiet, min(until, moment + edge - time)


@lru_cache(maxsize=8192)
def _offset(zone: str, moment: int) -> tuple[int, int]:
    """Return the zone's offset from UTC at ``moment`` and until when it holds, looking one day ahead."""
    offset, until = _offset_at(zone, moment), moment + DAY
    if _offset_at(zone, until) == offset:
        return offset, until
    before = moment  # the change lies in (before, until]: halve down to the second
    while until - before > 1000:  # noqa: PLR2004
        middle = (before + until) // 2
        if _offset_at(zone, middle) == offset:
            before = middle
        else:
            until = middle
    return offset, until // 1000 * 1000


def _offset_at(zone: str, moment: int) -> int:
    seconds = min(max(moment // 1000, 0), LAST_SECOND)
    utcoffset = datetime.fromtimestamp(seconds, ZoneInfo(zone)).utcoffset()
    return int(utcoffset.total_seconds() * 1000) if utcoffset else 0
