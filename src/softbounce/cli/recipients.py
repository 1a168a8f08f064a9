"""``softbounce recipients``: a person's right to be forgotten."""

from typing import Annotated

import typer

from softbounce.cli.console import Actor, ChannelOption, Output, OutputOption, Reason, tell
from softbounce.cli.desk import channel_of, opened, policy_of, who

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Erase a recipient's address.")


@app.callback()
def _group() -> None:
    """Erase a recipient's address."""


@app.command()
def forget(
    recipient: Annotated[str, typer.Argument(help="An address, or its r_... hash")],
    *,
    reason: Reason,
    channel: ChannelOption = None,
    actor: Actor = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase the address wherever it is kept; waiting retries to it end. The hash stays, and a block."""
    policy = policy_of()
    with opened() as store:
        rid = store.suppressions.rid(recipient, channel_of(recipient, channel))
        erased = store.retries.forget(
            rid, reason=reason, actor=who(actor), history_kept=policy.retention.history
        )
        facts = {"action": "forget", "recipient": f"r_{rid}", "places": erased}
        places = "one place" if erased == 1 else f"{erased:,} places"
        tell(f"Erased in {places}: r_{rid}. A block on it stays.", facts, output)
