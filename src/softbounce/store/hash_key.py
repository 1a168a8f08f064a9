"""The key for hashes of recipients: made once for a store, and never replaced silently."""

import re
import secrets
from functools import cached_property
from typing import cast

import redis

from softbounce.core.recipients import fingerprint
from softbounce.errors import WrongKey
from softbounce.store.connection import reaching
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script

_HASH = re.compile(r"r_[A-Za-z0-9_-]{12}")
_MISTAKEN = "SOFTBOUNCE_PII_KEY is not the key this store was written with: every suppression would be missed"
_NOT_SET = "this store was written with a key of its own: set SOFTBOUNCE_PII_KEY to it"
_GONE = (
    "the hash key of this store is gone, and the store holds blocks or retries, which nobody would find "
    "under another. Nothing was changed. A worker that still runs gives the key back within 5 s; else put it "
    "back, or start anew: docs/operations/runbook.md, The key is lost"
)
_ANOTHER = (
    "the store has another hash key by now: what we look up or write under ours, nobody finds. "
    "Start this worker or program again"
)


class HashKey:
    """The key in the store, or ``SOFTBOUNCE_PII_KEY``, of which the store keeps a fingerprint."""

    def __init__(self, client: redis.Redis, keys: Keys, *, given: bytes | None) -> None:
        self._client, self._keys, self._given = client, keys, given
        self._field = "key" if given is None else "key_fingerprint"

    @cached_property
    def value(self) -> bytes:
        """The key; it is made if the store is empty. Raises ``WrongKey``, ``StoreUnreachable``."""
        with reaching():
            own, mark = self._known()  # read first, so that a read-only user can ask too
            if own is None and mark is None:
                made = self._given or secrets.token_bytes(32)
                own, mark = self._found(made, is_new=True)
        if own is None and mark is None:
            raise WrongKey(_GONE)
        if self._given is not None:
            if mark != self._mark(self._given):
                raise WrongKey(_MISTAKEN)
            return self._given
        if own is None:
            raise WrongKey(_NOT_SET)
        return own

    @property
    def question(self) -> tuple[str, str, str]:
        """The command whose answer ``is_kept`` takes; it can be sent together with other commands."""
        return "HGET", self._keys.fixed("meta"), self._field

    def is_kept(self, answer: bytes | None) -> bool:
        """Whether the store still has our key; if not, call ``keep``."""
        return answer == self._mark(self.value)

    def keep(self) -> bool:
        """Write the key into a store that has lost it; return whether that was needed.

        Raises ``WrongKey`` if the store has another key now.
        """
        value, gave = self.value, False
        with reaching():
            known = self._known()
            if known == (None, None):
                known, gave = self._found(value, is_new=False), True
        if known != ((value, None) if self._given is None else (None, self._mark(value))):
            raise WrongKey(_ANOTHER)
        return gave

    def _mark(self, key: bytes) -> bytes:
        """Return what the store keeps of a key: the key, or its fingerprint."""
        return key if self._given is None else fingerprint(key).encode()

    def _known(self) -> tuple[bytes | None, bytes | None]:
        found = self._client.hmget(self._keys.fixed("meta"), ["key", "key_fingerprint"])
        own, mark = cast("list[bytes | None]", found)
        return own, mark

    def _found(self, key: bytes, *, is_new: bool) -> tuple[bytes | None, bytes | None]:
        words = [self._field, self._mark(key), "new" if is_new else "known"]
        own, mark, _ = Script("set_once")(self._client, self._keys, words)
        return own, mark


def hash_in(value: object) -> str | None:
    """Return the 12 characters after ``r_``; None if the value is no recipient's hash."""
    return value[2:] if isinstance(value, str) and _HASH.fullmatch(value) else None
