# ruff: noqa: ANN401, SLF001 - we stand in for private parts of kombu's; a contract test names them all
# mypy: disable-error-code="attr-defined, misc, no-any-return, union-attr, explicit-override"
"""Celery on Redis without loss: a message is recorded as taken in the same step that takes it.

kombu's own transport takes a message off its list first and records it second (kombu#305): a process that
dies, or a connection that is cut, between the two loses it. Here one script does both. All else is kombu's:
the keys, acknowledgement, visibility timeout, priorities, fair turns. Stock producers and consumers work on
the same queues; a stock consumer still loses what it takes itself. In a pipeline of your own:

    app = Celery("pipeline", broker="redis://...", amqp="softbounce.worker.transport:AMQP")
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic, time  # noqa: TID251 - undoes kombu's own look at this clock
from typing import Any

import kombu
from celery.app import amqp
from kombu.log import get_logger
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.uuid import uuid
from typing_extensions import override

from softbounce.store.scripts import assemble
from softbounce.worker.celery.decompression import excess

log = get_logger(__name__)

TAKE = assemble("take")
NAP = 0.1  # s that Redis lets an idle consumer wait before it looks again: a script cannot block
OPTIONS = ("unreadable", "largest")  # our own transport options
UNREADABLE = ".unreadable"  # after a queue's name: the list of its items that are no messages


class QoS(stock.QoS):
    """Messages that are taken and not acknowledged. Times are by Redis' clock, not by this machine's."""

    channel: "Channel"

    @override
    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message in hand; the script has recorded it, unless it came by publish/subscribe."""
        if self.channel.connection.taken == delivery_tag:
            self.channel.connection.taken = None
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    @property
    def visibility_timeout(self) -> float:  # type: ignore[override]
        """As configured, plus what this machine's clock is ahead: kombu subtracts it from its own time."""
        with self.channel.conn_or_acquire() as client:
            seconds, micros = client.time()
        ahead = time() - (seconds + micros / 1e6)
        return self.channel.visibility_timeout + ahead

    @override
    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give back what is due; where the server refuses writes (full, a replica), try again later."""
        try:
            super().restore_visible(*args, **options)
        except self.channel.ResponseError as error:
            log.warning("the broker takes nothing back: %s", error)

    @override
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back; set an item aside that is none: kombu loses it, or fails on it for ever."""
        with self.channel.conn_or_acquire(client) as connected:
            record = connected.hget(self.unacked_key, tag)
            if record is None or self.channel.is_record(record):
                super().restore_by_tag(tag, client=connected, leftmost=leftmost)
            else:
                self.channel.set_aside(tag, *_parts(record))

    def forget(self, tag: str) -> None:
        """Drop the record of a message."""
        self._remove_from_indices(tag).execute()


class Channel(stock.Channel):
    """A channel on one Redis."""

    QoS = QoS
    from_transport_options = (*stock.Channel.from_transport_options, *OPTIONS)
    unreadable: Callable[[bytes], object] | None = None  # called with an item that is no message, to keep it
    largest: int | None = None  # bytes of an item; a larger one, or one of too many values, is no message
    _is_idle = False  # the last call found nothing: the next one waits first
    _restored_at = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.ack_emulation:
            msg = "ack_emulation=False loses what a worker has in hand: leave it on"
            raise ValueError(msg)

    @override
    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the script, or after an empty answer a nap: a wait for a key that nobody fills."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        self._restore_without_event_loop()
        if self._is_idle:
            words = ["BRPOP", f"{self.global_keyprefix}{self.unacked_key}.nap", NAP]
        else:
            words = self._take(queues)
        connection = self.client.connection
        self._in_poll, self._brpop_sent_at = connection, monotonic()
        connection.send_command(*words)

    @override
    def _brpop_read(self, **options: Any) -> bool:
        """Read the answer and deliver what it holds; raise ``Empty`` if it holds nothing."""
        connection, was_nap = self.client.connection, self._is_idle
        self._is_idle = False
        try:
            reply = self.client.parse_response(connection, "EVAL", **options)
        except self.connection_errors:
            connection.disconnect()
            raise
        except self.ResponseError as error:  # no memory, a full disk, a replica since a failover
            connection.disconnect()
            msg = f"the broker hands out no messages: {error}"
            raise ConnectionError(msg) from error  # Celery connects again, where it would end the worker
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if was_nap or not reply:
            self._is_idle = not was_nap
            raise stock.Empty
        queue, message = self._unpacked(*reply)
        self._queue_cycle.rotate(queue)
        if message is not None:
            self.connection._deliver(message, queue)
            self._settle()
        return True

    @override
    def _receive_one(self, c: Any) -> Any:
        """Deliver what came by publish/subscribe; what is no message is logged, and ends no worker."""
        try:
            return super()._receive_one(c)
        except (stock.Empty, *self.connection_errors, *self.connection.channel_errors):
            raise
        except Exception as error:  # noqa: BLE001 - no envelope, too deep
            log.warning("what was broadcast is no message: %s", type(error).__name__)
            return None

    @override
    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        with self.conn_or_acquire() as client:
            while reply := client.execute_command(*self._take([queue])):
                _, message = self._unpacked(*reply)
                if message is not None:
                    return message
            self._maybe_update_queues_expire(client, queue)
        raise stock.Empty

    @override
    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        """Return one message of one queue, or None."""
        message = super().basic_get(queue, no_ack=no_ack, **options)
        self._settle()
        return message

    def set_aside(self, tag: Any, queue: str, item: bytes) -> None:
        """Keep an item that is no message: by ``unreadable``, else in the list ``QUEUE.unreadable``."""
        is_kept = False
        if self.unreadable is not None:
            with suppress(Exception):  # then the list keeps it
                self.unreadable(item)
                is_kept = True
        where = "handed over" if is_kept else f"kept in {queue}{UNREADABLE}"
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            self.qos._remove_from_indices(tag, pipe)
            if not is_kept:
                pipe.rpush(queue + UNREADABLE, item)
            try:
                pipe.execute()
            except self.ResponseError as error:
                where = f"still in {self.unacked_key}, and comes back ({error})"
        log.error("queue %s held %d bytes that are no Celery message: %s", queue, len(item), where)

    def is_record(self, record: bytes) -> bool:
        """Whether it holds a message that kombu can give back."""
        try:
            message, _, _ = stock.loads(record)
            self._checked(message)
        except Exception:  # noqa: BLE001 - no JSON, no envelope, too deep
            return False
        return True

    def _take(self, queues: Iterable[str]) -> list[Any]:
        """Return the script's call; whole, not by its hash: 1 kB more, and a restarted server knows it."""
        pairs = [(self._q_for_pri(queue, step), queue) for step in self.priority_steps for queue in queues]
        keys = [self.unacked_key, self.unacked_index_key, *(key for key, _ in pairs)]
        names = [json.dumps(queue) for _, queue in pairs]
        return ["EVAL", TAKE, len(keys), *(self.global_keyprefix + key for key in keys), uuid(), *names]

    def _unpacked(self, tag: bytes, name: bytes, item: bytes) -> tuple[str, dict[str, Any] | None]:
        """Return the queue, and the message under its new tag; None if it was none and is set aside."""
        queue = json.loads(name)
        try:
            if self.largest is not None and excess(item, limit=self.largest):
                raise ValueError  # noqa: TRY301 - one answer to whatever is wrong with it
            message = stock.loads(item)
            message["properties"]["delivery_tag"] = tag.decode()
            self._checked(message)
        except Exception:  # noqa: BLE001 - no JSON, no envelope, too deep
            self.set_aside(tag, queue, item)
            return queue, None
        self.connection.taken = tag.decode()
        return queue, message

    def _checked(self, message: Any) -> None:
        """Raise if kombu or Celery would fail on the envelope, when it is taken or given back."""
        self.Message(message, channel=self)
        properties = message["properties"]
        parts = message["body"], message.get("headers", {}), properties.get("delivery_info", {})
        if [type(part) for part in parts] != [str, dict, dict]:
            raise TypeError
        self._get_message_priority(message)  # fails on infinity, and kombu then loses what it gives back

    def _settle(self) -> None:
        """Drop the record of a message whose consumer acknowledges nothing."""
        tag, self.connection.taken = self.connection.taken, None
        if tag is not None:
            self.qos.forget(tag)

    def _restore_without_event_loop(self) -> None:
        """Do what kombu has a timer for: without an event loop (gevent, a plain consumer) none runs."""
        now = monotonic()
        if not hasattr(self.connection.cycle, "_restore_messages_tref") and now > self._restored_at:
            self._restored_at = now + self.unacked_restore_interval
            self.connection.cycle.maybe_restore_messages()


class SentinelChannel(Channel, stock.SentinelChannel):
    """A channel on the Redis that Sentinel names."""

    from_transport_options = (*stock.SentinelChannel.from_transport_options, *OPTIONS)


class Transport(stock.Transport):
    """kombu's Redis transport, which loses no message."""

    Channel = Channel
    taken: str | None = None  # a tag that the script has recorded, and no consumer has


class SentinelTransport(Transport, stock.SentinelTransport):
    """The same transport for a Redis behind Sentinel."""

    Channel = SentinelChannel


LOSSLESS: dict[Any, Any] = {stock.Transport: Transport, stock.SentinelTransport: SentinelTransport}


class Connection(kombu.Connection):
    """A connection by any of kombu's URLs; where the broker is Redis, it loses no message."""

    @override
    def get_transport_cls(self) -> Any:
        """Return ours in the place of kombu's Redis transports."""
        transport = super().get_transport_cls()
        return LOSSLESS.get(transport, transport)


class AMQP(amqp.AMQP):
    """What makes a Celery app use ``Connection``."""

    Connection = Connection
    BrokerConnection = Connection


def _parts(record: bytes) -> tuple[str, bytes]:
    """Return the queue and the item of a record that is no JSON; no queue if the script did not write it."""
    item, found, queue = record[1:-1].rpartition(b',"",')
    try:
        return (str(json.loads(queue)), item) if found else ("", record)
    except ValueError:
        return "", record
