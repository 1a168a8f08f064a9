"""What a person's word leaves in the audit: who did what to what, and why."""

from dataclasses import dataclass

from softbounce.core.bounds import TEXT, bounded
from softbounce.errors import InvalidSettings


@dataclass(frozen=True, slots=True)
class By:
    """Who changes something, and why: each call of the store that changes something for a person takes it."""

    actor: str
    reason: str

    def entry(self, action: str, what: str) -> dict[str, str]:
        """Return the audit's entry; the script that makes the change adds the time.

        Raises ``InvalidSettings``, naming the field, for a blank reason and for a text that is too long.
        """
        if not self.reason.strip():
            why = "a reason is obligatory: it is what the audit shows"
            raise InvalidSettings(why)
        return {
            "actor": bounded(self.actor, "actor"),
            "action": bounded(action, "action"),
            "what": bounded(what, "what", most=TEXT),
            "reason": bounded(self.reason, "reason", most=TEXT),
        }
