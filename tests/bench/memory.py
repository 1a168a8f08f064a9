"""Bytes of Redis memory for each retry that waits, by part, and for each failed message of the mix."""

from dataclasses import dataclass

import redis
from tests.bench import mix
from tests.bench.server import server

from softbounce.core.decide import decide
from softbounce.core.policy import Policy
from softbounce.store import Store

WARM = 500  # events before the count begins: scripts, first tables, the client's buffer
BATCH = 500
PARTS = {  # what it is called here -> the fixed key
    "schedule entry": "schedule",
    "record": "deliveries",
    "history": "history",
    "soft bounces": "standing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes each."""

    parts: dict[str, float]  # of a message whose retry waits
    retry: float  # schedule entry and record
    waiting: float  # everything kept of such a message, with the tables around it
    failed: float  # everything kept of a failed message of the mix


def measure(policy: Policy, *, count: int) -> Memory:
    """Let the store accept so many transient failures, then as many of the mix."""
    parts, waiting = _kept(policy, mix.events(count + WARM, kinds=mix.TRANSIENT))
    _, failed = _kept(policy, mix.events(count + WARM))
    retry = parts["schedule entry"] + parts["record"]
    parts["key tables, and all else"] = waiting - sum(parts.values())
    return Memory(parts=parts, retry=retry, waiting=waiting, failed=failed)


def _kept(policy: Policy, raws: list[bytes]) -> tuple[dict[str, float], float]:
    """Return what each of ``raws`` costs, by part and as a whole; the first few only warm the store."""
    with server() as url, redis.Redis.from_url(url) as client:
        store = Store.open(url)
        _accept(store, raws[:WARM], policy)
        before, used = _sizes(store, client), client.info("memory")["used_memory"]
        _accept(store, raws[WARM:], policy)
        after, grown = _sizes(store, client), client.info("memory")["used_memory"]
        count = len(raws) - WARM
        store.close()
        return {name: (after[name] - before[name]) / count for name in after}, (grown - used) / count


def _accept(store: Store, raws: list[bytes], policy: Policy) -> None:
    for start in range(0, len(raws), BATCH):
        now = store.now()
        batch = [decide(raw, policy=policy, now=now) for raw in raws[start : start + BATCH]]
        store.ledger.accept(batch, policy=policy)


def _sizes(store: Store, client: redis.Redis) -> dict[str, int]:
    """Return the bytes of each part, every element counted (SAMPLES 0)."""
    sizes = {name: client.memory_usage(store.keys.fixed(key), samples=0) or 0 for name, key in PARTS.items()}
    asked = client.pipeline(transaction=False)
    for marker in client.scan_iter(store.keys.marker("*"), count=1_000):
        asked.memory_usage(marker, samples=0)
    return {**sizes, "dedupe marker": sum(asked.execute())}
