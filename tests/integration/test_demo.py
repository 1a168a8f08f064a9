"""The demo on the real worker: small, with and without kills."""

import contextlib
import io
import json

import pytest

from softbounce import demo
from softbounce.demo import lockstep

CLAIMS = (
    "1. Resends after DELIVERED was known: 0",
    "2. Same retry twice: 0",
    "3. Resends to a suppressed recipient: 0",
    "4. Healthy recipients still suppressed after the undo: 0   (150 lifted)",
)


@pytest.fixture(scope="module")
def table():
    """The table of one small demo, without kills."""
    return _run(seed=3)


def _run(**options):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = demo.run(days=2, recipients=400, fast=True, **options)
    text = out.getvalue()
    return code, text, text[text.index("no retry") : text.index("1. Resends")]


def test_every_claim_holds(table):
    """The demo exits 0 and prints its four zeros."""
    code, text, _ = table

    assert code == 0
    for claim in CLAIMS:
        assert claim in text


def test_the_story_names_what_happened_and_the_command_that_explains_it(table):
    """A line a day, the night, the morning and the outage, each with a reference to ask about."""
    _, text, _ = table
    words = ("simulated", "is switched off", "Morning where", "provider is down", "day 1 is over")

    for word in (*words, "softbounce explain m0"):
        assert word in text


def test_the_same_seed_gives_the_same_table(table):
    """Nothing in the table depends on how fast a process was."""
    assert _run(seed=3)[2] == table[2]


def test_killing_the_worker_three_times_changes_nothing(table):
    """A kill -9 while it hands over and while it takes in: still zeros, and the same table."""
    code, text, same = _run(seed=3, chaos=True)

    assert code == 0
    for claim in CLAIMS:
        assert claim in text
    assert "Kills with kill -9 while it worked: 3" in text
    assert "retries claimed and not confirmed" in text
    assert "reports read and not acknowledged" in text
    assert same == table[2]


def test_another_seed_is_another_world(table):
    """The table follows from the seed."""
    assert _run(seed=4)[2] != table[2]


def test_the_policy_that_lies_in_the_callers_folder_is_not_the_demos(tmp_path, monkeypatch, table):
    """The demo shows the policy that ships."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "policy.yaml").write_text("version: 1\nname: nonsense\nnot_a_key: 1\n")
    monkeypatch.chdir(tmp_path)

    assert _run(seed=3)[2] == table[2]


def test_a_worker_that_dies_at_once_ends_the_demo_with_its_log(monkeypatch, capsys):
    """Nobody waits a minute for a dead process, and its last words are shown."""
    monkeypatch.setattr(lockstep, "packaged_policy", lambda: "version: 1\nnot_a_key: 1\n")
    code = demo.run(seed=3, days=2, recipients=50, fast=True)

    assert code == 1
    assert "not_a_key" in capsys.readouterr().err


def test_the_reports_are_saved_in_the_order_they_came(tmp_path):
    """``--save`` writes each report as the worker got it, both kinds, with the world's time of receipt."""
    file = tmp_path / "log.ndjson"
    code = demo.run(seed=3, days=1, recipients=60, fast=True, save=file)
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    received = [event["receivedAt"] for event in events]

    assert code == 0
    assert {event["type"] for event in events} == {"MESSAGE_NOT_DELIVERED", "MESSAGE_DELIVERED"}
    assert received == sorted(received)
    assert any("resendId" in event["claim"]["communication"] for event in events)
