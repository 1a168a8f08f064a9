"""Rows as a file, out and in again: CSV in which no cell starts a formula, or NDJSON."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from pydantic_core import from_json

from softbounce.core.bounds import NAME, TEXT, bounded
from softbounce.errors import InvalidEvent, InvalidSettings

# A cell that a spreadsheet may take for a formula, also behind blanks and with full-width signs. Leading
# apostrophes count too, so that removing one gives back the original.
_FORMULA = re.compile(r"[\s'\ufeff]*[=+\-@＝＋－＠\t\r\n]")  # noqa: RUF001 - meant as they are


def write_rows(rows: Iterable[Mapping[str, Any]], file: IO[str], *, form: str, columns: Sequence[str]) -> int:
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
    """Yield the rows of a file as ``write_rows`` writes it. Raises ``InvalidEvent`` for broken NDJSON."""
    if form == "ndjson":
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    value = from_json(line, allow_inf_nan=False)  # refuses lone surrogates and 200 levels
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
    """Return a cell as text, empty if there is none. Raises ``InvalidEvent`` if it is no text or too long."""
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
