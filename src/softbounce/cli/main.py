"""``softbounce``: the command line. A command's module is loaded when the command is called."""

import re
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from softbounce.cli.shared.output import IN_PART, MISUSED, REFUSED, UNREACHABLE, release
from softbounce.core.texts import plain
from softbounce.errors import (
    InvalidEvent,
    InvalidPolicy,
    InvalidRecipient,
    InvalidSettings,
    NotFound,
    RefuseToStart,
    SoftbounceError,
    TryAgain,
    UnsafeStore,
    WrongKey,
)

HALF = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8
COMMANDS = {  # name -> module and attribute, and what it does
    "run": ("run:run", "The service: a worker, and a durable store of its own in ./data."),
    "worker": ("run:worker", "One more worker beside a store that runs already."),
    "demo": ("run:demo", "Four simulated days on the real worker."),
    "doctor": ("doctor:app", "Look for what is wrong: store, policy, workers, delays."),
    "explain": ("explain:app", "Say why: for an event, a message or a recipient."),
    "mode": ("mode:app", "Show or switch whether retries leave: on, off, observe."),
    "shadow": ("shadow:app", "What would have been sent while observing, beside the system in place."),
    "events": ("events:app", "Report failures and deliveries."),
    "retries": ("retries:app", "What waits to be sent again."),
    "suppressions": ("suppressions.entries:app", "Who is not sent to any more."),
    "cases": ("cases:app", "What a person must look at."),
    "breakers": ("breakers:app", "Providers that get no resends for a while."),
    "dead-letters": ("dead_letters:app", "Input that could not be read."),
    "recipients": ("recipients:app", "Erase a recipient's address."),
    "audit": ("audit:app", "Who changed what, and why."),
    "bench": ("bench:app", "How much your store lets one worker do, beside bare round trips."),
    "policy": ("policy.file:app", "The file that says what each failure means."),
}
CODES = (  # the first that fits an error is its exit code
    ((InvalidPolicy, UnsafeStore, WrongKey, NotFound), REFUSED),
    ((InvalidSettings, InvalidEvent, InvalidRecipient), MISUSED),
    ((TryAgain, RefuseToStart), UNREACHABLE),  # the latter: the embedded server does not start
)


class Commands(TyperGroup):
    """Lists the commands without loading them; an error of ours is a sentence and an exit code."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # Typer's own
        name, command, rest = super().resolve_command(ctx, args)
        if any(not word.isascii() and HALF.search(word) for word in rest):
            message = "an argument is not UTF-8 text"
            raise InvalidSettings(message)
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            command = typer.main.get_command(getattr(import_module(f"softbounce.cli.{module}"), attribute))
        return name, command, rest

    @override
    def invoke(self, ctx: Any) -> object:
        try:
            return super().invoke(ctx)
        except SoftbounceError as error:
            told = str(error)
            if isinstance(error, NotFound) and error.noun:
                told += f"; see: {f'softbounce {error.noun} list {error.words}'.rstrip()}"
            typer.echo("\n".join(map(plain, told.split("\n"))), err=True)
            code = next((code for kinds, code in CODES if isinstance(error, kinds)), REFUSED)
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # these may show values, and a value may be an address
    epilog=f"Exit codes: 0 done or allowed, {REFUSED} the answer is no, {MISUSED} wrong usage, "
    f"3 a plan has changes, {UNREACHABLE} store or broker unreachable, {IN_PART} done in part.",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        typer.echo(f"softbounce {release()}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    """Bring back messages that bounced for a passing reason; stop sends that will never arrive."""


def _listed() -> None:
    """Stand in the list of commands; ``resolve_command`` loads the one that is called."""


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, help=_help)(_listed)


def run() -> None:
    """Run the command that the arguments name, and exit."""
    app()
