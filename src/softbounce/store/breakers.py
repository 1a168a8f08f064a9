"""Which providers get no resends for a while; policy opens and closes breakers, and a person may."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from softbounce.core.bounds import bounded
from softbounce.store.audit import Audit, By
from softbounce.store.cases import close_incident
from softbounce.store.connection import whole_hash
from softbounce.store.keys import Keys
from softbounce.store.limits import BREAKER_KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is known of one provider; ``Situations.breakers`` says how the next claim finds its breaker."""

    by_hand: bool  # a person opened it
    failed: int  # of its newest answers
    answered: int


class Breakers:
    """One breaker for each provider."""

    def __init__(self, client: redis.Redis, keys: Keys, *, audit: Audit) -> None:
        self._client, self._keys, self._audit = client, keys, audit

    def open(self, provider: str, *, until: int, by: By, now: int) -> None:
        """Let no resend go to a provider until then (ms), then probe it. Waiting costs no try."""
        entry = {"s": "open", "u": until, "c": now, "m": 1, "z": until + BREAKER_KEPT}
        self._set(provider, entry, action="breaker opened", by=by)

    def close(self, provider: str, *, by: By, now: int) -> None:
        """Let resends go to a provider again; where policy has a ramp, their rate grows over its time."""
        entry = {"c": now, "r": now, "z": now + BREAKER_KEPT}
        self._set(provider, entry, action="breaker closed", by=by)
        close_incident(self._client, self._keys, "provider_down", provider)

    def _set(self, provider: str, entry: Mapping[str, Any], *, action: str, by: By) -> None:
        name = bounded(provider, "provider")
        self._audit.change("breakers", {name: entry}, action=action, what=name, by=by)

    def all(self) -> dict[str, Breaker]:
        """Return what is known of each provider that was heard of within a day."""
        known = {}
        for name, raw in sorted(whole_hash(self._client, self._keys.fixed("breakers")).items()):
            head, _, answers = raw.decode().partition("\n")
            failed = answers.count("-")
            by_hand = bool(json.loads(head).get("m"))
            known[name.decode()] = Breaker(
                by_hand=by_hand, failed=failed, answered=failed + answers.count("+")
            )
        return known
