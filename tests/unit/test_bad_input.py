"""What fuzzing has found: each a plain case, so that it stays mended."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core import durations
from softbounce.core.decide import DeadLetter, decide
from softbounce.core.filters import parse_filter
from softbounce.core.policy.file import check, load
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidSettings
from softbounce.settings import Settings

POLICY = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder, where no store is set and none runs."""
    monkeypatch.chdir(tmp_path)
    return lambda *words, **settings: CliRunner().invoke(
        app, words, env={f"SOFTBOUNCE_{name.upper()}": value for name, value in settings.items()}
    )


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (durations.parse_duration, "90m\n"),
        (durations.parse_rate, "6/1d\n"),
        (durations.parse_share, "20%\n"),
        (durations.parse_clock, "21:00\n"),
        (durations.parse_duration, "\x1b[2J"),
    ],
)
def test_a_word_with_a_control_character_is_refused_in_one_line(parser, text):
    """A regular expression's ``$`` also stands before a last line break; a terminal obeys an escape."""
    with pytest.raises(ValueError, match="write") as refused:
        parser(text)

    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        'codes: {"SMS_X\\n": {do: hold}}',
        'codes: {SMS_X: {do: suppress, when: [{smtp: ["552\\n"], do: hold}]}}',
        'defaults: {retry: {give_up_after: "90m\\n"}}',
        '"\\e[2J": 1',
        "a: *\u200bb",
    ],
)
def test_a_policy_with_a_control_character_is_refused_in_printable_lines(text):
    """Such a code would never match, in silence; such a message would be obeyed by the terminal."""
    policy, problems = check(f"version: 1\n{text}\n", file="policy.yaml")

    assert policy is None
    assert all(problem.message.isprintable() for problem in problems)


@pytest.mark.parametrize("text", ["code:a,", "code:,", "due:<", "due:<2x", "code:<soon"])
def test_a_filter_word_that_cannot_match_is_refused_at_once(text):
    """Not when the first retry is looked at: an empty list would hide the mistake, an empty value crashed."""
    with pytest.raises(InvalidSettings):
        parse_filter(text, keys=("code", "due"))


def test_a_mapping_that_is_no_json_is_a_dead_letter():
    """Keys that are no text, a circle: ``decide`` never raises."""
    circle = {}
    circle["type"] = circle
    policy = load(POLICY, file="config/policy.yaml")

    assert all(isinstance(decide(raw, policy=policy, now=0), DeadLetter) for raw in ({(1, 2): 3}, circle))


def test_a_time_beyond_the_calendar_is_shown_as_its_end():
    """An offset takes a producer's date into the year 0 or 10000, which no date can hold."""
    assert iso(-62_135_683_200_000).startswith("0005-")
    assert iso(253_402_390_000_000).startswith("9987-")


def test_a_reference_longer_than_a_file_name_is_no_file(run):
    """References have up to 512 characters, file names 255: the store is asked."""
    result = run("explain", "x" * 512)

    assert result.exit_code == 4
    assert "no store" in result.stderr


@pytest.mark.parametrize(
    "words", [("explain", "m\udcff"), ("dead-letters", "show", "\udcff"), ("retries", "list", "m\udcff")]
)
def test_an_argument_that_is_not_utf8_is_refused(run, words):
    """Python hands such bytes over as halves of characters, which nothing can print or store."""
    result = run(*words)

    assert (result.exit_code, result.stderr) == (2, "an argument is not UTF-8 text\n")


def test_an_endless_policy_file_is_refused(run):
    """No more of it is read than a policy may have."""
    result = run("policy", "check", "/dev/zero")

    assert result.exit_code == 1
    assert "larger than 256 KiB" in result.stdout


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("redis_url", b"redis://:\xff@127.0.0.1", "UTF-8"),
        ("redis_url", b"redis://:hunter/2@127.0.0.1:6379", "%2F"),
        ("redis_url", b"redis://127.0.0.1:99999", "no URL"),
        ("broker_url", b"amqp://u:hunter[2@127.0.0.1", "no URL"),
        ("broker_url", b"amqp://127.0.0.1:port", "no URL"),
        ("pii_key", b"\xffhunter" * 4, "UTF-8"),
        ("data", b"/tmp/\x00", "SOFTBOUNCE_DATA: this is no path"),
    ],
)
def test_a_broken_secret_file_is_refused_without_showing_it(run, tmp_path, name, value, said):
    """A sentence and exit code 2; a password with / in it would be read as a port, and shown."""
    (tmp_path / f"softbounce_{name}").write_bytes(value)
    result = run("doctor", secrets=str(tmp_path))

    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "se" not in result.stderr.replace("secret", "").replace("SecretsSettingsSource", "").replace(
        "set", ""
    )


def test_settings_take_a_url_that_is_one():
    """With its password escaped."""
    url = "redis://:hunter%2F2@127.0.0.1:6379/0"

    assert Settings.load(redis_url=url).redis_url.get_secret_value() == url
