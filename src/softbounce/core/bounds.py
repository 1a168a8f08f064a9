"""Limits for the texts of events, and of a caller's arguments such as a reason or a name."""

from softbounce.errors import InvalidSettings

NAME = 512  # most characters of an id, a group or a label
TEXT = 4096  # most characters of a text that is only shown
LARGEST = 2**63 - 1  # the largest id that is a number


def bounded(value: object, field: str, *, most: int = NAME) -> str:
    """Return the value as text. Raises ``InvalidSettings`` with the field's name if it is too long."""
    if isinstance(value, int) and abs(value) > LARGEST:
        reason = "is a number of more than 64 bits"
        raise InvalidSettings(reason, field)
    text = str(value)
    if len(text) > most:
        reason = f"is longer than {most:,} characters"
        raise InvalidSettings(reason, field)
    try:
        text.encode()
    except UnicodeEncodeError:
        reason = "is not UTF-8 text"
        raise InvalidSettings(reason, field) from None
    return text
