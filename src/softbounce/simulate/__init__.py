"""What a policy would have done with recorded reports, beside another one.

Nobody knows when a recipient became reachable: it was between the last recorded failure and the recorded
arrival. So each policy runs in two worlds, one at either end. A figure that depends on a send that never
happened is a range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from softbounce.core.policy.model import Policy
from softbounce.simulate.recording import Key, Record
from softbounce.simulate.replay import Night, Replay, Tally, decided
from softbounce.store import Store

ROWS = {
    "suppressed": "suppressed recipients",
    "escalated": "cases by threshold",
    "delivered": "delivered",
    "resends": "resends",
    "nights": "texts in the night",
    "given_up": "given up",
}
COST = "cost"
LABELS = ("estimated", "exact")
RUNS = 4  # two policies in two worlds

Number = int | Decimal


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the greatest value that a figure can have."""

    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of both policies. ``exact``: it follows from the recorded events and the policies alone."""

    name: str
    title: str
    a: Span
    b: Span
    difference: Span  # B - A within one world
    exact: bool

    @property
    def label(self) -> str:
        """The word for ``exact``."""
        return LABELS[self.exact]


def compare(
    record: Record,
    a: Policy,
    b: Policy,
    *,
    stores: Iterator[Store],
    night: Night,
    prices: Mapping[str, Decimal],
) -> list[Row]:
    """Return the figures of ``a`` and ``b``. ``stores`` yields an empty store for each run.

    ``prices`` of one resend are by ``sms`` or ``sms:DE``; without prices the row of the cost is left out.
    """
    runs: list[list[Tally]] = []
    for policy in (a, b):
        reports = decided(record, policy)
        runs.append(
            [
                Replay(record, policy, next(stores), night=night, soon=soon).run(reports)
                for soon in (True, False)
            ]
        )
    rows = []
    for name, title in ROWS.items():
        apart = record.apart if name == "delivered" else 0
        counts = [[apart + len(tally.of(name)) for tally in worlds] for worlds in runs]
        rows.append(_compared(name, title, counts, exact=is_exact(name, runs)))
    if prices:
        costs = [[_cost(tally, record, prices) for tally in worlds] for worlds in runs]
        rows.append(_compared(COST, COST, costs, exact=is_exact("resends", runs)))
    return rows


def is_exact(name: str, runs: Sequence[Sequence[Tally]]) -> bool:
    """Say whether the worlds of each run agree on a row, and no simulated answer is behind it."""
    return all(tally.of(name) == worlds[0].of(name) for worlds in runs for tally in worlds) and not any(
        name in tally.guessed for worlds in runs for tally in worlds
    )


def _compared(name: str, title: str, found: Sequence[Sequence[Number]], *, exact: bool) -> Row:
    (a, b), differences = found, [b - a for a, b in zip(*found, strict=True)]
    return Row(
        name=name,
        title=title,
        a=Span(min(a), max(a)),
        b=Span(min(b), max(b)),
        difference=Span(min(differences), max(differences)),
        exact=exact,
    )


def _cost(tally: Tally, record: Record, prices: Mapping[str, Decimal]) -> Decimal:
    total = Decimal(0)
    for key, _ in cast("set[tuple[Key, int]]", tally.of("resends")):
        event = record.fates[key].last
        country = event.subject.country if event.subject else None
        total += prices.get(f"{key[1]}:{country}", prices.get(key[1], Decimal(0)))
    return total
