"""The decision on one report, as JSON and as lines for a person."""

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from softbounce.core.decide import plan
from softbounce.core.durations import DAY, HOUR
from softbounce.core.events import parse
from softbounce.core.policy.file import load
from softbounce.core.recipients import Channel
from softbounce.errors import InvalidPolicy, InvalidSettings
from softbounce.explain.decision import Facts, explain, explain_text, why_not
from softbounce.settings import packaged_policy

TEXT = """\
version: 1
name: default
limits: {max_attempts: 12, min_delay: 30s, handover_rate: 50/s}
ignore_failures_before: 2020-01-01
defaults:
  timezone: Europe/Berlin
  retry:
    backoff: {base: 1h, factor: 2, cap: 12h}
    jitter: 20%
    max_attempts: 6
    give_up_after: 72h
    settle: 0s
    then: review
  quiet_hours: off
  soft_bounce: {count: messages, escalate_at: 3, within: 30d, apart: 24h, then: notify}
  suppression: {expires: 365d}
  unknown_code: hold
channels:
  sms:
    retry: {settle: 90m}
    quiet_hours: {from: "20:00", to: "08:00", zone: recipient, days: all, spread: 45m}
    suppression: {expires: 90d}
  letter:
    retry: off
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [90m, 4h, 12h, 24h], max_attempts: 4}}
  SMS_NOT_DELIVERED:
    do: suppress
    fault: recipient
    confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: retry}
    retry: {delays: [24h], max_attempts: 1}
  SMS_REJECTED:
    do: suppress
    fault: recipient
    confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: drop}
  BOUNCE_TRANSIENT_MBX_FULL: {do: retry, fault: recipient, retry: {max_attempts: 5, give_up_after: 5d}}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
  OPT_OUT: {do: suppress, fault: recipient, suppression: {expires: never, scope: merchant}}
  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [2m, 10m], max_attempts: 2}}
  DEADLINE_EXCEEDED: {do: drop, fault: message}
  PLACEHOLDER_ERROR: {do: hold, fault: message}
"""
POLICY = load(TEXT, file="config/policy.yaml")
FIELDS = [
    "eventId", "reference", "channel", "reasonCode", "disposition", "fault", "rule", "ruleAt", "delays",
    "nextTry", "suppress", "escalate", "because",
]  # fmt: skip
FAILED = 1_795_192_343_000  # 2026-11-20T16:32:23Z


def line(start: str) -> str:
    """Return where the policy above has the line that starts like this."""
    number = next(n for n, text in enumerate(TEXT.splitlines(), 1) if text.strip().startswith(start))
    return f"config/policy.yaml:{number}"


def report(
    code: str | None = "SMS_EXPIRED", *, kind: str = "SEND_ERROR", channel: str = "SMS", **more
) -> bytes:
    """Return a failure as a producer reports it; ``more`` goes to the event, or into its communication."""
    recipients = {"SMS": ["+491701234567"], "EMAIL": ["jane@web.de"]}.get(channel, ["somebody"])
    communication = {"channel": channel, "reference": "m1", "recipients": recipients}
    if code is not None:
        communication["error"] = {"type": kind, "reasonCode": code}
    communication |= more.pop("communication", {})
    event = {
        "type": "MESSAGE_NOT_DELIVERED",
        "date": "2026-11-20T16:32:23Z",
        "eventId": "e1",
        "claim": {"id": 54321, "merchantId": 1, "communication": communication},
    }
    return json.dumps(event | more).encode()


TWO_PHONES = {"recipients": ["+491701234567", "+491701234568"]}
NOTHING_PLANNED = {"nextTry": None, "delays": [], "suppress": None, "escalate": None}


def told(raw: bytes, *, now: int | None = None) -> dict:
    """Return the JSON form under the policy above."""
    return explain(raw, policy=POLICY, now=now)


# JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["SMS_EXPIRED", "INVALID_MOBILE_NUMBER", "PLACEHOLDER_ERROR", "NEVER_SEEN", None]
)
def test_every_decision_has_the_same_fields(code):
    """The JSON form is stable: the same keys in the same order, whatever was decided."""
    assert list(told(report(code))) == FIELDS


def test_a_soft_bounce_says_its_schedule_and_its_limit():
    """A retry tells rule, line, delays in seconds, the next moment, and how it counts."""
    decision = told(report())
    why = decision.pop("because")
    next_try = decision.pop("nextTry")

    assert decision == {
        "eventId": "e1",
        "reference": "m1",
        "channel": "sms",
        "reasonCode": "SMS_EXPIRED",
        "disposition": "retry",
        "fault": "recipient",
        "rule": "codes.SMS_EXPIRED",
        "ruleAt": line("SMS_EXPIRED"),
        "delays": [5400, 14400, 43200, 86400],
        "suppress": None,
        "escalate": {"count": None, "at": 3, "within": "30d", "then": "notify"},
    }
    assert why[0] == "codes.SMS_EXPIRED says retry, fault recipient"
    assert "2026-11-20T18:02:23Z" <= next_try <= "2026-11-20T18:20:23Z"


def test_a_try_at_night_is_told_with_both_times():
    """``because`` says when the try was due, whose night that is, and when it will leave."""
    decision = told(report(date="2026-11-20T21:00:00Z"))

    assert "2026-11-21T07:00:00Z" <= decision["nextTry"] < "2026-11-21T07:45:00Z"
    assert decision["because"][1].endswith(" Europe/Berlin, in quiet hours")
    assert decision["because"][2].startswith("moved to 08:")
    assert decision["because"][2].endswith(", spread over 45 min")


def test_a_verdict_names_the_masked_recipient_and_its_end():
    """Without a store there is no hash: the recipient is the mask, and the address is nowhere."""
    raw = report("INVALID_MOBILE_NUMBER", kind="CONTACT_ERROR")
    decision = told(raw)

    assert decision["suppress"] == {
        "recipient": "+49•••67",
        "until": "2027-02-18T16:32:23Z",
        "origin": "event",
    }
    assert (decision["nextTry"], decision["delays"], decision["escalate"]) == (None, [], None)
    assert "1701234567" not in json.dumps(decision)


def test_a_block_without_end_has_no_until():
    """A consent withdrawn stays withdrawn."""
    assert told(report("OPT_OUT"))["suppress"]["until"] is None


def test_a_verdict_that_waits_for_confirmation_suppresses_nobody_yet():
    """The first of two reports does what ``meanwhile`` says."""
    decision = told(report("SMS_NOT_DELIVERED"))

    assert (decision["disposition"], decision["suppress"]) == ("suppress", None)
    assert decision["escalate"]["at"] == 3  # unconfirmed, it is a soft bounce like any other
    assert decision["delays"] == [86400]
    assert decision["nextTry"] > "2026-11-21T08:00:00Z"
    assert "2 reports within 30d, at least 12h apart, suppress; until then: retry" in decision["because"]


def test_a_verdict_that_waits_may_drop_meanwhile():
    """``meanwhile: drop`` plans no try."""
    decision = told(report("SMS_REJECTED"))

    assert (decision["disposition"], decision["delays"], decision["nextTry"]) == ("suppress", [], None)


@pytest.mark.parametrize(
    ("raw", "disposition", "reason"),
    [
        (report("INVALID_MOBILE_NUMBER", kind="RENDER_ERROR"), "hold", "RENDER_ERROR"),
        (report("INVALID_MOBILE_NUMBER", communication=TWO_PHONES), "hold", "no single recipient"),
        (report(channel="LETTER"), "hold", "retry: off"),
        (report("NEVER_SEEN"), "hold", ""),
        (report("PLACEHOLDER_ERROR", kind="RENDER_ERROR"), "hold", ""),
        (report("DEADLINE_EXCEEDED"), "drop", ""),
        (report(None), "hold", ""),
        (report(date="2019-06-01T00:00:00Z"), "ignore", "ignore_failures_before"),
    ],
)
def test_what_is_neither_retried_nor_suppressed_plans_and_counts_nothing(raw, disposition, reason):
    """A hold, a drop and a veto have no next try, no block and no soft bounce, and say why."""
    decision = told(raw)

    assert decision["disposition"] == disposition
    assert decision == decision | NOTHING_PLANNED
    assert any(reason in sentence for sentence in decision["because"])


def test_a_providers_failure_counts_against_nobody():
    """Only fault recipient counts as a soft bounce."""
    decision = told(report("PROVIDER_ERROR"))

    assert (decision["disposition"], decision["fault"], decision["escalate"]) == ("retry", "provider", None)
    assert decision["nextTry"] is not None
    assert decision["because"][1] == "try 1 is due 17:34 Europe/Berlin, 2m after the failure and jittered"


def test_a_try_past_the_messages_deadline_is_none():
    """The message's own deadline wins: no next try, and the sentence says so."""
    decision = told(report(communication={"notAfter": "2026-11-20T17:00:00Z"}))

    assert decision["nextTry"] is None
    assert decision["because"][-1] == "that is past the deadline 2026-11-20T17:00:00Z: given up, opens a case"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (report(None, type="MESSAGE_DELIVERED"), {"outcome": "delivered"}),
        (report(type="MESSAGE_OPENED"), {"outcome": "ignored"}),
        (report(type="RECIPIENT_OPTED_IN"), {"outcome": "opted_in"}),
    ],
)
def test_what_is_no_failure_has_an_outcome_only(raw, expected):
    """A delivery, an opt-in and a foreign type have no disposition."""
    assert told(raw) == expected


def test_what_cannot_be_read_says_where():
    """An unreadable line tells its reason and the field."""
    broken = told(b'{"type": "MESSAGE_NOT_DELIVERED", ')
    no_reference = told(report(communication={"reference": None}))

    assert (broken["outcome"], broken["path"]) == ("dead_lettered", "")
    assert broken["reason"]
    assert no_reference["outcome"] == "dead_lettered"
    assert no_reference["path"] == "claim.communication.reference"


def test_the_events_own_date_makes_the_answer_reproducible():
    """Without a time given, the same file gives the same answer for ever; with one, tries wait for it."""
    assert told(report()) == told(report(), now=FAILED)
    assert told(report(), now=FAILED + 2 * DAY)["nextTry"] == "2026-11-22T16:32:53Z"


def test_a_late_report_says_what_holds_its_try_back():
    """A try that was due before the report came in waits for the least delay only."""
    decision = told(report("PROVIDER_ERROR"), now=FAILED + 20 * HOUR)

    assert decision["nextTry"] == "2026-11-21T12:32:53Z"
    assert decision["because"][1] == "try 1 is due as soon as limits.min_delay allows"


def test_an_event_without_a_date_has_no_times():
    """Rather than a moment in 1970, the answer says that a date is missing."""
    undated = json.loads(report())
    del undated["date"]
    decision = told(json.dumps(undated).encode())

    assert (decision["disposition"], decision["nextTry"]) == ("retry", None)
    assert decision["because"][-1] == "the event has no date, so no times can be given"


@given(
    st.datetimes().map(lambda date: date.isoformat()),
    st.sampled_from(("SMS_EXPIRED", "INVALID_MOBILE_NUMBER", "OPT_OUT", "PROVIDER_ERROR")),
)
@example("0001-01-01T00:00:00", "SMS_EXPIRED")
@example("9999-12-31T23:59:59", "SMS_EXPIRED")
@example("9999-12-31T23:59:59", "INVALID_MOBILE_NUMBER")
def test_no_date_breaks_an_answer(date, code):
    """From the year 1 to the year 9999 every date gives an answer, for machines and for people."""
    raw = report(code, date=f"{date}Z")

    assert json.dumps(told(raw))
    assert explain_text(facts(raw))


# text ---------------------------------------------------------------------------------------------------


def facts(raw: bytes, *, now: int = FAILED, zone: str = "Europe/Berlin", **more) -> Facts:
    """Return what a reader in ``zone`` is told of a report, with ``more`` from the store."""
    return Facts(plan=plan(parse(raw), policy=POLICY, now=now), policy=POLICY, now=now, zone=zone, **more)


def test_a_person_reads_what_why_and_when():
    """Headline, who, the deciding lines of the policy, each try, the end, and what holds the next back."""
    lines = explain_text(facts(report(date="2026-11-20T21:00:00Z"), now=FAILED + 5 * HOUR))
    text = "\n".join(lines)

    assert lines[0].startswith("Phone unreachable. Next try tomorrow 08:")
    assert lines[0].endswith(" for them), 1 of 4.   outcome: scheduled")
    assert lines[1].startswith("  SMS_EXPIRED   sms   merchant 1   +49•••67   policy ")
    assert lines[2].split("   ")[0] == "  do"
    assert f"{line('SMS_EXPIRED')}   codes.SMS_EXPIRED" in lines[2]
    assert "90m 4h 12h 24h" in lines[3]
    assert "(replaces backoff 1h x2" in lines[3]
    assert "zone Europe/Berlin, from the number's country" in text
    assert "(quiet hours, spread 45 min)" in text
    assert "if try 1 fails at once" in text
    assert "72h after the first failure (:11), opens a case" in text
    assert "one more towards 3 messages in 30d; at 3: a case and a notice" in text
    assert "quiet hours until 08:00 Europe/Berlin." in text
    assert "1701234567" not in text


def test_tries_are_told_in_order_and_up_to_the_deadline():
    """What the deadline never lets happen is not promised."""
    raw = report(communication={"notAfter": "2026-11-21T12:00:00Z"})
    steps = [entry.split("   ") for entry in explain_text(facts(raw)) if entry[2:5] in {"Fri", "Sat"}]

    assert [what.strip() for _, what, *_ in steps] == ["try 1", "try 2, about", "gives up"]
    assert steps[-1][-1].strip() == "the message's own deadline, opens a case"


UNTIL_RELEASED = "Nothing is sent until released; deadline Mon 23 Nov 17:32 Berlin."


@pytest.mark.parametrize(
    ("raw", "outcome", "headline"),
    [
        (
            report("INVALID_MOBILE_NUMBER"),
            "suppressed",
            "Not a valid mobile number. Not tried again; sends to this recipient are refused until Thu 18 Feb.",
        ),
        (
            report("PLACEHOLDER_ERROR", kind="RENDER_ERROR"),
            "held",
            f"Data for the template missing. Waits for a fix in the template or the data. {UNTIL_RELEASED}",
        ),
        (report("NEVER_SEEN"), "held", f"Unknown reason NEVER_SEEN. Waits for a person. {UNTIL_RELEASED}"),
        (report("DEADLINE_EXCEEDED"), "given_up", "Too late to send. No further try."),
        (report("SMS_REJECTED"), "given_up", "Refused by the operator. No further try."),
        (
            report(communication={"notAfter": "2026-11-20T17:00:00Z"}),
            "given_up",
            "Phone unreachable. No further try.",
        ),
        (
            report(date="2019-06-01T00:00:00Z"),
            "ignored",
            "Not a failure for us (dated before ignore_failures_before). Nothing happens.",
        ),
    ],
)
def test_a_file_is_told_the_outcome_of_a_first_report(raw, outcome, headline):
    """Without a store the outcome is the one that this report would have as the first of its delivery."""
    assert explain_text(facts(raw))[0] == f"{headline}   outcome: {outcome}"


def test_what_the_store_knows_completes_the_story():
    """History, the number of the try, its real due time, the count and the hash come from the store."""
    due = FAILED + 20 * HOUR
    history = (
        {"at": FAILED - 3 * HOUR, "what": "failed", "text": "SMS_EXPIRED, event a1daaeb5"},
        {"at": FAILED - HOUR, "what": "resent", "text": "try 1, command 5c1e07aa"},
    )
    known = facts(
        report(),
        outcome="scheduled",
        attempt=3,
        place=2,
        due=due,
        soft_bounces=1,
        rid="a1b2",
        history=history,
    )
    text = "\n".join(explain_text(replace(known, deadline=FAILED + 40 * HOUR)))

    assert "Next try tomorrow 13:32 Berlin (13:32 for them), 3 of 5." in text
    assert "r_a1b2" in text
    assert "Fri 20 Nov 14:32   failed" in text
    assert "1 of 3 messages in 30d" in text
    assert "try 4, about" in text
    assert "try 5" not in text
    assert "Send it now: softbounce retries run-now m1 --reason ..." in text


def test_the_recipients_clock_stands_beside_the_readers():
    """The reader's time is named; the recipient's follows, in each zone it may be."""
    tokyo = explain_text(facts(report(communication={"timezone": "Asia/Tokyo"})))

    assert "Next try tomorrow 00:" in tokyo[0]
    assert "Berlin (08:" in tokyo[0]
    assert "zone Asia/Tokyo, from the event" in "\n".join(tokyo)


def test_a_number_without_a_place_is_quiet_in_its_whole_country():
    """Explain names each zone that counts, and those with fewer people that do not."""
    text = "\n".join(explain_text(facts(report(communication={"recipients": ["+79123456789"]}))))

    zones = "Europe/Moscow, Asia/Yekaterinburg, Asia/Krasnoyarsk, Europe/Samara"
    assert f"zone not known, country RU: quiet in any of {zones}; not in Asia/Vladivostok, " in text
    assert "Asia/Kamchatka, where fewer live" in text


def test_a_timezone_that_is_none_is_said_to_be_left_out():
    """The producer can mend what it can read about."""
    raw = report(communication={"timezone": "Mars/Olympus"})

    assert "'Mars/Olympus' names no time zone: left out" in "\n".join(explain_text(facts(raw)))
    assert (
        "timezone 'Mars/Olympus' names no time zone: left out"
        in explain(raw, policy=POLICY, now=FAILED)["because"]
    )


def test_a_confirming_rule_says_what_is_missing():
    """A person sees that a second report suppresses, and the try that runs meanwhile."""
    text = "\n".join(explain_text(facts(report("SMS_NOT_DELIVERED"))))

    assert "Number does not exist. Next try" in text
    assert "2 reports within 30d, at least 12h apart, suppress; until then: retry" in text


def test_a_setting_beats_whatever_rule_decides_and_says_so():
    """``--set`` shows what would come of it, with what it replaces; the file is as it was."""
    text = packaged_policy()
    policy = load(text, file="policy.yaml", what_if=["retry.delays=[1h, 3h]", "quiet_hours=off", "do=retry"])
    rule = policy.rule_for(code="SMS_EXPIRED", channel=Channel.SMS, merchant=None, smtp=None)

    assert (rule.delays, rule.quiet_hours) == ((3_600_000, 10_800_000), None)
    assert policy.at(rule.sources["retry.delays"].line) == "--set"
    assert "delays 90m 4h 12h 24h" in rule.sources["retry.delays"].replaces
    assert load(text, file="policy.yaml").revision == policy.revision


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("retry.delay=[1h]", "did you mean 'delays'"),
        ("retry.delays=[1h", "this is not YAML"),
        ("retry.delays", "no KEY=VALUE"),
        ("do=perhaps", "perhaps"),
        ("..=1", "unknown key"),
        ("a=}, x: {", "has no value"),
    ],
)
def test_a_setting_that_no_rule_knows_is_refused(setting, said):
    """With the words of a policy's own mistakes."""
    with pytest.raises((InvalidPolicy, InvalidSettings)) as refused:
        load(packaged_policy(), file="policy.yaml", what_if=[setting])
    assert said in "\n".join(getattr(refused.value, "problems", [])) + str(refused.value)


def test_all_layers_tells_each_layer_that_a_value_passed_through():
    """The nearest first, each with its own line; the JSON form has the same under settings."""
    rows = [row.split() for row in explain_text(facts(report(), all_layers=True))]
    at = next(n for n, row in enumerate(rows) if row[0] == "retry.delays")
    settle = explain(report(), policy=POLICY, now=FAILED, all_layers=True)["settings"]["retry.settle"]

    assert rows[at][-2:] == [line("SMS_EXPIRED"), "codes.SMS_EXPIRED"]
    assert rows[at + 1] == ["backoff", "1h", "x2", line("backoff"), "defaults", "overridden"]
    assert settle == {
        "value": "90m",
        "layer": "channels.sms",
        "at": line("retry: {settle"),
        "replaces": f"0s, :{line('settle: 0s').partition(':')[2]}",
        "below": [{"value": "0s", "layer": "defaults", "at": line("settle: 0s")}],
    }


def test_three_layers_are_told_in_their_order():
    """Default, channel, merchant, code: what is overridden twice is named twice."""
    text = TEXT + "merchants:\n  1: {suppression: {expires: 60d}}\n"
    policy = load(
        text.replace("SMS_REJECTED:\n", "SMS_REJECTED:\n    suppression: {expires: 30d}\n"), file="p.yaml"
    )
    told = explain(report("SMS_REJECTED"), policy=policy, now=FAILED, all_layers=True)
    said = told["settings"]["suppression"]

    assert [said["value"], *(layer["value"] for layer in said["below"])] == ["30d", "365d", "90d", "60d"]
    assert [layer["layer"] for layer in said["below"]] == ["defaults", "channels.sms", "merchants.1"]


def test_a_limit_is_the_last_layer():
    """What limits cut is told with all that asked for more."""
    policy = load(TEXT.replace("max_attempts: 12", "max_attempts: 2"), file="p.yaml")
    told = explain(report(), policy=policy, now=FAILED, all_layers=True)["settings"]["retry.max_attempts"]

    assert (told["value"], told["layer"]) == ("2", "limits")
    assert [layer["value"] for layer in told["below"]] == ["6", "4"]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_only_the_first_try_waits_from_the_failure(place):
    """What holds a later one back is its delay, since the answer to the try before it."""
    event = parse(report("BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL"))
    decision = plan(event, policy=POLICY, now=FAILED)
    (held,) = why_not(Facts(plan=decision, policy=POLICY, now=FAILED, zone="UTC", attempt=place, place=place))

    assert held["what"].startswith("it is due" if place == 1 else "its delay has not passed")


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        ("{backoff: {base: 24h, cap: 4h}, max_attempts: 3}", "tries after 4h 4h 4h"),
        ("{backoff: {base: 1h, factor: 3, cap: 6h}, max_attempts: 3}", "tries after 1h 3h 6h"),
        ("{delays: [5s, 1h], max_attempts: 3}", "tries after 30s 1h 1h"),  # limits.min_delay
        ("{delays: [1h, 2h]}", ""),
    ],
)
def test_the_delays_that_really_run_are_told(retry, said):
    """Base and factor do not say what a cap, a limit or the last delay makes of them."""
    policy = load(f"version: 1\ncodes: {{SMS_EXPIRED: {{do: retry, retry: {retry}}}}}", file="p")
    decision = plan(parse(report()), policy=policy, now=FAILED)
    lines = explain_text(Facts(plan=decision, policy=policy, now=FAILED, zone="UTC"))
    (schedule,) = [one for one in lines if one.strip().startswith(("retry.delays", "retry.backoff"))]

    assert (said in schedule) if said else ("tries after" not in schedule)


def test_the_pattern_that_decided_is_told():
    """In both forms, so that nobody has to search a long reply for it."""
    when = "[{text: [No such user], do: hold}]"
    policy = load(f"version: 1\ncodes: {{OWN: {{do: suppress, fault: recipient, when: {when}}}}}", file="p")
    error = {
        "type": "SEND_ERROR",
        "reasonCode": "OWN",
        "details": {"message": "550 NO SUCH USER x@y.example"},
    }
    raw = report(communication={"error": error})
    decision = plan(parse(raw), policy=policy, now=FAILED)

    assert explain(raw, policy=policy, now=FAILED)["because"] == [
        "codes.OWN says hold, fault recipient, because the reply says 'no such user'"
    ]
    lines = explain_text(Facts(plan=decision, policy=policy, now=FAILED, zone="UTC"))
    assert lines[2].endswith(", the reply says 'no such user'")
