"""``softbounce cases``: what a person must look at, and what becomes of it."""

import pytest
from live import HOUR, MINUTE, START, failed

from softbounce.store.audit import By

from .desk import NUMBER


def test_a_case_says_what_it_is_and_what_to_do(desk):
    """Grouped by cause, with a count and a suggestion."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR"), failed("c", "NEVER_SEEN"))
    held, unknown = sorted(desk.data("cases", "list"), key=lambda case: -case["count"])
    table = desk.run("cases", "list").stdout

    assert (held["what"], held["count"]) == ("Held: Data for the template missing", 2)
    assert unknown["what"] == "Unknown code NEVER_SEEN"
    assert f"cases resolve {held['case']} --release" in table


def test_a_case_of_an_opt_in_names_the_recipient_the_doubt_and_the_remedy(desk):
    """A person asks, lifts the block or leaves it, and closes the case."""
    desk.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=START, code="OPT_OUT")
    desk.report(failed("a", recipients=[NUMBER]) | {"type": "RECIPIENT_OPTED_IN"})
    (case,) = desk.data("cases", "list")
    shown = desk.run("cases", "show", case["case"]).stdout

    assert case["recipient"] == f"r_{desk.store.suppressions.rid(NUMBER, 'sms')}"
    assert "it names a merchant, and consent is withdrawn from all" in shown
    assert "suppressions remove" in shown
    assert case["recipient"] in shown
    assert desk.run("cases", "resolve", case["case"], "--fixed", "--reason", "asked").exit_code == 0
    assert desk.data("cases", "list") == []


def test_a_case_of_a_contradiction_shows_its_message(desk):
    """A text that arrived and is said to have failed for good."""
    report = failed("a", "INVALID_MOBILE_NUMBER", recipients=[NUMBER])
    desk.report(report | {"type": "MESSAGE_DELIVERED"}, report)
    (case,) = desk.data("cases", "list")

    assert case["what"] == "Failed for good after it had arrived: Not a valid mobile number"
    assert "  a " in desk.run("cases", "show", case["case"]).stdout
    result = desk.run("cases", "resolve", case["case"], "--suppress", "--reason", "the provider says so")
    assert "1 recipient suppressed" in result.stdout


def test_a_released_case_sends_what_it_held(desk):
    """Also what failed more than once; the case is closed with its reason."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR"))
    (case,) = desk.data("cases", "list")
    result = desk.run("cases", "resolve", case["case"], "--release", "--reason", "mended")
    desk.store.set_now(START + MINUTE)

    assert result.stdout == f"{case['case']} resolved: 2 released.\n"
    assert sorted(desk.pump()) == ["a", "b"]
    assert desk.data("cases", "list") == []
    assert desk.data("cases", "list", "state:resolved")[0]["how"] == "release"


def test_what_is_past_its_deadline_is_released_only_by_an_express_word(desk):
    """``--even-stale`` asks for the count, however small."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"), failed("b", "PLACEHOLDER_ERROR", snippet="x"))
    (case,) = desk.data("cases", "list")
    desk.store.set_now(START + 100 * HOUR)
    unanswered = desk.run("cases", "resolve", case["case"], "--release", "--even-stale", "--reason", "x")
    answered = desk.run(
        "cases", "resolve", case["case"], "--release", "--even-stale", "--reason", "x", stdin="2\n"
    )

    assert (unanswered.exit_code, answered.exit_code) == (1, 0)
    assert "2 released" in answered.stdout


def test_a_case_can_end_with_its_recipients_suppressed(desk):
    """By a person's word, for as long as the policy says."""
    desk.report(failed("a", "PLACEHOLDER_ERROR", recipients=[NUMBER]))
    (case,) = desk.data("cases", "list")
    result = desk.run("cases", "resolve", case["case"], "--suppress", "--reason", "wrong person")

    assert "1 recipient suppressed" in result.stdout
    assert desk.run("suppressions", "check", NUMBER).exit_code == 1


def test_a_case_is_acknowledged_shown_and_resolved_once(desk):
    """A second resolution is refused, an unknown case too."""
    desk.report(failed("a", "PLACEHOLDER_ERROR"))
    (case,) = desk.data("cases", "list")
    desk.run("cases", "ack", case["case"], "--reason", "on it", "--actor", "eva")
    (shown,) = desk.data("cases", "show", case["case"])

    assert (shown["state"], shown["by"], shown["messages"][0]["reference"]) == ("acknowledged", "eva", "a")
    assert desk.run("cases", "resolve", case["case"], "--drop", "--reason", "old").exit_code == 0
    assert desk.run("cases", "resolve", case["case"], "--drop", "--reason", "old").exit_code == 1
    assert desk.run("cases", "show", "k_999").exit_code == 1


@pytest.mark.parametrize("choice", [(), ("--drop", "--fixed"), ("--drop", "--even-stale")])
def test_a_case_is_resolved_in_exactly_one_way(desk, choice):
    """Wrong usage, before anything is looked at."""
    assert desk.run("cases", "resolve", "k_1", "--reason", "x", *choice).exit_code == 2


def test_of_many_held_messages_one_leaves_first(desk):
    """The first --release sends a canary, again too early is refused, and once it is well the rest leaves."""
    desk.report(*(failed(f"h{n}", "PLACEHOLDER_ERROR") for n in range(60)))
    release = ("cases", "resolve", "k_1", "--release", "--reason", "template mended")

    assert "one message sent first" in desk.run(*release).stdout
    assert desk.run(*release).exit_code == 1
    (first,) = desk.pump()
    assert desk.run(*release).exit_code == 1
    desk.store.set_now(desk.store.now() + 5 * MINUTE)
    assert "59 released" in desk.run(*release).stdout
    assert first not in desk.waiting()


def test_a_canary_that_fails_again_is_followed_by_another(desk):
    """The rest stays held until one message is well."""
    desk.report(*(failed(f"h{n}", "PLACEHOLDER_ERROR") for n in range(60)))
    release = ("cases", "resolve", "k_1", "--release", "--reason", "template mended")
    desk.run(*release)
    (first,) = desk.pump()
    desk.report(failed(first, "PLACEHOLDER_ERROR", campaign="again") | {"eventId": "again"})
    desk.store.set_now(desk.store.now() + 5 * MINUTE)

    assert "one message sent first" in desk.run(*release).stdout
    assert desk.data("cases", "show", "k_1")[0]["count"] == 59
