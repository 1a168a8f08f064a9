"""Streams to the pipeline."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import redis

from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script


class OutStream:
    """Resend commands or notices; entries that every group has acknowledged are trimmed."""

    def __init__(self, client: redis.Redis, keys: Keys, key: str) -> None:
        self._client, self._keys = client, keys
        self.key = key
        self._add = Script("add")

    def add(self, field: str, rows: Sequence[tuple[str, str]]) -> None:
        """Append one entry for each (id, JSON), all or none, also when memory is full."""
        with reaching():
            self._add(self._client, self._keys, [field, *chain.from_iterable(rows)], more=(self.key,))

    def read(self, *, after: str = "0") -> list[tuple[str, dict[str, str]]]:
        """Return (entry id, fields) of all entries after one; joins no group."""
        with reaching():
            found = cast("list[Any]", self._client.xrange(self.key, min=f"({after}" if after != "0" else "-"))
        return [
            (entry.decode(), {name.decode(): value.decode() for name, value in fields.items()})
            for entry, fields in found
        ]

    def trim(self, *, before: int) -> int:
        """Delete entries that every group has acknowledged or that are older than ``before`` (ms).

        Returns the number of deleted entries. A stream without a group is trimmed by age alone.
        """
        with reaching():
            if self._client.type(self.key) != b"stream":  # not made yet, or a wrong key, see its sink
                return 0
            oldest = _ms(before)
            groups = self._client.xinfo_groups(self.key)
            safe = min((self._unread_from(group) for group in groups), default=oldest, key=_order)
            return self._client.xtrim(self.key, minid=max(safe, oldest, key=_order), approximate=False)

    def _unread_from(self, group: dict[str, Any]) -> str:
        pending = self._client.xpending(self.key, group["name"])
        if pending["pending"]:
            return cast("bytes", pending["min"]).decode()
        milliseconds, _, number = group["last-delivered-id"].decode().partition("-")
        return f"{milliseconds}-{int(number) + 1}"


def _ms(moment: int) -> str:
    return f"{max(moment, 0)}-0"


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
