"""Files as people have them: events as NDJSON, one JSON object or an array; lists as CSV or NDJSON."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from softbounce.cli.console import Form, Json, plain
from softbounce.core.recipients import Channel
from softbounce.errors import InvalidEvent, InvalidSettings
from softbounce.store.listing import read_rows


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each line that is not blank, as it arrives."""
    return (text for line in file if (text := line.strip()))


def read_reports(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each event's bytes; what is no JSON is yielded line by line, for somebody else to refuse."""
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
        case list() as events:
            return (
                json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass") for event in events
            )
        case _:
            return iter([first, *rest])


def event_id(raw: bytes) -> str | None:
    """Return the event's own id, where it has a readable one."""
    event = _json(raw)
    found = event.get("eventId") if isinstance(event, dict) else None
    return found if isinstance(found, str) else None


def text_file(file: str) -> IO[str]:
    """Return a text file that can be read twice."""
    try:
        if file == "-":
            return io.StringIO(sys.stdin.read())
        return Path(file).open(encoding="utf-8-sig", newline="")
    except OSError as error:
        message = f"cannot read {plain(file)}: {error.strerror}"
        raise InvalidSettings(message) from None


def rows_of(source: IO[str], form: Form, channel: Channel | None) -> Iterator[Json]:
    """Yield the file's rows, with ``channel`` where a row has none."""
    given = {} if channel is None else {"channel": str(channel)}
    try:
        rows = read_rows(source, form=form)
        first = next(rows, None)
        if first is None:
            return
        if form is Form.CSV and not (
            {"channel"} <= first.keys() | given and {"address", "recipient"} & first.keys()
        ):
            message = (
                "the first line must name the columns: channel (or give --channel), and address or recipient"
            )
            raise InvalidSettings(message)
        for row in chain([first], rows):
            yield given | {name: value for name, value in row.items() if value != ""}
    except (csv.Error, UnicodeDecodeError, InvalidEvent) as error:
        message = f"the file cannot be read: {error}"
        raise InvalidSettings(message) from None


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
