"""``make cost``: what the worst inputs that we know cost the store, beside ordinary ones, in instructions."""

import argparse
import hashlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator

import structlog
from msgspec import Struct
from softbounce.store import Store
from softbounce.store.scripts import assemble

from .counted import Metered, Spent, copy, grown_by, is_possible, server
from .kinds import ACCEPT, CLAIM, KEY, OTHER, Kind
from .reports import NOW

GOAL_ITEM, GOAL_SCRIPT, TOLERANCE = 10.0, 1.0, 1.1
TOO_DEAR = 1.5  # s on the plain store: callgrind would take over a minute


class Row(Struct, frozen=True, kw_only=True):
    """What a kind costs."""

    table: str
    name: str
    items: int
    total: int  # instructions
    dearest: int  # of one script
    script: str
    scripts: int
    seconds: float  # of the plain store, all scripts
    slowest: float
    memory: int  # bytes at the peak above what it had before
    is_estimate: bool


def measure(table: str, name: str, kind: Kind, *, counted: Metered, per_second: float) -> Row:
    """Make the state of a kind on a plain store, and measure its call there and under callgrind."""
    with server(counted=False) as plain:
        store = Store(plain, pii_key=KEY)
        store.set_now(NOW)
        call = kind(store)
        copy(plain, counted)
        plain.meter()
        memory = grown_by(plain.process, lambda: call.run(store))
        timed = plain.spent
    seconds = sum(one.amount for one in timed) / 1e6
    is_estimate = seconds > TOO_DEAR and per_second > 0
    if is_estimate:
        spent = [Spent(script=one.script, amount=int(one.amount / 1e6 * per_second)) for one in timed]
    else:
        counted.meter()
        call.run(Store(counted, pii_key=KEY))
        spent = counted.spent
    dearest = max(spent, key=lambda one: one.amount)
    return Row(
        table=table, name=name, items=call.items, total=sum(one.amount for one in spent), dearest=dearest.amount,
        script=SCRIPTS.get(dearest.script, "?"), scripts=len(spent), seconds=seconds, slowest=max(one.amount for one in timed) / 1e6,
        memory=memory, is_estimate=is_estimate,
    )  # fmt: skip


SCRIPTS = {
    hashlib.sha1(assemble(name).encode(), usedforsecurity=False).hexdigest(): name
    for name in ("accept", "claim", "finish", "notices_claim", "notices_finish", "sweep", "resolve", "reschedule", "mark", "incident", "discard", "forget")
}


def rows(only: str, *, counted: Metered) -> Iterator[Row]:
    """Measure kind after kind; the ordinary ones first."""
    per_second = 0.0
    for name, table in (("accept", ACCEPT), ("claim", CLAIM), ("other", OTHER)):
        for place, (what, kind) in enumerate(table.items()):
            if place and only not in f"{name}: {what}" or name == "other" and not place and only not in f"{name}: {what}":
                continue
            began = time.monotonic()
            try:
                row = measure(name, what, kind, counted=counted, per_second=per_second)
            except Exception:
                traceback.print_exc()
                print("FAILED", what, flush=True)
                continue
            if not per_second:
                per_second = row.total / row.seconds
            print(f"# {time.monotonic() - began:.1f} s  {row.name}: {row.total / row.items:,.0f} an item, dearest {row.dearest:,} ({row.script}, 1 of {row.scripts}); {row.slowest * 1000:.0f} ms, {row.memory / 2**20:.0f} MiB", file=sys.stderr, flush=True)
            yield row


def main() -> int:
    """Print the table; 1 where a kind is above the goal."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="kinds whose name has this, beside the ordinary ones")
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if not is_possible():
        print("NOT MEASURED: valgrind is missing (apt-get install valgrind)")
        return 1 if os.environ.get("CI") == "true" else 0
    with server(counted=True) as counted:
        found = list(rows(chosen.only, counted=counted))
    event, retry = found[0], next(row for row in found if row.table == "claim")
    full = {"accept": event.dearest, "claim": retry.dearest}
    one = {"accept": event.total / event.items, "claim": retry.total / retry.items}
    above = 0
    table = []
    for row in found:
        item = row.total / row.items / one.get(row.table, one["accept"])
        script = row.dearest / full.get(row.table, max(full.values()))
        bad = item > GOAL_ITEM * TOLERANCE or script > GOAL_SCRIPT * TOLERANCE
        above += bad
        table.append((max(item / GOAL_ITEM, script / GOAL_SCRIPT), f"{'!' if bad else ' '} {row.table:7}{row.name:82}{row.total / row.items:14,.0f}{item:9.1f}{'~' if row.is_estimate else ' '}{row.dearest:16,}{script:9.2f}  {row.script:15}{row.slowest * 1000:8.0f}{row.memory / 2**20:8.0f}"))
    print(f"  {'':7}{'kind':82}{'an item':>14}{'ratio':>9} {'dearest script':>16}{'ratio':>9}  {'':15}{'ms':>8}{'MiB':>8}")
    for _, line in sorted(table, reverse=True):
        print(line)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
