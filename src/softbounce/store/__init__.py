"""All state of softbounce, and every change of it. No other package knows Redis."""

import json
import secrets
from functools import cached_property
from typing import cast

import redis

from softbounce.core.policy.model import Policy
from softbounce.errors import UnsafeStore
from softbounce.store import connection
from softbounce.store.audit import Audit
from softbounce.store.benchmark import Benchmark
from softbounce.store.breakers import Breakers
from softbounce.store.cancels import Cancels
from softbounce.store.cases import Cases
from softbounce.store.connection import StoreFacts, as_text, hash_field, reaching, whole_hash
from softbounce.store.dead_letters import DeadLetters
from softbounce.store.erasure import Erasure
from softbounce.store.hash_key import HashKey
from softbounce.store.inbox import Entry, EventStream
from softbounce.store.incidents import Incidents
from softbounce.store.keys import SWEPT, Keys
from softbounce.store.ledger import Accepted, Caller, Claimed, Ended, Finish, Lease, Ledger
from softbounce.store.limits import (
    LEAST_LAGS,
    ODDITIES,
    ODDITY_KEPT,
    PRESUMED_AFTER,
    SWEEP_BATCH,
    SWEEP_ROUNDS,
)
from softbounce.store.modes import Modes
from softbounce.store.notices import Notice, Notices
from softbounce.store.outbox import OutStream
from softbounce.store.pauses import Pauses
from softbounce.store.policies import Policies
from softbounce.store.receipts import Receipts
from softbounce.store.retries import Retries
from softbounce.store.scripts import Script
from softbounce.store.situations import Situation, Situations
from softbounce.store.suppressions import Suppressions, Verdict
from softbounce.store.workers import Workers

__all__ = [
    "Accepted", "Caller", "Claimed", "Ended", "Entry", "Finish", "Lease", "Notice", "Situation", "Store",
    "StoreFacts", "Verdict",
]  # fmt: skip


class Store:
    """One namespace of one Redis or Valkey. It connects at the first call."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "default",
        pii_key: bytes | None = None,
        keep_addresses: bool = True,
        replicas: int = 0,
    ) -> None:
        """Use ``client``. ``pii_key`` replaces the hash key in the store; all clients then need the same one.

        ``replicas``: a report, a suppression or a cancel counts as stored when so many replicas have it.
        """
        self._client = client
        self._keep_addresses = keep_addresses
        self._replicas = replicas
        self.keys = Keys(namespace)
        self._hash_key = HashKey(client, self.keys, given=pii_key)
        self._sweep = Script("sweep")

    @classmethod
    def open(
        cls,
        url: str,
        *,
        namespace: str = "default",
        pii_key: bytes | None = None,
        keep_addresses: bool = True,
        replicas: int = 0,
    ) -> "Store":
        """Return the store at any URL that ``SOFTBOUNCE_REDIS_URL`` takes."""
        return cls(
            connection.connect(url),
            namespace=namespace,
            pii_key=pii_key,
            keep_addresses=keep_addresses,
            replicas=replicas,
        )

    @property
    def key(self) -> bytes:
        """The hash key of recipients. Raises ``WrongKey``, ``StoreUnreachable``."""
        return self._hash_key.value

    def keep_key(self) -> bool:
        """Write the hash key into a store that has lost it; return whether it had. Raises ``WrongKey``."""
        return self._hash_key.keep()

    @cached_property
    def ledger(self) -> Ledger:
        """Accept, claim, finish."""
        return Ledger(
            self._client,
            self.keys,
            key=self.key,
            keep_addresses=self._keep_addresses,
            replicas=self._replicas,
        )

    @cached_property
    def retries(self) -> Retries:
        """Waiting retries, and what happened to a message."""
        return Retries(self._client, self.keys)

    @cached_property
    def situations(self) -> Situations:
        """How deliveries stand, and what keeps them from leaving."""
        return Situations(self._client, self.keys)

    @cached_property
    def suppressions(self) -> Suppressions:
        """The suppression list."""
        return Suppressions(
            self._client,
            self.keys,
            key=self._hash_key,
            keep_addresses=self._keep_addresses,
            replicas=self._replicas,
        )

    @cached_property
    def cases(self) -> Cases:
        """Cases that a person must look at."""
        return Cases(self._client, self.keys)

    @cached_property
    def incidents(self) -> Incidents:
        """Suppressions that the brake made provisional."""
        return Incidents(self._client, self.keys)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Input that could not be read."""
        return DeadLetters(self._client, self.keys)

    @cached_property
    def audit(self) -> Audit:
        """Who changed what, and why."""
        return Audit(self._client, self.keys, replicas=self._replicas)

    @cached_property
    def modes(self) -> Modes:
        """Whether retries leave."""
        return Modes(self._client, self.keys, audit=self.audit)

    @cached_property
    def pauses(self) -> Pauses:
        """What a person has paused."""
        return Pauses(self._client, self.keys, audit=self.audit, key=self._hash_key)

    @cached_property
    def cancels(self) -> Cancels:
        """What is cancelled."""
        return Cancels(audit=self.audit, key=self._hash_key)

    @cached_property
    def breakers(self) -> Breakers:
        """Which providers get no resends for a while."""
        return Breakers(self._client, self.keys, audit=self.audit)

    @cached_property
    def workers(self) -> Workers:
        """Which workers run."""
        return Workers(self._client, self.keys)

    @cached_property
    def policies(self) -> Policies:
        """Policy revisions, and the applied one."""
        return Policies(self._client, self.keys, replicas=self._replicas)

    @cached_property
    def erasure(self) -> Erasure:
        """Erasure of an address."""
        return Erasure(self._client, self.keys, key=self.key)

    @cached_property
    def notices(self) -> Notices:
        """Notices for the pipeline and for people."""
        return Notices(self._client, self.keys)

    @cached_property
    def events(self) -> EventStream:
        """The stream of reports."""
        return EventStream(self._client, self.keys, replicas=self._replicas)

    @cached_property
    def receipts(self) -> Receipts:
        """Commands that a receiver has acted on."""
        return Receipts(self._client, self.keys)

    @cached_property
    def benchmark(self) -> Benchmark:
        """The whole namespace, for a benchmark."""
        return Benchmark(self._client, self.keys)

    def stream(self, key: str) -> OutStream:
        """Return a stream to the pipeline by its key."""
        return OutStream(self._client, self.keys, key)

    def facts(self) -> StoreFacts:
        """Return what INFO says of the server."""
        return connection.facts(self._client, self.keys.fixed("meta"))

    def require_safe(self) -> None:
        """Raise ``UnsafeStore`` if the server may evict our state."""
        if faults := self.facts().faults:
            raise UnsafeStore("; ".join(faults))

    def epoch(self) -> str:
        """Return the store's random id, made once; if it changes, the state was lost."""
        meta = self.keys.fixed("meta")
        known = hash_field(self._client, meta, "epoch")
        if known is None:
            with reaching():
                *_, known = Script("set_once")(self._client, self.keys, ["epoch", secrets.token_hex(8), ""])
        return cast("bytes", known).decode()

    def found_again(self) -> str:
        """Set up a store that has lost its state with the known hash key, and return its new epoch.

        So exported hashes stay valid. Raises ``WrongKey`` if another process has set another key.
        """
        self.keep_key()
        return self.epoch()

    def require_writable(self) -> None:
        """Raise ``StoreUnreachable`` if the server takes no writes. A full store counts as writable."""
        with reaching():
            self._client.hdel(self.keys.fixed("meta"), "")

    def now(self) -> int:
        """Return the store's time in ms, which may be virtual."""
        return self.clock()[0]

    def clock(self) -> tuple[int, bool]:
        """Return the store's time in ms, and whether it is virtual."""
        with reaching():
            return connection.store_time(self._client, self.keys.fixed("meta"))

    def set_now(self, moment: int | None) -> None:
        """Set the virtual time (ms) for demo and tests; None: back to the server's time."""
        with reaching():
            if moment is None:
                self._client.hdel(self.keys.fixed("meta"), "now")
            else:
                self._client.hset(self.keys.fixed("meta"), "now", moment)

    def idle_at(self) -> int:
        """Return when a claim last found nothing due (ms), 0 if never."""
        return int(hash_field(self._client, self.keys.fixed("meta"), "idle") or 0)

    def sweep(self, *, policy: Policy, count: int = SWEEP_BATCH) -> int:
        """Delete expired fields of the swept hashes; returns the number.

        It checks about ``count`` fields of each hash, and goes on while a tenth of them had expired, at most
        100 times. So about a tenth of all fields are expired ones at most, and no call takes long.
        """
        silence = PRESUMED_AFTER if policy.feedback == "none" else 0
        kept = policy.retention
        periods = {
            "dedupe": kept.dedupe,
            "cancelled": kept.cancelled,
            "audit": kept.audit,
            "history": max(kept.history, kept.dedupe),
            "grace": policy.unanswered_after,
            "silence": silence,
        }
        gone = 0
        with reaching():
            for name in SWEPT:
                options = json.dumps({**periods, "name": name, "count": count})
                for _ in range(SWEEP_ROUNDS):
                    ended = cast("int", self._sweep(self._client, self.keys, [options], target=name))
                    gone += ended
                    if ended * 10 < count:
                        break
        return gone

    def counters(self) -> dict[str, int]:
        """Return how many events had each outcome so far, and how many retries were handed over."""
        found = whole_hash(self._client, self.keys.fixed("counters"))
        return {name.decode(): int(value) for name, value in sorted(found.items())}

    def sources(self, *, now: int) -> dict[str, tuple[int, dict[str, int]]]:
        """Return of each source of reports the smallest lag (s) of its last ones, and what was odd.

        The lag is 0 where fewer than five had a date. Odd are ``misdated``, ``no_zone``, ``repeated_id``:
        how many, where the last was seen within a week.
        """
        found = whole_hash(self._client, self.keys.fixed("sources"))
        told = {}
        for name, raw in sorted(found.items()):
            entry = json.loads(raw)
            odd = {key: entry[key] for key in ODDITIES if key in entry}
            told[as_text(name)] = (
                min(entry["l"]) if len(entry["l"]) >= LEAST_LAGS else 0,
                {key: count for key, (count, last) in odd.items() if last + ODDITY_KEPT > now},
            )
        return told

    def unanswered(self) -> list[tuple[str, str, int]]:
        """Return merchant, channel and how many resends had no answer, where nobody reports arrivals."""
        found = whole_hash(self._client, self.keys.fixed("feedback"))
        rows = [(*as_text(name).split("\n"), json.loads(raw)) for name, raw in sorted(found.items())]
        named = {channel for merchant, channel, entry in rows if not merchant and "a" in entry}
        return [(who, where, entry["n"]) for who, where, entry in rows if "n" in entry and where not in named]

    def sizes(self) -> dict[str, int]:
        """Return the numbers of retries (scheduled includes leased), notices, suppressions and so on."""
        with reaching():
            pipe = self._client.pipeline(transaction=False)
            now = self.now()
            pipe.zcard(self.keys.fixed("schedule"))
            pipe.zcount(self.keys.fixed("schedule"), "-inf", now)
            pipe.zcard(self.keys.fixed("ready"))
            pipe.zcard(self.keys.fixed("notices"))
            pipe.hlen(self.keys.fixed("suppressions"))
            pipe.hget(self.keys.fixed("meta"), "consent_fields")
            pipe.hlen(self.keys.fixed("open_cases"))
            pipe.hlen(self.keys.fixed("dead_letters"))
            names = (
                "scheduled", "due", "ready", "notices", "suppressions", "consent_fields", "open_cases",
                "dead_letters",
            )  # fmt: skip
            sizes = dict(zip(names, map(int, (found or 0 for found in pipe.execute())), strict=True))
        sizes["suppressions"] -= sizes.pop("consent_fields")  # which only mirror entries
        return sizes

    def next_due(self) -> int | None:
        """Return when the next retry is due or a lease ends (ms); None if nothing waits."""
        with reaching():
            schedule = self.keys.fixed("schedule")
            oldest = cast("list[tuple[bytes, float]]", self._client.zrange(schedule, 0, 0, withscores=True))
        return int(oldest[0][1]) if oldest else None

    def overdue(self) -> int:
        """Return by how many ms the oldest due retry is late, 0 if none is.

        Of the retries that wait for the hand-over rate it samples 1,000; with more it is an estimate.
        """
        with reaching():
            places = cast("list[bytes]", self._client.zrandmember(self.keys.fixed("ready"), 1000) or [])
        dues = self.retries.dues([place.decode().rpartition("\n")[2] for place in places])
        if (due := self.next_due()) is not None:
            dues.append(due)
        return max(0, self.now() - min(dues)) if dues else 0

    def close(self) -> None:
        """Close the connections."""
        connection.close(self._client)
