"""The simulated world: people with phones and mailboxes, their messages, and what carriers report.

Everything follows from the seed: what happens to a try depends on the message and the try's time alone.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from softbounce.core.durations import DAY, HOUR, MINUTE

START = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)  # a Monday
OUTAGE = (START + DAY + 13 * HOUR, START + DAY + 15 * HOUR + 30 * MINUTE)  # day 2, 14:00 to 16:30 in Berlin
MISLABELLED = (8 * HOUR, 10 * HOUR)  # UTC, on the last day: an operator calls all its numbers dead
UNDONE = 11 * HOUR  # UTC, on the last day: operations undo it
OPERATOR, CUSTOMERS = "+49170", 150
VALIDITY = 2 * HOUR  # how long the text provider tries before it reports
NIGHT, MORNING = 20, 8  # hours between which no text should leave
MESSAGES_EACH = 1.6  # 9,600 messages for 6,000 people
PREFIXES = {
    "+4915": ("Europe/Berlin", 9),
    "+4477": ("Europe/London", 8),
    "+9198": ("Asia/Calcutta", 8),
    "+8190": ("Asia/Tokyo", 8),
    "+5511": ("America/Sao_Paulo", 9),
}


class Kind(StrEnum):
    """What is special about a person's phone or mailbox."""

    PLAIN = "plain"
    OFF_AT_NIGHT = "off_at_night"
    AWAY = "away"
    DEAD = "dead"
    FULL = "full"
    FULL_FOR_EVER = "full_for_ever"


_PHONES = {Kind.OFF_AT_NIGHT: 30, Kind.AWAY: 3, Kind.DEAD: 3, Kind.PLAIN: 64}  # per cent
_MAILBOXES = {Kind.FULL: 5, Kind.FULL_FOR_EVER: 1, Kind.DEAD: 3, Kind.PLAIN: 91}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One recipient on one channel."""

    address: str
    channel: str
    zone: ZoneInfo
    kind: Kind
    since: int  # when being away, or the full mailbox, begins
    until: int

    @property
    def is_lost(self) -> bool:
        """Whether nothing will ever reach them."""
        return self.kind in (Kind.DEAD, Kind.FULL_FOR_EVER)

    def hour(self, moment: int) -> int:
        """Return the hour on their clock."""
        return datetime.fromtimestamp(moment / 1000, self.zone).hour

    def is_night(self, moment: int) -> bool:
        """Whether no text should leave now."""
        return not MORNING <= self.hour(moment) < NIGHT

    def is_reachable(self, moment: int) -> bool:
        """Whether the phone is on, or the mailbox has room."""
        match self.kind:
            case Kind.OFF_AT_NIGHT:
                return 7 <= self.hour(moment) < 22  # noqa: PLR2004 - phones are off from 22 to 7
            case Kind.AWAY | Kind.FULL:
                return not self.since <= moment < self.until
            case Kind.PLAIN:
                return True
            case Kind.DEAD | Kind.FULL_FOR_EVER:
                return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that the pipeline sends first at ``sent``."""

    reference: str
    claim: int
    merchant: int
    person: Person
    sent: int
    is_refused: bool  # a carrier refuses its content
    is_late: bool  # a text that arrives, is reported expired first, and delivered an hour later
    is_doubled: bool  # each report of it arrives twice

    @property
    def is_deliverable(self) -> bool:
        """Whether any try could ever arrive."""
        return not (self.person.is_lost or self.is_refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a carrier says about one try: a reason code, or None where it arrived."""

    at: int
    code: str | None
    smtp: str | None = None


class World:
    """People and messages of one seed."""

    def __init__(self, *, seed: int, days: int, recipients: int) -> None:
        self.days = days
        self.end = START + days * DAY
        rng = random.Random(f"people {seed}")
        self.people = [_person(rng, number, days) for number in range(recipients)]
        rng = random.Random(f"messages {seed}")
        drawn = [
            _message(rng, self.people, number, days) for number in range(round(recipients * MESSAGES_EACH))
        ]
        self.last_day = START + (days - 1) * DAY
        rng = random.Random(f"customers {seed}")
        for number in range(CUSTOMERS):  # customers of one operator, each with one text in its two bad hours
            customer = _customer(number)
            self.people.append(customer)
            sent = self.last_day + rng.randrange(*MISLABELLED)
            drawn.append(_message(rng, [customer], len(drawn), days, sent=sent))
        self.messages = sorted(drawn, key=lambda message: (message.sent, message.reference))

    def carry(self, message: Message, moment: int) -> tuple[int | None, list[Report]]:
        """Return when a try of ``moment`` arrives (None: never), and what the carrier reports."""
        person = message.person
        if person.channel == "sms":
            if (refusal := self._text_refused(person, moment)) is not None:
                return None, [refusal]
            for later in range(0, VALIDITY, 10 * MINUTE):
                if person.is_reachable(moment + later):
                    return self._reached(message, moment + later)
            return None, [Report(at=moment + VALIDITY, code="SMS_EXPIRED")]
        if (refusal := self._mail_refused(message, moment)) is not None:
            return None, [refusal]
        return moment + MINUTE, [Report(at=moment + 2 * MINUTE, code=None)]

    def is_mislabelled(self, person: Person, moment: int) -> bool:
        """Whether the operator calls this number dead now, which it is not."""
        begin, end = MISLABELLED
        return person.address.startswith(OPERATOR) and begin <= moment - self.last_day < end

    def _text_refused(self, person: Person, moment: int) -> Report | None:
        if self.is_mislabelled(person, moment):
            return Report(at=moment + MINUTE, code="INVALID_MOBILE_NUMBER")
        if OUTAGE[0] <= moment < OUTAGE[1]:
            return Report(at=moment + MINUTE, code="PROVIDER_ERROR")
        if person.kind is Kind.DEAD:
            return Report(at=moment + 5 * MINUTE, code="SMS_NOT_DELIVERED")
        return None

    @staticmethod
    def _mail_refused(message: Message, moment: int) -> Report | None:
        if message.person.kind is Kind.DEAD:
            return Report(at=moment + 2 * MINUTE, code="BOUNCE_PERMANENT_GENERAL", smtp="5.1.1")
        if message.is_refused:
            return Report(at=moment + 2 * MINUTE, code="BOUNCE_TRANSIENT_CONTENT_REJECTED")
        if not message.person.is_reachable(moment):
            return Report(at=moment + 10 * MINUTE, code="BOUNCE_TRANSIENT_MBX_FULL", smtp="5.2.2")
        return None

    @staticmethod
    def _reached(message: Message, arrived: int) -> tuple[int, list[Report]]:
        if message.is_late:  # the receipt is lost, and found an hour after the text was given up
            expired = arrived + 30 * MINUTE
            return arrived, [Report(at=expired, code="SMS_EXPIRED"), Report(at=expired + HOUR, code=None)]
        return arrived, [Report(at=arrived + MINUTE, code=None)]


def event(message: Message, report: Report, *, number: int, resend_id: str | None) -> dict[str, object]:
    """Return a carrier's report as the event that the pipeline sends; ``number`` makes its id."""
    person = message.person
    communication: dict[str, object] = {
        "channel": person.channel.upper(),
        "reference": message.reference,
        "recipients": [person.address],
        "provider": f"demo-{person.channel}",
    }
    if resend_id is not None:
        communication["resendId"] = resend_id
    if report.code is not None:
        details = {"message": "as the carrier says"} | ({"smtpCode": report.smtp} if report.smtp else {})
        communication["error"] = {"type": "SEND_ERROR", "reasonCode": report.code, "details": details}
    return {
        "type": "MESSAGE_DELIVERED" if report.code is None else "MESSAGE_NOT_DELIVERED",
        "date": datetime.fromtimestamp(report.at / 1000, UTC).isoformat(timespec="milliseconds"),
        "eventId": f"{message.reference}-{number}",
        "source": "DEMO",
        "claim": {"id": message.claim, "merchantId": message.merchant, "communication": communication},
    }


def _person(rng: random.Random, number: int, days: int) -> Person:
    is_phone = rng.random() < 0.6  # noqa: PLR2004 - three texts to two mails
    kinds = _PHONES if is_phone else _MAILBOXES
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    prefix = rng.choice(list(PREFIXES))
    zone, digits = PREFIXES[prefix]
    since = START + rng.randrange(days * DAY)
    span = 30 * HOUR if kind is Kind.AWAY else 40 * HOUR
    return Person(
        address=f"{prefix}{number:0{digits}}" if is_phone else f"person{number}@mail{number % 40}.example",
        channel="sms" if is_phone else "email",
        zone=ZoneInfo(zone),
        kind=kind,
        since=since,
        until=since + round(span * rng.uniform(0.8, 1.2)),
    )


def _customer(number: int) -> Person:
    return Person(
        address=f"{OPERATOR}{number:08}",
        channel="sms",
        zone=ZoneInfo("Europe/Berlin"),
        kind=Kind.PLAIN,
        since=START,
        until=START,
    )


def _message(
    rng: random.Random, people: list[Person], number: int, days: int, *, sent: int | None = None
) -> Message:
    person = rng.choice(people)
    # the pipeline sends between 6 and 24 on the recipient's clock
    while sent is None or person.hour(sent) < 6:  # noqa: PLR2004
        sent = START + rng.randrange(days * DAY)
    return Message(
        reference=f"m{number:05}-{rng.getrandbits(32):08x}",
        claim=100_000 + number,
        merchant=1 + number % 5,
        person=person,
        sent=sent,
        is_refused=person.channel == "email" and rng.random() < 0.01,  # noqa: PLR2004
        is_late=person.channel == "sms" and rng.random() < 0.02,  # noqa: PLR2004
        is_doubled=rng.random() < 0.03,  # noqa: PLR2004
    )
