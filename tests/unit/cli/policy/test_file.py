"""The policy commands: output, exit codes, and what goes to stderr."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from softbounce.cli.main import app

ROOT = Path(__file__).parents[4]
BROKEN = ROOT / "tests/data/broken"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.delenv("SOFTBOUNCE_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["policy", *map(str, words)])


def test_init_writes_the_default_and_check_accepts_it(run):
    """The first two commands of a new operator."""
    written, checked = run("init"), run("check", "--strict")

    assert (written.exit_code, checked.exit_code) == (0, 0)
    assert Path("config/policy.yaml").read_bytes() == (ROOT / "config/policy.yaml").read_bytes()


def test_init_replaces_a_file_only_by_force(run):
    """An operator's policy is not lost to a second init."""
    Path("mine.yaml").write_text("version: 1\n", encoding="utf-8")
    refused = run("init", "mine.yaml")

    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert Path("mine.yaml").read_text(encoding="utf-8") == "version: 1\n"
    assert run("init", "mine.yaml", "--force").exit_code == 0


def test_check_prints_every_mistake_to_stdout_and_exits_1(run):
    """Findings are the command's data."""
    result = run("check", BROKEN / "typo-and-units.yaml")

    assert result.exit_code == 1
    assert result.stdout.count(": error: ") == 5


def test_check_as_json_names_line_column_and_message(run):
    """Programs read the same findings."""
    result = run("check", BROKEN / "tab.yaml", "-o", "json")
    found = json.loads(result.stdout)

    assert (result.exit_code, found["valid"], found["revision"]) == (1, False, None)
    assert found["problems"] == [
        {"line": 3, "column": 1, "severity": "error", "message": "a tab cannot indent YAML; use spaces"}
    ]


def test_a_near_miss_is_a_warning_and_fatal_when_strict(run):
    """Own codes are legal, and a typing error looks like one."""
    path = BROKEN / "near-miss.yaml"

    assert [run("check", path).exit_code, run("check", path, "--strict").exit_code] == [0, 1]


def test_a_file_that_cannot_be_read_is_wrong_usage(run):
    """Exit code 2, and the reason on stderr."""
    result = run("check", "nowhere.yaml")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere.yaml" in result.stderr


def test_show_prints_each_rule_with_its_line(run):
    """The effective rule, not the written one: SMS delays are settled, letters are off."""
    result = run("show", "--policy", ROOT / "config/policy.yaml")
    row = next(line for line in result.stdout.splitlines() if line.startswith("SMS_EXPIRED")).split()

    assert row[1:9] == ["retry", "recipient", "90m", "4h", "12h", "24h", "36h", "48h"]
    assert row[9].startswith(":")


def test_show_follows_channel_and_merchant(run):
    """As JSON with sources, for one merchant on one channel."""
    Path("p.yaml").write_text(
        'version: 1\ncodes: {AAA: {do: retry}}\nmerchants: {"42": {codes: {AAA: {retry: {delays: [5m]}}}}}\n',
        encoding="utf-8",
    )
    result = run("show", "--policy", "p.yaml", "--merchant", "42", "--channel", "sms", "-o", "json")
    first = json.loads(result.stdout)["rules"][0]

    assert (first["rule"], first["delays"]) == ("merchants.42.codes.AAA", [300])
    assert first["sources"]["retry.delays"]["at"] == "p.yaml:3"


def test_show_refuses_an_invalid_file(run):
    """There is nothing to show of a policy that may not run."""
    result = run("show", "--policy", BROKEN / "tab.yaml")

    assert result.exit_code == 1
    assert "a tab cannot indent YAML" in result.stderr


def test_schema_is_a_json_schema(run):
    """Printed as it is, ready to be saved beside the file."""
    schema = json.loads(run("schema").stdout)

    assert "codes" in schema["properties"]
