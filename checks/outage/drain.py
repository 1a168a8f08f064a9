"""Retries that all became due during an outage, and how they leave when it is over: real scripts, a virtual clock."""

import heapq
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import redis

from softbounce.core.decide import decide
from softbounce.core.policy.file import load
from softbounce.core.policy.model import Policy
from softbounce.store import Finish, Store

POLICY = """\
version: 1
limits: {{max_attempts: 2, min_delay: 1s, resends_per_recipient: 900/1d, resends_per_claim: 900/1d, handover_rate: {cap}/s}}
defaults:
  retry: {{jitter: 0%, give_up_after: 13d}}
codes:
  PROVIDER_ERROR: {{do: retry, fault: provider, retry: {{delays: [60s]}}}}
"""
START = 1_795_341_600_000  # 2026-11-22 10:00 UTC
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
OUTAGE = HOUR
DELAY = MINUTE
BATCH = 500
LATE = "late"  # a merchant whose retries become due one by one, while the others' stand in line
MERCHANTS = [*("big" for _ in range(10)), *(f"m{n}" for n in range(10))]  # one has half of all
FINE = 0.1  # s between two claims of an idle worker; after the first minutes a second is fine enough


@dataclass
class Drained:
    """What left, and how."""

    cap: int
    count: int
    handed_over: int = 0
    given_up: int = 0
    out_of_order: int = 0
    past_deadline: int = 0
    most: int = 0  # in any second
    over: float = (
        0.0  # the most by which any span of time held more than cap x its length + one second's worth
    )
    waits: list[int] = field(default_factory=list)  # ms, of the late merchant
    claims: int = 0
    virtual: float = 0.0  # s until all had left
    seconds: float = 0.0  # that it took
    worker: float = 0.0  # CPU microseconds a hand-over
    server: float = 0.0

    def wait(self, share: float) -> float:
        """Return a quantile of the late merchant's waits in seconds."""
        return sorted(self.waits)[min(int(share * len(self.waits)), len(self.waits) - 1)] / SECOND


def policy(cap: int) -> Policy:
    """Return a policy with this hand-over rate; nothing is quiet, nobody is capped."""
    return load(POLICY.format(cap=cap), file="policy.yaml")


def fill(store: Store, rules: Policy, *, count: int, seed: int) -> None:
    """Report so many failures, whose retries are due in a minute; deadlines lie within the outage to 13 h on."""
    chance = random.Random(seed)
    store.set_now(START)

    def batches() -> Iterator[list[bytes]]:
        for first in range(0, count, BATCH):
            yield [
                _failed(
                    n,
                    chance.choice(MERCHANTS),
                    at=START,
                    ends=START + chance.randrange(OUTAGE // 2, 13 * HOUR),
                )
                for n in range(first, min(first + BATCH, count))
            ]

    with ThreadPoolExecutor(1) as beside:
        before = None
        for raws in batches():
            batch = store.ledger.encode([decide(raw, policy=rules, now=START) for raw in raws], policy=rules)
            if before is not None:
                before.result()
            before = beside.submit(store.ledger.commit, batch)


def drain(
    store: Store, client: redis.Redis, rules: Policy, *, cap: int, count: int, late: int, seed: int
) -> Drained:
    """Let one worker hand over all that is due after the outage, at most ``cap`` a second."""
    chance = random.Random(seed + 1)
    now = START + OUTAGE
    client.hset(store.keys.fixed("meta"), "swept", now)
    drained, flow, order = Drained(cap, count), Flow(cap), Order()
    span = max(count // cap * SECOND - 10 * MINUTE, MINUTE)
    coming = [now + chance.randrange(span) for _ in range(late)]
    heapq.heapify(coming)
    began, cpu, server = time.monotonic(), time.process_time(), _cpu(client)
    first = now
    while True:
        store.set_now(now)
        while coming and coming[0] <= now:
            at = heapq.heappop(coming)
            raw = _failed(count + len(coming), LATE, at=at, ends=at + 13 * HOUR)
            store.ledger.accept([decide(raw, policy=rules, now=now)], policy=rules)
        looked = time.monotonic()
        claimed = store.ledger.claim(policy=rules, limit=BATCH, lease=30_000)
        drained.claims += 1
        drained.given_up += len(claimed.ended)
        flow.add(now, len(claimed.leases))
        for lease in claimed.leases:
            delivery = lease.delivery
            order.add(delivery.merchant, delivery.deadline, due=delivery.due, now=now)
            drained.past_deadline += now > delivery.deadline
            if delivery.merchant == LATE:
                drained.waits.append(now - delivery.due)
        results = [
            Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over", note="test")
            for lease in claimed.leases
        ]
        assert set(store.ledger.finish(results, policy=rules)) <= {"done"}
        drained.handed_over += len(results)
        if claimed.idle:
            if not coming and store.next_due() is None and not store.sizes()["ready"]:
                break
            now += int((FINE if now - first < 3 * MINUTE else 1) * SECOND)
        else:
            now += max(1, int((time.monotonic() - looked) * SECOND))  # it asks again at once
    drained.virtual = (now - first) / SECOND
    drained.most, drained.over, drained.out_of_order = flow.most, round(flow.over, 2), order.wrong
    drained.seconds = time.monotonic() - began
    drained.worker = (time.process_time() - cpu) / drained.handed_over * 1e6
    drained.server = (_cpu(client) - server) / drained.handed_over * 1e6
    return drained


class Flow:
    """How many leave in any second, and in any span: a bucket that holds one second lets no more through."""

    def __init__(self, cap: int) -> None:
        self.most, self.over = 0, 0.0
        self._cap, self._level, self._at = cap, 0.0, 0
        self._recent: list[tuple[int, int]] = []

    def add(self, now: int, count: int) -> None:
        """Note that so many left."""
        if not count:
            return
        self._recent = [(at, some) for at, some in self._recent if at > now - SECOND] + [(now, count)]
        self.most = max(self.most, sum(some for _, some in self._recent))
        self._level = max(0.0, self._level - (now - self._at) * self._cap / SECOND) + count
        self._at = now
        self.over = max(self.over, self._level - self._cap)


class Order:
    """Counts what left after one of its merchant that ends later, though it was due by then."""

    def __init__(self) -> None:
        self.wrong = 0
        self._latest: dict[str, tuple[int, int]] = {}  # deadline, and when it left

    def add(self, merchant: str, deadline: int, *, due: int, now: int) -> None:
        """Note one that leaves."""
        latest, at = self._latest.get(merchant, (0, 0))
        if deadline >= latest:
            self._latest[merchant] = deadline, now
        elif due <= at:
            self.wrong += 1


def _failed(number: int, merchant: str, *, at: int, ends: int) -> bytes:
    communication = {
        "channel": "SMS",
        "reference": f"a6590eb9-497a-4a7f-b5df-{number:012}",
        "recipients": [f"+49151{number:08}"],
        "notAfter": _iso(ends),
        "error": {"type": "SEND_ERROR", "reasonCode": "PROVIDER_ERROR", "details": {}},
    }
    claim = {"id": number, "merchantId": merchant, "customerNumber": f"C{number}"}
    return json.dumps(
        {
            "type": "MESSAGE_NOT_DELIVERED",
            "date": _iso(at),
            "eventId": f"e{number}",
            "claim": claim | {"communication": communication},
        }
    ).encode()


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")


def _cpu(client: redis.Redis) -> float:
    used = client.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]
