"""Time zones of countries and of ranges of phone numbers, and the names by which producers call a zone.

``zones.csv`` beside this module has the data and names its sources.
"""

import csv
import re
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import available_timezones

from phonenumbers.tzdata import TIMEZONE_DATA

_LONGEST = 64  # characters of a zone's name; a thousand names are cached
_OFFSET = re.compile(r"(?:utc|gmt)?([+\-\u2212])(\d\d?)(?::?(\d\d))?", re.ASCII)


def zones_of_country(country: str) -> tuple[str, ...]:
    """Return the time zones of a country, the one with most people first; () for an unknown country."""
    return _countries().get(country, ())


def zones_of_range(digits: str, code: int, country: str) -> tuple[str, ...]:
    """Return the zones of the longest known prefix of ``digits``, which begin with a calling code.

    ``code``: the length of the calling code. If no more than it is known, the number has no place, and all
    zones of ``country`` count.
    """
    ours = _prefixes()
    known: tuple[str, ...] = ()
    for length in range(len(digits), 0, -1):
        if named := ours.get(digits[:length]):
            return zones_of_country(named)
        if known := TIMEZONE_DATA.get(digits[:length], ()):
            if length > code:
                return known
            break
    return known if len(known) == 1 else zones_of_country(country) or known


@lru_cache(maxsize=1000)
def zone_named(text: str) -> str | None:
    """Return the IANA zone that a text names, or None.

    Case, blanks and underscores do not count. An offset (``-05:00``, ``UTC+1``) and a name of Windows
    (``Eastern Standard Time``) are names, too.
    """
    name = _folded(text) if len(text) <= _LONGEST else ""
    if name not in _names() and (offset := _OFFSET.fullmatch(name)):  # GMT+0 is a zone's own name
        sign, hours, minutes = "+" if offset[1] == "+" else "-", int(offset[2]), offset[3] or "00"
        west_positive = f"etc/gmt{'-' if sign == '+' else '+'}{hours}"  # POSIX counts to the west
        name = west_positive if minutes == "00" else f"{sign}{hours:02}:{minutes}"
    return _names().get(name)


def _folded(text: str) -> str:
    return re.sub(r"[\s_]", "", text).casefold()


@cache
def _names() -> dict[str, str]:
    names = [(zone, zone) for zone in sorted(available_timezones())]
    return {_folded(name): zone for name, zone in (*_rows("name"), *names)}


@cache
def _countries() -> dict[str, tuple[str, ...]]:
    zones: dict[str, tuple[str, ...]] = {}
    for country, zone in _rows("country"):
        zones[country] = (*zones.get(country, ()), zone)
    return zones


@cache
def _prefixes() -> dict[str, str]:
    return dict(_rows("prefix"))


@cache
def _rows(kind: str) -> tuple[tuple[str, str], ...]:
    text = (files("softbounce.core") / "zones.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple((row["key"], row["zone"]) for row in rows if row["kind"] == kind)
