"""Durations, rates, shares and times of day as operators write them: ``90m``, ``6/1d``, ``20%``, ``21:00``.

Every parser raises ``ValueError`` with a sentence for the operator. Durations are milliseconds.
"""

import re

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
LONGEST = 3_660 * DAY  # ten years: anything longer is a typing error, and Lua's numbers stay exact

DURATION = r"^[0-9]{1,9}[smhd]$"
RATE = r"^[0-9]{1,9}/([0-9]{1,9})?[smhd]$"
SHARE = r"^[0-9]{1,3}%$"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def parse_duration(value: object) -> int:
    """Return the milliseconds of ``30s``, ``90m``, ``72h`` or ``14d``: one whole number and one unit."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()):
        message = "a duration needs a unit, for example 30m or 30s"
        raise ValueError(message)
    text = matching(DURATION, value, "duration; write a number and s, m, h or d, for example 90m or 14d")
    milliseconds = int(text[:-1]) * UNITS[text[-1]]
    if milliseconds > LONGEST:
        message = f"{text} is longer than ten years"
        raise ValueError(message)
    return milliseconds


def words(milliseconds: int) -> str:
    """Return a duration as an operator would write it: ``90m``, ``72h``, ``5d``; rounded to seconds.

    Up to three days it is in hours, because people say 24h, 48h and 72h of retry windows.
    """
    seconds = round(milliseconds / SECOND)
    if seconds % 86_400 == 0 and seconds > 3 * 86_400:
        return f"{seconds // 86_400}d"
    if seconds % 3_600 == 0 and seconds:
        return f"{seconds // 3_600}h"
    if seconds % 60 == 0 and seconds:
        return f"{seconds // 60}m"
    return f"{seconds}s"


def parse_rate(value: object) -> tuple[int, int]:
    """Return (count, milliseconds) of ``50/s``, ``6/1d`` or ``12/7d``."""
    text = matching(RATE, value, "rate; write a count and a time, for example 50/s or 6/1d")
    count, per = text.split("/")
    period = parse_duration(per if per[0].isdigit() else f"1{per}")
    if not int(count) or not period:
        message = f"{text} would stop everything; to stop, use 'softbounce mode off'"
        raise ValueError(message)
    return int(count), period


def parse_share(value: object) -> float:
    """Return 0.2 for ``20%``."""
    text = matching(
        r"(0?[0-9]{1,2}|100)%", value, "share; write a percentage from 0% to 100%, for example 20%"
    )
    return int(text[:-1]) / 100


def parse_clock(value: object) -> int:
    """Return the minute of the day of ``21:00``."""
    text = matching(CLOCK, value, 'time of day; write 00:00 to 23:59, in quotes, for example "21:00"')
    return int(text[:2]) * 60 + int(text[3:])


def matching(pattern: str, value: object, wanted: str) -> str:
    """Return text that is of a pattern; the ``ValueError`` says what was wanted."""
    if isinstance(value, str) and re.fullmatch(pattern, value):
        return value
    message = f"{shown(value)} is no {wanted}"
    raise ValueError(message)


def shown(value: object) -> str:
    """Return a value for a message: in quotes, spelled as in YAML, cut to 60 characters."""
    if isinstance(value, dict | list):
        return "a block of keys" if isinstance(value, dict) else "a list"
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else printable(str(value))
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"  # noqa: PLR2004 - one line of a terminal


def printable(text: str) -> str:
    """Return text with each control character replaced, so that it cannot control a terminal."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    )
