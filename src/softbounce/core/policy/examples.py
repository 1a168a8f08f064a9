"""Tests of a policy: files that say what must follow from one event, or from several."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from softbounce.core.durations import SECOND, shown, words
from softbounce.core.policy.file import Problem, problems
from softbounce.core.policy.validation import read_as
from softbounce.core.policy.values import Block, Duration
from softbounce.core.policy.yaml_tree import Tree

MOST_EVENTS = 1_000  # one test may have so many events
Json = dict[str, Any]


def _time(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        message = f"{shown(value)} is no time with a zone; write 2026-11-20T21:30:00+01:00"
        raise ValueError(message)
    return found


Time = Annotated[datetime, BeforeValidator(_time)]
Id = int | str


class Between(Block):
    """A period of time, both ends included."""

    between: Annotated[list[Time], Field(min_length=2, max_length=2)]


class TestEvent(Block):
    """One report in short form; defaults are those of ``softbounce.testing``."""

    __test__ = False  # pytest must not collect it

    code: str | None = None
    channel: Literal["sms", "email", "letter"] | None = None
    recipient: str | dict[str, str] | None = None
    recipients: list[str | dict[str, str]] | None = None
    merchant: Id = 1
    claim: Id = 54321
    reference: str = "m1"
    type: str = "SEND_ERROR"
    smtp: Id | None = None
    text: str | None = None
    timezone: str | None = None
    provider: str | None = None
    not_after: Time | None = Field(None, alias="notAfter")
    delivered: bool = False


class Reports(TestEvent):
    """Several reports of one kind, in sequence."""

    after: Duration = Field(0, description="Since the report before")
    repeat: Annotated[int, Field(ge=1, le=MOST_EVENTS)] = 1
    every: Duration = 0
    messages: Literal["same", "distinct"] = "same"


class Suppress(Block):
    """Until when, and from which source."""

    until: Time | Between | None = None
    origin: Literal["event", "provider"] | None = None


class Escalated(Block):
    """Number of the report that escalates, from 1."""

    at_event: Annotated[int, Field(ge=1)]


class Expect(Block):
    """The expected result, with the keys of ``explain -o json``; a key that is left out is not compared."""

    outcome: str | None = None
    disposition: Literal["retry", "suppress", "hold", "drop", "ignore"] | None = None
    fault: Literal["recipient", "message", "provider", "config"] | None = None
    rule: str | None = None
    delays: list[Duration] | None = None
    next_try: Time | Between | None = Field(None, alias="nextTry")
    suppress: bool | Suppress | None = None
    escalated: bool | Escalated | None = None
    resends: Annotated[int, Field(ge=0)] | None = Field(None, description="That leave in the 30 days after")
    because: str | None = Field(None, description="A part of one of its sentences")


class Test(Block):
    """One test: one event or several, and the expected result."""

    __test__ = False

    name: Annotated[str, Field(min_length=1, max_length=200)]
    at: Time = datetime(2026, 11, 23, 9, tzinfo=UTC)
    event: TestEvent | None = None
    events: Reports | Annotated[list[Reports], Field(min_length=1, max_length=MOST_EVENTS)] | None = None
    expect: Expect

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        if (self.event is None) == (self.events is None):
            message = "a test has either event or events"
            raise ValueError(message)
        return self

    @property
    def is_single(self) -> bool:
        """Whether the policy alone gives the result, without a store."""
        asks_store = {"escalated", "resends"} & self.expect.model_fields_set
        return self.event is not None and not asks_store

    def reports(self) -> Iterator[tuple[int, TestEvent, str]]:
        """Yield (ms since the report before, report, reference)."""
        several = [self.event] if self.event else self.events
        number = 0
        for one in several if isinstance(several, list) else [several]:
            if not isinstance(one, Reports):
                assert one is not None  # noqa: S101 - the validator has checked it
                yield 0, one, one.reference
                continue
            for turn in range(one.repeat):
                number += 1
                distinct = one.messages == "distinct"
                yield one.every if turn else one.after, one, f"m{number}" if distinct else one.reference


class TestFile(Block):
    """A file of tests."""

    __test__ = False

    policy: str | None = Field(None, description="Beside this file")
    tests: Annotated[list[Test], Field(min_length=1, max_length=10_000)]


def load(text: str, *, file: str) -> tuple[TestFile | None, list[int], list[Problem]]:
    """Return a file's tests and their lines, or None and every mistake in the file."""
    tree = Tree(text, takes_null=True)
    found, mistakes = read_as(TestFile, tree)
    wrong = [("error", mistake) for mistake in (*tree.mistakes, *mistakes)]
    if found is None or wrong:
        return None, [], problems(wrong, text, file=file)
    return found, [tree.line(("tests", number)) for number in range(len(found.tests))], []


def differences(expect: Expect, found: Json) -> Iterator[str]:
    """Yield each difference: ``expected disposition retry, got suppress``."""
    for name in sorted(expect.model_fields_set):
        wanted, field = getattr(expect, name), type(expect).model_fields[name].alias or name
        got = found.get(field)
        if field == "delays" and wanted is not None:
            wanted, got = " ".join(map(words, wanted)), " ".join(words(delay * SECOND) for delay in got or ())
        if not _fits(field, wanted, got):
            yield f"expected {field} {_shown(wanted)}, got {_shown(got)}"


def _fits(field: str, wanted: Any, got: Any) -> bool:  # noqa: ANN401, PLR0911 - by field
    match wanted:
        case Between(between=[first, last]):
            return got is not None and first <= datetime.fromisoformat(got) <= last
        case datetime():
            return got is not None and datetime.fromisoformat(got) == wanted
        case Suppress():
            has_until = "until" not in wanted.model_fields_set or (
                got is not None and _fits("until", wanted.until, got.get("until"))
            )
            return got is not None and has_until and wanted.origin in (None, got["origin"])
        case Escalated(at_event=number):
            return bool(got == {"at_event": number})
        case bool():
            return bool(got) is wanted
        case str() if field == "because":
            return any(wanted in sentence for sentence in got or ())
        case None if field in ("suppress", "nextTry", "until"):
            return got is None
        case _:
            return bool(got == wanted)


def _shown(value: Any) -> str:  # noqa: ANN401, PLR0911 - by field
    match value:
        case None:
            return "none"
        case datetime():
            return value.isoformat()
        case Between(between=[first, last]):
            return f"{first.isoformat()} to {last.isoformat()}"
        case Suppress() | Escalated():
            return _shown(value.model_dump(exclude_unset=True))
        case dict():
            return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
        case list():
            return "; ".join(map(str, value))
        case _:
            return str(value)
