"""Recipients, and the spans of time in which nothing reaches each of them."""

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import log
from zoneinfo import ZoneInfo

from softbounce.core.durations import DAY, HOUR, MINUTE

START = int(
    datetime(2026, 3, 16, tzinfo=UTC).timestamp() * 1000
)  # a Monday; the clocks change in its second week
DAYS = 14  # in which first sends leave; long enough for two weekends
HORIZON = START + (DAYS + 16) * DAY  # the longest deadline is 14 days; two more for late receipts
CAMPAIGN = START + 8 * DAY + 8 * HOUR, START + 8 * DAY + 10 * HOUR  # a Tuesday, 9 to 11 in Berlin
NIGHT, MORNING = 20, 8  # hours on the recipient's clock between which no text should leave

Spans = list[tuple[int, int]]


class Trait(StrEnum):
    """What is special about a recipient."""

    PLAIN = "plain"
    NIGHTS = "nights"
    SHIFTS = "shifts"
    DESK = "desk"
    JOURNEYS = "journeys"
    DEAD = "dead"
    RECYCLED = "recycled"
    FULL = "full"
    FULL_FOR_EVER = "full_for_ever"


LOST = (Trait.DEAD, Trait.RECYCLED, Trait.FULL_FOR_EVER)
# A pipeline for German merchants: most numbers are German, the others spread over zones east and west.
# (first digits, zone, digits that follow, weight)
NUMBERS = [
    ("+4915", "Europe/Berlin", 9, 76),
    ("+4477", "Europe/London", 8, 8),
    ("+9198", "Asia/Calcutta", 8, 6),
    ("+8190", "Asia/Tokyo", 8, 4),
    ("+5511", "America/Sao_Paulo", 9, 6),
]
OPERATORS = 8  # four German networks, and one for each foreign prefix; each has its own habits
DOMAINS = 40  # mail domains; weights below fall as 1/rank, because a few providers hold most mailboxes (Zipf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One recipient on one channel; ``begins`` and ``ends`` bound the spans in which nothing reaches them (ms)."""

    number: int
    address: str
    channel: str
    zone: ZoneInfo
    trait: Trait
    home: str  # the operator of a number, or the domain of a mailbox
    tells_zone: bool  # whether the pipeline knows the time zone and reports it
    recycled: int  # when a dead number has another owner (ms)
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def is_lost(self) -> bool:
        """Whether nothing will ever reach this person; the new owner of a number is another person."""
        return self.trait in LOST

    def reachable_from(self, moment: int) -> int | None:
        """Return the first moment from ``moment`` on at which a message gets through; None: never in this world.

        A mailbox takes mail while its owner is away, unless it is full.
        """
        if self.is_lost:
            return None
        place = bisect_right(self.begins, moment) - 1
        if place >= 0 and moment < self.ends[place]:
            return self.ends[place] if self.ends[place] < HORIZON else None
        return moment

    def day_from(self, moment: int) -> int:
        """Return the first moment from ``moment`` on at which a text may leave by the recipient's clock."""
        there = datetime.fromtimestamp(moment / 1000, self.zone)
        if MORNING <= there.hour < NIGHT:
            return moment
        morning = there.replace(hour=MORNING, minute=0, second=0, microsecond=0)
        if there.hour >= NIGHT:
            morning += timedelta(days=1)
        return int(morning.timestamp() * 1000)

    def is_night(self, moment: int) -> bool:
        """Return whether no text should leave now."""
        return self.day_from(moment) != moment


def person(number: int, channel: str, trait: Trait, *, seed: int) -> Person:
    """Draw one recipient; everything about them follows from the seed and their number."""
    rng = random.Random(f"person {seed} {number}")
    first, name, digits, _ = rng.choices(NUMBERS, [weight for *_, weight in NUMBERS])[0]
    zone = ZoneInfo(name)
    if channel == "sms":
        address = f"{first}{number:0{digits}}"
        home = f"{first[:3]}-{number % 4}" if first == "+4915" else first[:3]
    else:
        home = f"mail{rng.choices(range(DOMAINS), [1 / rank for rank in range(1, DOMAINS + 1)])[0]}.example"
        address = f"person{number}@{home}"
    gaps = _gaps(rng) if channel == "sms" else ()
    spans = merged([*gaps, *_spans(rng, trait, zone)])
    return Person(
        number=number,
        address=address,
        channel=channel,
        zone=zone,
        trait=trait,
        home=home,
        tells_zone=rng.random() < 0.5,  # half of all pipelines' customers have left a postal address
        # A number rests for weeks before it is given away (the FCC asks for 45 days): half of them before the world begins.
        recycled=START + rng.randrange(-DAYS * DAY, DAYS * DAY),
        begins=tuple(begin for begin, _ in spans),
        ends=tuple(end for _, end in spans),
    )


def lognormal(rng: random.Random, median: int, sigma: float, *, most: int) -> int:
    """Draw a duration (ms): human and technical absences are skewed, with a long tail."""
    return min(most, round(rng.lognormvariate(log(median), sigma)))


def merged(spans: Spans) -> Spans:
    """Return spans in order, those that touch each other as one."""
    joined: Spans = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _spans(rng: random.Random, trait: Trait, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    match trait:
        case Trait.NIGHTS:
            return _nights(rng, zone)
        case Trait.SHIFTS:
            return _shifts(rng, zone)
        case Trait.DESK:
            return _desk(rng, zone)
        case Trait.JOURNEYS:
            return _journeys(rng)
        case Trait.FULL:
            return _full(rng)
        case Trait.PLAIN | Trait.DEAD | Trait.RECYCLED | Trait.FULL_FOR_EVER:
            return iter(())


def _gaps(rng: random.Random) -> Iterator[tuple[int, int]]:
    """Yield what befalls everybody: an empty battery, a cellar, a flight mode. Assumed: each ten days, an hour in the median."""
    moment = START
    while (moment := moment + round(rng.expovariate(1 / (10 * DAY)))) < HORIZON:
        yield moment, moment + lognormal(rng, HOUR, 1.0, most=DAY)


def _nights(rng: random.Random, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """Yield nights with the phone off: most adults sleep from about 23 to 7, each within an hour or two of that."""
    off, on = rng.gauss(22.5, 1.0), rng.gauss(7.0, 1.0)
    for day in _days(zone):
        if rng.random() < 0.85:  # habits have exceptions
            yield _at(day, off + rng.gauss(0, 0.4)), _at(day, 24 + on + rng.gauss(0, 0.4))


def _shifts(rng: random.Random, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """Yield shifts with the phone in a locker, and the sleep after: three shifts of eight hours that change weekly."""
    first = rng.randrange(3)
    for number, day in enumerate(_days(zone)):
        begin = (6, 14, 22)[(first + number // 7) % 3]
        if day.weekday() < 5:
            yield _at(day, begin), _at(day, begin + 8.25)
        if begin == 22:
            yield _at(day, 8 + 24 + rng.gauss(0, 0.3)), _at(day, 15 + 24 + rng.gauss(0, 0.5))


def _desk(rng: random.Random, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """Yield the nights and weekends of a phone that lies in an office: on from about 8 to 17 on working days."""
    on, off = rng.gauss(8, 0.5), rng.gauss(17, 0.7)
    for day in _days(zone):
        nights = 3 if day.weekday() == 4 else 1
        if day.weekday() < 5:
            yield _at(day, off), _at(day, 24 * nights + on)


def _journeys(rng: random.Random) -> Iterator[tuple[int, int]]:
    """Yield journeys without a signal. Eurostat: half of all trips take one to three nights, the mean is 5.1."""
    moment = START - 2 * DAY
    while (moment := moment + round(rng.expovariate(1 / (8 * DAY)))) < HORIZON:
        end = moment + lognormal(rng, 60 * HOUR, 1.2, most=21 * DAY)
        yield moment, end
        moment = end


def _full(rng: random.Random) -> Iterator[tuple[int, int]]:
    """Yield full mailboxes: the owner notices after hours or after weeks, so the length is lognormal."""
    begin = START + round(rng.uniform(-3, DAYS) * DAY)
    yield begin, begin + lognormal(rng, 2 * DAY, 1.2, most=40 * DAY)


def _days(zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the midnights of all days of the world, and of the day before."""
    midnight = datetime.fromtimestamp(START / 1000, zone).replace(hour=0, minute=0) - timedelta(days=1)
    while midnight.timestamp() * 1000 < HORIZON:
        yield midnight
        midnight += timedelta(days=1)


def _at(day: datetime, hours: float) -> int:
    """Return the moment when the clock there shows so many hours after this midnight, to the minute."""
    wall = day + timedelta(minutes=round(hours * 60))
    return int(wall.timestamp()) * 1000 // MINUTE * MINUTE
