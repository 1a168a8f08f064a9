"""CPU microseconds of one event by part: ours by this thread's clock, the store's by its own counters."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time

from checks.bench import events
from checks.bench.contenders import BLOCK, load
from checks.bench.server import cpu, scripts, server, url_of

from softbounce.core.decide import Decision, dead_letter, plan
from softbounce.core.events import Event, parse
from softbounce.core.policy.model import Policy
from softbounce.errors import InvalidEvent
from softbounce.store import Store

SCRIPT = "Redis: the script"


def measure(*, count: int) -> dict[str, float]:
    """Take so many events of the mix through the steps of the intake, in batches, one step after the other."""
    policy = load()
    used = dict.fromkeys(("read", "parse", "plan", "encode", "send, take the answer", "acknowledge"), 0.0)

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        began = thread_time()
        yield
        used[part] += thread_time() - began

    with server() as client:
        store = Store.open(url_of(client))
        store.events.make_group()
        raws = events.make(count)
        for start in range(0, count, BLOCK):
            store.events.publish(raws[start : start + BLOCK])
        client.config_resetstat()
        before = cpu(client)
        for _ in range(0, count, BLOCK):
            with timed("read"):
                entries, now = store.events.read("bench", count=BLOCK, block_ms=0)
            with timed("parse"):
                found = [_parsed(entry.raw) for entry in entries]
            with timed("plan"):
                decisions = [_planned(event, policy, now) for event in found]
            with timed("encode"):
                batch = store.ledger.encode(decisions, policy=policy)
            with timed("send, take the answer"):
                store.ledger.commit(batch)
            with timed("acknowledge"):
                store.events.ack(entries)
        used |= {SCRIPT: scripts(client), "Redis: all it does": cpu(client) - before}
        store.close()
    return {part: seconds / count * 1e6 for part, seconds in used.items()}


def _parsed(raw: bytes) -> Event | Decision:
    try:
        return parse(raw)
    except InvalidEvent as error:
        return dead_letter(raw, error)


def _planned(event: Event | Decision, policy: Policy, now: int) -> Decision:
    return plan(event, policy=policy, now=now) if isinstance(event, Event) else event
