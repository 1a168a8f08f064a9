"""How a delivery stands: all that may end its next try or hold it back, read in one round trip."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import redis

from softbounce.core.records import Json
from softbounce.store.connection import node, reaching, when
from softbounce.store.controls import Mode, breaker_in, modes_in, workers_in
from softbounce.store.keys import Keys
from softbounce.store.retries import (
    Story,
    cancel_fields,
    cap_fields,
    counts_in,
    end_of,
    pause_fields,
    suppression_fields,
    times_in,
)
from softbounce.store.suppressions import Verdict, verdict_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One delivery with its history, and what the store holds for and against its next try."""

    story: Story
    at: int  # the moment (ms) that is asked about; may be still to come
    end: Json | None  # what will end the try if it waits until ``at``: {"state", "by", "reason", "a"}
    verdict: Verdict  # whether its recipient may be sent to, as of the store's own time
    modes: tuple[Mode, ...]  # of all, then those of merchants that differ
    pauses: Mapping[str, Json]  # those that cover the delivery, by their field; some may have ended
    breaker: Json  # the head of its provider's breaker; empty: nothing is known
    left: Mapping[str, list[int]]  # when resends left (ms), by the field that a cap counts by
    soft_bounces: tuple[int, ...]  # when its recipient's were (ms), the oldest first
    workers: tuple[str, ...]  # those that were heard of within the last minute of the store's own time


def situation_of(client: redis.Redis, keys: Keys, story: Story, *, at: int) -> Situation:
    """Read what bears on a delivery at a moment (ms); reads only, so the operators' user may ask."""
    delivery = story.delivery
    cancels, pauses, caps = cancel_fields(delivery), pause_fields(delivery), cap_fields(delivery)
    meta = keys.fixed("meta")
    with reaching(), node(client, meta) as server:
        pipe = server.pipeline(transaction=False)
        pipe.hget(meta, "now")
        pipe.time()
        pipe.hmget(keys.fixed("cancels"), cancels)
        pipe.hmget(keys.fixed("suppressions"), suppression_fields(delivery))
        pipe.hmget(keys.fixed("pauses"), [*pauses, f"recipient:{delivery.rid}"])
        pipe.hmget(keys.fixed("sent"), [*caps, ""])  # HMGET wants at least one name
        pipe.hget(keys.fixed("breakers"), delivery.provider)
        pipe.hget(keys.fixed("standing"), delivery.rid)
        pipe.hgetall(keys.fixed("modes"))
        pipe.hgetall(keys.fixed("workers"))
        virtual, time, cancelled, listed, paused, sent, breaker, counts, modes, workers = pipe.execute()
    now, _ = when(virtual, time)
    *covering, own = cast("list[bytes | None]", paused)
    return Situation(
        story=story,
        at=at,
        end=end_of(delivery, zip(cancels, cancelled, strict=True), listed, now=at),
        verdict=verdict_on(delivery.rid, listed, own, now=now),
        modes=tuple(modes_in(modes)),
        pauses={
            field: json.loads(raw) for field, raw in zip(pauses, covering, strict=True) if raw is not None
        },
        breaker=breaker_in(breaker)[0] if breaker else {},
        left={field: times_in(raw) for field, raw in zip(caps, sent[:-1], strict=True)},
        soft_bounces=tuple(int(at) for _, at in counts_in(counts)["soft_bounces"]),
        workers=tuple(workers_in(workers, now=now)),
    )
