"""Prints the result of the demo: the table beside two simpler ways of retrying, and the claims."""

from collections.abc import Sequence

from rich.console import Console

from softbounce.demo.claims import Claim
from softbounce.demo.rivals import Score, no_retry, plain_retry
from softbounce.demo.world import World

LABELS = {
    "delivered": "delivered",
    "recovered": "recovered after a failure",
    "extra": "extra sends",
    "extra_to_lost": "  to dead numbers and mailboxes",
    "doubled": "same message twice on a phone",
    "at_night": "texts between 20:00 and 08:00",
    "cases": "cases for repeated soft bounces",
}


def print_table(console: Console, world: World, ours: Score) -> None:
    """Print what each way of retrying did in the same world."""
    scores = [no_retry(world), plain_retry(world), ours]
    notes = _notes(world, scores)
    console.print()
    names = ("no retry", "plain retry", "softbounce")
    console.print(" " * 33 + "".join(f"{name:>13}" for name in names), highlight=False)
    for name, label in LABELS.items():
        values = [getattr(score, name) for score in scores]
        cells = "".join(f"{'-' if value is None else format(value, ','):>13}" for value in values)
        console.print(f"{label:<33}{cells}     {notes[name]}", highlight=False)


def _notes(world: World, scores: Sequence[Score]) -> dict[str, str]:
    _, plain, ours = scores
    deliverable = sum(message.is_deliverable for message in world.messages)
    shares = " / ".join(f"{100 * score.delivered / max(1, deliverable):.1f}" for score in scores)
    each, plain_each = (score.extra / max(1, score.recovered - score.late) for score in (ours, plain))
    return {
        "delivered": f"of {deliverable:,} deliverable: {shares} %",
        "recovered": f"{ours.late} of them late receipts, no work of ours",
        "extra": f"{each:.1f} per real recovery; plain retry {plain_each:.1f}",
        "extra_to_lost": "each asked once more before it is believed; mailboxes full for ever",
        "doubled": "waiting tries are cancelled by late receipts",
        "at_night": "moved to the morning",
        "cases": "each a case with its evidence",
    }


def print_claims(console: Console, claims: Sequence[Claim], others: Sequence[Claim]) -> None:
    """Print ``claims`` with numbers, and below them the others."""
    console.print()
    for number, claim in enumerate((*claims, *others), 1):
        mark = f"{number}." if number <= len(claims) else "  "
        beside = f"   ({claim.beside})" if claim.beside else ""
        console.print(f"{mark} {claim.text}: {claim.found}{beside}", highlight=False, markup=False)
