"""How deliveries stand, and what claim would do with each if it alone were due; one script reads it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from softbounce.core.history import HistoryLine, read_lines
from softbounce.core.policy.model import Policy
from softbounce.core.records import Delivery, Json, digest, readable
from softbounce.store.connection import as_text, reaching
from softbounce.store.encoding import gate_options
from softbounce.store.keys import Keys
from softbounce.store.limits import REUSED_AFTER
from softbounce.store.scripts import Script
from softbounce.store.suppressions import Verdict, verdict_on
from softbounce.store.workers import workers_in

ENDINGS = ("delivered", "cancelled", "suppressed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What does not let a due retry pass, see ``gates.lua``.

    ``becomes`` is an outcome, ``held``, ``waiting`` or ``observed``; ``field`` and ``entry`` say so: those of
    a pause, a cancel, an entry on the list, a mode; the field of a cap; the state of a breaker.
    """

    becomes: str
    until: int | None  # ms; of a breaker: when it is probed, or has ramped up
    why: str
    field: str = ""
    entry: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One delivery with everything that happened to it, oldest first."""

    delivery: Delivery
    history: tuple[HistoryLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One delivery with its history, and what the store holds for and against its next try."""

    story: Story
    now: int  # the store's own time (ms)
    at: int  # the moment (ms) that is asked about; may be still to come
    gates: tuple[Gate, ...]  # that will not let the try pass if it waits until ``at``; the first decides
    verdict: Verdict  # whether its recipient may be sent to, as of the store's own time
    soft_bounces: tuple[int, ...]  # when its recipient's were (ms), the oldest first
    workers: tuple[str, ...]  # those that were heard of within the last minute of the store's own time

    @property
    def end(self) -> Gate | None:
        """What will end the try if it waits until ``at``, whatever the policy says."""
        return end_among(self.gates)


def counts_in(raw: bytes | None) -> Json:
    """Return soft bounces as (message, time), reports by code, time of escalation; from ``standing``."""
    known = json.loads(raw) if raw else {}
    return {
        "soft_bounces": list(known.get("m") or ()),
        "reports": {code: list(reports) for code, reports in (known.get("c") or {}).items()},
        "escalated": known.get("x"),
    }


def end_among(gates: Sequence[Gate]) -> Gate | None:
    """Return the first gate that ends a try, whatever the policy says; None where there is none."""
    return next((gate for gate in gates if gate.becomes in ENDINGS), None)


class Situations:
    """Every method is one call of one script that only reads: the operators' user may make it."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._inspect = Script("inspect")

    def of(
        self, reference: str, *, policy: Policy | None = None, at: int | None = None
    ) -> tuple[Situation, ...]:
        """Return every delivery of a message as it will stand at a moment (ms); empty where none is known.

        Without a policy no cap and no provider is asked, without a moment it is now.
        """
        name = digest(reference)
        now, gates, raws, lines, about, workers, _ = self._ask(policy, at=at, reference=name)
        told: dict[str, list[HistoryLine]] = {}
        for line in read_lines(lines or b""):
            told.setdefault(name + line.recipient, []).append(line)
        pairs = iter(workers)
        heard = tuple(workers_in(dict(zip(pairs, pairs, strict=True)), now=now))
        found = []
        for ident, raw, stops, known in zip(told, raws, gates, about, strict=True):
            *listed, paused, counts = known
            found += [
                Situation(
                    story=Story(delivery=delivery, history=tuple(told[ident])),
                    now=now,
                    at=now if at is None else at,
                    gates=_gates(stops),
                    verdict=verdict_on(delivery.rid, listed, paused, now=now),
                    soft_bounces=tuple(int(when) for _, when in counts_in(counts)["soft_bounces"]),
                    workers=heard,
                )
                for delivery in readable([(ident, raw)])
            ]
        return tuple(found)

    def gates(self, idents: Sequence[str]) -> list[tuple[bytes | None, tuple[Gate, ...]]]:
        """Return for each delivery its record and what stops it now, without asking caps and providers."""
        _, gates, raws, *_ = self._ask(None, *idents)
        return [(raw, _gates(stops)) for raw, stops in zip(raws, gates, strict=True)]

    def breakers(self, providers: Sequence[str], *, policy: Policy) -> dict[str, tuple[str, int | None]]:
        """Return closed, open, half-open or ramping of each provider, and until when (ms) if known."""
        *_, states = self._ask(policy, names=providers)
        return {
            name: (as_text(state), until or None)
            for name, (state, until) in zip(providers, states, strict=True)
        }

    def _ask(self, policy: Policy | None, *idents: str, **options: Any) -> list[Any]:  # noqa: ANN401
        known = (gate_options(policy) if policy else {"providers": {}, "reused": REUSED_AFTER}) | options
        words = json.dumps({name: value for name, value in known.items() if value is not None})
        with reaching():
            return cast("list[Any]", self._inspect.ask(self._client, self._keys, [words, *idents]))


def _gates(stops: list[list[Any]]) -> tuple[Gate, ...]:
    return tuple(
        Gate(
            becomes=as_text(becomes),
            until=until or None,
            why=as_text(why),
            field=as_text(field),
            entry=json.loads(entry) if entry else None,
        )
        for becomes, until, why, field, entry in stops
    )
