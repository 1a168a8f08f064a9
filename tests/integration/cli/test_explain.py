"""``softbounce explain`` on a store: a message, a recipient, what holds a retry and what would change that."""

import pytest
from live import HOUR, START, failed

from softbounce.core.policy import file as policy_file
from softbounce.settings import policy_text

from .desk import NUMBER


def test_explain_says_when_a_block_was_taken_away(desk):
    """A message that ended for a block tells whether sends are refused still."""
    desk.report(failed("a", "INVALID_MOBILE_NUMBER"))
    before = desk.run("explain", "a").stdout
    desk.run("suppressions", "remove", "code:INVALID_MOBILE_NUMBER", "--reason", "corrected")

    assert "are refused until" in before
    assert "are allowed again" in desk.run("explain", "a").stdout


def test_explain_tells_a_message_s_whole_story(desk):
    """Headline, rule with its line, history, next tries, end, and how to hurry it."""
    desk.report(failed("a"))
    desk.store.set_now(START + 2 * HOUR)
    desk.pump()
    desk.report(failed("a") | {"eventId": "second", "date": "2026-11-22T14:00:00Z"})
    told = desk.run("explain", "a").stdout

    for part in ("outcome: scheduled", "2 of 6", "codes.SMS_EXPIRED", "resent", "event second", "gives up"):
        assert part in told
    assert "1 of 3 messages" in told
    assert "retries run-now a" in told


def test_explain_as_json_adds_the_history_to_the_decision(desk):
    """One object for each delivery, in stable names."""
    desk.report(failed("a"))
    desk.store.set_now(START + 2 * HOUR)
    desk.pump()
    (told,) = desk.data("explain", "a")

    assert (told["disposition"], told["state"], told["attempt"]) == ("retry", "out", 1)
    assert told["escalate"]["count"] == 1
    assert [step["what"] for step in told["history"]] == ["failed", "resent"]
    assert told["nextTry"] is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("BOUNCE_PERMANENT_NO_EMAIL", "outcome: suppressed"),
        ("PLACEHOLDER_ERROR", "outcome: held"),
        ("DEADLINE_EXCEEDED", "outcome: given_up"),
        ("NEVER_SEEN", "outcome: held"),
    ],
)
def test_explain_tells_how_a_message_ended(desk, code, said):
    """Also after the address was let go, in the words of the outcome."""
    desk.report(failed("a", code, channel="EMAIL", recipients=["j@web.de"]))
    told = desk.run("explain", "a").stdout

    assert said in told.splitlines()[0]
    assert "j@web.de" not in told


def test_a_retry_to_somebody_who_was_suppressed_meanwhile_will_not_leave(desk):
    """The list and explain say so before its time comes."""
    desk.report(failed("a", recipients=[NUMBER]))
    desk.run("suppressions", "add", NUMBER, "--reason", "asked")

    assert desk.data("retries", "list")[0]["state"] == "suppressed"
    assert "outcome: suppressed" in desk.run("explain", "a").stdout


def test_explain_says_why_a_due_retry_does_not_leave(desk):
    """The switch is off: who, since when, why."""
    desk.report(failed("a"))
    desk.run("mode", "off", "--reason", "wrong template", "--actor", "eva")

    assert "mode off since" in desk.run("explain", "a").stdout
    assert "by eva: wrong template" in desk.run("explain", "a").stdout


def why_not(desk, reference="a", *more):
    """Return what explain says holds a message back, by what would change it."""
    (told,) = desk.data("explain", reference, *more)
    return {row["change"]: row["what"] for row in told["whyNot"]}


def test_explain_names_the_command_against_each_thing_that_holds_a_retry(desk):
    """Mode, pauses, breaker: each with who, until when, and the words that end it."""
    desk.report(failed("a", recipients=[NUMBER]))
    rid = desk.data("explain", "a")[0]["recipient"]
    desk.run("mode", "off", "--merchant", "1", "--reason", "x")
    desk.run("retries", "pause", "a", "--for", "2d", "--reason", "x")
    desk.run("retries", "pause", f"recipient:{rid}", "--for", "2d", "--reason", "x")
    desk.run("breakers", "open", "sms:1", "--for", "2d", "--reason", "x")
    said = why_not(desk, "a", "--at", "2026-11-22T18:00:00Z")
    for command in (
        "softbounce mode on --merchant 1 --reason ...",
        "softbounce retries resume reference:a --reason ...",
        f"softbounce retries resume recipient:{rid} --reason ...",
        "softbounce breakers close sms:1 --reason ...; else it is probed then",
    ):
        assert command in said
        assert f"Change it: {command}" in desk.run("explain", "a").stdout
        desk.run(*command.partition("; else")[0].split()[1:])
    desk.store.workers.beat("w1", {}, now=desk.store.now())

    assert all("ramping" in what for what in why_not(desk, "a", "--at", "2026-11-22T18:00:00Z").values())


def test_explain_at_a_time_to_come_says_what_holds_then(desk):
    """In the night the line of the quiet hours; in the morning nothing, once the pause is over."""
    desk.report(failed("a"))
    desk.run("retries", "pause", "a", "--for", "30h", "--reason", "x")
    desk.store.workers.beat("w1", {}, now=desk.store.now())
    night = why_not(desk, "a", "--at", "2026-11-22T22:00:00Z")
    quiet = next(line for line in night if line.startswith("quiet_hours, "))

    assert night[quiet].startswith("quiet hours until 08:00")
    assert "softbounce retries resume reference:a --reason ..." in night
    assert why_not(desk, "a", "--at", "2026-11-24T10:00:00Z") == {}


def test_explain_of_a_due_retry_says_that_no_worker_is_there(desk):
    """Nothing else holds it: then somebody must start one."""
    desk.report(failed("a"))

    assert "softbounce worker" in why_not(desk, "a", "--at", "2026-11-23T10:00:00Z")


def test_explain_refuses_a_time_that_it_knows_nothing_of(desk):
    """The store keeps how things stand, not how they stood; a recipient stands as it is now."""
    desk.report(failed("a", recipients=[NUMBER]))
    past, recipient = (
        desk.run("explain", what, "--at", time)
        for what, time in (("a", "2020-01-01"), (NUMBER, "2027-01-01"))
    )

    assert (past.exit_code, recipient.exit_code) == (2, 2)
    assert "history says what was" in past.output
    assert "as of now" in recipient.output


def test_explain_says_which_cap_holds_a_retry_and_until_when(desk, tmp_path):
    """The policy's own key, what has left, and when the next may."""
    text = policy_text()[0].replace("resends_per_recipient: 6/1d", "resends_per_recipient: 1/1d")
    (tmp_path / "p.yaml").write_text(text)
    desk.policy = policy_file.load(text, file="p.yaml")
    desk.report(failed("a", recipients=[NUMBER]), failed("b", recipients=[NUMBER]))
    desk.store.set_now(START + 3 * HOUR)
    desk.pump()
    (waiting,) = desk.data("retries", "list")
    said = why_not(desk, waiting["reference"], "--policy", "p.yaml")

    assert waiting["state"] == "rate"
    assert said["limits.resends_per_recipient in p.yaml"].startswith(
        "limits.resends_per_recipient: 1/24h have left, the next may tomorrow"
    )


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("PLACEHOLDER_ERROR", "softbounce cases resolve k_1 --release --reason ...; for later reports: do, "),
        ("NEVER_SEEN", "for later reports: a rule for NEVER_SEEN under codes: of "),
        ("BOUNCE_PERMANENT_NO_EMAIL", "softbounce suppressions remove r_"),
        ("DEADLINE_EXCEEDED", "do, "),
    ],
)
def test_explain_says_what_would_change_how_a_message_ended(desk, code, change):
    """A held one is released, a block removed; else the line of the policy counts for later reports."""
    desk.report(failed("a", code, channel="EMAIL", recipients=["j@web.de"]))

    assert change in desk.run("explain", "a").stdout


def test_explain_offers_no_command_against_a_recipients_own_will(desk):
    """Who complained is not written to again by a command that was near at hand."""
    desk.report(failed("a", "COMPLAINT", channel="EMAIL", recipients=["j@web.de"]))

    assert "its recipient is suppressed." in desk.run("explain", "a").stdout
    assert "suppressions remove" not in desk.run("explain", "a").stdout


def test_explain_says_of_an_observed_try_that_nothing_was_sent(desk):
    """In mode observe a try is noted; it is not out."""
    desk.report(failed("a"))
    desk.run("mode", "observe", "--reason", "trial")
    desk.store.set_now(START + 3 * HOUR)
    desk.pump()
    told = desk.run("explain", "a").stdout

    assert "was observed today" in told.splitlines()[0]
    assert told.splitlines()[0].endswith("outcome: observed")
    assert "is out" not in told
    assert desk.data("explain", "a")[0]["outcome"] == "observed"


def test_explain_says_when_the_policy_has_changed_since(desk, monkeypatch, tmp_path):
    """Lines of today's file must not pass for the decision of another one."""
    desk.report(failed("a"))
    (tmp_path / "new.yaml").write_text(policy_text()[0].replace("90m, 4h", "91m, 4h"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "new.yaml")

    assert f"decided under policy {desk.policy.revision}" in desk.run("explain", "a").stdout


def test_explain_of_a_recipient_shows_evidence_pause_and_what_waits(desk):
    """By the address in any spelling, or by its hash."""
    desk.report(failed("a", recipients=[NUMBER]), failed("b", "SMS_NOT_DELIVERED", recipients=[NUMBER]))
    (told,) = desk.data("explain", "0049 151 12345678", "--channel", "sms")
    (same,) = desk.data("explain", told["recipient"])

    assert same["waiting"] == told["waiting"]
    assert {row["reference"] for row in told["waiting"]} == {"a", "b"}
    assert list(told["reports"]) == ["SMS_NOT_DELIVERED"]
    assert (told["reason"], len(told["softBounces"])) == (
        "paused",
        2,
    )  # until the retry of b tells whether it is dead
    assert NUMBER not in desk.run("explain", NUMBER).stdout


def test_what_nobody_knows_is_said_and_exits_1(desk):
    """For a reference; a recipient without a record may be sent to."""
    assert desk.run("explain", "nobody").exit_code == 1
    assert desk.run("retries", "show", "nobody").exit_code == 1
    assert desk.run("explain", NUMBER).exit_code == 0
