"""``softbounce dead-letters``: input that could not be read."""

import json

import pytest
from live import failed

from softbounce.store.audit import By

from .desk import NUMBER


def test_a_dead_letter_is_listed_shown_and_masked(desk):
    """With its reason, the field, and its text without addresses."""
    desk.report(json.dumps(failed("", recipients=[NUMBER])).encode())
    (letter,) = desk.data("dead-letters", "list")
    shown = desk.run("dead-letters", "show", letter["id"]).stdout

    assert (letter["path"], letter["length"] > 0) == ("claim.communication.reference", True)
    assert "MESSAGE_NOT_DELIVERED" in shown
    assert NUMBER not in shown
    assert NUMBER in desk.run("dead-letters", "show", letter["id"], "--reveal").stdout


def test_a_replayed_letter_is_reported_again_and_gone(desk):
    """It goes the way of every report; what is read now leaves no letter behind."""
    desk.report(b"{torn")
    (letter,) = desk.data("dead-letters", "list")
    result = desk.run("dead-letters", "replay", letter["id"], "--reason", "mended")
    entries, _ = desk.store.events.read("w", count=10, block_ms=0)

    assert result.exit_code == 0
    assert [entry.raw for entry in entries] == [b"{torn"]
    assert desk.data("dead-letters", "list") == []


def test_a_replayed_letter_that_fails_again_at_once_is_kept(desk):
    """A worker may be quicker than the deletion: the letter of the second failure must not go with the first."""
    desk.report(b"{torn")
    (letter,) = desk.data("dead-letters", "list")
    (kept,) = [desk.store.dead_letters.show(letter["id"].removeprefix("d_"))]
    desk.report(b"{torn")
    desk.store.dead_letters.replay([kept], events=desk.store.events, by=By("me", "x"))

    assert [row["id"] for row in desk.data("dead-letters", "list")] == [letter["id"]]


def test_a_letter_that_was_not_kept_whole_cannot_be_replayed(desk):
    """Exit code 5 and its id; it stays."""
    desk.report(b"{" + b"x" * 70_000)
    (letter,) = desk.data("dead-letters", "list")
    result = desk.run("dead-letters", "replay", letter["id"], "--reason", "x")

    assert result.exit_code == 5
    assert json.loads(result.stderr.splitlines()[1])["id"] == letter["id"]
    assert len(desk.data("dead-letters", "list")) == 1


def test_letters_are_dropped_by_a_filter(desk):
    """By reason, with the count shown before."""
    desk.report(b"{torn", json.dumps(failed("")).encode())
    result = desk.run("dead-letters", "drop", "reason:*JSON*", "--reason", "noise")

    assert result.stdout == "Dropped: 1.\n"
    assert len(desk.data("dead-letters", "list")) == 1


def test_a_flood_of_large_letters_is_said_with_its_remedy(desk):
    """What is not kept whole is shown by the list; list and doctor say why, and what to do."""
    desk.report(*(f"{{torn {number} ".encode().ljust(70_000, b"x") for number in range(200)))
    listed, checked = desk.run("dead-letters", "list"), desk.run("doctor")

    assert "70,000 (65,536 kept)" in listed.stdout
    assert "70,000 (2,048 kept)" in listed.stdout
    for said in (listed.stderr, checked.stdout):
        assert "dead letters take 16 of 16 MiB: of a larger new one only its first 2 KiB are kept" in said
        assert "softbounce dead-letters replay or drop" in said
    desk.run("dead-letters", "drop", "reason:*", "--yes", "--reason", "noise")
    assert "MiB" not in desk.run("dead-letters", "list").stderr + desk.run("doctor").stdout


@pytest.mark.parametrize("output", ["table", "json", "ndjson"])
def test_an_event_id_that_cannot_be_printed_is_left_out(desk, tmp_path, output):
    """The event is reported as it is; a worker makes a dead letter of it."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"eventId": "\\ud800"}\n')

    assert desk.run("events", "report", path, "-o", output).exit_code == 0
    assert desk.store.events.lag().unread == 1
