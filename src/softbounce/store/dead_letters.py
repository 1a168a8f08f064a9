"""Dead letters: input that could not be read, kept with the reason, to be replayed or dropped."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from softbounce.core.bounds import bounded
from softbounce.core.filters import Filter
from softbounce.errors import NotFound
from softbounce.store.audit import By
from softbounce.store.connection import hash_field, reaching
from softbounce.store.inbox import EventStream
from softbounce.store.keys import Keys
from softbounce.store.limits import REPLAY_BATCH
from softbounce.store.scripts import Script

FILTER_KEYS = ("id", "reason", "path", "age")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptInput:
    """One dead letter. ``is_whole``: ``raw`` is the complete input, so it can be replayed.

    Otherwise ``raw`` is its first 64 KiB, or its first 2 KiB if earlier letters had used up their budget.
    """

    id: str
    reason: str
    path: str
    at: int  # when it was seen last (ms)
    seen: int  # how often it was seen
    length: int
    raw: bytes
    is_whole: bool

    def facts(self, now: int) -> dict[str, Any]:
        """Return what filters are matched against."""
        return {"id": self.id, "reason": self.reason, "path": self.path, "age": now - self.at}


class DeadLetters:
    """The id of a letter is the hash of its bytes, so the same input is kept once."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._discard = Script("discard")

    def kept_bytes(self) -> int:
        """Return how many of ``DEAD_LETTERS_BYTES`` are used; beyond it only heads of new ones are kept."""
        return int(hash_field(self._client, self._keys.fixed("meta"), "dead_letter_bytes") or 0)

    def select(self, wanted: Filter, *, now: int) -> Iterator[KeptInput]:
        """Yield the dead letters that match, in no order."""
        with reaching():
            for ident, raw in self._client.hscan_iter(self._keys.fixed("dead_letters"), count=100):
                letter = letter_of(ident.decode(), raw)
                if wanted.matches(letter.facts(now)):
                    yield letter

    def show(self, ident: str) -> KeptInput:
        """Return one dead letter. Raises ``NotFound``."""
        raw = hash_field(self._client, self._keys.fixed("dead_letters"), bounded(ident, "id"))
        if raw is None:
            msg = f"no dead letter {ident}"
            raise NotFound(msg, "dead-letters")
        return letter_of(ident, raw)

    def replay(self, letters: Sequence[KeptInput], *, events: EventStream, by: By) -> None:
        """Report whole letters again; a crash may repeat some. A letter that fails again is kept."""
        for start in range(0, len(letters), REPLAY_BATCH):
            block = letters[start : start + REPLAY_BATCH]
            events.publish([letter.raw for letter in block])
            seen = {letter.id: str(letter.seen) for letter in block}
            self._let_go(seen, action="replay dead letters", by=by)

    def drop(self, idents: Sequence[str], *, by: By) -> int:
        """Delete dead letters; returns how many there were."""
        wanted = dict.fromkeys((bounded(ident, "id") for ident in idents), "")
        return self._let_go(wanted, action="drop dead letters", by=by)

    def _let_go(self, seen: Mapping[str, str], *, action: str, by: By) -> int:
        entry = by.entry(action, " ".join(seen)[:200])
        pairs = [part for pair in seen.items() for part in pair]
        with reaching():
            return cast("int", self._discard(self._client, self._keys, [json.dumps(entry), *pairs]))


def letter_of(ident: str, raw: bytes) -> KeptInput:
    """Return the dead letter that the store keeps as ``raw``."""
    entry = json.loads(raw)
    data = b64decode(entry["bytes"])
    return KeptInput(
        id=ident,
        reason=entry["reason"],
        path=entry["path"],
        at=int(entry["at"]),
        seen=int(entry["n"]),
        length=int(entry["length"]),
        raw=data,
        is_whole=len(data) == int(entry["length"]),
    )
