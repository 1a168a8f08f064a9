"""``softbounce suppressions undo``: lift all that one incident suppressed."""

from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.change import SAMPLES, Intent, changing
from softbounce.cli.shared.session import opened, policy_in_force, tracked
from softbounce.core.filters import parse_filter
from softbounce.core.texts import count
from softbounce.errors import InvalidSettings
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.cases import Case, Resolved
from softbounce.store.retries import FILTER_KEYS
from softbounce.store.suppression_entries import SuppressionEntry

NOUNS = ("suppression", "suppressions")


@changing("yes", "dry_run", "output")
def undo(
    incident: Annotated[
        str, typer.Argument(metavar="incident:CASE", help="As cases list kind:incident shows it")
    ],
    *,
    intent: Intent,
    every: options.Every = 0,
) -> None:
    """Lift all that an incident suppressed, before the brake as well, and send the messages it holds.

    Entries of persons, and those with other evidence, stay. If interrupted, run it again: it does the rest.
    """
    kind, _, name = incident.rpartition(":")
    if kind not in ("", "incident") or not name:
        message = (
            f"{incident!r} is no incident; write incident:k_19, see: softbounce cases list kind:incident"
        )
        raise InvalidSettings(message)
    with opened() as store:
        policy = policy_in_force(store)
        rate = policy.limits.handover_rate
        case, _ = store.cases.show(name, limit=0)
        total, samples = _found(store, case)
        intent.confirm_count(total, samples, NOUNS)
        lifted = sum(tracked(store.incidents.settle(case, "undo"), "lifting"))
        resumed = _resume(store, by=intent.by)
        sent = Resolved(released=0, skipped=0, ended=0)
        if case.state != "resolved":
            sent = store.cases.resolve(
                name,
                how="release",
                by=intent.by,
                policy=policy,
                first=store.now(),
                step=every or rate.per // rate.count,
            )
        parts = [f"{lifted:,} lifted", f"{count(sent.released, 'messages')} scheduled again"]
        parts += [f"{count(resumed, 'retries')} go on"] if resumed else []
        parts += [f"{sent.skipped:,} past their deadline or last try, given up"] if sent.skipped else []
        facts = {"action": "undo", "case": name, "lifted": lifted, "released": sent.released}
        facts |= {"resumed": resumed, "skipped": sent.skipped}
        intent.tell(f"{name} undone: {', '.join(parts)}.", facts)


def _found(store: Store, case: Case) -> tuple[int, list[str]]:
    """Count what an undo would lift, and describe the first few; they may be millions."""
    total = 0
    samples: list[str] = []
    for entry in tracked(store.incidents.suppressions(case), "looking for suppressions"):
        total += 1
        if len(samples) < SAMPLES:
            samples.append(described(entry))
    return total, samples


def _resume(store: Store, *, by: By) -> int:
    """Give the retries that waited for an incident their own time back; those of another one wait again."""
    waiting = parse_filter("state:incident", keys=FILTER_KEYS)
    idents = [found.delivery.id for found in store.retries.select(waiting, now=store.now())]
    return store.retries.resume(idents, by=by) if idents else 0


def described(entry: SuppressionEntry) -> str:
    """Return an entry as the question before a change shows it."""
    row = entry.row(reveal=False)
    return f"{row['address']} {row['recipient']} {row['code']}"
