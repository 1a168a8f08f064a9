"""How long a text may be that a caller gives us beside an event: one place, which names the field."""

from softbounce.errors import InvalidSettings

NAME = 512  # characters of what is used to find, to group or to label, as in an event
TEXT = 4096  # characters of what is only shown
LARGEST = 2**63 - 1  # of an id that is a number


def bounded(value: object, field: str, *, most: int = NAME) -> str:
    """Return a name or a text as text. Raises ``InvalidSettings``, naming the field, where it is too long."""
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
