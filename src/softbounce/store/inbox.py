"""The stream of events that producers report."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Any, cast

import redis
from redis import exceptions

from softbounce.core.decide import DeadLetter, dead_letter
from softbounce.core.durations import SECOND
from softbounce.core.strict_json import MAX_BYTES
from softbounce.errors import InvalidEvent, Overloaded
from softbounce.store.connection import as_text, confirm, node, reaching, store_time, time_in
from softbounce.store.keys import Keys
from softbounce.store.limits import FULL, READ_BYTES, REPLIES, REPLY_BATCH, REPLY_KEPT, STRIKES_WITHIN
from softbounce.store.scripts import Script

GROUP = "softbounce"
BLOCK_MS = 1000  # a blocking read waits so long; less than the socket's timeout in connection
_ORDINARY = MAX_BYTES + 4096  # an entry with more bytes is read alone
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROBE_EVERY = 5000  # the store's memory is checked after so many events


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One unread event: the producer's bytes, and how often it was delivered to a worker.

    Of an event above 256 KiB ``raw`` has the first 64 KiB, and ``letter`` is its dead letter.
    """

    id: str
    raw: bytes
    reply: str | None
    deliveries: int
    letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How many events wait for the workers."""

    unread: int
    pending: int


class EventStream:
    """The stream ``softbounce:events``, each entry with a field ``event``, read by one consumer group."""

    def __init__(self, client: redis.Redis, keys: Keys, *, replicas: int = 0) -> None:
        self._client, self._keys, self._replicas = client, keys, replicas
        self.key = keys.stream("events")
        self._since_probe = _PROBE_EVERY
        self._next, self._take_over, self._answer = Script("read"), Script("take_over"), Script("answer")
        self.made_again = 0  # how often the group was lost, with all unacknowledged entries

    def publish(self, raws: Sequence[bytes], *, reply: str | None = None) -> list[str]:
        """Append events in order; returns their entry ids. MAXLEN is not used, it would drop unread events.

        ``reply``: a token (1 to 64 letters, digits, ``_``, ``-``), by which ``wait_replies`` gets outcomes.
        Raises ``StoreUnreachable``, and ``Overloaded`` above 90 % of maxmemory (checked every 5,000 events).
        """
        if reply is not None and not _TOKEN.fullmatch(reply):
            reason = "must be 1 to 64 letters, digits, _ or -"
            raise InvalidEvent(reason, "reply")
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
        if limit and int(info["used_memory"]) > FULL * limit:
            msg = "the store is above 90 % of maxmemory: let the workers drain it, or raise maxmemory"
            raise Overloaded(msg)

    def read(self, consumer: str, *, count: int, block_ms: int = BLOCK_MS) -> tuple[list[Entry], int]:
        """Return at most ``count`` new events, about 2 MiB, and the store's time (ms), by one round trip.

        An entry above 260 KiB costs one more round trip. ``block_ms`` 0 does not wait. A missing group is
        made to read from 0, so that reports from before the first worker count.
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
        """Make the consumer group and the stream if they do not exist."""
        with reaching():
            Script("group")(self._client, self._keys, [GROUP], more=(self.key,))

    def strike(self, message: bytes) -> int:
        """Count a delivery of a message by a broker; returns the number of deliveries within 72 hours."""
        with reaching():
            key = self._strikes(message)
            pipe = self._client.pipeline(transaction=True)
            pipe.incr(key)
            pipe.expire(key, STRIKES_WITHIN // SECOND)
            return cast("int", pipe.execute()[0])

    def pardon(self, message: bytes) -> None:
        """Reset the count of a message that was requeued on purpose."""
        with reaching():
            self._client.delete(self._strikes(message))

    def _strikes(self, message: bytes) -> str:
        return self._keys.strike(hashlib.blake2b(message, digest_size=16).hexdigest())

    def _read(self, consumer: str, *, count: int, block_ms: int) -> tuple[list[Entry], int]:
        meta = self._keys.fixed("meta")
        is_cluster = isinstance(self._client, redis.RedisCluster)  # there the time comes from another node
        with node(self._client, self.key) as server:
            pipe = server.pipeline(transaction=False)
            if block_ms:  # a script cannot block: wait for one entry here, the script reads the rest
                pipe.xreadgroup(GROUP, consumer, {self.key: ">"}, count=1, block=block_ms)
                count -= 1
            pipe.eval(self._next.text, 1, self.key, GROUP, consumer, count, READ_BYTES, _ORDINARY)
            if not is_cluster:
                pipe.hget(meta, "now")
                pipe.time()
            answers = pipe.execute()
        woken = answers.pop(0) if block_ms else None
        found, *time = answers
        now, _ = store_time(self._client, meta) if is_cluster else time_in(*time)
        return [*_first(woken), *self._entries(found, repeat(1))], now

    def reclaim(self, consumer: str, *, idle_ms: int, count: int) -> list[Entry]:
        """Take over events that another worker read ``idle_ms`` ago and did not acknowledge."""
        words = [GROUP, consumer, idle_ms, count, READ_BYTES, _ORDINARY]
        with reaching():
            try:
                found, deliveries = self._take_over(self._client, self._keys, words, more=(self.key,))
            except exceptions.ResponseError as error:
                if "NOGROUP" in str(error):
                    return []
                raise
            return self._entries(found, deliveries)

    def _entries(self, found: list[Any], deliveries: Iterable[int]) -> list[Entry]:
        """Return the entries that ``entries.lua`` answers; large ones, which it omits, are read singly."""
        entries = []
        triples = zip(found[::3], found[1::3], found[2::3], deliveries, strict=False)
        for entry_id, event, reply, times in triples:
            if event is not None:
                entries.append(Entry(id=entry_id.decode(), raw=event, reply=_token(reply), deliveries=times))
                continue
            for _, fields in cast("list[Any]", self._client.xrange(self.key, entry_id, entry_id)):
                entries.append(_entry(entry_id, fields, deliveries=times))  # empty if the entry was deleted
        return entries

    def forget_consumers(self, *, idle_ms: int) -> None:
        """Remove stopped workers from the group: each start of a worker uses a new name."""
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
        """Delete and acknowledge entries in one step, also when memory is full.

        ``replies``: outcomes by entry id, for producers that wait. They are sent first, so that none is lost.
        Each has the entry's id as ``entry``, because several workers reply in any order.
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
                keys = tuple(self._keys.reply(token) for token, _ in waiting)
                texts = [json.dumps(reply, ensure_ascii=False) for _, reply in waiting]
                with suppress(exceptions.ResponseError):  # the report is stored; a lost reply is acceptable
                    self._answer(self._client, self._keys, [REPLY_KEPT // SECOND, REPLIES, *texts], more=keys)
            Script("acknowledge")(self._client, self._keys, [GROUP, *ids], more=(self.key,))

    def defer(self, entries: Sequence[Entry], consumer: str) -> None:
        """Leave entries to a worker that takes them over later; this delivery counts as no strike."""
        with reaching():
            ids: list[Any] = [entry.id for entry in entries]
            self._client.xclaim(self.key, GROUP, consumer, 0, ids, idle=0, retrycount=0, justid=True)

    def lag(self) -> Lag:
        """Return the number of unread events, and of those that are read but not acknowledged."""
        with reaching():
            length = self._client.xlen(self.key)
            try:
                pending = self._client.xpending(self.key, GROUP)
            except exceptions.ResponseError:
                return Lag(unread=length, pending=0)
        held = int(pending["pending"])
        return Lag(unread=max(0, length - held), pending=held)

    def wait_replies(self, token: str, *, count: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield at most ``count`` outcomes as they arrive; end after ``seconds`` without one."""
        key = self._keys.reply(token)
        while count > 0:
            with reaching():
                wanted = min(count, REPLY_BATCH)
                found = cast("list[bytes] | None", self._client.lpop(key, wanted))
                if not found and seconds > 0:
                    one = cast("list[bytes] | None", self._client.blpop([key], timeout=min(seconds, 9.0)))
                    found = one[1:] if one else None
            if not found:
                return
            count -= len(found)
            yield from map(json.loads, found)


def _first(streams: Any) -> list[Entry]:  # noqa: ANN401 - a list, in RESP3 a mapping
    found = streams.items() if isinstance(streams, Mapping) else streams or []
    entries = (entry for _, messages in found for entry in _flat(messages))
    return [_entry(entry_id, fields, deliveries=1) for entry_id, fields in entries]


def _flat(messages: Any) -> list[Any]:  # noqa: ANN401 - RESP3 has one more list around it
    inner = messages[0] if messages else None
    return inner if isinstance(inner, list) and inner and isinstance(inner[0], list | tuple) else messages


def _as_json(fields: dict[bytes, bytes]) -> bytes:
    """Return the fields of an entry without the field ``event`` as JSON, for its dead letter."""
    return json.dumps({as_text(name): as_text(value) for name, value in fields.items()}).encode()


def _entry(entry_id: bytes, fields: dict[bytes, bytes], *, deliveries: int) -> Entry:
    raw, letter = fields[b"event"] if b"event" in fields else _as_json(fields), None
    if len(raw) > MAX_BYTES:
        letter = dead_letter(raw, InvalidEvent(f"is larger than {MAX_BYTES // 1024} KiB"))
        raw = letter.raw
    return Entry(
        id=entry_id.decode(),
        raw=raw,
        reply=_token(fields.get(b"reply")),
        deliveries=deliveries,
        letter=letter,
    )


def _token(reply: bytes | None) -> str | None:
    """Return the token by which a producer waits; None if it is missing or malformed."""
    text = reply.decode("ascii", "replace") if reply else ""
    return text if _TOKEN.fullmatch(text) else None
