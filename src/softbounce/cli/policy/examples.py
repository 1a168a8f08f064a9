"""``softbounce policy test``: files of events and what must come of them, run against a policy."""

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from xml.etree import ElementTree as ET

import typer

from softbounce import telemetry
from softbounce.cli.shared import options
from softbounce.cli.shared.input_files import naming_file, write_text
from softbounce.cli.shared.output import MISUSED, REFUSED, Json
from softbounce.cli.shared.session import policy_of
from softbounce.core.decide import Decision, Plan, decide
from softbounce.core.policy import examples as policy_tests
from softbounce.core.policy.examples import Test, TestEvent, TestFile
from softbounce.core.policy.model import Policy
from softbounce.core.texts import plain
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings, RefuseToStart
from softbounce.explain import decision as explain
from softbounce.store import Store
from softbounce.store.memory import in_memory

AFTER = timedelta(days=30)  # resends are counted so long after the last event
UNTESTED_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one test; ``reason`` is empty where it passed."""

    name: str
    file: str
    line: int
    seconds: float
    reason: str = ""
    rules: frozenset[tuple[str, int]] = frozenset()  # name and line of those that decided


def run(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="YAML, see docs/guides/policy-tests.md")
    ],
    *,
    policy: options.Policy = None,
    min_coverage: Annotated[
        int, typer.Option("--min-coverage", min=0, max=100, metavar="PERCENT", help="Of the rules of codes")
    ] = 0,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write XML as well")] = None,
) -> None:
    """Run the tests of a policy: a test of one event is explained, a test of several runs on a store."""
    telemetry.configure(stream=sys.stderr, level="ERROR")  # the log of a test interests nobody
    results: list[Result] = []
    covered: dict[str, tuple[Policy, set[tuple[str, int]]]] = {}
    mistakes: list[str] = []
    with throw_away_stores() as stores:
        for file in files:
            tests, lines, wrong = policy_tests.load(_read(file), file=str(file))
            if tests is None:
                mistakes += [problem.rendered for problem in wrong]
                continue
            path = policy or (file.parent / tests.policy if tests.policy else None)
            rules = policy_of(path)
            _, met = covered.setdefault(rules.file, (rules, set()))
            for result in _run(tests, lines, file=str(file), rules=rules, path=path, stores=stores):
                results.append(result)
                met |= result.rules
                if result.reason:
                    typer.echo(f"FAIL  {file}:{result.line}  {plain(result.name)}    {result.reason}")
    for mistake in mistakes:
        typer.echo(mistake)
    if junit:
        _write_junit(junit, results)
    passed = sum(not result.reason for result in results)
    enough = True
    words = [f"{passed} of {len(results)} passed"]
    for rules, met in covered.values():
        share = _share(rules, met)
        enough = enough and share >= min_coverage
        words += _coverage(rules, met, share=share, wanted=min_coverage)
    typer.echo("    ".join(words))
    if mistakes or passed < len(results) or not enough:
        raise typer.Exit(MISUSED if mistakes and not results else REFUSED)


def _run(
    tests: TestFile,
    lines: Sequence[int],
    *,
    file: str,
    rules: Policy,
    path: Path | None,
    stores: Iterator[Store],
) -> Iterator[Result]:
    for one, line in zip(tests.tests, lines, strict=True):
        began = time.perf_counter()
        found, decided = _single(one, rules) if one.is_single else _several(one, rules, path, next(stores))
        reasons = ", ".join(policy_tests.differences(one.expect, found))
        by = f"   decided by {found['rule']} ({found['ruleAt']})" if reasons and "rule" in found else ""
        yield Result(
            name=one.name,
            file=file,
            line=line,
            seconds=time.perf_counter() - began,
            reason=reasons + by,
            rules=frozenset(decided),
        )


def _single(one: Test, rules: Policy) -> tuple[Json, set[tuple[str, int]]]:
    """Return what explain says of the one event."""
    ((_, event, reference),) = one.reports()
    found, decision = _explained(_report(event, reference, one.at), rules, one.at)
    return found, _rules(decision)


def _several(one: Test, rules: Policy, path: Path | None, store: Store) -> tuple[Json, set[tuple[str, int]]]:
    """Return what explain says of the last report, and what the store did with all, in order."""
    from softbounce import testing  # noqa: PLC0415 - a worker is heavy, and the other commands need none

    box = testing.Sandbox(policy=path, start=one.at, store=store)
    found: Json = {}
    decided: set[tuple[str, int]] = set()
    escalated = None
    for number, (wait, event, reference) in enumerate(one.reports(), 1):
        box.advance(timedelta(milliseconds=wait))
        report = _report(event, reference, box.now)
        found, decision = _explained(report, rules, box.now)
        answer = box.accept(report)
        if answer.escalated and escalated is None:
            escalated = {"at_event": number}
        sent = report["claim"]["communication"]
        verdict = store.suppressions.check(
            sent["recipients"][0], sent["channel"].lower(), merchant=str(event.merchant)
        )
        suppress = None
        if not verdict and verdict.reason != "paused":
            origin = decision.rule.suppression.origin if isinstance(decision, Plan) else None
            suppress = {"until": iso(verdict.until), "origin": origin}
        found |= {
            "outcome": answer.outcome,
            "nextTry": iso(answer.due),
            "escalated": escalated,
            "suppress": suppress,
        }
        decided |= _rules(decision)
    if "resends" in one.expect.model_fields_set:
        found["resends"] = len(box.advance(AFTER))
    return found, decided


def _explained(report: Json, rules: Policy, at: datetime) -> tuple[Json, Decision]:
    now = round(at.timestamp() * 1000)
    found, decision = explain.explain(report, policy=rules, now=now), decide(report, policy=rules, now=now)
    if isinstance(decision, Plan):
        found["outcome"] = explain.first_outcome(decision)
    return found, decision


def _rules(decision: Decision) -> set[tuple[str, int]]:
    return {(decision.rule.name, decision.rule.line)} if isinstance(decision, Plan) else set()


def _report(event: TestEvent, reference: str, at: datetime) -> Json:
    from softbounce import testing  # noqa: PLC0415 - as above

    common: Json = {
        "channel": event.channel,
        "to": event.recipients or event.recipient,
        "at": at,
        "claim": event.claim,
        "merchant": event.merchant,
        "timezone": event.timezone,
        "provider": event.provider,
        "notAfter": event.not_after and event.not_after.isoformat(),
    }
    if event.delivered:
        return testing.delivered(reference, **{**common, "channel": event.channel or "sms"})
    details = {"smtpCode": event.smtp, "message": event.text}
    report = testing.failed(reference, event.code or "", error_type=event.type, details=details, **common)
    if event.code is None:
        del report["claim"]["communication"]["error"]
    return report


@contextmanager
def throw_away_stores() -> Iterator[Iterator[Store]]:
    """Give an iterator of empty stores: each a namespace of one server that runs meanwhile."""
    from softbounce import embedded  # noqa: PLC0415 - most files of tests need no server

    opened: list[Store] = []

    def fresh(folder: Path) -> Generator[Store]:
        try:
            server = embedded.start(folder)
        except RefuseToStart:
            yield from iter(in_memory, None)
            return
        with server:
            for number in count():
                opened.append(Store.open(server.url, namespace=f"t{number}"))
                yield opened[-1]

    with TemporaryDirectory(prefix="softbounce-policy-") as folder:
        stores = fresh(Path(folder))
        try:
            yield stores
        finally:
            for store in opened:
                store.close()
            stores.close()


def _read(file: Path) -> str:
    try:
        with naming_file("read", file):
            return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        message = f"{file} is not UTF-8 text"
        raise InvalidSettings(message) from None


def _share(rules: Policy, met: set[tuple[str, int]]) -> int:
    return 100 * len(met & set(rules.rules)) // len(rules.rules) if rules.rules else 100


def _coverage(rules: Policy, met: set[tuple[str, int]], *, share: int, wanted: int) -> Iterator[str]:
    known = dict.fromkeys(rules.rules)
    hit = len(met & known.keys())
    goal = f", wanted {wanted} %" if share < wanted else ""
    yield f"rule coverage {hit} of {len(known)} ({share} %{goal})"
    untested = [f"{name} ({rules.at(line)})" for name, line in known if (name, line) not in met]
    if untested:
        more = f" and {len(untested) - UNTESTED_SHOWN} more" if len(untested) > UNTESTED_SHOWN else ""
        yield f"untested: {', '.join(untested[:UNTESTED_SHOWN])}{more}"


def _write_junit(path: Path, results: Sequence[Result]) -> None:
    failures = sum(bool(result.reason) for result in results)
    suite = ET.Element("testsuite", name="softbounce policy", tests=str(len(results)), failures=str(failures))
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=result.file,
            name=result.name,
            file=result.file,
            line=str(result.line),
            time=f"{result.seconds:.3f}",
        )
        if result.reason:
            ET.SubElement(case, "failure", message=result.reason)
    write_text(path, ET.tostring(suite, encoding="utf-8", xml_declaration=True).decode())
