"""Which workers run."""

import json
from collections.abc import Mapping
from typing import Any

import redis

from softbounce.store.audit import compact
from softbounce.store.connection import reaching, whole_hash
from softbounce.store.keys import Keys
from softbounce.store.limits import WORKER_KEPT
from softbounce.store.scripts import Script


class Workers:
    """Each worker reports every five seconds, and is forgotten after a minute of silence."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._put = Script("put")

    def beat(self, worker: str, facts: Mapping[str, Any], *, now: int) -> None:
        """Record that a worker runs, and which policy and release."""
        entry = compact({**facts, "at": now, "z": now + WORKER_KEPT})
        with reaching():
            self._put(self._client, self._keys, [worker, entry], target="workers")

    def all(self, *, now: int) -> dict[str, dict[str, Any]]:
        """Return the workers that have reported within the last minute."""
        return workers_in(whole_hash(self._client, self._keys.fixed("workers")), now=now)


def workers_in(found: Mapping[bytes, bytes], *, now: int) -> dict[str, dict[str, Any]]:
    """Return the workers that reported within a minute before ``now``, from the whole of ``workers``."""
    entries = ((name.decode(), json.loads(raw)) for name, raw in sorted(found.items()))
    return {name: entry for name, entry in entries if entry["z"] > now}
