"""``softbounce``: the command line. A command's module is loaded when the command is called."""

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from softbounce.cli.console import UNREACHABLE, explained
from softbounce.errors import SoftbounceError

COMMANDS = {  # name -> module and attribute, and what it does
    "run": ("run_worker:run", "The service: a worker, and a durable store of its own in ./data."),
    "worker": ("run_worker:worker", "One more worker beside a store that runs already."),
    "demo": ("run_worker:demo", "Four simulated days on the real worker."),
    "doctor": ("doctor:app", "Look for what is wrong: store, policy, workers, delays."),
    "explain": ("explain:app", "Say why: for an event in a file, a message, or a recipient."),
    "mode": ("mode:app", "Show or switch whether retries leave: on, off, observe."),
    "events": ("events:app", "Report failures and deliveries."),
    "retries": ("retries:app", "What waits to be sent again."),
    "suppressions": ("suppressions:app", "Who is not sent to any more."),
    "cases": ("cases:app", "What a person must look at."),
    "dead-letters": ("dead_letters:app", "Input that could not be read."),
    "recipients": ("recipients:app", "Erase a recipient's address."),
    "audit": ("audit:app", "Who changed what, and why."),
    "policy": ("policy:app", "The file that says what each failure means."),
}


class Commands(TyperGroup):
    """Lists the commands without loading them, and turns our errors into a sentence and an exit code."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            loaded = getattr(import_module(f"softbounce.cli.{module}"), attribute)
            command = typer.main.get_command(loaded)
        return name, command, rest

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SoftbounceError as error:
            sentence, code = explained(error)
            typer.echo(sentence, err=True)
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show values, and a value may be an address
    epilog=f"Exit codes: 0 done, 1 the answer is no, 2 wrong usage, {UNREACHABLE} unreachable, 5 done in part.",
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"softbounce {version('softbounce')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=lambda wanted: _version(wanted=wanted), is_eager=True, help="Show it."),
    ] = False,
) -> None:
    """Bring back messages that bounced for a passing reason; stop sends that will never arrive."""


def _listed() -> None:
    """Stand in the list of commands; the command itself is loaded when it is called."""


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, help=_help)(_listed)


def run() -> None:
    """Run the command that the arguments name, and exit."""
    app()
