"""The stream of events that producers report."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis import exceptions

from softbounce.errors import Overloaded
from softbounce.store.connection import clock, confirm, node, reaching, when
from softbounce.store.keys import Keys
from softbounce.store.scripts import Script

GROUP = "softbounce"
BLOCK_MS = 1000  # a blocking read; shorter than the socket's timeout, see connection
_FULL = 0.9  # of maxmemory: producers are told, intake goes on
_REPLY_TTL = 600  # seconds
_STRIKES_WITHIN = 72 * 3600  # seconds
_PROBE_EVERY = 5000  # events between two looks at the store's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One unread event: its bytes as the producer gave them, and how often it was delivered to a worker."""

    id: str
    raw: bytes
    reply: str | None
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What waits in front of the workers."""

    unread: int
    pending: int


class EventStream:
    """The intake: ``XADD softbounce:events * event JSON``, read by one consumer group that starts at 0."""

    def __init__(self, client: redis.Redis, keys: Keys, *, replicas: int = 0) -> None:
        self._client = client
        self._keys = keys
        self._replicas = replicas
        self.key = keys.stream("events")
        self._since_probe = _PROBE_EVERY
        self.made_again = 0  # how often the group was gone, and with it what was read and not acknowledged

    def publish(self, raws: Sequence[bytes], *, reply: str | None = None) -> list[str]:
        """Append events, in order, and return their entry ids. Never trims: MAXLEN would drop unread ones.

        Raises ``StoreUnreachable``; ``Overloaded`` above 90 % of its memory (looked at every 5,000 events).
        """
        with reaching():
            self._since_probe += len(raws)
            if self._since_probe >= _PROBE_EVERY:
                self._since_probe = 0
                self._refuse_when_full()
            with node(self._client, self.key) as server:
                pipe = server.pipeline(transaction=False)
                for raw in raws:
                    fields: dict[Any, Any] = {"event": raw}
                    if reply:
                        fields["reply"] = reply
                    pipe.xadd(self.key, fields)
                return [cast("bytes", entry).decode() for entry in confirm(pipe, self._replicas)]

    def _refuse_when_full(self) -> None:
        try:
            with node(self._client, self.key) as server:
                info = server.info("memory")
        except exceptions.ResponseError:  # fakeredis, or INFO is forbidden
            return
        limit = int(info.get("maxmemory", 0))
        if limit and int(info["used_memory"]) > _FULL * limit:
            msg = "the store is above 90 % of maxmemory: let the workers drain it, or raise maxmemory"
            raise Overloaded(msg)

    def read(self, consumer: str, *, count: int, block_ms: int = BLOCK_MS) -> tuple[list[Entry], int]:
        """Return at most ``count`` new events and the store's time (ms), in one round trip.

        ``block_ms`` 0 does not wait. A missing group is made, from 0: reports before the first worker count.
        """
        with reaching():
            try:
                return self._read(consumer, count=count, block_ms=block_ms)
            except exceptions.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
            self.made_again += 1
            self.make_group()
            return self._read(consumer, count=count, block_ms=block_ms)

    def make_group(self) -> None:
        """Make the consumer group and the stream unless they exist."""
        with reaching():
            Script("group")(self._client, self._keys, [GROUP], more=(self.key,))

    def strike(self, message: bytes) -> int:
        """Count one more delivery of what a broker delivers again; returns how many within 72 hours."""
        with reaching():
            key = self._strikes(message)
            pipe = self._client.pipeline(transaction=True)
            pipe.incr(key)
            pipe.expire(key, _STRIKES_WITHIN)
            return cast("int", pipe.execute()[0])

    def pardon(self, message: bytes) -> None:
        """Forget the strikes: it was given back, and killed nobody."""
        with reaching():
            self._client.delete(self._strikes(message))

    def _strikes(self, message: bytes) -> str:
        return self._keys.strike(hashlib.blake2b(message, digest_size=16).hexdigest())

    def _read(self, consumer: str, *, count: int, block_ms: int) -> tuple[list[Entry], int]:
        meta = self._keys.fixed("meta")
        if isinstance(self._client, redis.RedisCluster):  # the clock is another node's: one round trip more
            streams = self._client.xreadgroup(
                GROUP, consumer, {self.key: ">"}, count=count, block=block_ms or None
            )
            now, _ = clock(self._client, meta)
        else:
            pipe = self._client.pipeline(transaction=False)
            pipe.xreadgroup(GROUP, consumer, {self.key: ">"}, count=count, block=block_ms or None)
            pipe.hget(meta, "now")
            pipe.time()
            streams, *time = pipe.execute()
            now, _ = when(*time)
        found = streams.items() if isinstance(streams, Mapping) else streams or []
        entries = [
            _entry(entry_id, fields, deliveries=1)
            for _, messages in found
            for entry_id, fields in _flat(messages)
        ]
        return entries, now

    def reclaim(self, consumer: str, *, idle_ms: int, count: int) -> list[Entry]:
        """Take over events that another worker read ``idle_ms`` ago and never acknowledged."""
        with reaching():
            try:
                answer = cast(
                    "Any", self._client.xautoclaim(self.key, GROUP, consumer, idle_ms, "0-0", count=count)
                )
            except exceptions.ResponseError as error:
                if str(error).startswith("NOGROUP"):
                    return []
                raise
            entries = [(entry_id, fields) for entry_id, fields in answer[1] if fields is not None]
            if not entries:
                return []
            pending = cast(
                "list[dict[str, Any]]",
                self._client.xpending_range(
                    self.key, GROUP, entries[0][0], entries[-1][0], count, consumername=consumer
                ),
            )
        strikes = {row["message_id"]: int(row["times_delivered"]) for row in pending}
        return [_entry(entry_id, fields, deliveries=strikes.get(entry_id, 1)) for entry_id, fields in entries]

    def forget_consumers(self, *, idle_ms: int) -> None:
        """Take workers that are gone off the group: each start has a name of its own."""
        with reaching():
            try:
                consumers = self._client.xinfo_consumers(self.key, GROUP)
            except exceptions.ResponseError:  # no stream, or no group yet
                return
            for consumer in consumers:
                if not consumer["pending"] and consumer["idle"] > idle_ms:
                    self._client.xgroup_delconsumer(self.key, GROUP, consumer["name"])

    def ack(
        self, entries: Sequence[Entry], *, replies: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Delete and acknowledge, in one step; also when memory is full.

        ``replies``: outcomes by entry id, for producers that wait; they go out first, so that none is lost,
        and each says as ``entry`` which entry it answers: several workers answer in no order.
        """
        if not entries:
            return
        ids = [entry.id for entry in entries]
        with reaching():
            waiting = [
                (entry.reply, {"entry": entry.id, **(replies or {})[entry.id]})
                for entry in entries
                if entry.reply and entry.id in (replies or {})
            ]
            if waiting:
                pipe = self._client.pipeline(transaction=False)
                for token, reply in waiting:
                    pipe.rpush(self._keys.reply(token), json.dumps(reply, ensure_ascii=False))
                    pipe.expire(self._keys.reply(token), _REPLY_TTL)
                with suppress(exceptions.OutOfMemoryError):  # the report is safe, its reply is a courtesy
                    pipe.execute()
            Script("acknowledge")(self._client, self._keys, [GROUP, *ids], more=(self.key,))

    def defer(self, entries: Sequence[Entry], consumer: str) -> None:
        """Leave entries to whoever takes over what is not acknowledged; this delivery counts as no strike."""
        with reaching():
            ids: list[Any] = [entry.id for entry in entries]
            self._client.xclaim(self.key, GROUP, consumer, 0, ids, idle=0, retrycount=0, justid=True)

    def lag(self) -> Lag:
        """Return how many events are unread, and how many were read and are not yet acknowledged."""
        with reaching():
            length = self._client.xlen(self.key)
            try:
                pending = self._client.xpending(self.key, GROUP)
            except exceptions.ResponseError:
                return Lag(unread=length, pending=0)
        held = int(pending["pending"])
        return Lag(unread=max(0, length - held), pending=held)

    def wait_replies(self, token: str, *, count: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield at most ``count`` outcomes as they arrive; ends after ``seconds`` without one."""
        key = self._keys.reply(token)
        for _ in range(count):
            with reaching():
                found = cast(
                    "tuple[bytes, bytes] | None", self._client.blpop([key], timeout=min(seconds, 9.0))
                )
            if found is None:
                return
            yield json.loads(found[1])


def _flat(messages: Any) -> list[Any]:  # noqa: ANN401 - RESP3 nests the list once more
    return (
        messages[0]
        if messages
        and isinstance(messages[0], list)
        and messages[0]
        and isinstance(messages[0][0], (list, tuple))
        else messages
    )


def _as_json(fields: dict[bytes, bytes]) -> bytes:
    """Return an entry that was added without the field ``event``: what it says is to be kept, too."""
    return json.dumps(
        {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    ).encode()


def _entry(entry_id: bytes, fields: dict[bytes, bytes], *, deliveries: int) -> Entry:
    reply = fields.get(b"reply")
    return Entry(
        id=entry_id.decode(),
        raw=fields[b"event"] if b"event" in fields else _as_json(fields),
        reply=reply.decode("ascii", "replace") if reply else None,
        deliveries=deliveries,
    )
