"""Which rule applies, what it merges, and what explain can say about it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.durations import DAY, HOUR, MINUTE
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import MOST_CACHED, Policy, Rule
from softbounce.core.reasons import KNOWN, Fault
from softbounce.core.recipients import Channel

SHIPPED = policy_file.load(
    (Path(__file__).parents[4] / "config/policy.yaml").read_text(encoding="utf-8"), file="config/policy.yaml"
)


def policy(text: str) -> Policy:
    """Load a small policy; its first line is line 2 of the file."""
    return policy_file.load(f"version: 1\n{text}", file="policy.yaml")


def rule(of: Policy | str, code: str | None, channel=Channel.SMS, merchant=None, smtp=None) -> Rule:
    """Return one rule of a policy or of its text."""
    loaded = policy(of) if isinstance(of, str) else of
    return loaded.rule_for(code=code, channel=channel, merchant=merchant, smtp=smtp)


VERDICTS = {
    "SMS_EXPIRED": "retry recipient 90m 4h 12h 24h 36h 48h",
    "SMS_NOT_DELIVERED": "suppress recipient 24h",
    "SMS_REJECTED": "suppress recipient 1h 2h 4h 8h 12h 12h",
    "BOUNCE_TRANSIENT_GENERAL": "retry recipient 2h 4h 8h 16h 24h",
    "BOUNCE_TRANSIENT_MBX_FULL": "retry recipient 4h 8h 16h 32h 48h 48h 48h",
    "BOUNCE_TRANSIENT_CONTENT_REJECTED": "retry message 4h",
    "BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE": "retry message 4h",
    "BOUNCE_TRANSIENT_ATTACHMENT_REJECTED": "retry message 4h",
    "BOUNCE_PERMANENT_GENERAL": "suppress recipient 24h",
    "PROVIDER_ERROR": "retry provider 2m 10m 30m 1h 3h 8h 12h 24h",
    "DEADLINE_EXCEEDED": "drop message",
    "INVALID_CLAIM": "hold message",
    "PLACEHOLDER_ERROR": "hold message",
    "SNIPPET_ERROR": "hold message",
    "QRBILL_ERROR": "hold message",
    "QR_EPC_ERROR": "hold message",
    "ATTACHMENTS_ERROR": "hold message",
    "COMMUNICATION_PROVIDER_NOT_CONFIGURED": "hold config",
    "INVALID_SENDER_ERROR": "hold config",
}


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_every_known_code_has_the_verdict_of_the_design(code):
    """The shipped policy decides as documented; a code not listed here suppresses its recipient."""
    found = rule(SHIPPED, code)
    delays = " ".join(delays_of(found)) if found.do == "retry" or found.confirm else ""

    assert f"{found.do} {found.fault} {delays}".startswith(VERDICTS.get(code, "suppress recipient"))


def delays_of(found: Rule) -> list[str]:
    """Return the delays as an operator writes them."""
    return [f"{d // HOUR}h" if d % HOUR == 0 else f"{d // MINUTE}m" for d in found.delays]


def test_a_code_that_no_rule_names_is_held_and_blames_nobody():
    """An unknown code never suppresses, and explain names the line that says so."""
    found = rule(SHIPPED, "SMS_BLOCKED")

    assert (found.name, found.do, found.fault) == ("defaults.unknown_code", "hold", "message")
    assert found.sources["do"].line == found.line > 0


def test_a_report_without_an_error_is_unclassified_and_held():
    """Nothing is known, so nothing is guessed."""
    found = rule(SHIPPED, None)

    assert (found.name, found.do, found.fault) == ("defaults.unclassified", "hold", "message")


CODES = """
codes:
  A*: {do: drop, fault: message}
  AB*: {do: hold, fault: message}
  ABC: {do: retry, fault: message}
merchants:
  "42":
    codes:
      AB*: {retry: {delays: [3h]}}
      Z*: {do: ignore, fault: message}
"""


@pytest.mark.parametrize(("code", "name"), [("ABC", "ABC"), ("ABX", "AB*"), ("AX", "A*"), ("A", "A*")])
def test_the_exact_name_beats_a_wildcard_and_the_longer_wildcard_the_shorter(code, name):
    """Exactly one code rule applies."""
    assert rule(CODES, code).name == f"codes.{name}"


def test_a_merchants_code_rule_lies_on_top_of_the_code_rule():
    """The merchant's wildcard changes the schedule; the verdict is still that of the exact rule."""
    found = rule(CODES, "ABC", merchant="42")

    assert (found.name, found.do, found.delays) == ("merchants.42.codes.AB*", "retry", (3 * HOUR,))
    assert rule(CODES, "ZED", merchant="42").do == "ignore"


LAYERS = """
defaults: {retry: {settle: 1m, jitter: 10%, give_up_after: 1d}}
channels: {sms: {retry: {settle: 2m, jitter: 20%, give_up_after: 2d}}}
merchants:
  "42":
    retry: {jitter: 30%, give_up_after: 3d}
    codes: {AAA: {retry: {give_up_after: 5d}}}
codes: {AAA: {do: retry, fault: recipient, retry: {give_up_after: 4d}}, BBB: {do: retry}}
"""


def test_the_more_exact_level_wins_key_by_key():
    """Defaults < channel < merchant < code < the merchant's code; each key by itself."""
    found = rule(LAYERS, "AAA", merchant="42")

    assert (found.settle, found.jitter, found.give_up_after) == (2 * MINUTE, 0.3, 5 * DAY)


def test_a_merchant_without_a_level_of_its_own_gets_the_general_rule():
    """And the cache holds one rule for all of them."""
    loaded = policy(LAYERS)

    assert rule(loaded, "BBB", merchant="1") is rule(loaded, "BBB", merchant="2")


def test_without_a_channel_the_defaults_alone_apply():
    """What cannot be told is not guessed."""
    assert rule(LAYERS, "AAA", channel=None).settle == MINUTE


def test_delays_and_backoff_replace_each_other_from_the_more_exact_level():
    """The last level that gives either decides; the parts of a backoff are merged key by key."""
    text = """
channels: {sms: {retry: {delays: [1h, 2h]}}}
codes:
  AAA: {do: retry}
  BBB: {do: retry, retry: {backoff: {base: 10m}, max_attempts: 3}}
"""

    assert rule(text, "AAA").delays == (HOUR, 2 * HOUR)
    assert rule(text, "BBB").delays == (10 * MINUTE, 20 * MINUTE, 40 * MINUTE)


def test_a_list_of_delays_sets_the_number_of_tries_unless_its_level_says_another():
    """The last delay repeats where more tries are asked for, and the list ends early where fewer are."""
    text = """
codes:
  AAA: {do: retry, retry: {delays: [1h, 2h]}}
  BBB: {do: retry, retry: {delays: [1h, 2h], max_attempts: 4}}
  CCC: {do: retry, retry: {delays: [1h, 2h, 3h], max_attempts: 1}}
  DDD: {do: retry, retry: {max_attempts: 0}}
"""

    assert [len(rule(text, code).delays) for code in ("AAA", "BBB", "CCC", "DDD")] == [2, 4, 1, 0]
    assert rule(text, "BBB").delays[-1] == 2 * HOUR


def test_delays_in_the_defaults_replace_the_built_in_backoff():
    """A file's own defaults are one level with what is built in, and win over it."""
    assert rule("defaults: {retry: {delays: [1h]}}\ncodes: {AAA: {do: retry}}", "AAA").delays == (HOUR,)


def test_limits_clamp_last_and_explain_says_so():
    """No rule and no merchant goes past them."""
    text = """
limits: {max_attempts: 3, min_delay: 5m}
codes: {AAA: {do: retry, retry: {delays: [1m, 1h], max_attempts: 20}}}
"""
    found = rule(text, "AAA")
    source = found.sources["retry.max_attempts"]

    assert found.delays == (5 * MINUTE, HOUR, HOUR)
    assert (source.value, source.layer, source.line, source.replaces) == ("3", "limits", 3, "20, :4")


@pytest.mark.parametrize("level", ["defaults", "channel", "merchant", "code", "merchant code"])
def test_retry_off_at_any_level_wins(level):
    """A channel or a merchant that may not be resent to is not, whatever a code says."""
    off = {
        name: "retry: off" if name == level else "several_recipients: retry"
        for name in ("defaults", "channel", "merchant")
    }
    code = "retry: off" if level == "code" else "retry: {delays: [1h]}"
    inner = "retry: off" if level == "merchant code" else "retry: {delays: [2h]}"
    text = (
        f"defaults: {{{off['defaults']}}}\nchannels: {{sms: {{{off['channel']}}}}}\n"
        f"codes: {{AAA: {{do: retry, {code}}}}}\n"
        f"merchants: {{'42': {{{off['merchant']}, codes: {{AAA: {{{inner}}}}}}}}}\n"
    )
    found = rule(text, "AAA", merchant="42")

    assert (found.off, found.delays) == (True, ())


def test_letters_are_held_although_their_codes_say_retry():
    """The shipped policy sends no paper by itself."""
    assert rule(SHIPPED, "PROVIDER_ERROR", channel=Channel.LETTER).off


@pytest.mark.parametrize(
    ("smtp", "verdict"),
    [
        (None, "suppress recipient at report 2"),
        ("5.1.1", "suppress recipient"),
        ("5.1.10", "suppress recipient"),
        ("605", "suppress recipient"),
        ("550", "hold message"),
        ("503", "hold message"),
        ("530", "hold message"),
        ("535", "hold message"),
        ("541", "hold message"),
        ("571", "hold message"),
        ("5.0.0", "hold message"),
        ("5.2.0", "hold message"),
        ("5.7.13", "suppress recipient"),
        ("5.7.1", "hold message"),
        ("554", "hold message"),
        ("5.2.2", "retry recipient"),
        ("552", "retry recipient"),
        ("5.4.4", "retry recipient"),
        ("421", "retry recipient"),
        ("4.2.2", "retry recipient"),
        ("5.2.21", "hold message"),
    ],
)
def test_the_smtp_reply_softens_a_general_bounce(smtp, verdict):
    """Only a status on the list convicts; a reply that says nothing is for a person."""
    found = rule(SHIPPED, "BOUNCE_PERMANENT_GENERAL", channel=Channel.EMAIL, smtp=smtp)

    at = f" at report {found.confirm.reports}" if found.confirm else ""
    assert f"{found.do} {found.fault}{at}" == verdict


def test_a_rule_softened_by_the_reply_points_at_the_line_of_that_reply():
    """Explain leads to the line that decided, and names the rule it belongs to."""
    text = """codes:
  AAA:
    do: hold
    when:
      - {smtp: ["4*"], do: retry}
"""
    plain, soft = rule(text, "AAA", smtp=None), rule(text, "AAA", smtp="421")

    assert soft.name == plain.name == "codes.AAA"
    assert soft.line > plain.line
    assert soft.sources["do"].replaces == f"hold, :{plain.sources['do'].line}"


def test_a_merchants_own_verdict_is_not_softened_by_the_general_reply_rules():
    """Who says do again, says it for every reply."""
    text = """
codes: {AAA: {do: hold, when: [{smtp: ["4*"], do: retry}]}}
merchants: {"42": {codes: {AAA: {do: drop}}}}
"""

    assert rule(text, "AAA", smtp="421").do == "retry"
    assert rule(text, "AAA", smtp="421", merchant="42").do == "drop"


def test_a_built_in_fault_may_be_weakened():
    """An operator whose provider mislabels a code takes the blame off the recipients."""
    found = rule("codes: {SMS_REJECTED: {do: hold, fault: message}}", "SMS_REJECTED")

    assert found.fault == "message"


def test_a_rule_without_a_fault_has_the_built_in_one():
    """For an own code that is message: nobody is suppressed or counted by accident."""
    text = "codes: {SMS_EXPIRED: {do: retry}, PROVIDER_ERROR: {do: retry}, OWN: {do: retry}}"

    assert [rule(text, code).fault for code in ("SMS_EXPIRED", "PROVIDER_ERROR", "OWN")] == [
        "recipient",
        "provider",
        "message",
    ]


def test_suppressing_after_the_tries_needs_a_fault_of_the_recipient():
    """A general `then: suppress` is a case for every other fault."""
    text = (
        "defaults: {retry: {then: suppress}}\ncodes: {SMS_EXPIRED: {do: retry}, PROVIDER_ERROR: {do: retry}}"
    )

    assert [rule(text, code).then for code in ("SMS_EXPIRED", "PROVIDER_ERROR")] == ["suppress", "review"]


def test_confirm_off_convicts_at_the_first_report():
    """A merchant may take the confirmation away."""
    text = """
codes: {SMS_REJECTED: {do: suppress, confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: drop}}}
merchants: {"42": {codes: {SMS_REJECTED: {confirm: off}}}}
"""

    assert rule(text, "SMS_REJECTED").confirm.reports == 2
    assert rule(text, "SMS_REJECTED", merchant="42").confirm is None


def test_a_complaint_counts_for_its_merchant_alone_and_for_ever():
    """Consent is given to one sender."""
    found = rule(SHIPPED, "COMPLAINT").suppression

    assert (found.expires, found.scope, found.origin) == (None, "merchant", "event")


def test_sources_say_what_explain_prints():
    """Value as written, level, line, and what was replaced."""
    text = (
        "defaults:\n  retry: {backoff: {base: 1h}, settle: 0s}\n"
        "channels:\n  sms:\n    retry: {settle: 90m}\n    quiet_hours: {from: '20:00', to: '08:00'}\n"
        "codes:\n  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [90m, 4h, 12h, 24h]}}\n"
    )
    said = {
        key: (source.value, source.layer, source.line, source.replaces)
        for key, source in rule(text, "SMS_EXPIRED").sources.items()
    }

    assert said["retry.delays"] == ("90m 4h 12h 24h", "codes.SMS_EXPIRED", 9, "backoff 1h x2, :3")
    assert said["retry.settle"] == ("90m", "channels.sms", 6, "0s, :3")
    assert said["retry.give_up_after"] == ("72h", "built-in", 0, None)
    assert said["retry.max_attempts"] == ("4", "codes.SMS_EXPIRED", 9, "6, built-in")
    assert said["quiet_hours"] == ("20:00-08:00", "channels.sms", 7, "off, built-in")
    assert said["soft_bounce"] == ("3 messages in 30d", "built-in", 0, None)


def test_a_rule_given_by_an_alias_has_the_line_of_its_own_key():
    """Explain leads to the line that names the code, not to the anchor of another one."""
    found = rule(SHIPPED, "BOUNCE_TRANSIENT_CONTENT_REJECTED", channel=Channel.EMAIL)
    anchor = rule(SHIPPED, "BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE", channel=Channel.EMAIL)

    assert found.line == anchor.line + 1
    assert {found.sources[key].line for key in ("do", "fault", "retry.delays")} == {found.line}


def test_targets_are_named_and_log_is_always_there():
    """A small file need not define what goes without saying."""
    loaded = policy("escalation: {notify: [log, desk], targets: {desk: {type: stream, stream: a}}}")

    assert [(target.name, target.type, target.stream) for target in loaded.notify] == [
        ("log", "log", None),
        ("desk", "stream", "a"),
    ]


def test_a_cut_over_date_without_a_zone_is_utc():
    """Milliseconds since the epoch, as everywhere."""
    assert policy("ignore_failures_before: 1970-01-02").ignore_failures_before == DAY
    assert policy("ignore_failures_before: 1970-01-02T00:00:00+01:00").ignore_failures_before == DAY - HOUR


def test_the_cache_stays_bounded():
    """Codes come from outside: a million invented ones must not fill the memory."""
    loaded = policy("")
    for n in range(MOST_CACHED + 10):
        loaded.rule_for(code=f"X{n}", channel=None, merchant=str(n))

    assert len(loaded._rules) <= MOST_CACHED  # noqa: SLF001 - nothing else shows it


@given(
    code=st.none() | st.text(max_size=20) | st.sampled_from(sorted(KNOWN)),
    channel=st.none() | st.sampled_from(Channel),
    smtp=st.none() | st.from_regex(r"[245]\.[0-9]\.[0-9]{1,2}|[245][0-9]{2}", fullmatch=True),
)
def test_no_rule_ever_suppresses_for_somebody_elses_fault(code, channel, smtp):
    """Whatever comes in: only a fault of the recipient suppresses, and no known code is raised to one."""
    found = rule(SHIPPED, code, channel=channel, smtp=smtp)
    natural = KNOWN.get(code or "")

    assert found.do != "suppress" or found.fault is Fault.RECIPIENT
    assert found.fault is not Fault.RECIPIENT or natural in (None, Fault.RECIPIENT)
