"""Reads files of people: events as NDJSON, one JSON object or an array; lists as CSV or NDJSON."""

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import IO

from softbounce.cli.shared.output import Form, Json
from softbounce.core.policy.yaml_tree import SURROGATE
from softbounce.core.reasons import CODE
from softbounce.core.recipients import Channel, scrub
from softbounce.core.table_files import read_rows
from softbounce.core.texts import plain
from softbounce.errors import InvalidEvent, InvalidSettings

_MOST_SHOWN = 200  # characters of a line that an error quotes


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each line that is not blank, as it arrives."""
    return (text for line in file if (text := line.strip()))


def read_reports(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each event's bytes; what is no JSON is yielded line by line, for the caller to refuse."""
    lines = read_lines(file)
    first = next(lines, None)
    if first is None:
        return iter(())
    if isinstance(_json(first), dict):
        return chain([first], lines)
    rest = list(lines)
    match _json(b"\n".join([first, *rest])):
        case dict():
            return iter([b"\n".join([first, *rest])])
        case list():
            return _elements(b"\n".join([first, *rest]))
        case _:
            return iter([first, *rest])


def event_id(raw: bytes) -> str | None:
    """Return the event's own id, where it has a readable one."""
    event = _json(raw)
    found = event.get("eventId") if isinstance(event, dict) else None
    return found if isinstance(found, str) and not SURROGATE.search(found) else None


def binary_file(file: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file, or stdin for ``-``. Raises ``InvalidSettings``."""
    return nullcontext(sys.stdin.buffer) if file == "-" else _opened(file)


def text_file(file: str) -> io.TextIOWrapper:
    """Return a text file in UTF-8 or UTF-16 that can be read twice. Raises ``InvalidSettings``."""
    source = io.BytesIO(sys.stdin.buffer.read()) if file == "-" else _opened(file)
    head = source.read(2)
    source.seek(0)
    wide = "utf-16-le" if head[1:] == b"\0" else "utf-16-be" if head[:1] == b"\0" else ""
    if wide or head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # Excel and PowerShell write it
        with readable(), source:
            source = io.BytesIO(source.read().decode(wide or "utf-16").encode())
    return io.TextIOWrapper(source, encoding="utf-8-sig", newline="")


def text_lines(file: str) -> list[str]:
    """Return the lines of a text file that are not blank. Raises ``InvalidSettings``."""
    with text_file(file) as source, readable():
        return [line.strip() for line in source if line.strip()]


def write_text(path: Path, text: str) -> None:
    """Write a text file. Raises ``InvalidSettings``."""
    with naming_file("write", path):
        path.write_text(text, encoding="utf-8")


@contextmanager
def naming_file(verb: str, path: Path | str) -> Iterator[None]:
    """Turn a failure of the system into ``InvalidSettings``: ``cannot VERB PATH``, and why."""
    try:
        yield
    except OSError as error:
        message = f"cannot {verb} {plain(path)}: {error.strerror}"
        raise InvalidSettings(message) from None


def rows_of(source: IO[str], form: Form, channel: Channel | None) -> Iterator[Json]:
    """Yield the file's rows, with ``channel`` where a row has none.

    Raises ``InvalidSettings`` where the columns are not ours, or a code is none: then it is another's list.
    """
    given = {} if channel is None else {"channel": str(channel)}
    with readable():
        rows = read_rows(source, form=form)
        first = next(rows, None)
        if first is None:
            return
        if form is Form.CSV and not (
            {"channel"} <= first.keys() | given and {"address", "recipient"} & first.keys()
        ):
            found = plain(scrub(", ".join(first)))[:_MOST_SHOWN]
            message = (
                f"line 1 names the columns {found}; there must be channel (or give --channel), and address or"
                " recipient. For the list of a provider give --from"
            )
            raise InvalidSettings(message)
        for number, row in enumerate(chain([first], rows), 1):
            code = row.get("code", "")
            if isinstance(code, str | int) and not row.get("key"):  # an export of ours may have any code
                row["code"] = code = str(code).strip().upper()
                if code and not CODE.fullmatch(code):
                    message = (
                        f"row {number}: {plain(code)[:_MOST_SHOWN]} is no reason code. For the list of a"
                    )
                    message += " provider give --from"
                    raise InvalidSettings(message)
            yield given | {name: value for name, value in row.items() if value != ""}


@contextmanager
def readable() -> Iterator[None]:
    """Turn what makes a list unreadable into ``InvalidSettings`` with one sentence."""
    try:
        yield
    except (csv.Error, UnicodeDecodeError, InvalidEvent) as error:
        message = f"the file cannot be read: {error}"
        raise InvalidSettings(message) from None


def _opened(file: str) -> io.BufferedReader:
    with naming_file("read", file):
        return Path(file).open("rb")


def _elements(array: bytes) -> Iterator[bytes]:
    """Yield the text of each element of a JSON array, so that the parser can refuse a key given twice."""
    text = array.decode(json.detect_encoding(array), "surrogatepass")
    read, begins = json.JSONDecoder().raw_decode, re.compile(r"[^\s,]")
    at = text.index("[") + 1
    while (found := begins.search(text, at)) and found[0] != "]":
        _, at = read(text, found.start())
        yield text[found.start() : at].encode("utf-8", "surrogatepass")


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
