"""Which ids a receiver has acted on: one key with an end for each, in our store or in any other Redis."""

from enum import StrEnum
from typing import cast

import redis

from softbounce.store.connection import node, reaching, when
from softbounce.store.keys import Keys
from softbounce.store.limits import RECEIPT_KEPT
from softbounce.store.scripts import Script

_DONE = b"done"


class Taken(StrEnum):
    """Whose an id is."""

    OURS = "ours"
    THEIRS = "theirs"  # somebody else acts on it at the moment
    DONE = "done"


class Receipts:
    """Take an id, act, then ``keep`` it, or ``give_back`` what did not succeed. Repeated calls do no harm."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._give_back = Script("give_back")

    def take(self, ident: str, *, holder: str, lease: int) -> tuple[Taken, int]:
        """Take an id for ``lease`` ms unless somebody has it; returns whose it is, and the store's time."""
        key = self._keys.receipt(ident)
        with reaching(), node(self._client, key) as server:
            pipe = server.pipeline(transaction=True)
            pipe.set(key, holder, nx=True, px=lease)
            pipe.get(key)
            pipe.hget(self._keys.fixed("meta"), "now")
            pipe.time()
            _, found, *time = pipe.execute()
        now, _ = when(*time)
        if found == holder.encode():
            return Taken.OURS, now
        return (Taken.DONE if found == _DONE else Taken.THEIRS), now

    def keep(self, ident: str) -> None:
        """Remember for 14 days that the act was done."""
        with reaching():
            self._client.set(self._keys.receipt(ident), _DONE, px=RECEIPT_KEPT)

    def give_back(self, ident: str, *, holder: str) -> bool:
        """Let the next delivery of the id act; false where the lease had passed on: nothing was changed."""
        with reaching():
            answer = self._give_back(self._client, self._keys, [holder], more=(self._keys.receipt(ident),))
        return bool(cast("int", answer))
