"""Reads a policy file: YAML text to a ``Policy``, or to all of its mistakes with line, column and caret."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from softbounce.core.durations import printable
from softbounce.core.policy import schema
from softbounce.core.policy import sections as beside
from softbounce.core.policy.checks import errors, lints, warnings
from softbounce.core.policy.merge import Branch, CodeRules, Level, Rulebook, Value
from softbounce.core.policy.model import (
    Brake,
    Breaker,
    Confirm,
    Disposition,
    Grouping,
    Limits,
    Policy,
    Provider,
    QuietHours,
    Rate,
    Retention,
    Target,
)
from softbounce.core.policy.validation import read
from softbounce.core.policy.values import BUILT_IN
from softbounce.core.policy.yaml_tree import Mistake, Path, Place, Tree
from softbounce.core.reasons import Fault
from softbounce.core.recipients import Channel
from softbounce.errors import InvalidPolicy, InvalidSettings

# a signing key, user and password of a URL, or a whole URL of apprise: slack://TOKEN/TOKEN
SECRETS = r"""whsec_\S+|(?<=://)[^/@\s]+(?=@)|\b(?!https?:)\w+://[^\s"'},]+"""
WIDEST = 160  # at most so many columns of a source line are shown around a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error or warning, as data and as text for people."""

    line: int
    column: int
    severity: str  # error | warning
    message: str
    rendered: str


def load(text: str, *, file: str, what_if: Sequence[str] = ()) -> Policy:
    """Return the policy of a file's text; raise ``InvalidPolicy`` with every mistake, in line order.

    ``what_if``: settings such as ``retry.delays=[1h]`` that override every rule.
    """
    policy, wrong = check(text, file=file, what_if=_what_if(what_if) if what_if else None)
    if policy is None:
        raise InvalidPolicy([problem.rendered for problem in wrong if problem.severity == "error"])
    return policy


def check(text: str, *, file: str, what_if: Level | None = None) -> tuple[Policy | None, list[Problem]]:
    """Return the policy, or None if there is an error, and all errors and warnings in line order."""
    tree = Tree(text)
    model, raw, wrong = read(tree)
    found = {("error", mistake) for mistake in (*tree.mistakes, *wrong)}
    policy = None
    if model:
        rulebook = _rulebook(model, raw, tree)
        found |= {("error", mistake) for mistake in errors(model, tree, rulebook)}
        found |= {("warning", mistake) for mistake in (*tree.warnings, *warnings(tree, rulebook))}
        if all(severity == "warning" for severity, _ in found):
            found |= {("warning", mistake) for mistake in lints(model, tree, rulebook)}
            policy = _policy(model, replace(rulebook, what_if=what_if), text, file)
    return policy, problems(found, text, file=file)


def _what_if(settings: Sequence[str]) -> Level:
    """Return the settings as a level; they are read as the only rule of a made-up file."""
    nested: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        *blocks, key = name.strip().split(".")
        block: Any = nested
        for step in blocks:
            block = block.setdefault(step, {}) if isinstance(block, dict) else None
        if not equals or not isinstance(block, dict) or not re.fullmatch(r"[a-z_.]+", name.strip()):
            message = f"{setting!r} is no KEY=VALUE of a rule; write for example retry.delays=[1h]"
            raise InvalidSettings(message)
        block[key] = value
    text = f"version: 1\nmerchants: {{set: {{codes: {{SET: {_flow(nested)}}}}}}}\n"
    tree = Tree(text)
    model, raw, wrong = read(tree)
    if model is None or wrong or tree.mistakes:
        mistakes = problems({("error", mistake) for mistake in (*tree.mistakes, *wrong)}, text, file="--set")
        raise InvalidPolicy([problem.rendered for problem in mistakes])
    path = ("merchants", "set", "codes", "SET")
    rule = (model.merchants["set"].codes or {})["SET"]
    values = _values(rule, raw["merchants"]["set"]["codes"]["SET"], path=path, tree=tree)
    here = {name: replace(value, line=-1) for name, value in values.items()}
    return Level(name="--set", line=-1, path=path, values=here)


def _flow(nested: Mapping[str, Any]) -> str:
    parts = (f"{key}: {_flow(value) if isinstance(value, dict) else value}" for key, value in nested.items())
    return f"{{{', '.join(parts)}}}"


def problems(found: Iterable[tuple[str, Mistake]], text: str, *, file: str) -> list[Problem]:
    """Return (severity, mistake) pairs with their texts, in line order."""
    lines = text.splitlines()
    shown = (_problem(severity, mistake, file, lines) for severity, mistake in found)
    return sorted(shown, key=lambda problem: (problem.line, problem.column, problem.message))


def _problem(severity: str, mistake: Mistake, file: str, lines: list[str]) -> Problem:
    place, message = mistake.place, printable(mistake.message)
    head = f"{file}:{place.line}:{place.column}: {severity}: {message}"
    return Problem(
        line=place.line,
        column=place.column,
        severity=severity,
        message=message,
        rendered="\n".join([head, *([] if message == beside.IN_CLEAR else _excerpt(place, lines))]),
    )


def _excerpt(place: Place, lines: list[str]) -> list[str]:
    """Return the line, or the part around the place if it is long, and a line with carets."""
    if place.line > len(lines):
        return []
    text = re.sub(SECRETS, lambda found: "*" * len(found[0]), lines[place.line - 1])  # the text reaches logs
    first = 0 if len(text) <= WIDEST else max(0, place.column - 1 - WIDEST // 2)
    line = "".join(c if c.isprintable() else " " for c in text[first : first + WIDEST])
    indent = place.column - 1 - first
    width = max(1, min(place.end - place.column, len(line) - indent))
    return [f"  {place.line} | {line}", f"  {' ' * len(str(place.line))} | {' ' * indent}{'^' * width}"]


def _policy(model: schema.File, rulebook: Rulebook, text: str, file: str) -> Policy:
    retention = _complete(schema.Retention, "retention", model.retention)
    targets = {"log": Target(name="log", type="log")}
    for name, target in (model.escalation.targets or {}).items():
        facts = target.model_dump()
        if isinstance(target, beside.WebhookTarget):
            facts["secret"] = target.secret.env
        elif isinstance(target, beside.AppriseTarget):
            facts = {"type": target.type, "secret": target.url.env}
        targets[name] = Target(name=name, **facts)
    escalation = _complete(beside.Escalation, "escalation", model.escalation)
    return Policy(
        revision=sha256(text.encode()).hexdigest()[:8],
        name=model.name,
        file=file,
        limits=rulebook.limits,
        retention=Retention(**retention),
        brake=rulebook.base.values["suppression.brake"].value,
        providers=_providers(model.providers),
        feedback=model.feedback,
        unanswered_after=model.unanswered_after,
        unreadable_recipient=Disposition(model.unreadable_recipient),
        lacks_plus=model.digits_without_plus == "international",
        ignore_failures_before=model.ignore_failures_before,
        codes=tuple(rulebook.codes.levels),
        rules=tuple(dict.fromkeys(rulebook.rules())),
        merchants=frozenset(model.merchants),
        replies=frozenset(rulebook.replies()),
        targets=targets,
        notify=tuple(targets[name] for name in escalation["notify"]),
        grouping=Grouping(
            by=tuple(escalation["group_by"]), wait=escalation["group_wait"], repeat=escalation["repeat"]
        ),
        resolve=rulebook.resolve,
    )


def _providers(said: Mapping[str, beside.Provider]) -> dict[str, Provider]:
    """Return each provider's entry; what it leaves open comes from ``*``."""
    general = said.get("*", beside.Provider())
    return {name: _provider(one, general) for name, one in said.items()}


def _provider(one: beside.Provider, general: beside.Provider) -> Provider:
    rate, breaker = one.rate or general.rate, one.breaker or general.breaker
    return Provider(
        rate=Rate(count=rate[0], per=rate[1]) if rate else None,
        breaker=Breaker(
            **dict(breaker.open_when), **dict(breaker.open_for), probe=breaker.probe, ramp_up=breaker.ramp_up
        )
        if isinstance(breaker, beside.Breaker)
        else None,
    )


def _complete(kind: type[BaseModel], name: str, said: BaseModel) -> dict[str, Any]:
    """Return a block's values, completed with the built-in ones."""
    built_in = dict(kind.model_validate(BUILT_IN[name]))
    return built_in | {key: getattr(said, key) for key in said.model_fields_set}


def _rulebook(model: schema.File, raw: dict[str, Any], tree: Tree) -> Rulebook:
    def level(block: BaseModel, *path: str) -> Level:
        written: Any = raw
        for step in path:
            written = written.get(step, {})
        values = _values(block, written, path=path, tree=tree)
        return Level(name=".".join(path), line=tree.line(path), path=path, values=values)

    def codes(rules: Mapping[str, BaseModel], *path: str) -> CodeRules:
        return CodeRules({code: level(rule, *path, code) for code, rule in rules.items()})

    built_in = schema.Defaults.model_validate(BUILT_IN["defaults"])
    values = _values(built_in, BUILT_IN["defaults"], path=("defaults",), tree=None)
    defaults = level(model.defaults, "defaults")
    channels = {Channel(name): block for name, block in model.channels if block}
    limits = _complete(schema.Limits, "limits", model.limits)
    rates = {key: Rate(count=said[0], per=said[1]) for key, said in limits.items() if isinstance(said, tuple)}
    return Rulebook(
        base=replace(defaults, values={**values, **defaults.values}),
        channels={channel: level(block, "channels", channel) for channel, block in channels.items()},
        merchants={name: level(block, "merchants", name) for name, block in model.merchants.items()},
        codes=codes(model.codes, "codes"),
        merchant_codes={
            name: codes(block.codes, "merchants", name, "codes")
            for name, block in model.merchants.items()
            if block.codes
        },
        limits=Limits(**{**limits, **rates}),
        limits_line=tree.line(("limits", "max_attempts")),
    )


def _values(block: BaseModel, written: dict[str, Any], *, path: Path, tree: Tree | None) -> dict[str, Value]:
    """Return the values of a block by dotted key; other keys come from a more general level."""
    values: dict[str, Value] = {}
    for key in block.model_fields_set - {"codes", "smtp", "text"}:
        said, here = getattr(block, key), (*path, key)
        line = tree.line(here) if tree else 0
        if isinstance(said, schema.Retry | schema.Backoff | schema.SoftBounce | schema.Suppression):
            inner = _values(said, written[key], path=here, tree=tree)
            values |= {f"{key}.{name}": value for name, value in inner.items()}
        elif key == "when":
            branches = tuple(
                _branch(when, written[key][n], path=(*here, n), tree=tree) for n, when in enumerate(said)
            )
            values[key] = Value(value=branches, text="when", line=line)
        else:
            values[key] = Value(value=_typed(key, said), text=_written(written[key]), line=line)
    if "delays" in values and "max_attempts" not in values:  # one try for each delay
        tries = len(values["delays"].value)
        values["max_attempts"] = replace(values["delays"], value=tries, text=str(tries))
    return values


def _branch(when: schema.When, written: dict[str, Any], *, path: Path, tree: Tree | None) -> Branch:
    name = ".".join(str(step) for step in path[:-1])
    values = _values(when, written, path=path, tree=tree)
    level = Level(name=name, line=values["do"].line, path=tuple(path), values=values)
    return Branch(smtp=tuple(when.smtp or ()), texts=tuple(when.text or ()), level=level)


def _typed(key: str, said: Any) -> Any:  # noqa: ANN401 - the type depends on the key
    if isinstance(said, schema.Quiet):
        return QuietHours(**dict(said))
    if isinstance(said, schema.Confirm):
        return Confirm(**{**dict(said), "meanwhile": Disposition(said.meanwhile)})
    if isinstance(said, schema.Brake):
        return Brake(**said.model_dump(exclude={"by", "then"}), by=tuple(said.by))
    if key in {"quiet_hours", "confirm", "brake"}:
        return None  # off
    return {"do": Disposition, "fault": Fault}.get(key, lambda value: value)(said)


def _written(value: Any) -> str:  # noqa: ANN401 - whatever the file says
    """Return a value as an operator wrote it, on one line: ``90m 4h 12h``, ``20:00-08:00``."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        if not {"from", "reports"} & value.keys():
            return "on"  # a brake
        return (
            "{from}-{to}".format(**value)
            if "from" in value
            else "{reports} reports in {within}".format(**value)
        )
    return str(value)
