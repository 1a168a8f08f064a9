"""Receipts: which commands a receiver has acted on, each a key with a TTL, in our store or another Redis."""

from enum import StrEnum
from typing import cast

import redis

from softbounce.store.connection import node, reaching, time_in
from softbounce.store.keys import Keys
from softbounce.store.limits import RECEIPT_KEPT
from softbounce.store.scripts import Script

_DONE = b"done"


class Taken(StrEnum):
    """Who may act on an id."""

    OURS = "ours"
    THEIRS = "theirs"  # another receiver is acting on it
    DONE = "done"


class Receipts:
    """Take an id and act; then ``keep`` it, or ``give_back`` it after a failure. Calls can be repeated."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._give_back = Script("give_back")

    def take(self, ident: str, *, holder: str, lease: int) -> tuple[Taken, int]:
        """Take an id for ``lease`` ms if it is free; returns who may act on it, and the store's time (ms)."""
        key = self._keys.receipt(ident)
        with reaching(), node(self._client, key) as server:
            pipe = server.pipeline(transaction=True)
            pipe.set(key, holder, nx=True, px=lease)
            pipe.get(key)
            pipe.hget(self._keys.fixed("meta"), "now")
            pipe.time()
            _, found, *time = pipe.execute()
        now, _ = time_in(*time)
        if found == holder.encode():
            return Taken.OURS, now
        return (Taken.DONE if found == _DONE else Taken.THEIRS), now

    def keep(self, ident: str) -> None:
        """Record for 14 days that the receiver has acted."""
        with reaching():
            self._client.set(self._keys.receipt(ident), _DONE, px=RECEIPT_KEPT)

    def give_back(self, ident: str, *, holder: str) -> bool:
        """Free an id, so that its next delivery acts; returns false if another holder has it."""
        with reaching():
            answer = self._give_back(self._client, self._keys, [holder], more=(self._keys.receipt(ident),))
        return bool(cast("int", answer))
