"""What every sink does: it takes messages in order, and says how many it took and why no more."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from celery import Celery

from softbounce.store import Store

Message = tuple[str, Mapping[str, object]]  # id, body
MayBegin = Callable[[], bool]  # false once the lease is nearly over, or the worker stops
LAST_START = 0.8  # share of a lease after which nothing leaves, by our own monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a sink may need of its worker to open."""

    store: Store
    app: Celery
    field: str  # ``command`` or ``notice``: what its messages are
    timeout: int  # ms that one message may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """How many messages, from the first on, a sink has taken, and why it refused the next one, if it did."""

    count: int
    failure: str = ""


class Sink(Protocol):
    """Takes messages in order, each with an id to dedupe on, and stops at the first that is refused."""

    name: str  # as history shows it: "celery:messaging.resend"

    def deliver(self, messages: Sequence[Message], may_begin: MayBegin) -> Handed:
        """Hand over ``messages`` one after the other while ``may_begin``."""
        ...


class Backoff:
    """How long to leave a failing target alone: 1 s doubling to 60 s, jittered; over after one success."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the target may be tried again."""
        return monotonic() >= self._until

    def failed(self) -> int:
        """Wait longer than the last time and return for how long, in milliseconds."""
        seconds = min(60.0, 2.0**self._failures) * self._rng.uniform(0.5, 1)
        self._failures = min(self._failures + 1, 6)
        self._until = monotonic() + seconds
        return round(seconds * 1000)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0


def why(error: Exception) -> str:
    """Return an error as the failure of a hand-over."""
    return f"{type(error).__name__}: {error}"
