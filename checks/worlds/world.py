"""One world: its people, the messages that they are sent, and what carriers make of each send."""

import random
from dataclasses import dataclass

from softbounce.core.durations import DAY, HOUR, MINUTE

from .carriers import Carried, Carriers
from .kinds import Kind
from .people import CAMPAIGN, DAYS, START, Person, person

EACH = 2.0  # messages for each person: an invoice and a reminder


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that the pipeline wants to send first at ``sent``, of use until ``deadline`` (ms)."""

    reference: str
    claim: int
    merchant: int
    provider: str
    person: Person
    sent: int
    deadline: int


class World:
    """People and messages of one kind and seed, the same for everybody who retries in it."""

    def __init__(self, kind: Kind, *, seed: int, messages: int) -> None:
        self.kind, self.seed = kind, seed
        self.people = [_drawn(kind, number, seed=seed) for number in range(max(1, round(messages / EACH)))]
        self.carriers = Carriers(kind, seed=seed)
        drawn = [_message(self.people, kind, number, seed=seed) for number in range(messages)]
        self.messages = sorted(drawn, key=lambda message: (message.sent, message.reference))

    def carry(self, message: Message, at: int) -> Carried:
        """Return what becomes of a send of the message at ``at`` (ms)."""
        return self.carriers.carry(
            message.person, reference=message.reference, provider=message.provider, first=message.sent, at=at
        )


def _drawn(kind: Kind, number: int, *, seed: int) -> Person:
    rng = random.Random(f"{kind.name} {seed} {number}")
    channel = "sms" if rng.random() < kind.texts else "email"
    weights = kind.phones if channel == "sms" else kind.mailboxes
    return person(number, channel, rng.choices(list(weights), list(weights.values()))[0], seed=seed)


def _message(people: list[Person], kind: Kind, number: int, *, seed: int) -> Message:
    rng = random.Random(f"message {kind.name} {seed} {number}")
    recipient = rng.choice(people)
    # A few merchants send most: weights fall as 1/rank, as sizes of firms do (Zipf).
    merchant = rng.choices(range(1, kind.merchants + 1), [1 / rank for rank in range(1, kind.merchants + 1)])[
        0
    ]
    sent = START + rng.randrange(DAYS) * DAY + (8 + merchant % 6) * HOUR
    if rng.random() < 0.4:  # the others leave in the merchant's daily run, as dunning software does
        sent = START + rng.randrange(DAYS * DAY // MINUTE) * MINUTE
    if rng.random() < kind.campaign:
        sent = rng.randrange(*CAMPAIGN, MINUTE)
    if recipient.channel == "sms":  # a pipeline does not begin with a text at night
        sent = recipient.day_from(sent)
    return Message(
        reference=f"{kind.name}-{seed}-{number:05}",
        claim=100_000 + number,
        merchant=merchant,
        provider=f"{recipient.channel}-{rng.randrange(kind.providers)}",
        person=recipient,
        sent=sent,
        # Terms of payment and appointments: a day to two weeks, the short ones as often as the long ones.
        deadline=sent + rng.choice((1, 2, 3, 5, 7, 10, 14)) * DAY,
    )
