"""What a send becomes: when it arrives, and what the carrier reports about it, and when."""

import random
from dataclasses import dataclass

from softbounce.core.durations import DAY, HOUR, MINUTE

from .kinds import Kind
from .people import CAMPAIGN, DAYS, DOMAINS, HORIZON, OPERATORS, START, Person, Trait, lognormal

# SES gives up after 840 minutes ("Message expired: unable to deliver in 840 minutes").
PATIENCE = 14 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a carrier says about one send; ``code`` is None where it arrived."""

    at: int  # as the carrier dates it (ms)
    heard: int  # when the pipeline hears it (ms)
    code: str | None = None
    smtp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What became of one send; ``arrived`` is None where it never reached its recipient (ms)."""

    arrived: int | None
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time in which a part of what one home handles is refused as if its recipient did not exist."""

    begin: int
    end: int
    share: float


class Carriers:
    """Providers, operators and mail domains of one world; each answer follows from seed, message and minute."""

    def __init__(self, kind: Kind, *, seed: int) -> None:
        self._seed = seed
        self._validities = kind.validities
        self.outages = {
            f"{channel}-{number}": _outages(random.Random(f"outage {seed} {channel} {number}"), kind.outages)
            for channel in ("sms", "email")
            for number in range(kind.providers)
        }
        rng = random.Random(f"homes {seed}")
        operators = [f"+49-{number}" for number in range(4)] + ["+44", "+91", "+81", "+55"]
        domains = [f"mail{number}.example" for number in range(DOMAINS)]
        assert len(operators) == OPERATORS
        self.spells = {home: _text_spell(rng) for home in rng.sample(operators[:5], kind.spells)}
        self.spells |= {home: _mail_spell(rng) for home in rng.sample(domains[:5], kind.spells)}
        if kind.campaign:
            self.spells["+49-0"] = Spell(begin=CAMPAIGN[0], end=CAMPAIGN[1], share=1.0)
        self.unclear = set(rng.sample(operators[:5], kind.unclear))
        # Postgrey and its like ask for 5 minutes, others for up to an hour; the rest is what a relay's queue takes.
        self._greylists = {
            home: lognormal(rng, 20 * MINUTE, 1.0, most=4 * HOUR)
            for home in domains
            if rng.random() < kind.greylisting
        }
        # That a mailbox is full is a temporary reply (452) at half of the domains, and a final one (552) at the others.
        self._defers_full = {home for home in domains if rng.random() < 0.5}

    def carry(self, person: Person, *, reference: str, provider: str, first: int, at: int) -> Carried:
        """Return what becomes of a send at ``at``; ``first`` is when the message was sent first (ms)."""
        rng = random.Random(f"{self._seed} {reference} {at // MINUTE}")
        if any(begin <= at < end for begin, end in self.outages[provider]):
            return _failed(at + MINUTE, "PROVIDER_ERROR")
        spell = self.spells.get(person.home)
        is_called_dead = spell is not None and spell.begin <= at < spell.end and rng.random() < spell.share
        if person.channel == "sms":
            validity = self._validities[int(provider.rpartition("-")[2]) % len(self._validities)]
            if is_called_dead and not person.is_lost:
                return _failed(at + MINUTE, "INVALID_MOBILE_NUMBER")
            return self._text(rng, person, at, validity)
        if is_called_dead and not person.is_lost:  # as Gmail did for hours on 14 and 15 December 2020
            return _failed(at + 2 * MINUTE, "BOUNCE_PERMANENT_GENERAL", "5.1.1")
        # One kind of provider tries again for hours, as SES does; the other hands each 4xx to its customer, as relays do.
        patience = PATIENCE if provider.endswith("0") else 0
        accepted_from = first + self._greylists.get(person.home, 0)
        return self._mail(rng, person, at, accepted_from=accepted_from, patience=patience)

    def _text(self, rng: random.Random, person: Person, at: int, validity: int) -> Carried:
        if person.trait is Trait.RECYCLED and at >= person.recycled:
            return Carried(arrived=None, reports=(_delivered(rng, at + MINUTE),))  # at the new owner's phone
        if person.is_lost:  # networks differ in whether they say so as a state or as an error
            code = "INVALID_MOBILE_NUMBER" if person.number % 3 == 0 else "SMS_NOT_DELIVERED"
            return _failed(at + rng.randrange(1, 30) * MINUTE, code)
        expired = at + validity
        arrives = person.reachable_from(at)
        if arrives is None or arrives > expired:
            code = "SMS_NOT_DELIVERED" if person.home in self.unclear else "SMS_EXPIRED"
            return Carried(arrived=None, reports=(_report(rng, expired, code),))
        receipt = _delivered(rng, arrives)
        # Assumed: receipts get lost between networks, and the carrier's own timer then says expired.
        if rng.random() < 0.02:
            early = Report(at=expired, heard=expired + MINUTE, code="SMS_EXPIRED")
            late = Report(at=arrives, heard=expired + lognormal(rng, 2 * HOUR, 1.5, most=2 * DAY))
            return Carried(arrived=arrives, reports=(early, late))
        impatient = at + validity // 2
        # Assumed: an aggregator gives up before the network does.
        if arrives > impatient and rng.random() < 0.1:
            early = Report(at=impatient, heard=impatient + MINUTE, code="SMS_EXPIRED")
            return Carried(arrived=arrives, reports=(early, receipt))
        return Carried(arrived=arrives, reports=(receipt,))

    def _mail(
        self, rng: random.Random, person: Person, at: int, *, accepted_from: int, patience: int
    ) -> Carried:
        if person.trait is Trait.DEAD:
            code = "BOUNCE_PERMANENT_NO_EMAIL" if person.number % 3 == 0 else "BOUNCE_PERMANENT_GENERAL"
            return _failed(at + 2 * MINUTE, code, "5.1.1")
        is_full = person.reachable_from(at) != at
        if is_full and person.home not in self._defers_full:
            return _failed(at + 2 * MINUTE, "BOUNCE_TRANSIENT_MBX_FULL", "5.2.2")
        arrives = person.reachable_from(max(at, accepted_from))
        if arrives is not None and arrives - at <= patience:
            return Carried(arrived=arrives, reports=(_delivered(rng, arrives + MINUTE),))
        given_up = at + patience + 2 * MINUTE
        if is_full:
            return _failed(given_up, "BOUNCE_TRANSIENT_MBX_FULL", "4.2.2")
        return _failed(given_up, "BOUNCE_TRANSIENT_GENERAL", "4.7.1")


def _failed(at: int, code: str, smtp: str | None = None) -> Carried:
    return Carried(arrived=None, reports=(Report(at=at, heard=at, code=code, smtp=smtp),))


def _delivered(rng: random.Random, at: int) -> Report:
    return _report(rng, at, None)


def _report(rng: random.Random, at: int, code: str | None, smtp: str | None = None) -> Report:
    """Return a report that mostly comes within minutes. Assumed: one in twenty waits in a queue, at most 48 hours."""
    lag = lognormal(rng, 4 * HOUR, 1.3, most=2 * DAY) if rng.random() < 0.05 else rng.randrange(1, 4) * MINUTE
    return Report(at=at, heard=at + lag, code=code, smtp=smtp)


def _outages(rng: random.Random, each_fortnight: float) -> list[tuple[int, int]]:
    """Return a provider's outages. Assumed: most are over within the hour, the worst take a working day."""
    found, moment = [], START
    while (moment := moment + round(rng.expovariate(each_fortnight / (DAYS * DAY)))) < HORIZON:
        end = moment + max(5 * MINUTE, lognormal(rng, 45 * MINUTE, 1.3, most=9 * HOUR))
        found.append((moment, end))
        moment = end
    return found


def _text_spell(rng: random.Random) -> Spell:
    """Return a fault of a number database: one of several nodes is wrong, for days until somebody complains."""
    begin = START + rng.randrange(9 * DAY)
    return Spell(
        begin=begin, end=begin + lognormal(rng, 3 * DAY, 0.6, most=9 * DAY), share=rng.uniform(0.05, 0.4)
    )


def _mail_spell(rng: random.Random) -> Spell:
    """Return a fault of a directory: Gmail's took about seven hours, and not all replies were wrong."""
    begin = START + rng.randrange(DAYS * DAY)
    return Spell(
        begin=begin, end=begin + lognormal(rng, 7 * HOUR, 0.7, most=2 * DAY), share=rng.uniform(0.2, 0.8)
    )
