"""What a person's word leaves in the audit: who did what to what, and why."""

from softbounce.core.bounds import TEXT, bounded
from softbounce.errors import InvalidSettings


def audit_entry(*, actor: str, action: str, what: str, reason: str) -> dict[str, str]:
    """Return the entry; the script that makes the change adds the time.

    Raises ``InvalidSettings``, naming the field, for a blank reason and for a text that is too long.
    """
    if not reason.strip():
        why = "a reason is obligatory: it is what the audit shows"
        raise InvalidSettings(why)
    return {
        "actor": bounded(actor, "actor"),
        "action": bounded(action, "action"),
        "what": bounded(what, "what", most=TEXT),
        "reason": bounded(reason, "reason", most=TEXT),
    }
