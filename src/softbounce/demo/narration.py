"""Prints the story of the demo: a line for each day, and one for each event that is the first of its kind."""

from datetime import UTC, datetime
from threading import Event
from typing import Any

from rich.console import Console

from softbounce.core.durations import DAY
from softbounce.core.recipients import mask
from softbounce.demo.pipeline import Seen
from softbounce.demo.world import MORNING, OUTAGE, START, Kind, Message, World

Json = dict[str, Any]
PAUSE = 0.7  # s to read a line

LINES = {  # what happened -> the line, printed once with the command that explains it
    "SMS_EXPIRED": "{who} is switched off. Not tried again at once: next try {next}",
    "BOUNCE_TRANSIENT_MBX_FULL": "{who}: mailbox full. Next try {next}, in the hope that it gets cleared",
    "SMS_NOT_DELIVERED": "{who}: no such number, says one report. Asked once more before it is believed",
    "PROVIDER_ERROR": "The text provider is down. Nothing is lost, tries go on in minutes: next {next}",
    "BOUNCE_TRANSIENT_CONTENT_REJECTED": "Content refused for {who}. One slow try, then a person looks",
    "suppressed.sms": "{who}: the second report of a dead number. Suppressed, sends are refused from now on",
    "suppressed.email": "{who} does not exist: suppressed, sends are refused from now on",
    "morning": "Morning where {who} lives: what failed in the night leaves now",
    "recovered.late": "{who}: the receipt came late, the waiting try is cancelled. No double text",
    "recovered": "{who} got it after all, on try {try}",
    "recovered.full": "{who} cleared the mailbox: delivered on try {try}",
    "escalated": "{who}: three messages failed within 30 days. A case for a person",
    "duplicate": "A report about {who} came twice. Seen before, nothing new",
    "held": "{who} exists, but its operator says it does not. Above the brake that is an incident",
    "undone": "Operations undo the incident: {lifted} blocks are lifted, {who} and others get their text",
    "given_up": "{who}: tries used up. A case for a person",
}


class Narrator:
    """Prints the lines."""

    def __init__(self, console: Console, world: World, *, pause: float) -> None:
        self.days = world.days
        self._console, self._pause, self._never = console, pause, Event()
        self._day = 0
        self._by_reference = {message.reference: message for message in world.messages}
        self._told: set[str] = set()

    def tell(self, now: int, what: str, facts: Json) -> None:
        """Take note of one thing that happened, and print its line if it is the first of its kind."""
        reference = facts.get("reference")
        message = self._by_reference.get(str(reference))
        if message is None or (kind := self._kind(now, what, facts, message)) not in LINES:
            return
        if kind in self._told:
            return
        self._told.add(kind)
        next_try = str(facts.get("nextTry", "")).replace("T", " ").removesuffix(":00Z")
        words = {
            "who": mask(message.person.address),
            "next": f"{next_try[5:16]}",
            "lifted": facts.get("lifted", ""),
            "try": facts.get("tries", ""),
        }
        self._console.print(f"  {weekday_and_time(now)}  {LINES[kind].format_map(words)}", highlight=False)
        self._console.print(f"             softbounce explain {reference}", style="dim", highlight=False)
        self._never.wait(self._pause)

    def day(self, now: int, seen: Seen) -> None:
        """Sum up the day that has just ended, if one has."""
        day = (now - START) // DAY
        if day <= self._day:
            return
        self._day = day
        resent = len({command["id"] for _, command in seen.commands})
        self._console.print(
            f"day {day} is over: {seen.first:,} messages sent, {resent:,} resends left, "
            f"{len(seen.suppressed_at):,} recipients suppressed, {seen.refused_first:,} sends refused",
            highlight=False,
        )
        self._never.wait(self._pause)

    @staticmethod
    def _kind(now: int, what: str, facts: Json, message: Message) -> str | None:
        """Return which of the ``LINES`` this is, if any."""
        person = message.person
        match what:
            case "scheduled":
                return str(facts["event"]["claim"]["communication"]["error"]["reasonCode"])
            case "suppressed":
                return f"suppressed.{person.channel}"
            case "resent" if person.kind is Kind.OFF_AT_NIGHT and person.hour(now) == MORNING:
                return "morning"
            case "notice.recovered" if not facts.get("tries"):
                return "recovered.late"
            case "notice.recovered" if person.kind is Kind.FULL:
                return "recovered.full"
        return what.removeprefix("notice.")


def weekday_and_time(now: int) -> str:
    """Return weekday and time in UTC, with which each line of the story begins."""
    return datetime.fromtimestamp(now / 1000, UTC).strftime("%a %H:%M")


def headline(world: World, *, seed: int, data: str) -> str:
    """Return the first line: that all this is simulated, and how to look inside meanwhile."""
    outage = datetime.fromtimestamp(OUTAGE[0] / 1000, UTC)
    start = datetime.fromtimestamp(START / 1000, UTC)
    return (
        f"simulated: {len(world.people):,} people in five zones, {len(world.messages):,} messages, "
        f"{world.days} days from {start:%a %d %b %Y}, seed {seed}; "
        f"text provider down on {outage:%a} for 2.5 h, an operator calls live numbers dead. Times are UTC.\n"
        "real: worker, policy, scripts and hand-over, on a store of their own. "
        f"Look inside meanwhile: SOFTBOUNCE_DATA={data}"
    )
