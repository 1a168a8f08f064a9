"""An entry of the suppression list, and the list as a file: CSV or NDJSON, out and in again."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, cast

from pydantic_core import from_json

from softbounce.core.bounds import NAME, TEXT, bounded
from softbounce.core.records import iso
from softbounce.errors import InvalidEvent, InvalidSettings

COLUMNS = (
    "recipient",
    "address",
    "channel",
    "merchant",
    "code",
    "origin",
    "reason",
    "since",
    "until",
    "evidence",
    "key",
)
_EVIDENCE = 100  # ids of events that an imported entry may bring
_NEVER = 10**14  # ms, the year 5138: Lua writes a longer number as 1e+14, and would read 1
# What a spreadsheet may take for a formula, also behind blanks; the full-width forms start one, too.
# Apostrophes count as well, so that taking one off again gives back what was there.
_FORMULA = re.compile(r"[\s'\ufeff]*[=+\-@＝＋－＠\t\r\n]")  # noqa: RUF001 - meant as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One entry of the list; ``address`` is None where only the hash is kept."""

    field: str
    rid: str
    merchant: str | None
    entry: Mapping[str, Any]

    @property
    def address(self) -> str | None:
        """The address in clear, where it is kept."""
        return cast("str | None", self.entry.get("address"))

    def facts(self, now: int) -> dict[str, Any]:
        """Return what filters are matched against."""
        until = self.entry.get("z")
        return {
            "recipient": f"r_{self.rid}",
            "channel": self.entry.get("channel"),
            "code": self.entry.get("code"),
            "origin": self.entry.get("origin"),
            "merchant": self.merchant,
            "expires": until - now if until else None,
            "age": now - int(self.entry["at"]),
            "incident": self.entry.get("incident"),
        }

    def row(self, *, reveal: bool, key: str = "") -> dict[str, Any]:
        """Return the entry for an export, masked unless ``reveal``; ``key``: its hash key's fingerprint."""
        entry = self.entry
        return {
            "recipient": f"r_{self.rid}",
            "address": (self.address if reveal else None) or entry.get("mask") or "",
            "channel": entry.get("channel", ""),
            "merchant": self.merchant or "",
            "code": entry.get("code", ""),
            "origin": entry.get("origin", ""),
            "reason": entry.get("reason", ""),
            "since": iso(int(entry["at"])),
            "until": iso(entry.get("z")) or "never",
            "evidence": list(entry.get("evidence") or ()),
            **({"incident": entry["incident"]} if "incident" in entry else {}),
            **({"key": key} if key else {}),
        }


def suppression(field: bytes, raw: bytes) -> Suppression:
    """Return an entry as it stands in the store."""
    name = field.decode()
    rid, at, merchant = name.partition("@")
    return Suppression(field=name, rid=rid, merchant=merchant if at else None, entry=json.loads(raw))


def write_rows(
    rows: Iterable[Mapping[str, Any]], file: IO[str], *, form: str, columns: Sequence[str] = COLUMNS
) -> int:
    """Write an export as ``csv`` (no cell starts a formula) or ``ndjson``; returns the number of rows."""
    count = 0
    if form == "ndjson":
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
        return count
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        cells = {
            name: " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
            for name, value in row.items()
        }
        writer.writerow({name: f"'{cell}" if _FORMULA.match(cell) else cell for name, cell in cells.items()})
        count += 1
    return count


def read_rows(file: IO[str], *, form: str) -> Iterator[dict[str, Any]]:
    """Yield the rows that ``write_rows`` wrote; CSV needs ``channel`` and ``address`` or ``recipient``."""
    if form == "ndjson":
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    value = from_json(line, allow_inf_nan=False)  # refuses half a character, and 200 levels
                except ValueError as error:
                    message = f"not JSON: {error}"
                    raise InvalidEvent(message, f"line {number}") from error
                yield value if isinstance(value, dict) else {"address": value}
        return
    for cells in csv.DictReader(file):
        row: dict[str, Any] = {
            name: _unquoted(cell) for name, cell in cells.items() if name and isinstance(cell, str)
        }
        if "evidence" in row:
            row["evidence"] = row["evidence"].split()
        yield row


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def cell(row: Mapping[str, Any], name: str) -> str:
    """Return a cell that is text, or a number as text; empty if there is none. Raises ``InvalidEvent``."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        message = "must be text"
        raise InvalidEvent(message, name)
    try:
        return bounded(value, name, most=TEXT if name in ("address", "reason") else NAME)
    except InvalidSettings as error:
        raise InvalidEvent(error.reason, name) from None


def evidence(row: Mapping[str, Any]) -> list[str]:
    """Return the ids of the events that speak against a recipient. Raises ``InvalidEvent``."""
    value = row.get("evidence") or []
    is_short = isinstance(value, list) and len(value) <= _EVIDENCE
    if is_short and all(isinstance(one, str) and len(one) <= NAME for one in value):
        return cast("list[str]", value)
    message = f"must be a list of at most {_EVIDENCE} texts of at most {NAME} characters"
    raise InvalidEvent(message, "evidence")


def moment(value: object, path: str) -> int | None:
    """Return a cell's date as ms; None for never, and for 9999. ``InvalidEvent`` names ``path``."""
    if value in (None, "", "never"):
        return None
    try:
        date = datetime.fromisoformat(str(value))
    except ValueError as error:
        message = "must be a date such as 2027-01-31 or 2027-01-31T12:00:00Z, or never"
        raise InvalidEvent(message, path) from error
    at = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)
    if at < 0:
        message = "must be a date after 1970"
        raise InvalidEvent(message, path)
    return at if at < _NEVER else None
