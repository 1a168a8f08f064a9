"""``make bench VERIFY=1``: the same reports to every contender, and the same counts from each."""

import tempfile
import time
from pathlib import Path

from checks.bench import events, race
from checks.bench.contenders import HANDOVER, INTAKE, PEERS, POLICY, Client, Contender, Stream, Task
from checks.bench.server import server
from rich.console import Console
from rich.table import Table

DELAY = 10  # s of each retry; by then all below is reported
SETTLE = 2.0  # s in which nothing more may leave
COLUMNS = ("scheduled", "suppressed", "held", "delivered", "ended", "duplicate", "dead_lettered")
SMS, MAIL = events.TRANSIENT[0], events.TRANSIENT[3]
ARRIVED_SMS, ARRIVED_MAIL = events.ARRIVED


def compare() -> int:
    """Print what each contender accepted, by outcome, and handed over; 0 if all agree with what must be."""
    expected = {
        "scheduled": 168,
        "suppressed": 48 + 10 + 10,
        "held": 18,
        "delivered": 40 + 10,
        "ended": 10,
        "duplicate": 20,
        "dead_lettered": 6,
        "handed over": 168 - 10 - 10 - 10,
    }
    table = Table("", "accepted", *expected, title="The same reports to each", title_justify="left")
    _row(table, "must be", expected)
    wrong = []
    for kind in (Stream, Task, Client, *PEERS):
        if kind.missing():
            table.add_row(kind.name, f"skipped: {kind.missing()}")
            continue
        found = _counts(kind)
        _row(table, kind.name, found)
        if found != expected:
            wrong.append(kind.name)
    Console(width=140).print(table)
    print(f"DIFFERENT: {', '.join(wrong)}" if wrong else "All counts are equal.")
    return int(bool(wrong))


def _reports() -> tuple[list[bytes], list[bytes], list[int]]:
    """Return what is reported first, what after it, and the claims that are cancelled then."""
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    failed = events.make(240)
    waiting = [n for n in range(240) if events.FAILURES[n * 7 % 40] in (SMS, MAIL)]
    refused = [n for n in range(240) if events.FAILURES[n * 7 % 40] == events.PERMANENT[0]]
    sms = [n for n in waiting if events.FAILURES[n * 7 % 40] == SMS]
    mail = [n for n in waiting if events.FAILURES[n * 7 % 40] == MAIL]
    arrived = [events.event(n, ARRIVED_SMS, today) for n in range(1_000, 1_040)]
    after = [failed[n] for n in sms[:20]]  # again
    after += [events.event(2_000 + n, MAIL, today, to=n) for n in refused[:10]]  # to whom nothing may go
    after += [
        events.event(3_000 + n, events.PERMANENT[1], today, to=n) for n in sms[20:30]
    ]  # while a retry waits
    after += [events.event(n, SMS, today) for n in range(1_000, 1_010)]  # of what has arrived
    after += [events.event(n, ARRIVED_MAIL, today) for n in mail[:10]]  # while its retry waits
    return failed + arrived, after, [5_000_000 + n for n in mail[10:20]]


def _counts(kind: type[Contender]) -> dict[str, int]:
    first, then, claims = _reports()
    with server() as client, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY.read_text(encoding="utf-8").replace("[1h]", f"[{DELAY}s]"), encoding="utf-8")
        settings = {"BENCH_DELAY": str(DELAY), "SOFTBOUNCE_POLICY": str(policy)}
        contender = kind(client)
        parts = (INTAKE,) if isinstance(contender, Stream) else (INTAKE, HANDOVER)  # our worker does both
        workers = [race.start(contender, part, log, **settings) for part in parts]
        began = time.monotonic()
        try:
            for block, taken in ((first, len(first)), (then, len(first) + len(then))):
                contender.publish(block)
                race.wait_for(lambda: sum(contender.outcomes().values()), taken, log=log, workers=workers)
            for claim in claims:
                contender.cancel(claim)
            if time.monotonic() - began > DELAY:
                raise race.TooSlow(f"{kind.name}: the first retry was due before all was reported")
            race.wait_for(contender.handed_over, 168 - 30, log=log, workers=workers)
            time.sleep(SETTLE)
            outcomes, gone = contender.outcomes(), contender.handed_over()
        finally:
            for worker in workers:
                race.stop(worker)
            contender.close()
    odd = {name: count for name, count in outcomes.items() if count and name not in COLUMNS}
    return {**{name: outcomes.get(name, 0) for name in COLUMNS}, **odd, "handed over": gone}


def _row(table: Table, name: str, found: dict[str, int]) -> None:
    accepted = sum(count for what, count in found.items() if what != "handed over")
    table.add_row(name, str(accepted), *(str(count) for count in found.values()))
