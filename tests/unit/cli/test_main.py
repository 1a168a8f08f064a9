"""The command line where no store is asked: help, usage, explain from a file, exit codes, output."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.servers import PATIENCE
from typer.testing import CliRunner

from softbounce.cli.cases import SUGGESTIONS
from softbounce.cli.main import COMMANDS, app
from softbounce.cli.shared import input_files as files
from softbounce.cli.shared import options
from softbounce.cli.shared import output as console
from softbounce.cli.shared import session as desk
from softbounce.cli.shared.change import Intent
from softbounce.core.texts import LANGUAGES
from softbounce.store.audit import By

ROOT = Path(__file__).parents[3]
EVENT = {
    "type": "MESSAGE_NOT_DELIVERED",
    "date": "2026-11-20T16:32:23Z",
    "eventId": "e1",
    "claim": {
        "id": 54321,
        "merchantId": 1,
        "communication": {
            "channel": "SMS",
            "reference": "m1",
            "recipients": ["+491701234567"],
            "error": {"type": "SEND_ERROR", "reasonCode": "SMS_EXPIRED"},
        },
    },
}
FIELDS = [
    "eventId", "reference", "channel", "reasonCode", "disposition", "fault", "rule", "ruleAt", "delays",
    "nextTry", "suppress", "escalate", "because",
]  # fmt: skip


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder, where no store is set and none runs."""
    monkeypatch.chdir(tmp_path)
    return lambda *words, stdin=None: CliRunner().invoke(app, [str(word) for word in words], input=stdin)


def lines(result):
    """Return what was printed to stdout, a JSON value a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_has_help(run, name):
    """The list is written by hand, so that it loads nothing; each name in it leads to a command."""
    result = run(name, "--help")

    assert result.exit_code == 0, result.output
    assert "Usage" in result.stdout


def test_the_list_of_commands_loads_neither_the_store_nor_celery():
    """Help is quick: only what is called is loaded."""
    program = (
        "import sys; from typer.testing import CliRunner; from softbounce.cli.main import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([name for name in ('redis', 'celery', 'pydantic', 'phonenumbers') if name in sys.modules])"
    )
    answer = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )

    assert answer.stdout.strip() == "[]"


def test_no_command_but_run_and_worker_loads_celery():
    """Celery takes longer to load than most commands to run."""
    modules = {where.partition(":")[0] for where, _ in COMMANDS.values()}
    program = f"import sys; [__import__(f'softbounce.cli.{{m}}') for m in {sorted(modules)}];"
    program += "print('celery' in sys.modules)"
    answer = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )

    assert answer.stdout.strip() == "False"


def test_an_unknown_command_names_the_nearest(run):
    """Wrong usage is exit code 2."""
    result = run("retrie", "list")

    assert result.exit_code == 2
    assert "retries" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("retries", "list"),
        ("suppressions", "check", "+491701234567"),
        ("cases", "list"),
        ("dead-letters", "list"),
        ("audit", "list"),
        ("breakers", "list"),
        ("breakers", "open", "acme", "--reason", "x"),
        ("mode",),
        ("shadow",),
        ("doctor",),
        ("events", "report", "-"),
        ("explain", "m1"),
        ("bench",),
        ("worker",),
    ],
)
@pytest.mark.usefixtures("logging_as_before")
def test_without_a_store_every_command_says_so_and_exits_4(run, words):
    """Which store is missing, and how to get one; no traceback."""
    result = run(*words)

    assert result.exit_code == 4, result.output
    assert result.stdout == ""
    assert "softbounce run" in result.stderr


def test_an_unreachable_store_is_named_without_its_password(run, monkeypatch):
    """The URL shows where it was looked for; the password shows nowhere."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", "redis://me:geheim@localhost:1/0")
    result = run("retries", "list")

    assert result.exit_code == 4
    assert "redis://***@localhost:1/0" in result.stderr
    assert "geheim" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("retries", "cancel", "claim:1"),
        ("retries", "pause", "claim:1"),
        ("retries", "run-now", "m1"),
        ("suppressions", "add", "a@b.de"),
        ("suppressions", "remove", "a@b.de"),
        ("cases", "ack", "k_1"),
        ("cases", "resolve", "k_1", "--drop"),
        ("dead-letters", "replay", "d_1"),
        ("dead-letters", "drop", "d_1"),
        ("recipients", "forget", "a@b.de"),
        ("mode", "off"),
    ],
)
def test_a_change_without_a_reason_is_wrong_usage(run, words):
    """The reason is what the audit shows; it is asked for before anything is looked at."""
    result = run(*words)

    assert result.exit_code == 2
    assert "reason" in result.stderr


def test_explain_reads_one_event_a_line_and_prints_one_decision_a_line(run):
    """In order; what cannot be read is a decision too, and the next line goes on."""
    ignored = {"type": "INVOICE_PAID"}
    arrived = EVENT | {"type": "MESSAGE_DELIVERED"}
    stdin = "\n".join(["{torn", json.dumps(EVENT), "", json.dumps(ignored), json.dumps(arrived)]) + "\n"
    torn, failure, *rest = lines(run("explain", "-", "-o", "ndjson", stdin=stdin))

    assert (torn["outcome"], torn["path"]) == ("dead_lettered", "")
    assert list(failure) == FIELDS
    assert rest == [{"outcome": "ignored"}, {"outcome": "delivered"}]


def test_explain_says_in_words_what_an_opt_in_would_do(run):
    """The store knows whether there is anything to lift."""
    result = run("explain", "-", stdin=json.dumps(EVENT | {"type": "RECIPIENT_OPTED_IN"}))

    assert result.stdout.startswith("The recipient agrees to be written to again. An opt-out")
    assert result.stdout.endswith("outcome: opted_in\n")


def test_explain_answers_a_line_before_the_next_one_comes():
    """A pipeline may keep it open and ask as it goes."""
    with subprocess.Popen(
        [sys.executable, "-m", "softbounce", "explain", "-", "-o", "ndjson"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
        cwd=ROOT,
    ) as process:
        for reference in ("first", "second"):
            line = json.dumps(EVENT).replace('"m1"', f'"{reference}"') + "\n"
            process.stdin.write(line.encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["reference"] == reference
        process.stdin.close()

        assert process.wait(PATIENCE) == 0


def test_explain_of_a_file_needs_no_store(run, tmp_path):
    """An event over many lines, told to a person as if received at a given time."""
    (tmp_path / "event.json").write_text(json.dumps(EVENT, indent=2))
    told = run("explain", "event.json", "--at", "2026-11-20T16:40:00Z")
    given = json.loads(run("explain", "event.json", "-o", "json").stdout)

    assert told.stdout.startswith("Phone unreachable. Next try ")
    assert "codes.SMS_EXPIRED" in told.stdout
    assert "+491701234567" not in told.stdout
    assert given["nextTry"].startswith("2026-11-2")


def test_explain_follows_the_policy_that_is_given(run, tmp_path):
    """A draft can be tried on an event before it is in force."""
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    (tmp_path / "draft.yaml").write_text("version: 1\ncodes: {SMS_EXPIRED: {do: drop, fault: recipient}}\n")
    decision = json.loads(run("explain", "event.json", "--policy", "draft.yaml", "-o", "json").stdout)

    assert (decision["disposition"], decision["ruleAt"]) == ("drop", "draft.yaml:2")


def test_explain_names_what_is_wrong_with_its_arguments(run):
    """A file that is not there, a time that is none, a policy that is invalid: a sentence each."""
    missing, untimed = run("explain", "nope.json"), run("explain", "-", "--at", "noon", stdin="{}")
    invalid = run("explain", "-", "--policy", ROOT / "tests/data/broken/tab.yaml", stdin="{}")

    assert [missing.exit_code, untimed.exit_code, invalid.exit_code] == [2, 2, 1]
    assert "nope.json" in missing.stderr
    assert "a tab cannot indent YAML" in invalid.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}\n\n{"b": 2}\n', [b'{"a": 1}', b'{"b": 2}']),
        ('{\n"a": 1\n}\n', [b'{\n"a": 1\n}']),
        ('[{"a": 1},\n {"b": "ü"}]', [b'{"a": 1}', '{"b": "ü"}'.encode()]),
        ('{torn\n{"b": 2}', [b"{torn", b'{"b": 2}']),
        ('{"a": 1}\n{torn', [b'{"a": 1}', b"{torn"]),
        ("\n \n", []),
        ('["\\ud800"]', [b'"\\ud800"']),
        (
            '[ {"a": 1, "a": 2} ,\n1e400,[],"]", null]',
            [b'{"a": 1, "a": 2}', b"1e400", b"[]", b'"]"', b"null"],
        ),
    ],
)
def test_reports_come_as_lines_as_one_object_or_as_an_array(text, found):
    """What is none of these goes on line by line: it becomes dead letters, not a refusal."""
    assert list(files.read_reports(io.BytesIO(text.encode()))) == found


def test_a_negated_filter_word_is_no_option():
    """``-merchant:42`` reads as "not", wherever it stands; options keep their meaning."""
    probe = typer.Typer()

    @probe.command(cls=console.Filtered)
    def _probe(words: options.Words = None, *, output: options.Output = console.Output.TABLE) -> None:
        typer.echo(json.dumps([words, output]))

    answer = CliRunner().invoke(probe, ["-code:SMS_*", "channel:sms", "-o", "json", "-merchant:42"])

    assert json.loads(answer.stdout) == [["channel:sms", "-code:SMS_*", "-merchant:42"], "json"]


def test_words_without_a_key_are_any_of_them():
    """``run-now m1 m2`` means both messages."""
    assert desk.spelled(["m1", "channel:sms", "m2"], bare="reference") == ["channel:sms", "reference:m1,m2"]


def test_a_table_in_a_pipe_is_plain_columns_and_obeys_nothing(capsys):
    """Aligned, whole, and without the control characters that a field may hold."""
    rows = [({}, ("a", "x\x1b[2Jy\nz")), ({}, ("longer", "w"))]
    console.show(("ONE", "TWO"), rows, console.Output.TABLE)

    assert capsys.readouterr().out == "ONE     TWO\na       x�[2Jy�z\nlonger  w\n"


@pytest.mark.parametrize(("typed", "agrees"), [("101\n", True), ("1\n", False), ("", False)])
def test_above_100_matches_the_count_is_typed(typed, agrees):
    """Nobody changes a hundred things by a slip; where nobody can answer, nothing changes."""
    probe = typer.Typer()

    @probe.command()
    def _probe(*, yes: bool = False) -> None:
        found = Intent(by=By("me", "asked"), yes=yes).confirmed(
            range(101), describe=str, nouns=("thing", "things")
        )
        typer.echo(str(len(found)))

    asked, unasked = CliRunner().invoke(probe, [], input=typed), CliRunner().invoke(probe, ["--yes"])
    answered = asked.stdout.removeprefix(f" {typed}")  # the runner echoes what was typed

    assert (asked.exit_code, answered) == ((0, "101\n") if agrees else (1, ""))
    assert "101 things match, for example:\n  0\n  1\n  2\n  3\n  4\n" in asked.stderr
    assert unasked.stdout == "101\n"


def test_a_dry_run_shows_and_stops(capsys):
    """Count and samples, exit code 0, nothing returned to act on."""
    with pytest.raises(typer.Exit) as ended:
        Intent(by=By("me", "asked"), yes=True, dry_run=True).confirmed(
            [1], describe=str, nouns=("thing", "things")
        )

    assert ended.value.exit_code == 0
    assert capsys.readouterr().err == "1 thing matches: 1\nDry run: nothing changed.\n"


def test_the_local_zone_is_the_one_that_TZ_names(monkeypatch):  # noqa: N802 - the variable's name
    """Times on a screen carry the name of their zone."""
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    console.zone.cache_clear()
    head, shown = console.zoned("NEXT TRY"), console.time_of(1_795_192_343_000, 1_795_192_343_000)
    console.zone.cache_clear()

    assert (head, shown) == ("NEXT TRY (Sao Paulo)", "Fri 20 Nov 13:32")


def test_a_time_without_a_zone_is_meant_in_the_local_one(monkeypatch):
    """As it would be read on the screen; a named offset wins."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    console.zone.cache_clear()
    local, utc = console.moment("2026-11-20T21:30"), console.moment("2026-11-20T12:30Z")
    console.zone.cache_clear()

    assert local == utc


def test_each_kind_of_case_has_a_suggestion():
    """Whatever a case is about, its line says what a person can do."""
    kinds = {name.partition(".")[2] for name in LANGUAGES["en"].words if name.startswith("case.")}
    assert kinds | {"brake"} == SUGGESTIONS.keys()
    assert all(SUGGESTIONS.values())
