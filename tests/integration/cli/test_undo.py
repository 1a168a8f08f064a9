"""``softbounce suppressions undo``: an incident of the brake, and its end."""

import pytest
from live import failed

from .desk import Desk


def mislabel(desk: Desk, count: int) -> None:
    """Let an operator call so many numbers dead."""
    events = [
        failed(f"b{n:03}", "INVALID_MOBILE_NUMBER", recipients=[f"+4915120{n:06}"]) for n in range(count)
    ]
    desk.report(*events)


def test_an_incident_is_undone_by_one_command(desk):
    """Doctor and lists name it; the undo asks for the count, lifts all, sends all, and is safe to repeat."""
    mislabel(desk, 120)
    assert (
        "incident k_1, INVALID_MOBILE_NUMBER DE: 120 sudden suppressions, 70 messages held"
        in desk.run("doctor").stdout
    )
    (case,) = desk.data("cases", "list", "kind:incident")
    assert (case["suppressed"], case["count"], case["group"]) == (120, 70, "INVALID_MOBILE_NUMBER DE")
    assert len(desk.data("suppressions", "list", "incident:k_1")) == 70
    words = ("suppressions", "undo", "incident:k_1", "--reason", "wrong codes")

    assert "Dry run: nothing changed." in desk.run(*words, "--dry-run").stderr
    assert desk.run(*words, stdin="").exit_code == 1
    assert len(desk.data("suppressions", "list")) == 120
    assert "k_1 undone: 120 lifted, 120 messages scheduled again." in desk.run(*words, stdin="120\n").stdout
    assert desk.data("suppressions", "list") == []
    (again,) = desk.data(*words)
    assert (again["lifted"], again["released"]) == (0, 0)
    assert desk.data("audit", "list")[0]["what"] == "k_1"
    assert "incident" not in desk.run("doctor").stdout


def test_a_provisional_suppression_says_so(desk):
    """The list and explain name the incident and the end."""
    mislabel(desk, 51)

    assert "provisional, k_1" in desk.run("suppressions", "list", "incident:k_1").stdout
    shown = desk.run("explain", "+4915120000050", "--channel", "sms").stdout
    assert "provisional, incident k_1" in shown
    assert "refused until Mon 23 Nov" in shown


def test_what_an_incident_holds_is_not_released_to_refused_recipients(desk):
    """--release would be futile, so it names the undo; --suppress confirms."""
    mislabel(desk, 55)
    resolve = ("cases", "resolve", "k_1", "--reason", "looked")

    refused = desk.run(*resolve, "--release")
    assert (refused.exit_code, "suppressions undo incident:k_1" in refused.stderr) == (2, True)
    assert "5 recipients suppressed" in desk.run(*resolve, "--suppress").stdout
    assert desk.data("suppressions", "list", "incident:k_1") == []
    assert len(desk.data("suppressions", "list", "-expires:<80d")) == 55


@pytest.mark.parametrize("words", ["incident:", "k_99", "incident:k_99", "case:k_1"])
def test_an_undo_of_no_incident_is_refused(desk, words):
    """A sentence and an exit code, nothing changes."""
    assert desk.run("suppressions", "undo", words, "--reason", "x").exit_code in (1, 2)
