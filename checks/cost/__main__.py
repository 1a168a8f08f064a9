"""``make cost``: what the worst inputs that we know cost the store, beside ordinary ones, in instructions.

Reports are taken in by ``Intake.take`` and retries claimed by ``Ledger.claim``, so the batches are the worker's own.
Exit code 1 where an event or a retry costs more than ten ordinary ones, or one script more than a full ordinary batch;
the kinds of ``ALLOWED`` have a bound of their own.
"""

import argparse
import atexit
import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import structlog
from msgspec import Struct

from softbounce.store import Store
from softbounce.store.scripts import assemble

from . import accepting, claiming, others  # noqa: F401 - they enter their kinds
from .counted import Metered, Spent, copy, grown_by, is_possible, server
from .kinds import ACCEPT, CLAIM, KEY, OTHER, Call, Kind
from .reports import NOW

ITEM, SCRIPT = 10, 1  # the goal: ordinary events or retries, full ordinary batches
TOLERANCE = 1.1  # a few more names or lines than in an ordinary one are no fault
TOO_DEAR = 0.1  # s of one script on the plain store: callgrind would take over five; then the time tells, in ratios to the ordinary
PROCESSES = 2  # each with a store of its own
TABLES = {"accept": ACCEPT, "claim": CLAIM, "other": OTHER}
EACH = "a hundred people: each is looked up, and costs a third of an ordinary one or less"
EVIDENCE = "32 times are gone through for each report; the batch is a few milliseconds longer"
ANSWERS = "the answers of a provider are a thousand; the batch is a few milliseconds longer"
BUCKETS = "each is looked for in four sets of buckets, of two generations"
NAMED = "all that is known of the message is looked through for each report; the batch is a few milliseconds longer"
CAUSES = "each is read and written with the nine others of its entry; the batch is a few milliseconds longer"
CONSENTS = "each of ten large merchants is read and written for each; the batch is some 40 ms longer"
OTHERS = "each delivery of the message is looked at for each such arrival; the batch is some 40 ms longer"
MESSAGES = "each is compared with the nine messages of its reference; the batch is some 20 ms longer"
ALLOWED = {  # above the goal all the same: ordinary events or retries, full ordinary batches, why
    "accept: 100 small recipients, 10 million deliveries known of both generations": (30, 1, EACH),
    "claim: 100 recipients, pauses and caps": (31, 1, EACH),
    "claim: 100 recipients, 99 of them suppressed": (30, 1, EACH),
    "claim: 100 small recipients": (25, 1, EACH),
    "claim: 100 large recipients": (22, 1, EACH),
    "claim: 100 large recipients, merchants in turn": (22, 1, EACH),
    "accept: reports of one recipient to be confirmed, which has 32": (10, 1.9, EVIDENCE),
    "accept: soft bounces of one recipient that has 32, out of order": (10, 1.8, EVIDENCE),
    "accept: 100 small recipients who all have it already": (16, 1, EACH),
    "accept: delivered, no recipient, one reference of 200 recipients": (10, 7.4, OTHERS),
    "accept: small reports, one reference and recipient, a claim each": (10, 3, MESSAGES),
    "accept: failures of resends that a breaker counts, 1,000 answers": (10, 1.2, ANSWERS),
    "accept: suppressions of one recipient, each with a large code of its own": (10, 1.5, CAUSES),
    "accept: opt-outs of one recipient, each from a large merchant of its own": (10, 4.5, CONSENTS),
    "accept: ordinary failures, 10 million deliveries known of both generations": (10, 1.3, BUCKETS),
    "accept: bare reports, a reference with 200 recipients, each alone": (10, 1.3, NAMED),
    "accept: bare reports, a reference with 200 recipients, once": (10, 1.2, NAMED),
    "accept: bare reports, 200 lines of one delivery of 200 events": (
        10,
        1.8,
        NAMED,
    ),  # it was 1.14 before accept had steps
    "accept: small reports, one reference and recipient, 5,000 before": (10, 1.2, NAMED),
}
ORDINARY = ("ordinary failures", "ordinary retries", "ordinary retries, merchants in turn")


class Row(Struct, frozen=True, kw_only=True):
    """What a kind costs."""

    table: str
    name: str
    items: int
    total: int  # instructions of all its scripts
    dearest: int  # of one script
    script: str  # which
    scripts: int  # how many
    seconds: float  # that a plain store took
    slowest: float  # seconds of one script
    grown: int  # bytes that a plain store grew by, at most
    is_estimate: bool  # by time, not counted

    @property
    def item(self) -> float:
        """Instructions of one event or retry."""
        return self.total / self.items


def measure(kind: Kind, *, table: str, name: str, counted: Metered, per_second: float) -> Row:
    """Make the state of a kind on a plain store; measure its call there and, on a copy, under callgrind.

    ``per_second``: instructions of an ordinary event in one second; 0: not known yet.
    """
    with server(counted=False) as plain:
        store = Store(plain, pii_key=KEY)
        store.set_now(NOW)
        call: Call = kind(store)
        copy(plain, counted)
        plain.meter()
        grown = grown_by(plain.process, lambda: call.run(store))
        timed = plain.spent
    seconds = sum(one.amount for one in timed) / 1e6
    is_estimate = per_second > 0 and max(one.amount for one in timed) / 1e6 > TOO_DEAR
    if is_estimate:
        spent = [Spent(script=one.script, amount=int(one.amount / 1e6 * per_second)) for one in timed]
    else:
        counted.meter()
        call.run(Store(counted, pii_key=KEY))
        spent = counted.spent
    dearest = max(spent, key=lambda one: one.amount)
    return Row(
        table=table,
        name=name,
        items=call.items,
        total=sum(one.amount for one in spent),
        dearest=dearest.amount,
        script=_names().get(dearest.script, "?"),
        scripts=len(spent),
        seconds=seconds,
        slowest=max(one.amount for one in timed) / 1e6,
        grown=grown,
        is_estimate=is_estimate,
    )


def rows(only: str) -> Iterator[Row]:
    """Measure the ordinary kinds first, then those whose name has ``only``, two at a time: instructions stay the same."""
    wanted = [
        (table, name)
        for table, kinds in TABLES.items()
        for name in kinds
        if name not in ORDINARY and only in f"{table}: {name}"
    ]
    ordinary = [(table, name) for table, kinds in TABLES.items() for name in kinds if name in ORDINARY]
    with ProcessPoolExecutor(PROCESSES, initializer=_quiet) as pool:
        first = list(pool.map(_measured, ordinary))
        per_second = first[0].total / first[0].seconds
        yield from first
        yield from pool.map(partial(_measured, per_second=per_second), wanted)


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _measured(kind: tuple[str, str], per_second: float = 0.0) -> Row:
    table, name = kind
    began = time.monotonic()
    row = measure(TABLES[table][name], table=table, name=name, counted=_counted(), per_second=per_second)
    print(f"{time.monotonic() - began:5.1f} s  {table}: {name}", file=sys.stderr, flush=True)
    return row


@cache
def _counted() -> Metered:
    """Return this process's own store under callgrind; it ends with the process."""
    opened = server(counted=True)
    atexit.register(opened.__exit__, None, None, None)
    return opened.__enter__()


def report(found: list[Row]) -> int:
    """Print the table, the dearest first; return how many kinds are above the goal."""
    ordinary = {row.name: row for row in found if row.name in ORDINARY}
    event, retry, in_turn = (ordinary[name] for name in ORDINARY)
    item = {"accept": event.item, "claim": retry.item, "other": event.item}
    full = {"accept": event.dearest, "claim": max(retry.dearest, in_turn.dearest)}
    full["other"] = max(full.values())
    above = 0
    lines = []
    for row in found:
        ratios = row.item / item[row.table], row.dearest / full[row.table]
        worst = max(ratios[0] / ITEM, ratios[1] / SCRIPT)
        *bounds, why = ALLOWED.get(f"{row.table}: {row.name}", (ITEM, SCRIPT, ""))
        is_above = any(ratio > TOLERANCE * bound for ratio, bound in zip(ratios, bounds, strict=True))
        above += is_above
        sign = "!" if is_above else "*" if worst > TOLERANCE else " "
        lines.append((worst, f"{sign} {_line(row, *ratios)}{f'  ({why})' if sign == '*' else ''}"))
    print(
        f"  {'kind':<84}{'an item':>13}{'ratio':>8}{'a script':>17}{'ratio':>8}{'ms':>7}{'MiB':>6}  scripts"
    )
    print("\n".join(line for _, line in sorted(lines, reverse=True)))
    print(
        f"\nratio of an item: to an ordinary event ({event.item:,.0f} instructions), of a claim to an ordinary retry "
        f"({retry.item:,.0f}).\nratio of a script: to a full ordinary accept ({full['accept']:,}) or claim ({full['claim']:,}); "
        "of another script to the dearer one.\nms and MiB: a plain store's dearest script, and by how much it grew.  ~: by "
        f"time, as it is too dear to be counted.\n!: above the goal of {ITEM} and {SCRIPT} by more than {TOLERANCE - 1:.0%}.  "
        "*: above it, within a bound of its own, for the reason given."
    )
    return above


def _line(row: Row, item: float, script: float) -> str:
    name = f"{row.table}: {row.name}"
    cost = f"{row.item:13,.0f}{item:8.1f}{'~' if row.is_estimate else ' '}{row.dearest:16,}{script:8.2f}"
    return f"{name:<84}{cost}{row.slowest * 1000:7.0f}{row.grown / 2**20:6.0f}  {row.scripts} {row.script}"


@cache
def _names() -> dict[str, str]:
    names = ("accept", "claim", "finish", "notices_claim", "notices_finish", "sweep", "resolve", "reschedule")
    names += ("mark", "incident", "discard", "forget")
    return {hashlib.sha1(assemble(name).encode(), usedforsecurity=False).hexdigest(): name for name in names}


def main() -> int:
    """Print the table; 1 where a kind is above the goal."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", default="", help="those whose name has this, beside the ordinary ones")
    chosen = options.parse_args()
    if not is_possible():
        print("NOT MEASURED: valgrind is missing (apt-get install valgrind)")
        return 1 if os.environ.get("CI") == "true" else 0
    return 1 if report(list(rows(chosen.only))) else 0


if __name__ == "__main__":
    sys.exit(main())
