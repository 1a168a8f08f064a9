"""``softbounce policy``: write the default file, check one, show what it means, print its JSON schema."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from softbounce.cli.policy import examples as policy_test
from softbounce.cli.policy import plan as policy_plan
from softbounce.cli.policy import simulate as policy_simulate
from softbounce.cli.shared import options
from softbounce.cli.shared.input_files import naming_file
from softbounce.cli.shared.output import REFUSED, Json, say
from softbounce.cli.shared.session import unreachable_targets
from softbounce.core.durations import SECOND, words
from softbounce.core.policy import file as policy_file
from softbounce.core.policy import schema as policy_schema
from softbounce.core.policy.model import Disposition, Policy, Rule
from softbounce.core.recipients import Channel
from softbounce.errors import InvalidSettings
from softbounce.explain.settings import settings_json
from softbounce.settings import packaged_policy, policy_text

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The file that says what each failure means."
)

DEFAULT_PATH = Path("config/policy.yaml")
WIDE = 200  # columns of a table in a pipe, where lines are not wrapped
UNKNOWN = "?"  # stands for every code that has no rule


class Output(StrEnum):
    """How a command prints its data."""

    TABLE = "table"
    JSON = "json"


Output_ = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs")]


@app.command()
def init(
    path: Annotated[Path, typer.Argument()] = DEFAULT_PATH,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists")] = False,
) -> None:
    """Write the default policy, with its comments, to PATH."""
    with naming_file("write", path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if force else "x", encoding="utf-8") as file:
                file.write(packaged_policy())
        except FileExistsError:
            message = f"{path} exists; --force replaces it"
            raise InvalidSettings(message) from None
    say(f"wrote {path}. Next: softbounce policy check {path}")


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="else SOFTBOUNCE_POLICY, else config/policy.yaml")
    ] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too")] = False,
    output: Output_ = Output.TABLE,
) -> None:
    """Check a policy file: every mistake at once, with line, column and the word that was probably meant."""
    text, file = policy_text(path)
    policy, problems = policy_file.check(text, file=file)
    fails = policy is None or (strict and bool(problems))
    if output is Output.JSON:
        found = [
            {"line": p.line, "column": p.column, "severity": p.severity, "message": p.message}
            for p in problems
        ]
        revision = policy.revision if policy else None
        facts = {"file": file, "valid": not fails, "revision": revision, "problems": found}
        typer.echo(json.dumps(facts, indent=2))
    else:
        for problem in problems:
            typer.echo(problem.rendered)
    for text in unreachable_targets(policy) if policy else ():
        say(f"{file}: {text}")  # about this machine, not about the file: --strict passes
    if fails:
        raise typer.Exit(REFUSED)
    if policy and output is Output.TABLE:
        say(f'{file}: revision {policy.revision} "{policy.name}", {policy.rules_count} code rules')


@app.command()
def show(
    *,
    policy: options.Policy = None,
    channel: Annotated[Channel | None, typer.Option(help="As it applies to this channel")] = None,
    merchant: Annotated[str | None, typer.Option(help="As it applies to this merchant")] = None,
    output: Output_ = Output.TABLE,
) -> None:
    """Show the rule for every code, all levels merged, each with its line in the file.

    Without --channel, SMS codes are shown as for SMS, bounces as for e-mail, others by the defaults alone.
    """
    text, file = policy_text(policy)
    loaded = policy_file.load(text, file=file)
    codes = (*loaded.codes, UNKNOWN, None)
    rules = [(code, _rule(loaded, code, channel=channel, merchant=merchant)) for code in codes]
    if output is Output.JSON:
        shown = [_rule_json(loaded, code, rule) for code, rule in rules]
        typer.echo(json.dumps({"file": file, "revision": loaded.revision, "rules": shown}, indent=2))
        return
    code_column = Column("CODE", no_wrap=True)
    table = Table(code_column, "DO", "FAULT", "TRIES AFTER", "SUPPRESSED FOR", "AT", box=None, pad_edge=False)
    for code, rule in rules:
        label = {UNKNOWN: "(any other code)", None: "(no error given)"}.get(code, code)
        table.add_row(label, rule.do, rule.fault, _tries(rule), _suppressed(rule), f":{rule.line}")
    say(f'{file}: revision {loaded.revision} "{loaded.name}"')
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)


app.command("test")(policy_test.run)
app.command("simulate")(policy_simulate.simulate)
app.command("plan")(policy_plan.plan)
app.command("apply")(policy_plan.apply)
app.command("rollback")(policy_plan.rollback)


@app.command()
def schema() -> None:
    """Print the JSON schema of the policy file, for editors."""
    typer.echo(json.dumps(policy_schema.schema(), indent=2))


def _rule(policy: Policy, code: str | None, *, channel: Channel | None, merchant: str | None) -> Rule:
    """Return the rule for a code on the channel that its name tells, unless one is given."""
    named = {"SMS": Channel.SMS, "BOUNCE": Channel.EMAIL}.get((code or "").partition("_")[0])
    return policy.rule_for(code=code, channel=channel or named, merchant=merchant, smtp=None)


def _tries(rule: Rule) -> str:
    if not rule.retries:
        return ""
    return "off" if rule.off else " ".join(words(delay) for delay in rule.delays)


def _suppressed(rule: Rule) -> str:
    if rule.do is not Disposition.SUPPRESS:
        return ""
    term = "ever" if rule.suppression.expires is None else words(rule.suppression.expires)
    return f"{term}, at report {rule.confirm.reports}" if rule.confirm else term


def _rule_json(policy: Policy, code: str | None, rule: Rule) -> Json:
    return {
        "code": None if code == UNKNOWN else code,
        "rule": rule.name,
        "ruleAt": policy.at(rule.line),
        "disposition": rule.do,
        "fault": rule.fault,
        "delays": [delay // SECOND for delay in rule.delays],
        "sources": settings_json(rule, policy),
    }
