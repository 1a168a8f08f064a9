"""What all commands that change something share: who, why, the question before, the result after."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, Literal, TypeVar

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.output import REFUSED, Json, Output, say, tell
from softbounce.cli.shared.session import by_whom, tracked
from softbounce.core.texts import plain
from softbounce.store.audit import By

SAMPLES = 5  # matches that are shown
TYPED_ABOVE = 100  # matches, above which a person types their count
T = TypeVar("T")
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "actor": (options.Actor, None),
    "yes": (options.Yes, False),
    "dry_run": (options.DryRun, False),
    "output": (options.Output, Output.TABLE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Who changes something and why, with the options that change commands share."""

    by: By
    yes: bool = False
    dry_run: bool = False
    output: Output = Output.TABLE

    def confirmed(
        self,
        items: Iterable[T],
        *,
        describe: Callable[[T], str],
        nouns: tuple[str, str],
        may_be_none: bool = False,
        always_typed: bool = False,
    ) -> list[T]:
        """Show how many match, and five of them; return them all, or exit where the person does not agree.

        Above 100 matches the count must be typed, unless ``yes``. No match is refused, unless
        ``may_be_none``.
        """
        found = list(tracked(items, f"looking for {nouns[1]}"))
        self.confirm_count(len(found), list(map(describe, found[:SAMPLES])), nouns, always_typed=always_typed)
        if not found and not may_be_none:
            raise typer.Exit(REFUSED)
        return found

    def confirm_count(
        self, total: int, samples: Sequence[str], nouns: tuple[str, str], *, always_typed: bool = False
    ) -> None:
        """Show how many match, and some of them; exit at a dry run, or where the count is not typed."""
        count = f"{total:,} {nouns[total != 1]} {'matches' if total == 1 else 'match'}"
        shown = list(map(plain, samples))
        say("\n  ".join([f"{count}, for example:", *shown]) if total > 1 else ": ".join([count, *shown]))
        if self.dry_run:
            say("Dry run: nothing changed.")
            raise typer.Exit
        if total and not self.yes and (always_typed or total > TYPED_ABOVE):
            _ask_for(total)

    def tell(self, sentence: str, facts: Json) -> None:
        """Print the result: a sentence for people, its facts for programs."""
        tell(sentence, facts, self.output)


def changing(
    *names: Literal["yes", "dry_run", "output"],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command --reason in place of its ``intent``, and at the end --actor and these options.

    What they say becomes the ``intent``.
    """

    def shaped(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(reason: str, actor: str | None, **given: Any) -> None:  # noqa: ANN401 - as the command takes them
            said = {name: given.pop(name) for name in names}
            command(**given, intent=Intent(by=by_whom(actor, reason), **said))

        own = inspect.signature(command).parameters
        reason = own["intent"].replace(name="reason", annotation=options.Reason)
        taken = [reason if name == "intent" else parameter for name, parameter in own.items()]
        for name in ("actor", *names):
            annotation, default = _OPTIONS[name]
            taken.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
        run.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # what Typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
        return run

    return shaped


def _ask_for(count: int) -> None:
    try:
        answer = typer.prompt(f"Type the count, {count}, to go on", err=True)
    except typer.Abort:  # there is nobody to answer
        answer = ""
    if answer.strip().replace(",", "") != str(count):
        say("\nNot confirmed: nothing changed. In a script: --yes")
        raise typer.Exit(REFUSED)
