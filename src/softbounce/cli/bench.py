"""``softbounce bench``: how much this store lets one worker do, beside bare round trips to it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.output import REFUSED, Output, Row, say, show
from softbounce.cli.shared.session import naming, store_url
from softbounce.client import Softbounce
from softbounce.core.decide import decide
from softbounce.core.durations import HOUR
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy, Rate
from softbounce.core.records import resend_command
from softbounce.core.timestamps import iso
from softbounce.settings import Settings, packaged_policy
from softbounce.store import Finish, Store
from softbounce.store.limits import HANDOVER_BATCH

app = typer.Typer(add_completion=False)

NAMESPACE = "bench-trial"  # nobody else uses it, so that it can be removed
SINGLE = 1_000  # questions and round trips that are made one by one
WAITS = 3 * HOUR  # ms after which each retry of the shipped rule is due
NO_LIMIT = Rate(count=1_000_000, per=1_000)


@app.command()
def bench(
    *,
    events: Annotated[
        int, typer.Option(min=HANDOVER_BATCH, max=1_000_000, help="How many failures it takes in")
    ] = 10_000,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what a killed bench has left")] = False,
    output: options.Output = Output.TABLE,
) -> None:
    """Measure this store with one thread, in a namespace of its own that is removed afterwards.

    It loads the store for some seconds. A worker does somewhat more: it decides while the store accepts.
    """
    with _trial(remove=remove) as store:
        if remove:
            return
        policy = policy_file.load(packaged_policy(), file="policy.yaml")
        raws = [_event(number, iso(store.now()) or "") for number in range(events)]
        addresses = [f"bench{number}@example.com" for number in range(events)]
        client = Softbounce(store)
        bare = _rate(lambda: [store.benchmark.touch() for _ in range(SINGLE)], SINGLE)
        found = {
            "reported in blocks": _rate(lambda: list(client.report_many(raws)), events),
            "taken in": _rate(lambda: _take_in(store, policy), events),
        }
        size = store.benchmark.bytes_of(("schedule", "deliveries")) / events
        store.set_now(store.now() + WAITS)
        found |= {
            "handed over to a stream": _rate(lambda: _hand_over(store, policy), events),
            "may_send_many": _rate(lambda: list(client.may_send_many(addresses, channel="email")), events),
            "may_send": _rate(
                lambda: [client.may_send(one, channel="email") for one in addresses[:SINGLE]], SINGLE
            ),
            "bare round trips": bare,
        }
        head = ("WHAT", "A SECOND", "IN ONE ROUND TRIP'S TIME")
        show(head, (_rate_row(*pair, bare) for pair in found.items()), output)
        say(f"A retry that waits takes {size:.0f} bytes of the store's memory (schedule and record).")


@contextmanager
def _trial(*, remove: bool) -> Iterator[Store]:
    settings = Settings.load()
    url = store_url(settings)
    with naming(url):
        store = Store.open(url, namespace=NAMESPACE)
        store.require_safe()
        if remove:
            say(f"{store.benchmark.remove():,} keys removed.")
        elif not store.benchmark.is_free():
            message = f"The namespace {NAMESPACE} holds state: another bench runs, or was killed. "
            say(f"{message}To remove what it left: softbounce bench --remove")
            raise typer.Exit(REFUSED)
        try:
            yield store
        finally:
            store.benchmark.remove()
            store.close()


def _take_in(store: Store, policy: Policy) -> None:
    store.events.make_group()
    while True:
        entries, now = store.events.read("bench", count=HANDOVER_BATCH, block_ms=0)
        if not entries:
            return
        decisions = [decide(entry.raw, policy=policy, now=now) for entry in entries]
        store.ledger.accept(decisions, policy=policy)
        store.events.ack(entries)


def _hand_over(store: Store, policy: Policy) -> None:
    lifted = replace(policy, limits=replace(policy.limits, handover_rate=NO_LIMIT))
    stream = store.stream(store.keys.stream("resend"))
    while not (claimed := store.ledger.claim(policy=lifted, limit=HANDOVER_BATCH, lease=30_000)).idle:
        commands = [resend_command(lease.delivery, file=policy.file) for lease in claimed.leases]
        stream.add("command", [(str(command["id"]), json.dumps(command)) for command in commands])
        done = [
            Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over")
            for lease in claimed.leases
        ]
        store.ledger.finish(done, policy=policy)


def _event(number: int, date: str) -> bytes:
    error = {"type": "SEND_ERROR", "reasonCode": "BOUNCE_TRANSIENT_GENERAL", "details": {"smtpCode": 451}}
    message = {
        "channel": "EMAIL",
        "reference": f"bench-{number}",
        "recipients": [f"bench{number}@example.com"],
    }
    claim = {"id": number, "merchantId": number % 50, "communication": {**message, "error": error}}
    event = {"type": "MESSAGE_NOT_DELIVERED", "date": date, "eventId": f"e{number}", "claim": claim}
    return json.dumps(event).encode()


def _rate(work: Callable[[], object], count: int) -> float:
    began = perf_counter()
    work()
    return count / (perf_counter() - began)


def _rate_row(what: str, rate: float, bare: float) -> Row:
    facts = {"what": what, "perSecond": round(rate), "perRoundTrip": round(rate / bare, 2)}
    return facts, (what, f"{rate:,.0f}", f"{rate / bare:.2f}")
