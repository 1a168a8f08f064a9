"""What a person sees while the days go by: one line when something happens for the first time."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from softbounce.core.recipients import mask
from softbounce.demo.world import OUTAGE, START, Message, World

Json = dict[str, Any]

LINES = {  # what happened -> what to say; each once, with the command that explains it
    "SMS_EXPIRED": "{who} is switched off. Not tried again at once: next try {next}",
    "BOUNCE_TRANSIENT_MBX_FULL": "{who}: mailbox full. Next try {next}, in the hope that it gets cleared",
    "SMS_NOT_DELIVERED": "{who}: no such number, says one report. Asked once more before it is believed",
    "PROVIDER_ERROR": "The text provider is down. Nothing is lost, tries go on in minutes: next {next}",
    "BOUNCE_TRANSIENT_CONTENT_REJECTED": "Content refused for {who}. One slow try, then a person looks",
    "suppressed": "{who} will never get a message: suppressed, first sends are refused from now on",
    "recovered.late": "{who}: the receipt came late, the waiting try is cancelled. No double text",
    "recovered": "{who} got it after all, on try {try}",
    "recovered.full": "{who} cleared the mailbox: delivered on try {try}",
    "escalated": "{who}: three messages failed within 30 days. A case for a person",
    "duplicate": "A report about {who} came twice. Seen before, nothing new",
    "given_up": "{who}: tries used up. A case for a person",
}


class Story:
    """Prints a line for the first of each kind."""

    def __init__(self, console: Console, world: World) -> None:
        self._console = console
        self._by_reference = {message.reference: message for message in world.messages}
        self._told: set[str] = set()

    def tell(self, now: int, what: str, facts: Json) -> None:
        """Hear of everything; say what is new."""
        reference = facts.get("reference")
        message = self._by_reference.get(str(reference))
        kind = self._kind(what, facts, message)
        if kind is None or kind in self._told or message is None:
            return
        self._told.add(kind)
        next_try = str(facts.get("nextTry", "")).replace("T", " ").removesuffix(":00Z")
        words = {
            "who": mask(message.person.address),
            "next": f"{next_try[5:16]} UTC",
            "try": facts.get("tries", ""),
        }
        clock = datetime.fromtimestamp(now / 1000, UTC).strftime("%a %H:%M")
        self._console.print(f"  {clock}  {LINES[kind].format_map(words)}", highlight=False)
        self._console.print(f"             softbounce explain {reference}", style="dim", highlight=False)

    @staticmethod
    def _kind(what: str, facts: Json, message: Message | None) -> str | None:
        match what:
            case "scheduled":
                code = str(facts["event"]["claim"]["communication"]["error"]["reasonCode"])
                return code if code in LINES else None
            case "suppressed" | "duplicate":
                return what
            case "notice.recovered" if message is not None:
                if not facts.get("tries"):
                    return "recovered.late"
                return "recovered.full" if message.person.kind == "full" else "recovered"
            case "notice.escalated" | "notice.given_up":
                return what.removeprefix("notice.")
            case _:
                return None


def headline(world: World, *, seed: int, data: str) -> str:
    """Return the first line: that all this is simulated, and how to look inside meanwhile."""
    outage = datetime.fromtimestamp(OUTAGE[0] / 1000, UTC)
    start = datetime.fromtimestamp(START / 1000, UTC)
    return (
        f"simulated: {len(world.people):,} people in five zones, {len(world.messages):,} messages, "
        f"{world.days} days from {start:%a %d %b %Y}, seed {seed}; "
        f"text provider down on {outage:%a} for 2.5 h.\n"
        "real: worker, policy, scripts and hand-over, on a store of their own. "
        f"Look inside meanwhile: SOFTBOUNCE_DATA={data}"
    )
