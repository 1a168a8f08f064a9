"""``softbounce policy test``: what passes, what fails and how it is said, coverage, mistakes in a file of tests."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from softbounce.cli.policy.file import app

ROOT = Path(__file__).parents[4]


pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(ROOT / "config/policy.yaml"))
    monkeypatch.chdir(tmp_path)

    def run(text, *options):
        Path("tests.yaml").write_text(text, encoding="utf-8")
        return CliRunner().invoke(app, ["test", "tests.yaml", *map(str, options)])

    return run


def one(event, expect, *, kind="event", at="2026-11-23T09:00:00Z"):
    """Return a file of one test."""
    return f"tests:\n  - name: it\n    at: {at}\n    {kind}: {event}\n    expect: {expect}\n"


def test_the_shipped_policy_passes_its_own_tests_and_each_of_its_rules_is_tested():
    """All that config/policy.yaml promises is held against it, rule by rule."""
    found = CliRunner().invoke(
        app, ["test", str(ROOT / "config/tests/default.yaml"), "--min-coverage", "100"]
    )

    assert found.exit_code == 0, found.output
    assert "(100 %)" in found.output


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{disposition: suppress}", "expected disposition suppress, got retry"),
        ("{fault: message}", "expected fault message, got recipient"),
        ("{delays: [90m]}", "expected delays 90m, got 90m 4h 12h 24h"),
        ("{nextTry: 2026-11-23T10:30:00Z}", "expected nextTry 2026-11-23T10:30:00+00:00, got 2026-11-23T10"),
        ("{nextTry: null}", "expected nextTry none, got"),
        ("{suppress: true}", "expected suppress True, got none"),
        ("{suppress: {until: null}}", "expected suppress until none, got none"),
        ("{outcome: held}", "expected outcome held, got scheduled"),
        ("{because: no such reason}", "expected because no such reason, got codes.SMS_EXPIRED says retry"),
        ("{escalated: true}", "expected escalated True, got none"),
        ("{resends: 9}", "expected resends 9, got 1"),
    ],
)
def test_what_differs_is_said_with_the_rule_that_decided(run, expect, said):
    """FAIL, the place of the test, what was expected and what came, the policy's line; exit code 1."""
    found = run(one('{code: SMS_EXPIRED, recipient: "+4915112345678"}', expect))

    assert found.exit_code == 1
    assert f"FAIL  tests.yaml:2  it    {said}" in found.output
    assert "decided by codes.SMS_EXPIRED (" in found.output
    assert "0 of 1 passed" in found.output


def test_several_reports_run_on_a_store_in_virtual_time(run):
    """What came before counts: the third message in a month escalates, in seconds of real time."""
    events = "{code: BOUNCE_TRANSIENT_MBX_FULL, repeat: 3, every: 2d, messages: distinct}"

    assert run(one(events, "{escalated: {at_event: 3}}", kind="events")).exit_code == 0
    assert "got at_event 3" in run(one(events, "{escalated: {at_event: 2}}", kind="events")).output


def test_each_test_has_a_store_of_its_own(run):
    """Two months of one test are not in the next one's count."""
    events = "{code: BOUNCE_TRANSIENT_MBX_FULL, repeat: 2, every: 2d, messages: distinct}"
    text = one(events, "{escalated: false}", kind="events")

    assert run(text + text.removeprefix("tests:\n")).exit_code == 0


def test_too_little_coverage_fails_and_names_what_is_untested(run):
    """Rules that no event reached, each with its line."""
    found = run(one("{code: SMS_EXPIRED}", "{disposition: retry}"), "--min-coverage", 80)

    assert found.exit_code == 1
    assert "rule coverage 1 of 35 (2 %, wanted 80 %)    untested: codes.SMS_NOT_DELIVERED (" in found.output


def test_results_are_written_as_junit_xml(run):
    """For CI: a case for each test, with its file, its line and what differs."""
    run(one("{code: SMS_EXPIRED}", "{disposition: hold}"), "--junit", "out.xml")
    (case,) = ET.parse("out.xml").getroot()  # noqa: S314 - we have just written it

    assert (case.get("name"), case.get("line")) == ("it", "2")
    assert case[0].get("message").startswith("expected disposition hold, got retry")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one("{code: A, chanel: sms}", "{}"), "unknown key 'chanel'; did you mean 'channel'?"),
        (one("{code: A}", "{disposition: retri}"), "'retri' is not one of retry, suppress"),
        (one("{code: A}", "{nextTry: tomorrow}"), "'tomorrow' is no time with a zone"),
        ("tests:\n  - name: it\n    expect: {}\n", "a test has either event or events"),
        ("tests: []\n", "a list needs at least 1 item here"),
        ("tests: {", "this is not YAML"),
        (one("{code: A, repeat: 100000}", "{}", kind="events"), "this must be at most 1000"),
    ],
)
def test_a_mistake_in_a_file_of_tests_has_its_place_and_a_sentence(run, text, said):
    """As in a policy: file, line, column, caret; exit code 2, and no test ran."""
    found = run(text)

    assert found.exit_code == 2
    assert "tests.yaml:" in found.output
    assert said in found.output
