"""Times as text and as milliseconds since 1970, and which dates of a producer count as not given."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from softbounce.core.strict_json import refuse

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE | re.ASCII
)
_LONGEST = 64  # characters of a time; a thousand times are cached
_ZERO = re.compile(r"0|0000-00-00.*")  # an unset time, as counters of seconds and MySQL write it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EARLIEST = (datetime(2000, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND  # an earlier date was never set
_LATEST = (datetime(2100, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND  # a later date means "for ever"
FIRST, LAST = -62_000_000_000_000, 253_000_000_000_000  # about the years 5 and 9987: calendars end there
_NEVER = 10**14  # ms, the year 5138: Lua writes a longer number as 1e+14, and would read 1
_FIRST_ZONE = timedelta(hours=14) // _MILLISECOND  # Kiritimati is the earliest zone of all


def parse_time(value: object) -> tuple[int | None, bool]:
    """Return an RFC 3339 time in ms (None if it is none), and whether it had no zone and was read as UTC."""
    return _read_time(value) if isinstance(value, str) and len(value) <= _LONGEST else (None, False)


@lru_cache(maxsize=1000)  # many events have the same second
def _read_time(text: str) -> tuple[int | None, bool]:
    found = _RFC3339.fullmatch(text)
    if not found:
        return None, False
    try:
        moment = datetime.fromisoformat(found[0].upper())
    except ValueError:
        return None, False
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - EPOCH) // _MILLISECOND, moment.tzinfo is None


def report_date(value: object) -> tuple[int | None, str]:
    """Return when a report says that something happened (ms), and why its date is not used, if it is not.

    A date without a zone cannot order events, and one before 2000 was never set: None, so that the time of
    receipt counts. A producer's clock must never end a message or convict a person.
    """
    found, without_zone = parse_time(value)
    if found is None:
        return None, "" if value is None else "its date is no time"
    if found < _EARLIEST:
        return None, "its date was never set"
    return (None, "its date has no zone") if without_zone else (found, "")


def deadline(value: object, path: str) -> tuple[int | None, bool]:
    """Return ``notAfter`` in ms (None: no deadline), and whether it was ignored as a placeholder date.

    Placeholders are an unset date (the year 1 of Go and .NET, 1970, MySQL's zeros) and "for ever" (9999).
    Without a zone it is the earliest time that it can mean, because nothing may go out after it. Raises
    ``InvalidEvent`` with ``path`` for anything else.
    """
    if value is None:
        return None, False
    if value == 0 and not isinstance(value, bool):
        return None, True
    found, without_zone = parse_time(value)
    if found is None:
        if isinstance(value, str) and _ZERO.fullmatch(value):
            return None, True
        refuse("must be a time such as 2026-11-20T15:32:23Z", path)
    if not _EARLIEST <= found < _LATEST:
        return None, True
    return found - _FIRST_ZONE if without_zone else found, False


def date_or_never(value: object, path: str) -> int | None:
    """Return an ISO date, or date and time, in ms; without a zone it is UTC.

    None for ``never``, an empty value, and the year 5138 or later. ``InvalidEvent`` names ``path``.
    """
    value = value.strip() if isinstance(value, str) else value
    if value in (None, "", "never"):
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        refuse("must be a date such as 2027-01-31 or 2027-01-31T12:00:00Z, or never", path)
    at = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    if at < 0:
        refuse("must be a date after 1970", path)
    return at if at < _NEVER else None


def iso(moment: int | None) -> str | None:
    """Return a time (ms) as RFC 3339 in UTC, to the second; ``FIRST`` or ``LAST`` beyond these."""
    if moment is None:
        return None
    seconds = min(max(moment, FIRST), LAST) // 1000  # a date with an offset may lie in the year 0 or 10000
    day, second = divmod(seconds, 86_400)
    return f"{_date(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return date.fromordinal(EPOCH.toordinal() + day).isoformat()
