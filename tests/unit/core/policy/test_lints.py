"""What a policy says without a mistake and probably does not mean is a warning with its reason."""

from pathlib import Path

import pytest

from softbounce.core.policy import file as policy_file

ROOT = Path(__file__).parents[4]


def warned(text):
    """Return (line, message) of each warning."""
    policy, problems = policy_file.check(f"version: 1\n{text}", file="p.yaml")
    assert policy, problems
    return [(problem.line, problem.message) for problem in problems]


def test_the_shipped_policy_has_no_warning():
    """Who starts from it starts clean."""
    assert (
        policy_file.check((ROOT / "config/policy.yaml").read_text(encoding="utf-8"), file="p.yaml")[1] == []
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("codes: {SMS_A: {do: retry, fault: recipient, retry: {delays: [40m]}}}", 2, "may be a second one"),
        (
            "channels: {sms: {retry: {settle: 30m}}}\ncodes: {SMS_A: {do: retry, fault: recipient, retry: {delays: [10m]}}}",
            3,
            "the first try says 10m, settle 30m: settle wins",
        ),
        ('defaults: {quiet_hours: {from: "12:00", to: "08:00"}}', 2, "only 4h a day are left"),
        ('defaults: {quiet_hours: {from: "20:00", to: "08:00", spread: 0s}}', 2, "leave in one second"),
        (
            'merchants: {"7": {quiet_hours: {from: "09:00", to: "08:00", spread: 5m}}}',
            2,
            "only 1h a day are left",
        ),
        (
            "codes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1h, 40h, 50h]}}}",
            2,
            "try 3 would come after give_up_after (72h)",
        ),
        (
            "codes: {PROVIDER_ERROR: {do: retry, retry: {delays: [40h], max_attempts: 4}}}",
            2,
            "tries 2 to 4 would come after",
        ),
        (
            "limits: {resends_per_recipient: 2/1d}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1h, 2h, 3h]}}}",
            3,
            "limits.resends_per_recipient (2/24h) holds back",
        ),
        (
            "limits: {resends_per_claim: 1/7d}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1h, 2h]}}}",
            3,
            "limits.resends_per_claim (1/7d) holds back",
        ),
        (
            "codes: {BOUNCE_PERMANENT_GENERAL: {do: suppress, fault: recipient, when: [\n  {smtp: ['5.2.*'], do: hold}, \n  {smtp: ['5.1.1', '5.2.2'], do: hold}]}}",
            4,
            "never reached: an earlier branch takes 5.2.2",
        ),
        (
            "codes: {BOUNCE_A: {do: retry, fault: recipient, retry: {\n  backoff: {base: 24h,\n  cap: 4h}, give_up_after: 9d}}}",
            4,
            "codes.BOUNCE_A: the cap of the backoff (4h) is below its base (24h): each try comes after 4h",
        ),
        (
            "codes: {BOUNCE_A: {do: retry, fault: recipient, retry: {max_attempts: 2,\n  backoff: {base: 13h}}}}",
            3,
            "the cap of the backoff (12h) is below its base (13h)",
        ),
        (
            "defaults: {retry: {backoff: {cap: 30m}}}\ncodes: {BOUNCE_A: {do: retry, fault: recipient}}",
            2,
            "defaults: the cap of the backoff (30m) is below its base (1h)",
        ),
        (
            "limits: {max_attempts: 4}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {\n  delays: [1h],\n  max_attempts: 5}}}",
            5,
            "of 5 tries limits.max_attempts lets 4 through",
        ),
        (
            'defaults: {quiet_hours: {from: "08:00", to: "20:00"}}',
            2,
            "'from' and 'to' may be swapped",
        ),
        (
            "providers: {x: {breaker: {\n  open_for: {base: 20m, cap: 5m}}}}",
            3,
            "the cap is below the base: the breaker always opens for the cap",
        ),
        ("limits: {handover_rate: 50/1h}", 2, "all merchants together resend 50 in 1h; was 50/s meant?"),
        (
            "codes: {BOUNCE_TRANSIENT_GENERAL: {do: suppress, fault: recipient}}",
            2,
            "a transient failure blocks the recipient",
        ),
        (
            "codes: {SMS_EXPIRED: {do: suppress, fault: recipient}}",
            2,
            "a transient failure blocks the recipient",
        ),
        (
            "codes: {BOUNCE_A: {do: suppress, fault: recipient, when: [\n  {smtp: ['4*'], do: suppress}]}}",
            3,
            "a transient failure blocks the recipient",
        ),
        (
            "codes:\n  AAA: &a {do: hold, retry: {jitter: 5%, settle: 1h}}\n  BBB: {<<: *a, retry: {settle: 2h}}",
            4,
            "'retry' replaces the whole block merged by <<: jitter is lost",
        ),
        (
            "codes: {AAA: {do: hold, when: [{smtp: ['*'], do: retry},\n  {text: [user unknown], do: hold}]}}",
            3,
            "never reached",
        ),
        (
            "codes: {AAA: {do: hold, when: [{text: [unknown], do: retry},\n  {text: [no such, user unknown], do: hold}]}}",
            3,
            "never reached: an earlier branch takes user unknown",
        ),
        ("escalation: {targets: {desk: {type: stream, stream: x}}}", 2, "target 'desk' is in no notify"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(text, line, said):
    """At the line that an operator would change, with the figures that collide."""
    assert [(where, said in message) for where, message in warned(text)] == [(line, True)]


def test_a_schedule_that_a_merchant_contradicts_is_told_at_the_merchants_line():
    """Base and cap collide only once the levels are merged."""
    found = warned(
        'merchants: {"7": {codes: {BOUNCE_A: {retry: {backoff: {\n  cap: 1h}}}}}}\n'
        "codes: {BOUNCE_A: {do: retry, fault: recipient, retry: {backoff: {base: 2h}}}}"
    )

    assert found == [
        (
            3,
            "merchants.7.codes.BOUNCE_A: the cap of the backoff (1h) is below its base (2h): each try comes after 1h",
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "codes: {SMS_A: {do: retry, fault: provider, retry: {delays: [2m]}}}",  # no receipt can be late
        "codes: {SMS_A: {do: retry, fault: recipient, retry: {delays: [90m]}}}",
        "codes: {BOUNCE_A: {do: retry, fault: recipient, retry: {delays: [2m]}}}",  # no text
        "codes: {SMS_A: {do: hold, retry: {delays: [1m]}}}",  # never tried
        "limits: {resends_per_recipient: 2/1d}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1h, 2h, 24h]}}}",
        'defaults: {quiet_hours: {from: "22:00", to: "06:00", spread: 1m}}',
        'defaults: {quiet_hours: {from: "12:00", to: "13:30"}}',  # at noon
        "limits: {handover_rate: 600/1h}",
        "limits: {max_attempts: 2}",  # the rule that it limits is built in
        "codes: {SMS_EXPIRED: {do: suppress, fault: recipient, confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: drop}}}",
        "codes:\n  AAA: &a {do: hold, retry: {settle: 1h}}\n  BBB: {<<: *a, retry: {settle: 2h, jitter: 5%}}",
        "codes:\n  AAA: &a {do: hold, retry: {settle: 1h}}\n  BBB: {<<: *a, retry: off}",
        "codes: {AAA: {do: hold, when: [{text: [user unknown], smtp: ['5*'], do: retry}, {text: [user unknown], do: retry}]}}",
    ],
)
def test_what_is_meant_is_not_warned_of(text):
    """A warning that cries wolf is turned off."""
    assert warned(text) == []
