"""May these be sent to? Asked in slices, beside a pipeline of single questions; and one alone, beside a bare round trip."""

from collections.abc import Callable, Iterator
from time import perf_counter

from checks.bench import events, job
from checks.bench.server import server, url_of

from softbounce import Softbounce
from softbounce.store import Store
from softbounce.store.audit import By

SLICE = 1_000  # single questions in one pipeline
SINGLE = 2_000  # recipients asked one by one; each costs a round trip
PLAIN = "suppressed"  # the set of a peer


def measure(*, count: int, rounds: int) -> Iterator[dict[str, float]]:
    """Yield the recipients a second of each way, round by round; every second one is suppressed."""
    with server() as client:
        store = Store.open(url_of(client))
        asked = events.recipients(count)
        rows = [{"address": address, "channel": "email"} for address in asked[::2]]
        problems = store.suppressions.load(rows, by=By("bench", "bench"), now=store.now())
        if wrong := next(filter(None, problems), None):
            raise wrong
        names = [job.hashed(address, "EMAIL") for address in asked]
        for start in range(0, count, SLICE):
            client.sadd(PLAIN, *names[start : start + SLICE : 2])
        producer = Softbounce(store)

        def pipelined(name_of: Callable[[int], str]) -> int:
            listed = 0
            for start in range(0, count, SLICE):
                pipe = client.pipeline(transaction=False)
                for number in range(start, min(count, start + SLICE)):
                    pipe.sismember(PLAIN, name_of(number))
                listed += sum(pipe.execute())
            return count - listed

        def read(number: int) -> str:
            return job.hashed(job.normalised(asked[number], "EMAIL")[0], "EMAIL")

        ways: dict[str, tuple[Callable[[], int], int]] = {
            "may_send_many": (lambda: sum(map(bool, producer.may_send_many(asked, channel="email"))), count),
            "SISMEMBER in pipelines, addresses read by email-validator": (lambda: pipelined(read), count),
            "SISMEMBER in pipelines, of hashes made before": (lambda: pipelined(names.__getitem__), count),
            "may_send": (
                lambda: sum(bool(producer.may_send(one, channel="email")) for one in asked[:SINGLE]),
                SINGLE,
            ),
            "one bare round trip": (
                lambda: sum(not client.sismember(PLAIN, name) for name in names[:SINGLE]),
                SINGLE,
            ),
        }
        for _ in range(rounds):
            yield {name: _rate(way, number) for name, (way, number) in ways.items()}
        store.close()


def _rate(way: Callable[[], int], count: int) -> float:
    began = perf_counter()
    allowed = way()
    seconds = perf_counter() - began
    if allowed != count // 2:
        raise RuntimeError(f"{allowed} of {count} may be sent to, not half of them")
    return count / seconds
