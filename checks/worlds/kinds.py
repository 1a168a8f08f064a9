"""Worlds of eight kinds: each stresses one difficulty, and the last one mixes them all."""

from dataclasses import dataclass, field

from softbounce.core.durations import HOUR, MINUTE

from .people import Trait

Weights = dict[Trait, float]

# Assumed: three or four numbers in a hundred of a list in use are dead; some of these have another owner by now.
PHONES: Weights = {
    Trait.PLAIN: 62,
    Trait.NIGHTS: 22,
    Trait.SHIFTS: 5,
    Trait.DESK: 3,
    Trait.JOURNEYS: 4,
    Trait.DEAD: 3,
    Trait.RECYCLED: 1,
}
# Three in four switch their phone off in a rhythm: far more than in a common list, because the worlds are about them.
RESTLESS: Weights = {
    Trait.PLAIN: 26,
    Trait.NIGHTS: 40,
    Trait.SHIFTS: 18,
    Trait.DESK: 12,
    Trait.DEAD: 3,
    Trait.RECYCLED: 1,
}
# Mail lists are said to lose some 2 % of their addresses a month; assumed: full mailboxes are about as many.
MAILBOXES: Weights = {Trait.PLAIN: 92, Trait.FULL: 4, Trait.DEAD: 3, Trait.FULL_FOR_EVER: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of world."""

    name: str
    about: str  # one sentence for the page
    texts: float  # share of the recipients that are phones
    phones: Weights = field(default_factory=lambda: PHONES)
    mailboxes: Weights = field(default_factory=lambda: MAILBOXES)
    # Carriers keep a text for 24 to 48 h on average and Vonage for 72 h (Vonage, "Setting a Validity Period").
    validities: tuple[int, ...] = (24 * HOUR, 48 * HOUR, 72 * HOUR)
    providers: int = 3  # of each channel; one for each validity
    # Of each provider in a fortnight. Assumed: one or two a month.
    outages: float = 0.7
    merchants: int = 8
    spells: int = 0  # operators, and as many mail domains, that call good recipients dead for a time
    # Operators that say "undelivered" where others say "expired": SMPP 3.4 has both states, and networks differ.
    unclear: int = 0
    # Share of the messages that leave within CAMPAIGN, while one operator calls all its numbers dead.
    campaign: float = 0.0
    # Share of the mail domains. Assumed: small servers do it, the large providers do not.
    greylisting: float = 0.1


KINDS = (
    Kind(
        name="nights",
        about="Phones are off at night, at work on changing shifts, or lie in an office; a text lives for 2, 4 or 10 "
        "hours, because with a carrier that keeps it overnight there would be no question",
        texts=1.0,
        phones=RESTLESS,
        # Vonage recommends at most 4 h for what gets stale, and Twilio's queue keeps a text for 4 h by default; the others
        # are half of that and a whole working day.
        validities=(2 * HOUR, 4 * HOUR, 10 * HOUR),
    ),
    Kind(
        name="brief",
        about="The same people, and texts that live for 30 minutes to 2 hours, so that a resend must meet the phone",
        texts=1.0,
        phones=RESTLESS,
        # Vonage recommends up to 30 minutes for one-time messages; the longest is the world of `softbounce demo`.
        validities=(30 * MINUTE, HOUR, 2 * HOUR),
    ),
    Kind(
        name="journeys",
        about="Half of the recipients travel for days without a signal, longer than a carrier keeps a text",
        texts=1.0,
        phones={Trait.PLAIN: 25, Trait.NIGHTS: 20, Trait.JOURNEYS: 50, Trait.DEAD: 4, Trait.RECYCLED: 1},
    ),
    Kind(
        name="mailboxes",
        about="E-mail alone: mailboxes are full for lognormal times, domains greylist, some addresses are dead",
        texts=0.0,
        mailboxes={Trait.PLAIN: 62, Trait.FULL: 28, Trait.DEAD: 6, Trait.FULL_FOR_EVER: 4},
        greylisting=0.3,
    ),
    Kind(
        name="outages",
        about="Providers fail for minutes to nine hours, and forty merchants, most of them small, share them",
        texts=0.6,
        outages=5.0,  # a bad fortnight: the world is about them
        merchants=40,
    ),
    Kind(
        name="mislabelling",
        about="Operators and mail domains call good recipients dead, a few at a time over days, and some operators "
        'say "undelivered" for a phone that is off',
        texts=0.7,
        spells=3,
        unclear=2,
    ),
    Kind(
        name="campaign",
        about="A third of the messages leaves within two hours, in which one operator calls all its numbers dead",
        texts=0.8,
        campaign=0.35,
    ),
    Kind(
        name="mixed",
        about="All of it, each as often as in a common pipeline",
        texts=0.6,
        outages=1.5,
        spells=1,
        unclear=1,
        merchants=20,
    ),
)
