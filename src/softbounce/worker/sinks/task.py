# ruff: noqa: SLF001 - kombu has no public way to put many messages at once
"""Commands and notices as calls of a Celery task of the pipeline."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import kombu
import tenacity
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import redis as stock
from kombu.utils.uuid import uuid
from msgspec.json import encode as to_json

from softbounce.store.limits import TASK_BATCH
from softbounce.worker.crash_points import reached
from softbounce.worker.sinks.sink import Handed, MayBegin, Message, why


class ToTask:
    """Calls one Celery task, with the message's id as the task's id."""

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
            some = messages[count : count + (TASK_BATCH if count and self._takes_blocks else 1)]
            try:
                self._patiently(self._send_block if len(some) > 1 else self._send, some)
            except Exception as error:  # noqa: BLE001 - any refusal rests, and costs no strike
                return Handed(count=count, failure=why(error))
            count += len(some)
            reached("handover.half")
        return Handed(count=len(messages))

    @cached_property
    def _takes_blocks(self) -> bool:
        with self._app.producer_or_acquire() as producer:
            return _is_redis(producer)

    @cached_property
    def _headers(self) -> dict[str, Any]:
        """The headers of a call, but for its id: protocol 2, as the installed release of Celery writes it."""
        call = self._app.amqp.as_task_v2("", self._task, ignore_result=True, argsrepr="()", kwargsrepr="{}")
        return call.headers

    def _send_block(self, messages: Sequence[Message]) -> None:
        """Do what ``_send`` does at a tenth of its cost: Celery and kombu take half a millisecond a call."""
        block = [self._written(name, body) for name, body in messages]
        with self._app.producer_or_acquire() as producer:
            _put_all(producer, self._queue, block)

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


def _is_redis(producer: kombu.Producer) -> bool:
    """Whether it publishes to lists of Redis."""
    return isinstance(producer.channel, stock.Channel)


def _put_all(producer: kombu.Producer, queue: str, messages: Sequence[bytes]) -> None:
    """Put messages that are written out already on a queue, in order, all or none."""
    channel: Any = producer.channel
    connection: Any = producer.connection
    with connection._reraise_as_library_errors(), channel.conn_or_acquire() as client:
        client.lpush(channel._q_for_pri(queue, channel.default_priority), *messages)
