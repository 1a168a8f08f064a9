"""CPU microseconds of one event by part: ours by this thread's clock, the store's by its own counters."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time

import redis
from tests.bench import mix
from tests.bench.server import cpu, server

from softbounce.core.decide import Decision, dead_letter, plan
from softbounce.core.events import Event, parse
from softbounce.core.policy import Policy
from softbounce.errors import InvalidEvent
from softbounce.store import Store
from softbounce.store.encoding import Encoder

BATCH = 500


def measure(policy: Policy, *, count: int) -> dict[str, float]:
    """Take so many events of the mix through the steps of the intake, in batches, one step after the other."""
    used = dict.fromkeys(("read", "parse", "plan", "encode", "send, take the answer", "acknowledge"), 0.0)

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        began = thread_time()
        yield
        used[part] += thread_time() - began

    with server() as url, redis.Redis.from_url(url) as client:
        store = Store.open(url)
        store.events.make_group()
        raws = mix.events(count)
        for start in range(0, count, BATCH):
            store.events.publish(raws[start : start + BATCH])
        client.config_resetstat()
        before = cpu(client)
        for _ in range(0, count, BATCH):
            with timed("read"):
                entries, now = store.events.read("bench", count=BATCH, block_ms=0)
            with timed("parse"):
                events = [_parsed(entry.raw) for entry in entries]
            with timed("plan"):
                decisions = [_planned(event, policy, now) for event in events]
            with timed("encode"):
                encoder = Encoder(key=store.key, revision=policy.revision, keep_addresses=True)
                for decision in decisions:
                    encoder.row(decision)
            with timed("send, take the answer"):
                store.ledger.accept(decisions, policy=policy)
            with timed("acknowledge"):
                store.events.ack(entries)
        whole, script = cpu(client) - before, client.info("commandstats")["cmdstat_evalsha"]["usec"] / 1e6
        store.close()
    used["send, take the answer"] -= used["encode"]  # accept encodes once more
    used |= {"script": script, "the store in all": whole}
    return {part: seconds / count * 1e6 for part, seconds in used.items()}


def _parsed(raw: bytes) -> Event | Decision:
    try:
        return parse(raw)
    except InvalidEvent as error:
        return dead_letter(raw, error)


def _planned(event: Event | Decision, policy: Policy, now: int) -> Decision:
    return plan(event, policy=policy, now=now) if isinstance(event, Event) else event
