"""Merges the levels of a policy into one rule.

defaults < channel < merchant < code < the merchant's code < the SMTP reply; ``limits`` are applied last. For
``explain`` every value keeps its level, its line and what it replaced.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, repeat
from typing import Any

from softbounce.core.policy.model import Disposition, Limits, Rule, SoftBounce, Source, SuppressionTerm
from softbounce.core.reasons import Fault, built_in_fault
from softbounce.core.recipients import Channel

SEVERITY = {
    Disposition.SUPPRESS: 3,  # later messages are refused too
    Disposition.HOLD: 2,  # this message is not sent without a person
    Disposition.DROP: 2,
    Disposition.RETRY: 1,
    Disposition.IGNORE: 0,
}
"""How severe a disposition is. An SMTP reply may make it less severe, never more."""

BACKOFF = ("retry.backoff.base", "retry.backoff.factor", "retry.backoff.cap")
SUPPRESSION = ("suppression.expires", "suppression.scope", "origin")
WHOLE = ("quiet_hours", "timezone", "several_recipients", "confirm")
SOFT_BOUNCE = ("count", "escalate_at", "within", "apart", "reset_on", "then", "hold_for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of the file: typed, as written, and its line (0: built in)."""

    value: Any
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The values of one block of the file by dotted key: ``retry.jitter``, ``quiet_hours``, ``do``."""

    name: str  # "defaults", "channels.sms", "merchants.42.codes.SMS_EXPIRED"
    line: int
    path: tuple[str | int, ...]
    values: Mapping[str, Value]

    @property
    def branches(self) -> "Sequence[Branch]":
        """The branches of its ``when``."""
        return self.values["when"].value if "when" in self.values else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One entry of a ``when``: the replies it is for, and its values."""

    smtp: tuple[str, ...]  # patterns of the status, "none" for a report without one; (): any
    texts: tuple[str, ...]  # folded parts of the text; (): any text
    level: Level

    def takes(self, smtp: str | None, found: Sequence[str]) -> bool:
        """Whether it is for a reply with this status, in whose text the patterns ``found`` are."""
        is_status = not self.smtp or any(map(matches, self.smtp, repeat(NO_REPLY if smtp is None else smtp)))
        return is_status and (not self.texts or not set(self.texts).isdisjoint(found))


class CodeRules:
    """The rules under one ``codes:``. One applies to a code: its exact name, else the longest wildcard."""

    def __init__(self, levels: Mapping[str, Level]) -> None:
        self.levels = levels
        self._wildcards = sorted((name for name in levels if name.endswith("*")), key=len, reverse=True)

    def find(self, code: str) -> Level | None:
        """Return the rule for ``code``, if any."""
        names = (name for name in (code, *self._wildcards) if name in self.levels and matches(name, code))
        return self.levels.get(next(names, ""))


NO_REPLY = "none"
NO_CODES = CodeRules({})


class Stack:
    """The levels that apply to one failure, the most specific last; for each key the last one wins."""

    def __init__(self, levels: Iterable[Level]) -> None:
        self.levels = tuple(levels)

    def said(self, *keys: str) -> list[tuple[Level, str]]:
        """Return each level that sets any of ``keys``, with the key."""
        return [(level, key) for level in self.levels for key in keys if key in level.values]

    def value(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - typed by the file's models
        """Return the value of the most specific level."""
        said = self.said(key)
        return said[-1][0].values[key].value if said else default

    def text(self, key: str) -> str:
        """Return the value of the most specific level as written."""
        said = self.said(key)
        return said[-1][0].values[key].text if said else ""

    def source(self, *keys: str, text: "Callable[[Stack], str] | None" = None) -> Source | None:
        """Return where the value of ``keys`` comes from, and what it replaced.

        ``text`` describes several keys that people read as one thing (``3 messages in 30d``).
        """
        said = self.said(*keys)
        if not said:
            return None
        words = text or (lambda stack: stack.text(keys[0]))
        layers = []
        for place, level in enumerate(self.levels, 1):
            if not any(key in level.values for key in keys):
                continue
            upto = Stack(self.levels[:place])
            line = _line(upto.said(*keys))
            name = level.name if line else "built-in"
            layers.append(Source(value=words(upto), layer=name, line=line))
        return replace(layers[-1], below=tuple(layers[:-1]))

    def branches(self) -> Sequence[Branch]:
        """Return the branches by SMTP reply; none if a level more specific than ``when`` sets ``do``."""
        owner, judge = self.said("when")[-1:], self.said("do")[-1:]
        if not owner or (judge and self.levels.index(judge[0][0]) > self.levels.index(owner[0][0])):
            return ()
        return owner[0][0].branches

    def schedule(self, limits: Limits) -> tuple[int, ...]:
        """Return one delay for each try, from the list (its last entry repeats) or from the backoff."""
        tries, low = min(self.value("retry.max_attempts"), limits.max_attempts), limits.min_delay
        if self.is_listed:
            steps: Sequence[int] = self.value("retry.delays")
            return tuple(max(steps[min(n, len(steps) - 1)], low) for n in range(tries))
        base, factor, cap = (self.value(key) for key in BACKOFF)
        return tuple(max(min(round(base * factor**n), cap), low) for n in range(tries))

    @property
    def is_listed(self) -> bool:
        """Whether the most specific schedule is a list of delays; one level never has both."""
        return self.said(*BACKOFF, "retry.delays")[-1][1] == "retry.delays"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """All levels of one policy file."""

    base: Level
    channels: Mapping[Channel, Level]
    merchants: Mapping[str, Level]
    codes: CodeRules
    merchant_codes: Mapping[str, CodeRules]
    limits: Limits
    limits_line: int
    what_if: Level | None = None  # overrides all others, see ``file.load``

    def every(self) -> Iterator[Level]:
        """Yield every level of the file and every branch by SMTP reply."""
        books = [self.codes, *self.merchant_codes.values()]
        for level in (
            self.base,
            *self.channels.values(),
            *self.merchants.values(),
            *(level for book in books for level in book.levels.values()),
        ):
            yield level
            yield from (branch.level for branch in level.branches)

    def rules(self) -> Iterator[tuple[str, int]]:
        """Yield name and line of every rule that can decide: of codes, merchants' codes, and SMTP replies."""
        for book in (self.codes, *self.merchant_codes.values()):
            for level in book.levels.values():
                if not any(branch.takes("", ()) for branch in level.branches):
                    yield level.name, level.line
                yield from ((level.name, branch.level.line) for branch in level.branches)

    def replies(self) -> Iterator[tuple[str, str, str]]:
        """Yield code, status and text of every pattern of a ``when``; a status or text may be empty."""
        for book in (self.codes, *self.merchant_codes.values()):
            for code, level in book.levels.items():
                for branch in level.branches:
                    yield from product((code,), branch.smtp or ("",), branch.texts or ("",))

    def code_levels(self, code: str | None, merchant: str | None) -> list[Level]:
        """Return the rule for ``code``, then what the merchant changes in it."""
        books = self.codes, self.merchant_codes.get(merchant or "", NO_CODES)
        return [level for book in books if code and (level := book.find(code))]

    def stack(self, *, code: str | None, channel: Channel | None, merchant: str | None) -> Stack:
        """Return the levels that apply to a code, without the branches of its ``when``."""
        general = self.base, channel and self.channels.get(channel), self.merchants.get(merchant or "")
        return Stack(level for level in (*general, *self.code_levels(code, merchant)) if level)

    def resolve(
        self,
        *,
        code: str | None,
        channel: Channel | None,
        merchant: str | None,
        smtp: str | None,
        found: tuple[str, ...] = (),
    ) -> Rule:
        """Merge all levels that apply to one failure; see ``Resolve``."""
        exact = self.code_levels(code, merchant)
        stack = self.stack(code=code, channel=channel, merchant=merchant)
        name, line = self._name(stack, exact, code)
        fault = stack.value("fault", built_in_fault(code or "") or Fault.MESSAGE) if exact else Fault.MESSAGE
        branches = stack.branches()
        branch = next((one for one in branches if one.takes(smtp, found)), None)
        if branch:
            stack, line = Stack((*stack.levels, branch.level)), branch.level.line
            blamed = stack.value("fault", fault)
            fault = fault if blamed is Fault.RECIPIENT else blamed  # a reply never blames the recipient
        if self.what_if:
            stack = Stack((*stack.levels, self.what_if))
            fault = stack.value("fault", fault)
        fault = allowed_fault(code, fault)
        do = stack.value("do") or Disposition(stack.value("unknown_code") if code else "hold")
        if do is Disposition.SUPPRESS and fault is not Fault.RECIPIENT:
            do = Disposition.HOLD  # the loader refuses such a rule; this is a second guard
        said = stack.source("do") or (stack.source("unknown_code") if code else None) or _built_in(do)
        return Rule(
            name=name,
            line=line,
            do=do,
            fault=fault,
            texts=tuple(text for one in branches for text in one.texts),
            text=next((text for text in found if text in branch.texts), None) if branch else None,
            sources=self._sources(stack, said, stack.source("fault") or _built_in(fault)),
            confirm=stack.value("confirm") if do is Disposition.SUPPRESS else None,
            **self._values(stack, fault),
        )

    def _name(self, stack: Stack, exact: Sequence[Level], code: str | None) -> tuple[str, int]:
        if exact:
            return exact[-1].name, exact[-1].line
        if not code:
            return "defaults.unclassified", self.base.line
        level, key = stack.said("unknown_code")[-1]
        return f"{level.name}.{key}", level.values[key].line

    def _values(self, stack: Stack, fault: Fault) -> dict[str, Any]:
        is_off = bool(stack.said("retry"))
        then = stack.value("retry.then")
        return {
            "off": is_off,
            "delays": () if is_off else stack.schedule(self.limits),
            "jitter": stack.value("retry.jitter"),
            "give_up_after": stack.value("retry.give_up_after"),
            "settle": stack.value("retry.settle"),
            "then": "review" if then == "suppress" and fault is not Fault.RECIPIENT else then,
            "quiet_hours": stack.value("quiet_hours"),
            "timezone": stack.value("timezone"),
            "several_recipients": Disposition(stack.value("several_recipients")),
            "soft_bounce": SoftBounce(**{key: stack.value(f"soft_bounce.{key}") for key in SOFT_BOUNCE}),
            "suppression": SuppressionTerm(
                expires=stack.value("suppression.expires"),
                scope=stack.value("suppression.scope"),
                origin=stack.value("origin", "event"),
            ),
        }

    def _sources(self, stack: Stack, do: Source, fault: Source) -> dict[str, Source]:
        plain = ("max_attempts", "jitter", "give_up_after", "settle", "then")
        found: dict[str, Source | None] = {
            "do": do,
            "fault": fault,
            "retry": stack.source("retry"),  # off
            "retry.delays" if stack.is_listed else "retry.backoff": _schedule_source(stack),
            **{f"retry.{key}": stack.source(f"retry.{key}") for key in plain},
            **{key: stack.source(key) for key in WHOLE},
            "soft_bounce": stack.source(*(f"soft_bounce.{key}" for key in SOFT_BOUNCE), text=_soft_bounce),
            "suppression": stack.source(*SUPPRESSION, text=_suppression),
        }
        wanted, most = stack.value("retry.max_attempts"), self.limits.max_attempts
        said = found["retry.max_attempts"]
        if said and wanted > most:
            layer = "limits" if self.limits_line else "built-in"
            below = (*said.below, replace(said, below=()))
            found["retry.max_attempts"] = Source(
                value=str(most), layer=layer, line=self.limits_line, below=below
            )
        return {key: source for key, source in found.items() if source}


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` equals ``pattern``, or begins with it if the pattern ends in ``*``."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def allowed_fault(code: str | None, fault: Fault) -> Fault:
    """Return ``fault``, or the built-in fault of a known code if only ``fault`` blames the recipient."""
    natural = built_in_fault(code or "")
    return natural if natural and fault is Fault.RECIPIENT else fault


def _built_in(value: str) -> Source:
    return Source(value=str(value), layer="built-in", line=0)


def _line(said: Sequence[tuple[Level, str]]) -> int:
    """Return the first line of the keys that the most specific level sets."""
    level = said[-1][0]
    return min(
        (level.values[key].line for owner, key in said if owner is level and level.values[key].line),
        default=0,
    )


def _schedule_source(stack: Stack) -> Source | None:
    source = stack.source(*BACKOFF, "retry.delays", text=_schedule)
    return replace(source, value=source.value.partition(" ")[2]) if source else None


def _schedule(stack: Stack) -> str:
    if stack.is_listed:
        return f"delays {stack.text('retry.delays')}"
    return f"backoff {stack.text(BACKOFF[0])} x{stack.text(BACKOFF[1])}"


def _soft_bounce(stack: Stack) -> str:
    text = stack.text
    return f"{text('soft_bounce.escalate_at')} {text('soft_bounce.count')} in {text('soft_bounce.within')}"


def _suppression(stack: Stack) -> str:
    expires, scope = stack.text("suppression.expires"), stack.value("suppression.scope")
    return f"{expires}, this merchant only" if scope == "merchant" else expires
