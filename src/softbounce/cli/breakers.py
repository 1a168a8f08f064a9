"""``softbounce breakers``: providers that get no resends for a while."""

from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.output import Output, Row, show, time_of, zone, zoned
from softbounce.cli.shared.session import opened, policy_in_force
from softbounce.core.durations import HOUR
from softbounce.core.filters import parse_filter
from softbounce.core.texts import count, when
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings
from softbounce.store import Store
from softbounce.store.breakers import Breaker

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Providers that get no resends for a while."
)
UNKNOWN = Breaker(by_hand=False, failed=0, answered=0)
Name = Annotated[str, typer.Argument(metavar="PROVIDER", help="As events name it, else sms:42: its merchant")]


@app.command("list")
def list_(*, policy: options.Policy = None, output: options.Output = Output.TABLE) -> None:
    """Show each provider that was heard of within a day: its breaker, failures, and what waits for it."""
    with opened() as store:
        loaded, now, waiting = policy_in_force(store, policy), store.now(), _waiting(store)
        heads = ("PROVIDER", "BREAKER", zoned("UNTIL"), "FAILED", "WAITING")
        known = store.breakers.all()
        names = sorted({*known, *waiting})
        states = store.situations.breakers(names, policy=loaded)
        rows = [
            _breaker_row(name, known.get(name, UNKNOWN), states[name], len(waiting.get(name, ())), now)
            for name in names
        ]
        show(heads, rows, output)


@app.command("open")
@changing("output")
def open_(provider: Name, *, intent: Intent, period: options.Period = HOUR) -> None:
    """Let no resend go to a provider for an hour, or --for; costs no try, and ends by itself with probes."""
    _check(provider)
    with opened() as store:
        now, hint = store.now(), _hint(provider, store)
        store.breakers.open(provider, until=now + period, by=intent.by, now=now)
        until = when(now + period, zone(), now)
        facts = {"provider": provider, "action": "open", "until": iso(now + period)}
        intent.tell(f"Nothing goes to {provider} until {until}, then probes.{hint}", facts)


@app.command("close")
@changing("output")
def close(provider: Name, *, intent: Intent) -> None:
    """Let resends go to a provider again: little by little, where policy has a ramp_up for it."""
    _check(provider)
    with opened() as store:
        hint = _hint(provider, store)
        store.breakers.close(provider, by=intent.by, now=store.now())
        moved = store.retries.resume(_waiting(store).get(provider, ()), by=intent.by)
        sentence = f"Resends go to {provider} again: {count(moved, 'retries')} got their own time back.{hint}"
        intent.tell(sentence, {"provider": provider, "action": "close", "resumed": moved})


def _breaker_row(name: str, known: Breaker, standing: tuple[str, int | None], waiting: int, now: int) -> Row:
    (state, until), failed, total = standing, known.failed, known.answered
    facts = {"provider": name, "state": state, "until": iso(until), "failed": failed, "answers": total}
    facts |= {"waiting": waiting, "byHand": known.by_hand}
    share = f"{failed} of {total}" if total else ""
    return facts, (name, state, time_of(until, now), share, str(waiting or ""))


def _waiting(store: Store) -> dict[str, list[str]]:
    """Return the retries that each provider's breaker or rate has put off."""
    wanted, found = parse_filter("state:breaker,rate", keys=("state",)), dict[str, list[str]]()
    for waiting in store.retries.select(wanted, now=store.now()):
        found.setdefault(waiting.delivery.provider, []).append(waiting.delivery.id)
    return found


def _hint(provider: str, store: Store) -> str:
    """Return a warning where the provider is unknown: a misspelt name would change nothing."""
    if provider in store.breakers.all():
        return ""
    wanted = parse_filter("", keys=())
    waiting = sum(one.delivery.provider == provider for one in store.retries.select(wanted, now=store.now()))
    return f" {count(waiting, 'retries')} to it." if waiting else " No retry to it waits: is the name right?"


def _check(provider: str) -> None:
    if not provider.strip() or provider == "*":
        message = "name one provider: softbounce breakers list shows those there are"
        raise InvalidSettings(message)
