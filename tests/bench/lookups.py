"""May these be sent to? The list asked in blocks, beside a pipeline of single questions, and one by one."""

from collections.abc import Callable
from time import perf_counter

import redis
from tests.bench import mix
from tests.bench.server import server

from softbounce import Softbounce
from softbounce.store import Store

SLICE = 1_000  # single questions in one pipeline
ONE_BY_ONE = 1_000  # recipients; each costs a round trip


def measure(*, count: int, rounds: int) -> dict[str, list[float]]:
    """Return the recipients a second of each way, round by round; every second one is suppressed."""
    with server() as url, redis.Redis.from_url(url) as client:
        store = Store.open(url)
        asked = mix.recipients(count)
        rows = [{"address": address, "channel": "email"} for address in asked[::2]]
        problems = store.suppressions.load(rows, reason="bench", actor="bench", now=store.now())
        if wrong := next(filter(None, problems), None):
            raise wrong
        producer, key = Softbounce(store), store.keys.fixed("suppressions")

        def many() -> int:
            return sum(map(bool, producer.may_send_many(asked, channel="email")))

        def pipelined() -> int:
            allowed = 0
            for start in range(0, count, SLICE):
                pipe = client.pipeline(transaction=False)
                for address in asked[start : start + SLICE]:
                    pipe.hget(key, store.suppressions.rid(address, "email"))
                allowed += pipe.execute().count(None)
            return allowed

        def single() -> int:
            return sum(bool(producer.may_send(address, channel="email")) for address in asked[:ONE_BY_ONE])

        ways = {"many": (many, count), "pipelined": (pipelined, count), "single": (single, ONE_BY_ONE)}
        rates = {name: [_rate(way, number) for _ in range(rounds)] for name, (way, number) in ways.items()}
        store.close()
    return rates


def _rate(way: Callable[[], int], count: int) -> float:
    began = perf_counter()
    allowed = way()
    seconds = perf_counter() - began
    if allowed != count // 2:
        message = f"{allowed} of {count} may be sent to, not half of them"
        raise RuntimeError(message)
    return count / seconds
