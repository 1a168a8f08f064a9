"""All texts that people read: labels of outcomes, single words, and times.

A label says the cause, what happens next, and when. CLI, exports and notices take their texts from here, so
that one thing has one name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Formatter
from zoneinfo import ZoneInfo

from softbounce.core.durations import DAY, HOUR, MINUTE, SECOND, printable
from softbounce.core.timestamps import EPOCH, FIRST, LAST

FAR = 300 * DAY  # a date further away is shown with its year

Sentences = tuple[tuple[str, ...], ...]
"""The alternatives of each sentence, the one with the most facts first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """All texts of one language."""

    labels: Mapping[str, Sentences]
    words: Mapping[str, str]
    plurals: Mapping[str, tuple[str, str]]
    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    days: Mapping[int, str]  # distance in days -> word


_ARRIVED = (
    ("Arrived {time}, on try {n}, {hours} h after the first failure.", "Arrived {time}.", "Arrived."),
)
_MORE = (("For example {samples}.",), ("Look further: {command}",))
ENGLISH = Language(
    labels={
        # outcomes
        "scheduled": (
            ("{cause}.",),
            ("Next try {time}, {n} of {m}.", "Next try {time}."),
            (
                "Ready, waits for {waits_for} until {until}; this costs no try.",
                "Ready, waits for {waits_for}; this costs no try.",
            ),
        ),
        "suppressed": (
            ("{cause}.",),
            (
                "Not tried again; sends to this recipient are allowed {again}.",
                "Not tried again; sends to this recipient are refused until {date}.",
                "Not tried again; sends to this recipient are refused.",
            ),
        ),
        "held": (
            ("{cause}.",),
            (
                "Waits for a fix in {fix}, case {case}.",
                "Waits for a fix in {fix}.",
                "Waits for a person, case {case}.",
                "Waits for a person.",
            ),
            ("Nothing is sent until released; deadline {deadline}.", "Nothing is sent until released."),
        ),
        "given_up": (
            ("{cause}.",),
            ("{n:tries} in {hours} h did not help.",),
            ("No further try.",),
            ("Case {case}.",),
        ),
        "unanswered": (
            ("{cause}.",),
            ("Try {n} left, and no answer came.",),
            ("Case {case}.",),
            ("A later report still counts.",),
        ),
        "presumed": (("Presumed to have arrived with try {n}: a day passed without a failure.",),),
        "delivered": _ARRIVED,
        "cancelled": (
            (
                "Stopped by {who} {time}: {reason}.",
                "Stopped by {who}: {reason}.",
                "Stopped: {reason}.",
                "Stopped.",
            ),
            ("Nothing more is sent.",),
        ),
        "opted_in": (
            ("The recipient agrees to be written to again.",),
            ("An opt-out or a complaint of before is lifted; other blocks stay.",),
        ),
        "duplicate": (("Seen before, nothing new.",),),
        "coalesced": (("A try is waiting already: {time}.", "A try is waiting already."),),
        "superseded": (
            ("Speaks of an earlier send; try {n} is out since {time}.", "Speaks of an earlier send."),
        ),
        "ended": (
            (
                "This message had ended: {outcome}, {time}.",
                "This message had ended: {outcome}.",
                "This message had ended.",
            ),
        ),
        "ignored": (("Not a failure for us ({why}).", "Not a failure for us."), ("Nothing happens.",)),
        "dead_lettered": (
            ("Could not be read: {reason}.", "Could not be read."),
            ("Kept; replay it after a fix: {command}.", "Kept; it can be replayed after a fix."),
        ),
        # a mark beside an outcome
        "escalated": (
            ("{n:messages} failed within {days:days}.",),
            ("Case {case}.",),
            ("Sends pause until {pause_until}.",),
            ("Sends are refused until {refused_until}.",),
        ),
        # notices that are no outcomes
        "recovered": _ARRIVED,
        "escalated_group": (
            ("{n:recipients} failed again and again: {where}.", "{n:recipients} failed again and again."),
            *_MORE,
        ),
        "incident_group": (
            ("{n:incidents} of sudden suppressions: {where}.", "{n:incidents} of sudden suppressions."),
            *_MORE,
        ),
        "case_resolved_group": (("{n:cases} resolved: {where}.", "{n:cases} resolved."), *_MORE),
        "case_resolved": (("Case {case} resolved by {who}: {reason}.", "Case {case} resolved."),),
        # may_send
        "allowed": (("Sends are allowed.",),),
        "refused": (("{cause}.",), ("Sends are refused until {date}.", "Sends are refused.")),
        "paused": (("{cause}.",), ("Sends pause until {date}.", "Sends pause.")),
    },
    words={
        "state.waiting": "its time",
        "state.quiet": "quiet hours",
        "state.rate": "the rate limit",
        "state.breaker": "its provider",
        "state.paused": "a pause to end",
        "state.incident": "a person's word on the incident that refuses its recipient",
        "state.leased": "its hand-over",
        "state.sink": "the hand-over sink",
        "state.cancelled": "nothing, cancelled",
        "state.suppressed": "nothing, suppressed",
        "state.delivered": "nothing, arrived",
        "case.soft_bounces": "Repeated soft bounces",
        "case.exhausted": "Retries used up",
        "case.reference_reused": "One reference for two messages",
        "case.unanswered": "Sent again, and no answer came",
        "case.held": "Held for a fix",
        "case.unknown_code": "Unknown code",
        "case.unclassified": "Cause or channel not reported",
        "case.ambiguous_recipient": "Recipient not clear",
        "case.archive": "Dated before all that is remembered",
        "case.crash_loop": "Could not be handed over three times",
        "case.also_retried": "Somebody else retries it too",
        "case.contradiction": "Failed for good after it had arrived",
        "case.opt_in_doubt": "An opt-in that lifts nothing for certain",
        "case.incident": "Incident",
        "case.damaged_record": "Records of the store that cannot be read",
        "fix.message": "the template or the data",
        "fix.config": "the set-up",
        "zone.policy": "fixed by the policy",
        "zone.event": "from the event",
        "zone.country": "from the number's country",
        "zone.merchant": "the merchant's",
        "zone.default": "the default",
        "then.review": "opens a case",
        "then.suppress": "suppresses the recipient",
        "then.drop": "nothing follows",
        "escalate.notify": "a case and a notice",
        "escalate.hold": "a case, a notice, and sends pause",
        "escalate.suppress": "a case, a notice, and sends are refused",
    },
    plurals={
        "tries": ("try", "tries"),
        "messages": ("message", "messages"),
        "events": ("event", "events"),
        "days": ("day", "days"),
        "cases": ("case", "cases"),
        "incidents": ("incident", "incidents"),
        "recipients": ("recipient", "recipients"),
        "records": ("record", "records"),
        "bytes": ("byte", "bytes"),
        "blocks": ("block", "blocks"),
        "retries": ("waiting retry", "waiting retries"),
        "resends": ("resend", "resends"),
    },
    weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    days={-1: "yesterday", 0: "today", 1: "tomorrow"},
)
LANGUAGES = {"en": ENGLISH}
SPOKEN = LANGUAGES["en"]  # the language in use


def label(outcome: str, /, **facts: object) -> str:
    """Return the sentences for an outcome, notice or verdict; one whose facts are missing is left out.

    Facts are texts (``time="tomorrow 08:12 Berlin"``) or counts; None counts as missing.
    """
    known = {name: fact for name, fact in facts.items() if fact is not None}
    phrases = (_first_complete(choices, known) for choices in SPOKEN.labels[outcome])
    return " ".join(phrase for phrase in phrases if phrase)


def word(kind: str, key: str) -> str:
    """Return the text for a state, case kind, fix, zone source and so on; an unknown key as it is."""
    return SPOKEN.words.get(f"{kind}.{key}", key)


def count(number: int, noun: str) -> str:
    """Return ``1 try`` or ``4 tries``."""
    return f"{number:,} {SPOKEN.plurals[noun][number != 1]}"


def when(moment: int, zone: str, now: int | None = None) -> str:
    """Return ``tomorrow 08:12 Berlin``; further away, or without ``now``, ``Sat 21 Nov 08:12 Berlin``."""
    local = _local(moment, zone)
    near = None if now is None else SPOKEN.days.get((local.date() - _local(now, zone).date()).days)
    day = near or date(moment, zone, now)
    return f"{day} {local:%H:%M} {place(zone)}"


def stamp(moment: int, zone: str, now: int | None = None) -> str:
    """Return ``Sat 21 Nov 08:12``, for a column whose heading names the zone."""
    return f"{date(moment, zone, now)} {_local(moment, zone):%H:%M}"


def date(moment: int, zone: str, now: int | None = None) -> str:
    """Return ``Tue 12 Jan``, with the year if it is more than 300 days from ``now``."""
    local = _local(moment, zone)
    year = f" {local.year}" if now is not None and abs(moment - now) > FAR else ""
    return f"{SPOKEN.weekdays[local.weekday()]} {local.day} {SPOKEN.months[local.month - 1]}{year}"


def clock(moment: int, zone: str) -> str:
    """Return ``08:12``."""
    return f"{_local(moment, zone):%H:%M}"


def place(zone: str) -> str:
    """Return ``Berlin`` for ``Europe/Berlin``."""
    return zone.rpartition("/")[2].replace("_", " ")


def span(milliseconds: int) -> str:
    """Return a rounded duration, in the largest unit that fits twice: ``40 min``, ``2 d``."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if milliseconds >= 2 * unit:
            return f"{milliseconds // unit} {name}"
    return f"{max(milliseconds, 0) // SECOND} s"


def plain(text: object) -> str:
    """Return ``printable`` text of any value."""
    return printable(str(text))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _local(moment: int, zone: str) -> datetime:
    return (EPOCH + timedelta(milliseconds=min(max(moment, FIRST), LAST))).astimezone(ZoneInfo(zone))


def _first_complete(choices: tuple[str, ...], facts: Mapping[str, object]) -> str:
    for choice in choices:
        parts = list(Formatter().parse(choice))
        if all(name in facts for _, name, _, _ in parts if name is not None):
            return "".join(text + _fact(name, noun, facts) for text, name, noun, _ in parts)
    return ""


def _fact(name: str | None, noun: str | None, facts: Mapping[str, object]) -> str:
    """Return one fact; with a noun behind the colon, as a count with singular or plural."""
    if name is None:
        return ""
    fact = facts[name]
    return f"{fact} {SPOKEN.plurals[noun][fact != 1]}" if noun else str(fact)
