"""Strict JSON: what one parser accepts and another refuses or reads differently is refused here."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic_core import from_json

from softbounce.errors import InvalidEvent

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
_INTEGERS = range(-(1 << 63), 1 << 63)


def read_object(raw: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object in ``raw``. Raises ``InvalidEvent`` for anything else.

    UTF-8 without a mark, no comments, trailing commas, NaN, duplicate keys or lone surrogates; integers of
    64 bits; at most 256 KiB and 64 levels. A mapping is held to the same.
    """
    data = _encoded(raw)
    if len(data) > MAX_BYTES:
        refuse(f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        value = from_json(data, allow_inf_nan=False)  # stops by itself at 200 levels
    except ValueError as error:
        refuse(f"is not JSON: {error}")
    if not isinstance(value, dict):
        refuse("must be a JSON object")
    # The parser keeps the last of two equal keys. Each key and each text has two quotes: as many in the input
    # as in the result means that none was lost. Otherwise (a text may hold quotes) the slow parser looks.
    if 2 * _checked(value, 1) != data.count(b'"'):
        json.loads(data, object_pairs_hook=_without_duplicates)
    return value


def refuse(reason: str, path: str = "") -> NoReturn:
    """Say why an event cannot be read, and where."""
    raise InvalidEvent(reason, path)


def _encoded(raw: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        text = raw if isinstance(raw, str) else json.dumps(dict(raw), allow_nan=False, ensure_ascii=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError):
        refuse("cannot be written as JSON")


def _checked(value: dict[str, Any] | list[Any], depth: int) -> int:
    """Return how many keys and texts ``value`` holds; refuse too many levels and numbers out of range."""
    if depth > MAX_DEPTH:
        refuse(f"is nested deeper than {MAX_DEPTH} levels")
    quoted, items = (len(value), value.items()) if isinstance(value, dict) else (0, enumerate(value))
    for name, item in items:
        kind = type(item)
        if kind is str:
            quoted += 1
        elif kind is dict or kind is list:
            try:
                quoted += _checked(item, depth + 1)
            except InvalidEvent as error:
                raise InvalidEvent(error.reason, _joined(name, error.path)) from None
        elif (kind is int and item not in _INTEGERS) or (kind is float and not math.isfinite(item)):
            refuse("is a number out of range", _joined(name, ""))
    return quoted


def _joined(name: str | int, path: str) -> str:
    step = f"[{name}]" if isinstance(name, int) else name[:64]
    return f"{step}{'' if not path or path[0] == '[' else '.'}{path}"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            refuse(f"has the key {json.dumps(name[:64])} twice")
        seen.add(name)
