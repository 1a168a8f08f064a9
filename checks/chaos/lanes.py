"""The ways in and out of softbounce, as a producer and a pipeline in any language use them."""

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from kombu import Connection, Consumer, Exchange, Producer, Queue
from redis.exceptions import RedisError
from tests.servers import client_of

Found = Iterator[tuple[str, dict[str, Any]]]  # id, and {"command": ...} or {"notice": ...}


class Lane(Protocol):
    """Reports go in by ``publish``; commands and notices come out by ``messages``."""

    broker: str
    resend_to: str

    def publish(self, raws: Sequence[bytes]) -> int:
        """Return how many, from the first on, are stored for sure; the others may be, or not."""
        ...

    def messages(self, stop: threading.Event) -> Found:
        """Yield each as often as it comes, until ``stop``."""
        ...

    def waiting(self) -> int:
        """Return how many lie between us and softbounce."""
        ...


class Stream:
    """Redis streams, without our own client."""

    broker = ""

    def __init__(self, url: str, namespace: str = "default", *, replicas: int = 0) -> None:
        self._url, self._replicas = url, replicas
        middle = "" if namespace == "default" else f"{namespace}:"
        self._events, self._resend, self._notices = (
            f"softbounce:{middle}{name}" for name in ("events", "resend", "notices")
        )
        self.resend_to = f"stream:{self._resend}"
        self._client = client_of(url, socket_timeout=5, socket_connect_timeout=1, retry=None)
        self._seen = {self._resend: "0", self._notices: "0"}

    def publish(self, raws: Sequence[bytes]) -> int:
        try:
            pipe = self._client.pipeline(transaction=False)
            for raw in raws:
                pipe.xadd(self._events, {"event": raw})
            if self._replicas:
                pipe.wait(self._replicas, 500)
            said = pipe.execute(raise_on_error=False)
            if self._replicas and (
                isinstance(confirmed := said.pop(), Exception) or confirmed < self._replicas
            ):
                return 0
        except RedisError:
            return 0
        return next((n for n, one in enumerate(said) if isinstance(one, Exception)), len(said))

    def waiting(self) -> int:
        with client_of(self._url, socket_timeout=5, decode_responses=True) as client:
            late = 0
            for key, seen in self._seen.items():
                newest = client.xrevrange(key, count=1)
                late += bool(newest) and newest[0][0] > seen
            return late

    def messages(self, stop: threading.Event) -> Found:
        client = client_of(self._url, socket_timeout=5, retry=None, decode_responses=True, protocol=2)
        while not stop.is_set():
            try:
                found = client.xread(dict(self._seen), count=500, block=100)
            except RedisError:
                stop.wait(0.05)
                continue
            for key, entries in found or []:
                for entry, fields in entries:
                    ident = fields.pop("id")
                    yield ident, {name: json.loads(body) for name, body in fields.items()}
                    self._seen[key] = entry
        client.close()


class CeleryLane:
    """Celery messages on a broker, as a stock producer and a stock worker exchange them."""

    def __init__(self, broker: str, *, intake: str = "softbounce", queue: str | None = None) -> None:
        self.broker, self.intake = broker, intake
        queue = queue or f"messaging-{uuid.uuid4().hex[:8]}"
        self.resend_to = f"celery:messaging.resend@{queue}"
        self._intake = Queue(intake, Exchange(intake), routing_key=intake)
        self._queue = Queue(queue, Exchange(queue), routing_key=queue)
        self._sent: Connection | None = None

    def publish(self, raws: Sequence[bytes], *, task: str = "softbounce.report") -> int:
        done = 0
        try:
            if self._sent is None:
                self._sent = Connection(self.broker, transport_options={"confirm_publish": True})
            producer = Producer(self._sent)
            for raw in raws:
                try:
                    event = json.loads(raw)
                except ValueError:
                    event = raw.decode()
                ident = uuid.uuid4().hex
                producer.publish(
                    [[event], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
                    routing_key=self._intake.routing_key,
                    exchange=self._intake.exchange,
                    declare=[self._intake],
                    serializer="json",
                    correlation_id=ident,
                    headers={"lang": "py", "task": task, "id": ident, "root_id": ident, "argsrepr": "()"},
                    delivery_mode=2,
                )
                done += 1
        except Exception:  # noqa: BLE001 - whatever it was: these are not known to be stored
            with suppress(Exception):
                self._sent.close()  # type: ignore[union-attr]
            self._sent = None
        return done

    def messages(self, stop: threading.Event) -> Found:
        while not stop.is_set():
            with (
                suppress(OSError),
                Connection(self.broker) as connection,
            ):  # AMQP errors of the wire are OSErrors
                found: list[tuple[str, dict[str, Any]]] = []

                def take(body: Any, message: Any, found=found) -> None:
                    found.append((message.headers["id"], body[1]))
                    message.ack()

                with Consumer(connection, [self._queue], callbacks=[take], prefetch_count=200):
                    while not stop.is_set():
                        with suppress(TimeoutError):
                            connection.drain_events(timeout=0.1)
                        yield from found
                        found.clear()

    def close(self) -> None:
        """Leave no queue behind."""
        with Connection(self.broker) as connection:
            self._queue(connection.channel()).delete()

    def waiting(self) -> int:
        with Connection(self.broker) as connection:
            channel = connection.channel()
            return sum(queue(channel).queue_declare()[1] for queue in (self._intake, self._queue))

    def clear(self) -> None:
        """Forget what earlier runs left."""
        with Connection(self.broker) as connection:
            channel = connection.channel()
            self._intake(channel).declare()
            self._intake(channel).purge()
