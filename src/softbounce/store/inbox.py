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
from softbounce.store.connection import clock, confirm, node, reaching, when
from softbounce.store.keys import Keys
from softbounce.store.limits import FULL, READ_BYTES, REPLIES, REPLY_BATCH, REPLY_KEPT, STRIKES_WITHIN
from softbounce.store.scripts import Script

GROUP = "softbounce"
BLOCK_MS = 1000  # a blocking read; shorter than the socket's timeout, see connection
_ORDINARY = MAX_BYTES + 4096  # bytes of an entry; a larger one is read by itself
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROBE_EVERY = 5000  # events between two looks at the store's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One unread event: its bytes as the producer gave them, and how often it was delivered to a worker.

    Of an event above 256 KiB ``raw`` is the first 64 KiB, and ``letter`` the dead letter that it becomes.
    """

    id: str
    raw: bytes
    reply: str | None
    deliveries: int
    letter: DeadLetter | None = None


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
        self._next, self._take_over, self._answer = Script("read"), Script("take_over"), Script("answer")
        self.made_again = 0  # how often the group was gone, and with it what was read and not acknowledged

    def publish(self, raws: Sequence[bytes], *, reply: str | None = None) -> list[str]:
        """Append events, in order, and return their entry ids. Never trims: MAXLEN would drop unread ones.

        ``reply``: a token of 1 to 64 letters, digits, ``_`` and ``-``, to wait for the outcomes with.
        Raises ``StoreUnreachable``; ``Overloaded`` above 90 % of its memory (looked at every 5,000 events).
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
        """Return at most ``count`` new events and the store's time (ms), in one round trip.

        They have about 2 MiB at most, or are fewer; an entry above 260 KiB costs a round trip of its own.
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
            pipe.expire(key, STRIKES_WITHIN // SECOND)
            return cast("int", pipe.execute()[0])

    def pardon(self, message: bytes) -> None:
        """Forget the strikes: it was given back, and killed nobody."""
        with reaching():
            self._client.delete(self._strikes(message))

    def _strikes(self, message: bytes) -> str:
        return self._keys.strike(hashlib.blake2b(message, digest_size=16).hexdigest())

    def _read(self, consumer: str, *, count: int, block_ms: int) -> tuple[list[Entry], int]:
        meta = self._keys.fixed("meta")
        is_cluster = isinstance(self._client, redis.RedisCluster)  # there the clock is another node's
        with node(self._client, self.key) as server:
            pipe = server.pipeline(transaction=False)
            if block_ms:  # a script cannot wait: one entry wakes us, and the script takes what is behind it
                pipe.xreadgroup(GROUP, consumer, {self.key: ">"}, count=1, block=block_ms)
                count -= 1
            pipe.eval(self._next.text, 1, self.key, GROUP, consumer, count, READ_BYTES, _ORDINARY)
            if not is_cluster:
                pipe.hget(meta, "now")
                pipe.time()
            answers = pipe.execute()
        woken = answers.pop(0) if block_ms else None
        found, *time = answers
        now, _ = clock(self._client, meta) if is_cluster else when(*time)
        return [*_first(woken), *self._entries(found, repeat(1))], now

    def reclaim(self, consumer: str, *, idle_ms: int, count: int) -> list[Entry]:
        """Take over events that another worker read ``idle_ms`` ago and never acknowledged."""
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
        """Return what ``entries.lua`` answers; what it leaves out is read one by one, so that one is held."""
        entries = []
        triples = zip(found[::3], found[1::3], found[2::3], deliveries, strict=False)
        for entry_id, event, reply, times in triples:
            if event is not None:
                entries.append(Entry(id=entry_id.decode(), raw=event, reply=_token(reply), deliveries=times))
                continue
            for _, fields in cast("list[Any]", self._client.xrange(self.key, entry_id, entry_id)):
                entries.append(_entry(entry_id, fields, deliveries=times))  # none where it was deleted
        return entries

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
                keys = tuple(self._keys.reply(token) for token, _ in waiting)
                texts = [json.dumps(reply, ensure_ascii=False) for _, reply in waiting]
                with suppress(exceptions.ResponseError):  # the report is safe, its reply is a courtesy
                    self._answer(self._client, self._keys, [REPLY_KEPT // SECOND, REPLIES, *texts], more=keys)
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
        """Yield at most ``count`` outcomes as they arrive; ends after ``seconds`` without one, 0: at once."""
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


def _first(streams: Any) -> list[Entry]:  # noqa: ANN401 - a list of streams, or a mapping by RESP3
    found = streams.items() if isinstance(streams, Mapping) else streams or []
    return [
        _entry(entry_id, fields, deliveries=1)
        for _, messages in found
        for entry_id, fields in _flat(messages)
    ]


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
    """Return the token by which a producer waits; None where it is none: nobody can wait by it."""
    text = reply.decode("ascii", "replace") if reply else ""
    return text if _TOKEN.fullmatch(text) else None
