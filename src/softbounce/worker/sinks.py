"""Where resend commands and notices go: a Redis stream, or a Celery task of the pipeline."""

import random
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import Any, Protocol

import tenacity
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid
from msgspec.json import encode as to_json

from softbounce import settings
from softbounce.errors import StoreUnreachable
from softbounce.store import Store
from softbounce.worker.faults import reached
from softbounce.worker.transport import is_redis, put_all

Message = tuple[str, Mapping[str, object]]  # id, body
MayBegin = Callable[[], bool]  # false once the lease is nearly over, or the worker stops
BLOCK = 100  # calls sent to Redis at once; what is lost with an answer may arrive twice, under its id
LAST_START = 0.8  # of a lease; nothing leaves later, by our own monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """How many messages, from the first on, a sink has taken, and why it refused the next one, if it did."""

    count: int
    failure: str = ""


class Sink(Protocol):
    """Takes messages in order, each with an id to dedupe on, and stops at the first that it cannot place."""

    name: str  # as history shows it: "celery:messaging.resend"

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Place ``messages`` one after the other while ``may_begin``."""
        ...


class ToStream:
    """Entries of a stream in the store, the whole batch in one transaction."""

    def __init__(self, store: Store, key: str, *, field: str) -> None:
        self.name = f"stream:{key}"
        self.stream, self._field = store.stream(key), field

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Add one entry ``id, command`` (or ``id, notice``) a message; raises ``StoreUnreachable``."""
        if not may_begin():
            return Handed(count=0)
        try:
            self.stream.add(self._field, [(name, _json(body)) for name, body in messages])
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - any refusal (the key is no stream) rests, and costs no strike
            return Handed(count=0, failure=_why(error))
        return Handed(count=len(messages))


class ToTask:
    """Calls of one Celery task, with the message's id as the task's id."""

    def __init__(self, app: Celery, task: str, queue: str, *, argument: str, timeout: float) -> None:
        self.name = f"celery:{task}"
        self._app, self._task, self._queue, self._argument = app, task, queue, argument
        self._timeout = timeout
        self._patiently = tenacity.Retrying(  # a pooled connection may have died since its last use
            retry=tenacity.retry_if_exception_type((OperationalError, OSError)),
            stop=tenacity.stop_after_attempt(3) | tenacity.stop_after_delay(timeout / 2),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Send one call a message; counted when the broker has taken it (RabbitMQ: has confirmed it).

        The first goes alone, Celery's own way: it makes the queue. On Redis the others follow in blocks.
        """
        count = 0
        while count < len(messages):
            if not may_begin():
                return Handed(count=count)
            some = messages[count : count + (BLOCK if count and self._takes_blocks else 1)]
            try:
                self._patiently(self._send_block if len(some) > 1 else self._send, some)
            except Exception as error:  # noqa: BLE001 - any refusal rests, and costs no strike
                return Handed(count=count, failure=_why(error))
            count += len(some)
            reached("handover.half")
        return Handed(count=len(messages))

    @cached_property
    def _takes_blocks(self) -> bool:
        with self._app.producer_or_acquire() as producer:
            return is_redis(producer)

    @cached_property
    def _headers(self) -> dict[str, Any]:
        """What Celery says of a call, whatever its id: its protocol 2, of the release that is installed."""
        call = self._app.amqp.as_task_v2("", self._task, ignore_result=True, argsrepr="()", kwargsrepr="{}")
        return call.headers

    def _send_block(self, messages: Sequence[Message]) -> None:
        """Do what ``_send`` does at a tenth of its cost: Celery and kombu take half a millisecond a call."""
        block = [self._written(name, body) for name, body in messages]
        with self._app.producer_or_acquire() as producer:
            put_all(producer, self._queue, block)

    def _written(self, name: str, body: Mapping[str, object]) -> bytes:
        """Return one call as it lies on a queue of Redis."""
        embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        properties = {
            "correlation_id": name,
            "reply_to": self._app.thread_oid,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": self._queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": uuid(),  # not the id: a call may be sent twice, and each is acknowledged
        }
        message = {
            "body": b64encode(to_json([(), {self._argument: body}, embedded])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {**self._headers, "id": name, "root_id": name},
            "properties": properties,
        }
        return to_json(message)

    def _send(self, messages: Sequence[Message]) -> None:
        ((name, body),) = messages
        self._app.send_task(
            self._task,
            kwargs={self._argument: body},
            task_id=name,
            queue=self._queue,
            ignore_result=True,
            retry=False,
            timeout=self._timeout,
            confirm_timeout=self._timeout,
            argsrepr="()",  # headers reach logs and monitors: no addresses there
            kwargsrepr="{}",
        )


def open_sink(target: settings.Sink, *, store: Store, app: Celery, field: str, timeout: int) -> Sink:
    """Return the sink for one target; ``field`` is ``command`` or ``notice``; ``timeout`` in ms."""
    match target:
        case settings.StreamSink(key=key):
            return ToStream(store, key, field=field)
        case settings.CelerySink(task=task, queue=queue):
            return ToTask(app, task, queue, argument=field, timeout=timeout / 1000)


def trim(sink: Sink, *, before: int) -> None:
    """Let go of what the readers of a stream have acknowledged, and of what is older than ``before`` (ms)."""
    if isinstance(sink, ToStream):
        sink.stream.trim(before=before)


class Rest:
    """How long to leave a failing target alone: 1 s doubling to 60 s, jittered; over after one success."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the target may be tried again."""
        return monotonic() >= self._until

    def failed(self) -> int:
        """Rest for longer than the last time and return for how long, in milliseconds."""
        seconds = min(60.0, 2.0**self._failures) * self._rng.uniform(0.5, 1)
        self._failures = min(self._failures + 1, 6)
        self._until = monotonic() + seconds
        return round(seconds * 1000)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _json(body: Mapping[str, object]) -> str:
    return to_json(body).decode()
