"""Events as people have them: NDJSON, one JSON object over many lines, or an array of objects."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import IO


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


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
