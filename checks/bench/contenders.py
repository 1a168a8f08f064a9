"""Who does the job: each takes reports in, lets retries wait by its own means, and hands over what is due.

What is equal: events, packaged Valkey with AOF everysec for all state, persistent messages on RabbitMQ, what is
validated and written (job.py). One worker process each; its settings are the best of those tried on an idle machine.
"""

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery
from checks.bench import events
from checks.bench.server import socket_of, url_of

from softbounce import Softbounce
from softbounce.core.decide import decide
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.errors import InvalidEvent
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

ROOT = Path(__file__).resolve().parents[2]
POLICY = Path(__file__).with_name("policy.yaml")
NODE = ROOT / "build/bullmq/node_modules"
AMQP = os.environ.get("SOFTBOUNCE_TEST_AMQP_URL", "")  # read before the bench clears SOFTBOUNCE_*
BLOCK = 500
HOUR = 3_600_000
INTAKE, HANDOVER = "intake", "handover"
NUMBERS = itertools.count(1)  # no two workers share a name
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What it cost the producer."""

    count: int
    seconds: float
    cpu: float


class Contender:
    """One system on one empty store."""

    name = ""
    live = False  # reports while the worker runs; the others find their queue full
    kinds = events.FAILURES
    resends = "resend"  # the pipeline's stream

    @classmethod
    def missing(cls) -> str:
        """Return why it cannot be had here."""
        return ""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def publish(self, raws: Sequence[bytes]) -> Published:
        """Report events as a producer does."""
        began, used = time.perf_counter(), time.process_time()
        self._publish(raws)
        return Published(count=len(raws), seconds=time.perf_counter() - began, cpu=time.process_time() - used)

    def _publish(self, raws: Sequence[bytes]) -> None:
        raise NotImplementedError

    def schedule(self, raws: Sequence[bytes], due: Sequence[int]) -> None:
        """Let retries wait, each until its ``due`` (ms)."""
        raise NotImplementedError

    def worker(self, part: str) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of the worker of that part."""
        raise NotImplementedError

    def outcomes(self) -> dict[str, int]:
        """Return how many events had each outcome."""
        return {name.decode(): int(count) for name, count in self.client.hgetall("counters").items()}

    def handed_over(self) -> int:
        """Return how many retries have reached the pipeline."""
        return self.client.xlen(self.resends)

    def handed(self) -> list[tuple[int, str]]:
        """Return when (ms) each retry reached the pipeline, and the reference of its message."""
        entries = self.client.xrange(self.resends)
        return [(int(at.split(b"-")[0]), json.loads(said[b"command"])["reference"]) for at, said in entries]

    def cancel(self, claim: int) -> None:
        """Cancel what waits for a claim."""
        self.client.hset("cancelled", str(claim), 1)

    def close(self) -> None:
        """Leave nothing behind."""


class Stream(Contender):
    """softbounce, its stream."""

    name = "softbounce, stream"
    resends = "softbounce:resend"
    resend_to = "stream:softbounce:resend"
    policy: Path | None = None  # of the intake; None: the default

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.url = url_of(client)
        self.store = Store.open(self.url)
        self.store.events.make_group()

    def _publish(self, raws: Sequence[bytes]) -> None:
        for start in range(0, len(raws), BLOCK):
            self.store.events.publish(raws[start : start + BLOCK])

    def schedule(self, raws: Sequence[bytes], due: Sequence[int]) -> None:
        policy = load(POLICY)
        for moment, pairs in itertools.groupby(zip(due, raws, strict=True), key=lambda pair: pair[0]):
            self.store.set_now(moment - HOUR)  # the policy's delay
            several = [raw for _, raw in pairs]
            for start in range(0, len(several), BLOCK):
                block = [
                    decide(raw, policy=policy, now=moment - HOUR) for raw in several[start : start + BLOCK]
                ]
                self.store.ledger.accept(block, policy=policy)
        self.store.set_now(None)

    def worker(self, part: str) -> tuple[list[str], dict[str, str]]:
        settings = {"SOFTBOUNCE_REDIS_URL": self.url, "SOFTBOUNCE_RESEND_TO": self.resend_to}
        policy = POLICY if part == HANDOVER else self.policy
        if policy:
            settings["SOFTBOUNCE_POLICY"] = str(policy)
        words = ["-A", "softbounce", "worker", "-l", "INFO", "-n", f"bench-{next(NUMBERS)}@%h"]
        return [sys.executable, "-W", "ignore", "-m", "celery", *words], settings

    def outcomes(self) -> dict[str, int]:
        skipped = ("handed_over", "escalated", "dead_letters_cut")
        counted = self.store.counters().items()
        return {n: c for n, c in counted if n not in skipped and not n.startswith("claim_")}

    def cancel(self, claim: int) -> None:
        Softbounce(self.store).cancel(claim=claim, reason="bench")

    def close(self) -> None:
        self.store.close()


class Task(Stream):
    """softbounce, its Celery task."""

    name = "softbounce, Celery task"

    def _publish(self, raws: Sequence[bytes]) -> None:
        app = Celery(broker=celery_url(self.url), set_as_current=False)
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            for raw in raws:
                app.send_task("softbounce.report", (raw.decode(),), queue="softbounce", producer=producer)


class Client(Stream):
    """softbounce, reported by its client into a worker that runs."""

    name = "softbounce, client"
    live = True

    kinds = events.TRANSIENT * 7 + events.PERMANENT * 2 + events.MESSAGE * 4  # what is malformed it refuses

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._refused = 0

    def _publish(self, raws: Sequence[bytes]) -> None:
        client, sent = Softbounce(self.store), 0
        while sent < len(raws):
            try:
                for _ in client.report_many(raws[sent:]):
                    sent += 1
            except InvalidEvent:
                sent += 1
                self._refused += 1

    def outcomes(self) -> dict[str, int]:
        found = super().outcomes()
        return {**found, "dead_lettered": found.get("dead_lettered", 0) + self._refused}


class OneByOne(Client):
    """softbounce, each event reported by a call of its own."""

    name = "softbounce, client, one by one"

    def _publish(self, raws: Sequence[bytes]) -> None:
        client = Softbounce(self.store)
        for raw in raws:
            client.report(raw)


class ToCelery(Stream):
    """softbounce, hand-over by calls of the pipeline's Celery task."""

    name = "softbounce, to a Celery queue"
    resend_to = "celery:pipeline.resend@pipeline"

    def handed_over(self) -> int:
        return self.client.llen("pipeline")


class CeleryRedis(Contender):
    """Celery with countdown, broker Redis."""

    name = "Celery on Redis"
    queues = ("softbounce-bench-events", "softbounce-bench-resends")

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.broker = self._broker()
        self.app = Celery(broker=self.broker, set_as_current=False)

    def _broker(self) -> str:
        return celery_url(url_of(self.client))

    def _publish(self, raws: Sequence[bytes]) -> None:
        with self.app.connection_for_write() as connection, self.app.amqp.Producer(connection) as producer:
            for raw in raws:
                self.app.send_task("bench.handle", (raw.decode(),), queue=self.queues[0], producer=producer)

    def schedule(self, raws: Sequence[bytes], due: Sequence[int]) -> None:
        with self.app.connection_for_write() as connection, self.app.amqp.Producer(connection) as producer:
            for raw, moment in zip(raws, due, strict=True):
                self.later(raw.decode(), "unknown", 1, moment / 1000 - time.time(), producer=producer)

    def later(self, raw: str, rid: str, attempt: int, seconds: float, *, producer) -> None:
        """Let one retry wait, as the task does."""
        self.app.send_task(
            "bench.resend", (raw, rid, attempt), countdown=seconds, queue=self.queues[1], producer=producer
        )

    def worker(self, part: str) -> tuple[list[str], dict[str, str]]:
        queue = self.queues[part == HANDOVER]
        words = ["-A", "checks.bench.on_celery", "worker", "-Q", queue]
        words += ["--pool", "threads", "--concurrency", "1", "-n", f"bench-{next(NUMBERS)}@%h", *QUIET]
        command = [sys.executable, "-W", "ignore", "-m", "celery", *words]
        return command, {"BENCH_STORE": url_of(self.client), "BENCH_BROKER": self.broker}


class CeleryRabbit(CeleryRedis):
    """Celery with countdown, broker RabbitMQ: durable queues, persistent messages."""

    name = "Celery on RabbitMQ"

    @classmethod
    def missing(cls) -> str:
        return "" if AMQP else "SOFTBOUNCE_TEST_AMQP_URL names no RabbitMQ"

    def _broker(self) -> str:
        self.close()
        return AMQP

    def close(self) -> None:
        with Celery(broker=AMQP, set_as_current=False).connection_for_write() as connection:
            for queue in self.queues:
                with suppress(Exception):  # it is not there
                    connection.channel().queue_delete(queue)


class Dramatiq(Contender):
    """Dramatiq with delay, on Redis."""

    name = "Dramatiq on Redis"

    @classmethod
    def missing(cls) -> str:
        return "" if importlib.util.find_spec("dramatiq") else "dramatiq is not installed"

    def _actors(self):
        from checks.bench import job, on_dramatiq

        job.store = on_dramatiq.broker.client = self.client
        for script in on_dramatiq.broker.scripts.values():
            script.registered_client = self.client
        return on_dramatiq

    def _publish(self, raws: Sequence[bytes]) -> None:
        send = self._actors().handle.send
        for raw in raws:
            send(raw.decode())

    def schedule(self, raws: Sequence[bytes], due: Sequence[int]) -> None:
        later = self._actors().later
        for raw, moment in zip(raws, due, strict=True):
            later(raw.decode(), "unknown", 1, moment / 1000 - time.time())

    def worker(self, part: str) -> tuple[list[str], dict[str, str]]:
        queue = "resends" if part == HANDOVER else "events"
        words = ["checks.bench.on_dramatiq", "--processes", "1", "--threads", "8", "--queues", queue]
        return [sys.executable, "-W", "ignore", "-m", "dramatiq", *words], {
            "BENCH_STORE": url_of(self.client)
        }


class BullMQ(Contender):
    """BullMQ with delay, on Redis."""

    name = "BullMQ on Redis"

    @classmethod
    def missing(cls) -> str:
        if not shutil.which("node"):
            return "node is not installed"
        return "" if (NODE / "bullmq").is_dir() else "bullmq is not installed"

    def _node(self, mode: str) -> tuple[list[str], dict[str, str]]:
        script = str(Path(__file__).with_name("on_bullmq.cjs"))
        return ["node", script, mode], {"NODE_PATH": str(NODE), "BENCH_STORE": socket_of(self.client)}

    def _load(self, mode: str, lines: list[bytes]) -> Published:
        command, settings = self._node(mode)
        ran = subprocess.run(
            command, input=b"\n".join(lines), env=os.environ | settings, capture_output=True, check=True
        )
        return Published(count=len(lines), **json.loads(ran.stdout))

    def publish(self, raws: Sequence[bytes]) -> Published:
        return self._load("publish", list(raws))

    def schedule(self, raws: Sequence[bytes], due: Sequence[int]) -> None:
        self._load("schedule", [b"%d %b" % pair for pair in zip(due, raws, strict=True)])

    def worker(self, part: str) -> tuple[list[str], dict[str, str]]:
        return self._node("resends" if part == HANDOVER else "events")


PEERS: tuple[type[Contender], ...] = (CeleryRedis, CeleryRabbit, Dramatiq, BullMQ)


def load(path: Path | None = None) -> Policy:
    """Return a policy, by default the one that ships."""
    text = policy_text(path)[0]
    return policy_file.load(text, file=str(path or "config/policy.yaml"))


def failures(count: int) -> list[bytes]:
    """Return so many events whose retries wait."""
    return events.make(count, kinds=events.TRANSIENT)
