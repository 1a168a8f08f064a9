"""What one message costs at each step of its way, for docs/operations/scaling.md: ``python -m checks.bench.costs``.

The worker's own parts in this process, on a store of their own (packaged Valkey, AOF everysec), in virtual time.
"""

import argparse
import json
import os
import random
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time

import redis

from softbounce import embedded
from softbounce.core.timestamps import iso
from softbounce.settings import LEASE, policy_text
from softbounce.store import Store
from softbounce.telemetry import configure
from softbounce.worker.handover import Pump
from softbounce.worker.intake import Intake
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.stream import ToStream

DAY = 86_400_000
BLOCK = 500  # events that a producer appends at once
WARM = 500  # events of each kind before the count begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one message: CPU in microseconds, the others in bytes. ``memory`` is what it adds to the store."""

    worker: float
    store: float
    aof: float
    network: float
    memory: float


class Bench:
    """One store with one worker's parts around it."""

    def __init__(self, url: str, client: redis.Redis, policy: Path) -> None:
        self.store, self.client = Store.open(url), client
        self.store.set_now(self.store.now())
        client.config_set("auto-aof-rewrite-percentage", 0)
        client.config_set("lazyfree-lazy-user-del", "no")  # what `told` deletes is gone when we look
        policies, stopping = PolicyInForce(policy), threading.Event()
        sink = ToStream(self.store, "softbounce:resend", field="command")
        self.policy = policies.current
        self.intake = Intake(self.store, policies, worker="bench", lease=LEASE, stopping=stopping)
        self.pump = Pump(
            self.store, policies, sink, worker="bench", lease=LEASE, rng=random.Random(7), stopping=stopping
        )

    def report(self, raws: list[bytes]) -> None:
        """Let a producer report, and the worker take in what it did."""
        for start in range(0, len(raws), BLOCK):
            self.store.events.publish(raws[start : start + BLOCK])

    def take_in(self) -> None:
        """Take in all that waits in the stream."""
        while self.store.events.lag().unread:
            self.intake.turn()
        self.intake.settle()

    def hand_over(self) -> None:
        """Hand over all that waits."""
        while (sizes := self.store.sizes())["scheduled"] or sizes["ready"]:
            self.pump.turn()

    def pass_by(self, ms: int) -> None:
        """Let time pass, as if a worker had looked at the schedule meanwhile: else it means quarantine."""
        self.store.set_now(self.store.now() + ms)
        self.client.hset(self.store.keys.fixed("meta"), "swept", self.store.now())

    def forget(self, *, after: int) -> None:
        """Let time pass (ms), and sweep what has ended by then."""
        self.pass_by(after)
        while self.store.sweep(policy=self.policy):
            pass

    def warm(self, raws: list[bytes]) -> None:
        """Take in the first few: scripts, first tables, the client's buffer."""
        self.report(raws[:WARM])
        self.take_in()

    def told(self) -> None:
        """Take the commands and notices as a pipeline does, so that they are no part of what is kept."""
        self.client.delete(
            "softbounce:resend", self.store.keys.fixed("notices"), self.store.keys.fixed("notice_bodies")
        )

    def cost(self, count: int, *steps: Callable[[], object]) -> Cost:
        """Take the steps and return what they cost each of so many messages; a producer's step comes first."""
        before = self._used()
        for step in steps[:-1]:
            step()
        began = process_time()
        steps[-1]()
        worker = process_time() - began
        self.told()
        after = self._used()
        used = {name: (after[name] - before[name]) / count for name in after}
        return Cost(worker=worker * 1e6 / count, **used)

    def _used(self) -> dict[str, float]:
        found = self.client.info("everything")
        return {
            "store": (found["used_cpu_user"] + found["used_cpu_sys"]) * 1e6,
            "aof": found["aof_current_size"],
            "network": found["total_net_input_bytes"] + found["total_net_output_bytes"],
            "memory": found["used_memory"] - found["mem_aof_buffer"] - found["mem_clients_normal"],
        }


def measure(count: int) -> dict[str, Cost]:
    """Take so many messages that fail all their way, and as many that never failed theirs."""
    found = {}
    with _bench() as bench:
        failures = _events(count, bench, code="BOUNCE_TRANSIENT_MBX_FULL")
        deliveries = _events(count, bench, code=None)
        bench.warm(failures)
        found["failure"] = bench.cost(count, lambda: bench.report(failures[WARM:]), bench.take_in)
        bench.pass_by(DAY // 2)
        found["hand-over"] = bench.cost(count + WARM, bench.hand_over)
        bench.warm(deliveries)
        found["answer"] = bench.cost(count, lambda: bench.report(deliveries[WARM:]), bench.take_in)
        found["two days later"] = bench.cost(count + WARM, lambda: bench.forget(after=2 * DAY))
        found["forgetting"] = bench.cost(
            count + WARM, lambda: bench.forget(after=bench.policy.retention.history)
        )
        if bench.client.hlen(bench.store.keys.fixed("deliveries")):
            message = "messages are left after their retention"
            raise RuntimeError(message)
    for kind, code in (("delivery", None), ("block", "BOUNCE_PERMANENT_GENERAL")):
        with _bench() as bench:
            events = _events(count, bench, code=code)
            bench.warm(events)
            found[kind] = bench.cost(count, partial(bench.report, events[WARM:]), bench.take_in)
    return found


@contextmanager
def _bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="costs-") as data:
        policy = Path(data, "policy.yaml")
        text = policy_text()[0].replace("rate: 50/s", "rate: 9000000/s")
        policy.write_text(re.sub(r"(?<= brake: )\{.*\}", "off", text))  # thousands are blocked on purpose
        with embedded.start(Path(data)) as running, redis.Redis.from_url(running.url) as client:
            bench = Bench(running.url, client, policy)
            with closing(bench.store):
                yield bench


def _events(count: int, bench: Bench, *, code: str | None) -> list[bytes]:
    now = bench.store.now()
    return [_event(n, now, code=code) for n in range(count + WARM)]


def _event(number: int, at: int, *, code: str | None) -> bytes:
    """Return the failure of a message, or, without a code, its delivery."""
    message = {
        "channel": "EMAIL",
        "reference": f"a6590eb9-497a-4a7f-b5df-{number:012}",
        "recipients": [f"first.last{number}@example{number % 97}.com"],
    }
    if code:
        said = {"message": "552 5.2.2 mailbox full, the user is over quota", "smtpCode": 552}
        message["error"] = {"type": "SEND_ERROR", "reasonCode": code, "details": said}
    event = {
        "type": "MESSAGE_NOT_DELIVERED" if code else "MESSAGE_DELIVERED",
        "date": iso(at),
        "eventId": f"{'a' if code else 'b'}1daaeb5-7a71-4df1-9278-{number:012}",
        "source": "ESCALATION",
        "claim": {
            "id": 5_000_000 + number,
            "merchantId": number % 50,
            "referenceNumber": f"REF-{number:08}",
            "customerNumber": f"{number:08}",
            "communication": message,
        },
    }
    return json.dumps(event).encode()


def main() -> None:
    """Measure and print the two tables of costs: the median of the rounds."""
    options = argparse.ArgumentParser(prog="python -m checks.bench.costs", description=__doc__)
    options.add_argument("--count", type=int, default=20_000, help="messages of each kind")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure(stream=nowhere)  # a worker's log is part of its price
        rounds = [measure(chosen.count) for _ in range(chosen.rounds)]

    def middle(step: str, name: str) -> float:
        return median(getattr(found[step], name) for found in rounds)

    lines = ["| one of these costs | worker CPU, us | store CPU, us | AOF, bytes | network, bytes |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for step in ("failure", "hand-over", "answer", "delivery", "forgetting"):
        figures = [middle(step, name) for name in ("worker", "store", "aof", "network")]
        lines.append(f"| {step} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |")
    way = ("failure", "hand-over", "answer", "two days later")
    kept = median(sum(found[step].memory for step in way) for found in rounds)
    lines += ["", "| of this the store keeps | bytes |", "| --- | ---: |"]
    lines += [f"| a retry that waits | {middle('failure', 'memory'):,.0f} |"]
    lines += [f"| a failed message, answered | {kept:,.0f} |"]
    lines += [f"| a failed message whose recipient is blocked | {middle('block', 'memory'):,.0f} |"]
    lines += [f"| a delivery of what never failed | {middle('delivery', 'memory'):,.0f} |"]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
