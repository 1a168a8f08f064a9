"""The built-in reason codes: who is to blame for each, and what it means in plain words."""

import re
from enum import StrEnum


class Fault(StrEnum):
    """Who is to blame. Only ``recipient`` may suppress or count as a soft bounce."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    PROVIDER = "provider"
    CONFIG = "config"


CODE = re.compile(r"[A-Z][A-Z0-9_]*")
"""What a reason code looks like, also one of your own."""

VETO_TYPES = frozenset({"RENDER_ERROR", "CONFIGURATION_ERROR"})
"""Error types that no recipient causes: they forbid suppressing and counting, whatever the code is."""

MALFORMED = frozenset({"INVALID_MOBILE_NUMBER", "INVALID_EMAIL_ADDRESS", "INVALID_POSTAL_ADDRESS"})
"""Codes by which an address is none, so that a list may name it as it was written."""

CONSENT = ("COMPLAINT", "OPT_OUT")
"""Codes that tell of the recipient's own will: the suppression brake does not count them."""

KNOWN: dict[str, Fault] = {
    "INVALID_MOBILE_NUMBER": Fault.RECIPIENT,
    "INVALID_EMAIL_ADDRESS": Fault.RECIPIENT,
    "INVALID_POSTAL_ADDRESS": Fault.RECIPIENT,
    "PLACEHOLDER_ERROR": Fault.MESSAGE,
    "SNIPPET_ERROR": Fault.MESSAGE,
    "QRBILL_ERROR": Fault.MESSAGE,
    "QR_EPC_ERROR": Fault.MESSAGE,
    "ATTACHMENTS_ERROR": Fault.MESSAGE,
    "BOUNCE_PERMANENT_GENERAL": Fault.RECIPIENT,
    "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST": Fault.RECIPIENT,
    "BOUNCE_TRANSIENT_MBX_FULL": Fault.RECIPIENT,
    "BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE": Fault.MESSAGE,
    "BOUNCE_TRANSIENT_CONTENT_REJECTED": Fault.MESSAGE,
    "BOUNCE_TRANSIENT_ATTACHMENT_REJECTED": Fault.MESSAGE,
    "SMS_REJECTED": Fault.RECIPIENT,
    "SMS_NOT_DELIVERED": Fault.RECIPIENT,
    "SMS_EXPIRED": Fault.RECIPIENT,
    "INVALID_CLAIM": Fault.MESSAGE,
    "DEADLINE_EXCEEDED": Fault.MESSAGE,
    "PROVIDER_ERROR": Fault.PROVIDER,
    "COMMUNICATION_PROVIDER_NOT_CONFIGURED": Fault.CONFIG,
    "INVALID_SENDER_ERROR": Fault.CONFIG,
    # Not on the pipeline's list, but really sent.
    "BOUNCE_TRANSIENT_GENERAL": Fault.RECIPIENT,
    "BOUNCE_PERMANENT_NO_EMAIL": Fault.RECIPIENT,
    "COMPLAINT": Fault.RECIPIENT,
    "OPT_OUT": Fault.RECIPIENT,
}
"""Code -> who is to blame for it."""

_SEPARATORS = re.compile(r"[\W_]+")
_SPELLED = {_SEPARATORS.sub("", code): code for code in KNOWN}
FAMILIES: dict[str, Fault] = {"BOUNCE_TRANSIENT_*": Fault.RECIPIENT, "BOUNCE_PERMANENT_*": Fault.RECIPIENT}
"""Wildcards for codes that are not in ``KNOWN``."""

UNREPORTED = "Failed, cause not reported"

_CAUSES = {
    "INVALID_MOBILE_NUMBER": "Not a valid mobile number",
    "INVALID_EMAIL_ADDRESS": "Not a valid e-mail address",
    "INVALID_POSTAL_ADDRESS": "Not a valid postal address",
    "PLACEHOLDER_ERROR": "Data for the template missing",
    "SNIPPET_ERROR": "Text block broken",
    "QRBILL_ERROR": "Payment code cannot be drawn",
    "QR_EPC_ERROR": "Payment code cannot be drawn",
    "ATTACHMENTS_ERROR": "Attachment cannot be prepared",
    "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST": "Blocked on the provider's list",
    "BOUNCE_PERMANENT_*": "Address does not accept mail",
    "BOUNCE_TRANSIENT_MBX_FULL": "Mailbox full",
    "BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE": "Message too large for the mailbox",
    "BOUNCE_TRANSIENT_CONTENT_REJECTED": "Content refused",
    "BOUNCE_TRANSIENT_ATTACHMENT_REJECTED": "Attachment refused",
    "BOUNCE_TRANSIENT_*": "Mailbox not accepting mail right now",
    "SMS_REJECTED": "Refused by the operator",
    "SMS_NOT_DELIVERED": "Number does not exist",
    "SMS_EXPIRED": "Phone unreachable",
    "INVALID_CLAIM": "Claim data invalid",
    "DEADLINE_EXCEEDED": "Too late to send",
    "PROVIDER_ERROR": "Provider unavailable",
    "COMMUNICATION_PROVIDER_NOT_CONFIGURED": "Channel not set up for this merchant",
    "INVALID_SENDER_ERROR": "Sender data incomplete",
    "COMPLAINT": "Marked as spam by the recipient",
    "OPT_OUT": "Recipient asked not to be contacted",
}


def code_named(text: str) -> str:
    """Return a reported code in upper case; a known one in its own spelling, however its words are parted."""
    code = text.strip().upper()
    return code if code in KNOWN else _SPELLED.get(_SEPARATORS.sub("", code), code)


def built_in_fault(code: str) -> Fault | None:
    """Return who is to blame for ``code`` by its meaning; None for an unknown code.

    A policy may change it, but never from another fault to ``recipient``.
    """
    fault = KNOWN.get(code)
    return fault if fault is not None else FAMILIES.get(_family(code))


def cause(code: str | None) -> str:
    """Return in a few words what went wrong: ``Mailbox full``."""
    if not code:
        return UNREPORTED
    return _CAUSES.get(code) or _CAUSES.get(_family(code)) or f"Unknown reason {code}"


def _family(code: str) -> str:
    """Return the wildcard that covers ``code``, or the empty string."""
    return next((name for name in FAMILIES if code.startswith(name[:-1])), "")
