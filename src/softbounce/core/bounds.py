"""Limits for the texts of events, and of a caller's arguments such as a reason or a name."""

import re

from softbounce.errors import InvalidSettings

NAME = 512  # most characters of an id, a group or a label
TEXT = 4096  # most characters of a text that is only shown
LARGEST = 2**63 - 1  # the largest id that is a number


def bounded(value: object, field: str, *, most: int = NAME) -> str:
    """Return the value as text, an id or a name without blanks around it.

    Raises ``InvalidSettings`` with the field's name if it is too long.
    """
    if isinstance(value, int) and abs(value) > LARGEST:
        reason = "is a number of more than 64 bits"
        raise InvalidSettings(reason, field)
    text = str(value)
    if most <= NAME:
        text = text.strip()
    if len(text) > most:
        reason = f"is longer than {most:,} characters"
        raise InvalidSettings(reason, field)
    try:
        text.encode()
    except UnicodeEncodeError:
        reason = "is not UTF-8 text"
        raise InvalidSettings(reason, field) from None
    return text


_UUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?", re.ASCII | re.IGNORECASE)


def fold_id(text: str) -> str:
    """Return an id in the form in which ids are compared, for systems along the way trim and rewrite them.

    It has no blanks around it; a UUID has small letters and no braces.
    """
    text = text.strip()
    found = _UUID.fullmatch(text)
    return found[1].lower() if found else text
