"""The right to be forgotten: finds an address in the whole store, and erases it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import redis
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from softbounce.core.recipients import hashed, named_in
from softbounce.store.audit import By
from softbounce.store.connection import as_text, reaching
from softbounce.store.dead_letters import letter_of
from softbounce.store.keys import Keys
from softbounce.store.limits import LIST_BATCH
from softbounce.store.scripts import Script
from softbounce.store.suppression_entries import is_mirror

_ROUNDS = 5  # searches at most; records may change between a search and its erasure


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where one address is stored. ``has_block``: it is on the suppression list, perhaps only by its hash."""

    suppressions: list[str]
    deliveries: dict[str, list[Any]]  # id -> recipients before and after, indexes of those that stay
    notices: dict[str, list[Any]]
    dead_letters: list[str]
    damaged: list[str]  # records that are set aside, or will be; they are deleted as a whole
    unreadable: dict[str, list[bytes]]  # deliveries, notices -> name and bytes of each to be set aside
    streamed: list[tuple[str, str, str, str]]  # stream, entry, id, body without the address
    unread: int  # reports that no worker has accepted yet; they are not deleted
    has_block: bool

    def counts(self) -> dict[str, int]:
        """Return the number of places of each kind."""
        return {
            "suppressions": len(self.suppressions),
            "retries": len(self.deliveries),
            "notices": len(self.notices),
            "dead_letters": len(self.dead_letters),
            "damaged_records": len(self.damaged),
            "stream_entries": len(self.streamed),
        }


class Erasure:
    """Finds an address by its keyed hash, in any spelling, also among other recipients."""

    def __init__(self, client: redis.Redis, keys: Keys, *, key: bytes) -> None:
        self._client, self._keys, self._key = client, keys, key
        self._forget, self._set_aside = Script("forget"), Script("set_aside")

    def find(self, rid: str, *, streams: Mapping[str, str]) -> Places:
        """Return where the address of a recipient's hash is stored; reads every record with addresses.

        ``streams``: streams to the pipeline and their fields, ``{"softbounce:resend": "command"}``.
        """
        with reaching():
            blocks = {
                name.decode(): json.loads(raw)
                for name, raw in self._scan("suppressions", match=f"{rid}*")
                if not is_mirror(name)  # it has no address
            }
            unreadable: dict[str, list[bytes]] = {"deliveries": [], "notices": []}
            deliveries = dict(self._shortened("deliveries", rid, unreadable["deliveries"]))
            notices = dict(self._shortened("notice_bodies", rid, unreadable["notices"]))
            damaged = [as_text(name) for name, raw in self._scan("damaged") if self._is_in(raw, rid)]
            damaged += map(as_text, unreadable["deliveries"][::2])
            damaged += (f"notice:{as_text(name)}" for name in unreadable["notices"][::2])
            return Places(
                suppressions=[name for name, entry in blocks.items() if entry.get("address")],
                deliveries=deliveries,
                notices=notices,
                damaged=damaged,
                unreadable=unreadable,
                dead_letters=[
                    ident.decode()
                    for ident, raw in self._scan("dead_letters")
                    if self._is_in(letter_of(ident.decode(), raw).raw, rid)
                ],
                streamed=list(self._streamed(rid, streams)),
                unread=sum(
                    self._is_in(fields.get(b"event", b""), rid)
                    for _, fields in self._entries(self._keys.stream("events"))
                ),
                has_block=bool(blocks),
            )

    def erase(self, rid: str, *, streams: Mapping[str, str], by: By, history_kept: int) -> Places:
        """Erase the address everywhere; waiting retries to it alone end. Returns where it was.

        Its hash and its suppression stay. A dead letter, a damaged record and a stream's entry are deleted as
        a whole; an entry for several recipients is added again without this one, under its id.
        """
        entry = by.entry("forget", f"r_{rid}")
        options = {"history_period": history_kept}
        first: Places | None = None
        for _ in range(_ROUNDS):
            places = self.find(rid, streams=streams)
            if first is not None and not any(places.counts().values()):
                break
            lists = {
                "suppressions": places.suppressions,
                "deliveries": list(places.deliveries.items()),
                "notices": list(places.notices.items()),
                "dead_letters": places.dead_letters,
                "damaged": places.damaged,
            }
            with reaching():
                for kind, raws in places.unreadable.items():
                    if raws:
                        self._set_aside(self._client, self._keys, [kind, *raws])
                self._forget(self._client, self._keys, [json.dumps(entry), json.dumps(options | lists)])
                for stream, ident, name, body in places.streamed:
                    pipe = self._client.pipeline(transaction=True)
                    if body:
                        pipe.xadd(stream, {"id": name, streams[stream]: body})
                    pipe.xdel(stream, ident)
                    pipe.execute()
            entry["action"] = "forget, what came meanwhile"
            first = first or places
        return cast("Places", first)

    def _shortened(self, hash_: str, rid: str, unreadable: list[bytes]) -> Iterator[tuple[str, list[Any]]]:
        """Yield each record with the address: its recipients as written, without it, and indexes that stay.

        Name and bytes of an unreadable record with the address are added to ``unreadable``.
        """
        for ident, raw in self._scan(hash_):
            try:
                *_, text = raw.decode().rsplit("\n", 1)
                recipients = from_json(text, type=list[Any]) if text else []
            except ValueError:
                if self._is_in(raw, rid):
                    unreadable += (ident, raw)
                continue
            kept = [place for place, one in enumerate(recipients, 1) if not self._names(one, rid)]
            if len(kept) < len(recipients):
                left = to_json([recipients[place - 1] for place in kept]).decode() if kept else ""
                yield ident.decode(), [text, left, kept]

    def _streamed(self, rid: str, streams: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
        for stream, wanted in streams.items():
            for ident, fields in self._entries(stream):
                try:
                    body = from_json(fields[wanted.encode()])
                    kept = [one for one in body["recipients"] if not self._names(one, rid)]
                except (KeyError, TypeError, ValueError):
                    continue
                if len(kept) < len(body["recipients"]):
                    left = to_json(body | {"recipients": kept}).decode() if kept else ""
                    yield stream, ident.decode(), fields.get(b"id", b"").decode(), left

    def _names(self, value: object, rid: str) -> bool:
        return any(hashed(who, self._key) == rid for who in named_in(value))

    def _is_in(self, raw: bytes, rid: str) -> bool:
        """Whether unreadable input seems to hold the address."""
        text = raw.decode(errors="replace")
        try:
            if self._names(from_json(raw), rid):
                return True
        except ValueError:
            pass
        return self._names(text, rid) or ("%" in text and self._names(unquote(text), rid))

    def _scan(self, name: str, match: str | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self._client.hscan_iter(self._keys.fixed(name), match=match, count=LIST_BATCH)

    def _entries(self, stream: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        after = "-"
        while page := cast("list[Any]", self._client.xrange(stream, min=after, count=LIST_BATCH)):
            yield from page
            after = f"({page[-1][0].decode()}"
