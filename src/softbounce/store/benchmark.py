"""A namespace for a benchmark: whether it is free, how much memory it takes, and its removal."""

from collections.abc import Iterable

import redis

from softbounce.store.connection import reaching
from softbounce.store.keys import FIXED, Keys
from softbounce.store.limits import SCAN_BATCH


class Benchmark:
    """Only for a namespace that nobody else uses."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys

    def is_free(self) -> bool:
        """Return whether the namespace is empty."""
        with reaching():
            own = [self._keys.fixed(name) for name in FIXED]
            return not any(self._client.exists(key) for key in (*own, self._keys.stream("events")))

    def touch(self) -> int:
        """Make one round trip with a write that changes nothing."""
        with reaching():
            return self._client.hdel(self._keys.fixed("meta"), "")

    def bytes_of(self, names: Iterable[str]) -> int:
        """Return the memory (bytes) of some permanent keys; every element is counted."""
        with reaching():
            keys = [self._keys.fixed(name) for name in names]
            return sum(self._client.memory_usage(key, samples=0) or 0 for key in keys)

    def remove(self) -> int:
        """Delete the namespace by a scan of all keys; returns the number of deleted keys."""
        count = 0
        with reaching():
            for pattern in (self._keys.stream("*"), self._keys.fixed("*")):  # the hash key goes last
                for key in self._client.scan_iter(pattern, count=SCAN_BATCH):
                    count += self._client.unlink(key)
        return count
