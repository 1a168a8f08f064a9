"""``softbounce mode``: whether retries leave."""

from enum import StrEnum
from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.output import Output, Row, show, tell, time_of, zoned
from softbounce.cli.shared.session import by_whom, opened
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings
from softbounce.store.modes import Mode

app = typer.Typer(add_completion=False)

ALL = "*"
MEANS = {
    "on": "due retries leave.",
    "off": "nothing leaves; reports are taken in all the same.",
    "observe": "what would leave is recorded, not handed over.",
}


class Wanted(StrEnum):
    """What can be switched to."""

    ON = "on"
    OFF = "off"
    OBSERVE = "observe"


@app.command()
def mode(
    wanted: Annotated[Wanted | None, typer.Argument(metavar="[on|off|observe]")] = None,
    *,
    merchant: options.Merchant = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; needed to switch")] = None,
    actor: options.Actor = None,
    output: options.Output = Output.TABLE,
) -> None:
    """Show or switch whether retries leave. Workers obey within a second; a mode does not end by itself."""
    if wanted is None:
        with opened() as store:
            now = store.now()
            head = ("MERCHANT", "MODE", zoned("SINCE"), "BY", "REASON")
            show(head, (_mode_row(entry, now) for entry in store.modes.all()), output)
        return
    if reason is None:
        message = f"give the reason: softbounce mode {wanted} --reason ..."
        raise InvalidSettings(message)
    with opened() as store:
        by = by_whom(actor, reason)
        store.modes.set(wanted, by=by, now=store.now(), merchant=merchant or ALL)
        whom = f" for merchant {merchant}" if merchant else ""
        tell(f"Mode is {wanted}{whom}: {MEANS[wanted]}", {"mode": wanted, "merchant": merchant}, output)


def _mode_row(entry: Mode, now: int) -> Row:
    merchant = None if entry.merchant == ALL else entry.merchant
    facts = {"merchant": merchant, "mode": entry.mode, "since": iso(entry.at) if entry.at else None}
    facts |= {"by": entry.by or None, "reason": entry.reason or None}
    since = time_of(entry.at, now) if entry.at else ""
    return facts, (merchant or "all", entry.mode, since, entry.by, entry.reason)
