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
_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)  # computes nothing; programs read a telephone number as it is
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # the line by which Excel knows the separator


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
        writer.writerow({name: _quoted(_cell_of(value)) for name, value in row.items()})
        count += 1
    return count


def _cell_of(value: object) -> str:
    if not isinstance(value, list):
        return "" if value is None else str(value)
    if not all(isinstance(one, str) for one in value):
        return json.dumps(value, ensure_ascii=False)
    text = " ".join(value)
    is_plain = text.split() == value and not text.startswith("[")
    return text if is_plain else json.dumps(value, ensure_ascii=False)


def _quoted(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def read_rows(file: IO[str], *, form: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as ``write_rows`` writes it, or a spreadsheet (see ``read_cells``).

    Raises ``InvalidEvent`` for broken NDJSON.
    """
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
    for cells in read_cells(file):
        row: dict[str, Any] = {name: _unquoted(cell) for name, cell in cells.items()}
        if not row.get("also"):  # only an entry with several causes has some
            row.pop("also", None)
        yield row | {name: _list_of(row[name]) for name in ("evidence", "also") if name in row}


def read_cells(file: IO[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV by the names in its first line, which count in lower case and without blanks.

    A line ``sep=;`` before that line names the separator; else it is the one of ``, ; | tab`` that is most
    often in the line.
    """
    head = file.readline()
    if named := _SEPARATOR.fullmatch(head):
        head = file.readline()
    separator = named[1] if named else max(",;\t|", key=head.count)
    names = [name.strip().lower() for line in csv.reader([head], delimiter=separator) for name in line]
    for cells in csv.reader(file, delimiter=separator):
        if cells:
            yield {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _list_of(cell: str) -> list[Any]:
    try:
        found = from_json(cell) if cell.startswith("[") else None
    except ValueError:
        found = None
    return found if isinstance(found, list) else cell.split()


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def cell(row: Mapping[str, Any], name: str) -> str:
    """Return a cell as text, empty if there is none; only a reason keeps blanks around it.

    Raises ``InvalidEvent`` if it is no text or too long.
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        message = "must be text"
        raise InvalidEvent(message, name)
    try:
        text = bounded(value, name, most=TEXT if name in ("address", "reason") else NAME)
        return text if name == "reason" else text.strip()
    except InvalidSettings as error:
        raise InvalidEvent(error.reason, name) from None
