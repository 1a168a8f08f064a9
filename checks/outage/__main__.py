"""``make outage``: 1,250,000 retries due at once and a cap of 50/s, in virtual time. Exits with 1 where a rule breaks."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import redis

from softbounce import embedded
from softbounce.store import Store

from .drain import drain, fill, policy

COUNT, CAP = 1_250_000, 50
LONGEST = 120  # s that another merchant's retry waits, p99


def main() -> int:
    """Fill a store, drain it, print what happened."""
    options = argparse.ArgumentParser(prog="make outage", description=__doc__)
    options.add_argument("--count", type=int, default=COUNT, help="retries due at once")
    options.add_argument("--cap", type=int, default=CAP, help="hand-overs a second")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    rules = policy(chosen.cap)
    late = max(20, chosen.count // 600)  # too few to wait for each other
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="outage-") as data,
        embedded.start(Path(data)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        client.config_set("appendonly", "no")  # order and pace are measured here, and some GB stay unwritten
        store = Store.open(server.url)
        fill(store, rules, count=chosen.count, seed=chosen.seed)
        filled = time.monotonic() - began
        print(f"{chosen.count:,} retries accepted in {filled:.0f} s", file=sys.stderr, flush=True)
        found = drain(store, client, rules, cap=chosen.cap, count=chosen.count, late=late, seed=chosen.seed)
        store.close()
    rows = [
        ("retries due at once", f"{chosen.count:,}", ""),
        ("handed over / given up before", f"{found.handed_over:,} / {found.given_up:,}", ""),
        ("cap", f"{chosen.cap}/s", ""),
        ("most in any second", found.most, f"at most {2 * chosen.cap}: the bucket holds one second"),
        ("more than the cap lets through, in any span", f"{found.over:.1f}", "0"),
        ("left after one of its merchant that ends later", found.out_of_order, "0"),
        ("sent past the deadline", found.past_deadline, "0"),
        ("another merchant's wait, p50", f"{found.wait(0.5):.1f} s", ""),
        ("another merchant's wait, p99", f"{found.wait(0.99):.1f} s", f"at most {LONGEST} s"),
        ("virtual time", f"{found.virtual / 3600:.2f} h", ""),
        ("claims", f"{found.claims:,}", ""),
        ("CPU a hand-over, worker / Valkey", f"{found.worker:.0f} / {found.server:.0f} us", ""),
        ("took, reports / hand-overs", f"{filled:.0f} / {found.seconds:.0f} s", ""),
    ]
    print("| after an outage | | allowed |\n| --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    is_whole = found.handed_over + found.given_up == chosen.count + late
    broken = found.over > 0 or found.out_of_order or found.past_deadline or found.wait(0.99) > LONGEST
    return 0 if is_whole and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
