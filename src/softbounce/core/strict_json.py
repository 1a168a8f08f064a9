"""Strict JSON: input that two parsers could read differently is refused."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from msgspec.json import Decoder, Encoder

from softbounce.errors import InvalidEvent

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
_read, _write = Decoder().decode, Encoder().encode


def read_object(raw: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object in ``raw``. Raises ``InvalidEvent`` for anything else.

    UTF-8 without a byte order mark; no comments, trailing commas, NaN, numbers beyond a double, duplicate
    keys or lone surrogates; at most 256 KiB and 64 levels. The same holds for a mapping.
    """
    data = _encoded(raw)
    if len(data) > MAX_BYTES:
        refuse(f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        value = _read(data)
    except (ValueError, RecursionError) as error:
        refuse(f"is not JSON: {str(error).partition(' - at ')[0]}")
    if not isinstance(value, dict):
        refuse("must be a JSON object")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:  # at least as many as there are levels
        _require_shallow(value, 1)
    # The parser keeps the last of two equal keys. If the result, written again, has as many quotes as the
    # input, no key was lost. Where it has not, or a quote is escaped, the slow parser looks for duplicates.
    if data.count(b'"') != _write(value).count(b'"') or (b"\\" in data and b"\\u0022" in data):
        json.loads(data, object_pairs_hook=_without_duplicates)
    return value


def refuse(reason: str, path: str = "") -> NoReturn:
    """Raise ``InvalidEvent``."""
    raise InvalidEvent(reason, path)


def _encoded(raw: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        text = raw if isinstance(raw, str) else json.dumps(dict(raw), allow_nan=False, ensure_ascii=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError):
        refuse("cannot be written as JSON")


def _require_shallow(value: dict[str, Any] | list[Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        refuse(f"is nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _require_shallow(item, depth + 1)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            refuse(f"has the key {json.dumps(name[:64])} twice")
        seen.add(name)
