"""What is kept: bytes for each retry that waits, by part; and what a worker costs beside many that wait."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import redis
from checks.bench import events, job, race
from checks.bench.contenders import BLOCK, HANDOVER, CeleryRedis, Stream, load
from checks.bench.server import memory, resident, server, url_of

from softbounce.core.decide import decide
from softbounce.core.policy.model import Policy
from softbounce.store import Store

WARM = 500  # events before the count begins: scripts, first tables, the client's buffer
FEW = 10_000
DAY = 86_400_000
PARTS = {  # what it is called here -> the fixed key
    "schedule entry": "schedule",
    "record": "deliveries",
    "history": "history",
    "soft bounces": "standing",
}
# Copies of one delivery under other names, with all that is kept of it. A million reports would take minutes.
COPY = """
local deliveries, schedule, history, standing = unpack(KEYS)
local record, lines = redis.call("HGET", deliveries, ARGV[1]), redis.call("HGET", history, string.sub(ARGV[1], 1, 12))
local counts, due = redis.call("HGET", standing, string.sub(ARGV[1], 13)), redis.call("ZSCORE", schedule, ARGV[1])
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local name = string.format("%012d", n)
  redis.call("HSET", deliveries, name .. name, record)
  redis.call("ZADD", schedule, due + n, name .. name)
  redis.call("HSET", history, name, lines)
  redis.call("HSET", standing, name, counts)
end
"""


def kept(*, count: int) -> dict[str, dict[str, float]]:
    """Return the bytes of a message whose retry waits, by part; and of one of each mix, beside Celery's."""
    policy = load()
    parts, waiting = _ours(policy, events.TRANSIENT, count)
    parts["key tables, and all else"] = waiting - sum(parts.values())
    whole = {
        "a pending retry": parts["schedule entry"] + parts["record"],
        "a message whose retry waits": waiting,
    }
    found = {name: {"softbounce": size} for name, size in (whole | parts).items()}
    for name, kinds in (
        ("a failed message", events.FAILURES),
        ("one of 97 % that arrive", events.DELIVERIES),
    ):
        _, ours = _ours(policy, kinds, count)
        found[name] = {"softbounce": ours, "Celery on Redis": _celerys(kinds, count)}
    return found


def beside(*, many: int, count: int, rounds: int) -> Iterator[tuple[race.Round, race.Round]]:
    """Yield how one worker takes in events beside few retries that wait, and beside many, in turns."""
    with ExitStack() as stack:
        stores = []
        for waiting in (FEW, many):
            stream = stack.enter_context(closing(Stream(stack.enter_context(server()))))
            _fill(stream, waiting)
            stores.append(stream)
        for number in range(rounds):
            raws = events.make(count, first=number * count)
            few, lots = (race.take_in(stream, raws) for stream in stores)
            yield few, lots


def celery_beside(count: int) -> tuple[int, int]:
    """Return the bytes of a Celery worker that holds no ETA, and of the same one that holds so many."""
    with server() as client, closing(CeleryRedis(client)) as celery, tempfile.TemporaryFile() as log:
        worker = race.start(celery, HANDOVER, log)
        try:
            now = int(time.time() * 1000)
            celery.schedule(events.make(1, kinds=events.TRANSIENT), [now])
            race.wait_for(celery.handed_over, 1, log=log, workers=[worker])
            none = resident(worker.pid)
            celery.schedule(events.make(count, kinds=events.TRANSIENT), [now + DAY] * count)
            race.wait_for(lambda: client.hlen("unacked"), count, log=log, workers=[worker])
            return none, resident(worker.pid)
        finally:
            race.stop(worker)


def _fill(stream: Stream, count: int) -> None:
    client, keys, policy = stream.client, stream.store.keys, load()
    raw = events.make(1, kinds=[events.TRANSIENT[2]], first=99_999_999)[0]
    decision = decide(raw, policy=policy, now=stream.store.now() + DAY)  # none gets due meanwhile
    stream.store.ledger.accept([decision], policy=policy)
    client.config_set("appendonly", "no")  # it is written once, below, and not by each step
    copy = client.register_script(COPY)
    names = [keys.fixed(name) for name in ("deliveries", "schedule", "history", "standing")]
    one = client.hkeys(names[0])[0]
    for start in range(0, count, 10_000):
        copy(names, [one, start, min(count, start + 10_000) - 1])
    client.config_set("appendonly", "yes")
    race.wait_for(lambda: int(client.info("persistence")["aof_rewrite_in_progress"] == 0), 1)


def _ours(policy: Policy, kinds: list[events.Kind], count: int) -> tuple[dict[str, float], float]:
    """Return the bytes of each event, by part and as a whole; the first few only warm the store."""
    raws = events.make(WARM + count, kinds=kinds)
    with server() as client, closing(Store.open(url_of(client))) as store:
        _accept(store, raws[:WARM], policy)
        before, used = _sizes(store, client), memory(client)
        _accept(store, raws[WARM:], policy)
        after, grown = _sizes(store, client), memory(client)
    return {name: (after[name] - before[name]) / count for name in after}, (grown - used) / count


def _celerys(kinds: list[events.Kind], count: int) -> float:
    """Return the bytes that the job leaves of each event, the retry in Celery's queue among them."""
    raws = events.make(WARM + count, kinds=kinds)
    with server() as client:
        job.store = client
        celery = CeleryRedis(client)

        def later(raw: str, rid: str, attempt: int, seconds: float) -> None:
            celery.later(raw, rid, attempt, seconds, producer=producer)

        with (
            celery.app.connection_for_write() as connection,
            celery.app.amqp.Producer(connection) as producer,
        ):
            for raw in raws[:WARM]:
                job.take(raw.decode(), later)
            used = memory(client)
            for raw in raws[WARM:]:
                job.take(raw.decode(), later)
            return (memory(client) - used) / count


def _accept(store: Store, raws: list[bytes], policy: Policy) -> None:
    for start in range(0, len(raws), BLOCK):
        now = store.now()
        batch = [decide(raw, policy=policy, now=now) for raw in raws[start : start + BLOCK]]
        store.ledger.accept(batch, policy=policy)


def _sizes(store: Store, client: redis.Redis) -> dict[str, int]:
    """Return the bytes of each part, every element counted (SAMPLES 0)."""
    return {name: client.memory_usage(store.keys.fixed(key), samples=0) or 0 for name, key in PARTS.items()}
