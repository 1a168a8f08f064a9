"""One softbounce under test: a store, workers as processes, a producer, a pipeline, and what they write down."""

import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError
from tests.references import broken
from tests.servers import client_of

from softbounce.core.policy.file import load
from softbounce.core.recipients import Channel, hashed, recipient
from softbounce.core.records import decode
from softbounce.errors import SoftbounceError
from softbounce.store import Store
from softbounce.store.keys import FIXED

from .history import History
from .lanes import CeleryLane, Lane, Stream
from .nursery import Child, Nursery
from .world import PLANS, POLICY, SILENCE, World

_AT_ONCE = 1000  # fields of one call of sweep
LEASE = 2.0  # s; 30 in production: faults of minutes fit into seconds
WORKER = "checks.chaos.nursery:worker"


class Rig:
    """Everything around one namespace of one store. ``url`` is for us; workers may go through another door."""

    def __init__(
        self,
        folder: Path,
        *,
        nursery: Nursery,
        history: History,
        rng,
        url: str,
        namespace: str = "default",
        intake: Lane | None = None,
        sink: Lane | None = None,
        policy: str = POLICY,
        plans=PLANS,
        place: int = 0,
    ) -> None:
        self.folder, self.nursery, self.history, self.rng = folder, nursery, history, rng
        folder.mkdir(parents=True, exist_ok=True)
        self.url = self.door = url
        self.world = World(rng, plans=plans, place=place)
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy)
        self.store = Store.open(url, namespace=namespace)
        self.client = client_of(url, socket_timeout=10, decode_responses=True)
        self.workers: list[Child] = []
        self.env = {
            "SOFTBOUNCE_NAMESPACE": namespace,
            "SOFTBOUNCE_POLICY": str(self.policy),
            "SOFTBOUNCE_LEASE": f"{LEASE:.0f}s",
            "SOFTBOUNCE_HANDOVER_TIMEOUT": "1s",
        }
        stream = Stream(url, namespace)
        self.intake, self.sink = intake or stream, sink or stream
        if sink is not None:
            self.env["SOFTBOUNCE_RESEND_TO"] = sink.resend_to
        for lane in (intake, sink):
            if lane is not None:
                self.env["SOFTBOUNCE_BROKER_URL"] = lane.broker
        self._outbox: queue.Queue[tuple[int, str, bytes]] = queue.Queue()
        self._events = itertools.count(place * 100_000 + 1)
        self._sending = 0
        self._kept: list[tuple[str, bytes]] | None = None
        self._stop = threading.Event()
        self.acted: set[str] = set()  # ids that the pipeline has acted on
        self.told = 0  # reports that are stored for sure
        self.planted: set[bytes] = (
            set()
        )  # deliveries that the scenario itself has written, as bytes that are no record
        self.threads = [threading.Thread(target=loop, daemon=True) for loop in (self._publish, self._receive)]
        for thread in self.threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and the threads."""
        self._stop.set()
        for worker in self.workers:
            worker.kill()
        for thread in self.threads:
            thread.join(15)
        if isinstance(self.sink, CeleryLane):
            self.sink.close()
        self.client.close()
        self.store.close()

    # --- what a scenario does ---------------------------------------------------------------------------

    def worker(self, **env: str) -> Child:
        """Start one worker; more settings by their variables' names."""
        settings = {**self.env, "SOFTBOUNCE_REDIS_URL": self.door, **env}
        child = self.nursery.start(WORKER, hostname=f"w{time.monotonic_ns()}@chaos", env=settings)
        self.workers.append(child)
        return child

    def ready(self, worker: Child) -> Child:
        """Wait until a worker has begun."""
        self.until(lambda: not worker.is_alive or worker.logged("worker.started"), "a worker has begun")
        return worker

    def send(self, messages: Iterable[tuple[str, Any, str, list[bytes]]]) -> int:
        """Let the producer report messages; returns how many. It reports each until the store has it."""
        count = 0
        for ref, plan, to, raws in messages:
            self.history.add("fate", ref=ref, to=to, sends=plan.sends, ends=plan.ends, code=plan.code)
            for raw in raws:
                self._put(ref, raw)
            count += 1
        return count

    def add(self, ref: str, fields: dict[bytes, bytes]) -> str:
        """Add one entry to the stream with fields of its own, now; returns its id."""
        number = next(self._events)
        self.history.add("ask", n=number, ref=ref)
        entry = self.client.xadd(self.store.events.key, fields)  # type: ignore[arg-type]
        self.history.add("told", n=number)
        return str(entry)

    def keep(self, ref: str, raws: list[bytes]) -> None:
        """Keep reports for ``send_kept``; the pipeline's answers are kept too from now on."""
        self._kept = (self._kept or []) + [(ref, raw) for raw in raws]

    def send_kept(self, *, shuffle: bool) -> None:
        """Report all that was kept, in any order."""
        kept = list(self._kept or [])
        if shuffle:
            self.rng.shuffle(kept)
        for ref, raw in kept:
            self._queue(ref, raw)

    def load(self, *, seconds: float, rate: float, chunk: int = 20) -> threading.Thread:
        """Report messages at a steady pace in the background; join the thread."""

        def go() -> None:
            begun, sent = time.monotonic(), 0
            while (past := time.monotonic() - begun) < seconds and not self._stop.is_set():
                if sent < past * rate:
                    sent += self.send(self.world.messages(chunk))
                self._stop.wait(0.01)

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    @contextmanager
    def fault(self, what: str) -> Iterator[None]:
        """Write down when a fault began and ended."""
        self.history.add("fault", what=what)
        yield
        self.history.add("mended", what=what)

    def kill(self, worker: Child, what: str = "kill -9 of a worker") -> None:
        """End a worker as ``kill -9`` does, and write it down."""
        with self.fault(what):
            worker.kill()

    def pause(self, low: float, high: float) -> None:
        """Let the run go on for a while that only the seed knows; the fault comes at no chosen moment."""
        self._stop.wait(self.rng.uniform(low, high))

    def until(self, holds: Callable[[], Any], what: str, *, seconds: float = 30) -> Any:
        """Poll until something holds; the store may be away meanwhile. Raises ``AssertionError``."""
        end = time.monotonic() + seconds
        while True:
            with suppress(RedisError, SoftbounceError, OSError):
                if found := holds():
                    return found
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.02)

    def settle(self, *, seconds: float = 45) -> bool:
        """Wait until nothing moves any more; false if something still does (the checker will say what)."""
        quiet = 0

        def is_quiet() -> bool:
            nonlocal quiet
            sizes, lag = self.store.sizes(), self.store.events.lag()
            moving = sizes["scheduled"] + sizes["ready"] + sizes["notices"] + lag.unread + lag.pending
            moving += self.backlog + self.intake.waiting() + self.sink.waiting()
            quiet = 0 if moving else quiet + 1
            return quiet >= 5

        try:
            self.until(is_quiet, "all is quiet", seconds=seconds)
        except AssertionError:
            return False
        return True

    @property
    def backlog(self) -> int:
        """How many reports the producer still keeps, because the store has not said that it has them."""
        return self._outbox.qsize() + self._sending

    def _fall_silent(self) -> None:
        """Let the time pass in which an answer may come: what has left must come to an end (I11)."""
        self.store.set_now(self.store.now() + SILENCE)
        policy = load(POLICY, file="policy.yaml")
        for _ in range(self.client.hlen(self.store.keys.fixed("deliveries")) // _AT_ONCE + 2):
            self.store.sweep(policy=policy, count=_AT_ONCE)

    # --- what the store holds in the end ------------------------------------------------------------------

    def export(self) -> None:
        """Write down what the store holds: of each message, recipient, dead letter and case."""
        keys = self.store.keys
        client = client_of(self.url, socket_timeout=30)
        sizes, lag = self.store.sizes(), self.store.events.lag()  # before notices of what was unanswered
        self._fall_silent()

        def table(name: str) -> dict[bytes, bytes]:
            return client.hgetall(keys.fixed(name))  # type: ignore[return-value]

        histories = table("history")
        for ident, raw in table("deliveries").items():
            if ident in self.planted:
                continue
            delivery = decode(ident.decode(), raw)
            lines = [json.loads(line) for line in histories.get(ident[:12], b"").split(b"\n") if line]
            mine = [line for line in lines if line["y"] == delivery.id[12:]]
            self.history.add(
                "end",
                ref=delivery.reference,
                state=delivery.state,
                outcome=delivery.outcome,
                attempt=delivery.attempt,
                group=delivery.head.get("g", "").partition("\n")[0],
                failed=[line.get("id") for line in mine if line["k"] == "failed"],
                resent=[line["a"] for line in mine if line["k"] == "resent"],
            )
        recipients = sorted({to for _, to in self.world.fates.values()})
        names = {hashed(recipient(to, Channel.SMS), self.store.key): to for to in recipients}
        for name in table("suppressions"):
            self.history.add("suppressed", to=names.get(name.decode().partition("@")[0], name.decode()))
        for letter in self.store.dead_letters.select(_ANY, now=0):
            self.history.add("dead", raw=letter.raw.decode(errors="replace")[:200], reason=letter.reason)
        for raw in table("cases").values():
            case = json.loads(raw)
            self.history.add("case", what=case["kind"], to=names.get(case.get("recipient", ""), ""))
        permanent = {keys.fixed(name) for name in FIXED}
        strange = [
            key.decode()
            for key in client.scan_iter(f"{{sb:{keys.namespace}}}:*", count=1000)
            if key.decode() not in permanent and client.ttl(key) < 0
        ]
        self.history.add(
            "left",
            schedule=sizes["scheduled"],
            ready=sizes["ready"],
            notices=sizes["notices"],
            unread=lag.unread,
            pending=lag.pending,
            keys=strange,
        )
        ours = [repr(ident.decode(errors="backslashreplace")) for ident in self.planted if ident]
        for said in broken(client, keys):
            if not any(ident in said for ident in ours):
                self.history.add("broken", said=said)
        client.close()

    # --- the producer and the pipeline --------------------------------------------------------------------

    def _put(self, ref: str, raw: bytes) -> None:
        if self._kept is not None:
            self._kept.append((ref, raw))
        self._queue(ref, raw)

    def _queue(self, ref: str, raw: bytes) -> None:
        self._outbox.put((next(self._events), ref, raw))

    def _publish(self) -> None:
        while not self._stop.is_set():
            try:
                batch = [self._outbox.get(timeout=0.1)]
            except queue.Empty:
                continue
            self._sending = len(batch)
            while len(batch) < 200 and not self._outbox.empty():
                batch.append(self._outbox.get())
            for number, ref, _ in batch:
                self.history.add("ask", n=number, ref=ref)
            left = batch
            while left and not self._stop.is_set():
                done = self.intake.publish([raw for _, _, raw in left])
                for number, _, _ in left[:done]:
                    self.history.add("told", n=number)
                    self.told += 1
                left = left[done:]
                self._sending = len(left)
                if left:
                    self._stop.wait(0.05)
            self._sending = 0

    def _receive(self) -> None:
        for ident, message in self.sink.messages(self._stop):
            if notice := message.get("notice"):
                facts = {"ref": notice.get("reference", ""), "to": notice.get("recipients")}
                self.history.add("notice", id=ident, type=notice["type"].removeprefix("softbounce."), **facts)
                continue
            command = message["command"]
            ref, attempt = str(command["reference"]), command["attempt"]
            self.history.add(
                "got", id=ident, ref=ref, attempt=attempt, to=command["recipients"], due=command["dueAt"]
            )
            if ident not in self.acted:
                self.acted.add(ident)
                if answer := self.world.answer(ref, attempt, ident):
                    self._put(ref, answer)


class _Any:
    def matches(self, _facts: object) -> bool:
        return True


_ANY: Any = _Any()
