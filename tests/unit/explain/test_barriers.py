"""What is against a try, and what would change it, from what a store knows: no store is asked."""

import pytest

from softbounce.core.durations import HOUR, MINUTE
from softbounce.core.policy.file import load
from softbounce.explain.barriers import against, breaker_state, mode_over, pauses_of
from softbounce.explain.delivery import last_report
from softbounce.store import Verdict
from softbounce.store.controls import Mode

from .known import FAILED, NOW, ZONE, delivery, situation
from .test_decision import POLICY, TEXT

BREAKING = load(
    TEXT.replace(
        "handover_rate: 50/s}",
        "handover_rate: 50/s, resends_per_recipient: 2/1d, resends_per_claim: 3/1d}\n"
        "providers: {gate: {breaker: {open_when: {failures: 50%, of_last: 100, least: 20, within: 10m}, open_for: {base: 1m, factor: 2, cap: 15m}, probe: 5, ramp_up: 10m}}}",
    ),
    file="config/policy.yaml",
)
ASKED = {"by": "eva", "reason": "asked"}


def said(found, policy=POLICY):
    """Return what is against the delivery, each with what would change it."""
    decision = last_report(found.story, policy)
    return [(one.what, one.change) for one in against(found, decision, policy=policy, zone=ZONE)]


def test_nothing_is_against_what_leaves_with_the_next_claim():
    """A due try, a worker, no word of a person."""
    assert said(situation(at=NOW)) == []


def test_nobody_was_heard_of():
    """Only where nothing else explains that it has not left."""
    assert said(situation(workers=())) == [("no worker was heard of within a minute", "softbounce worker")]
    assert "no worker" not in str(said(situation(workers=(), modes=(Mode(mode="off", merchant="*"),))))


@pytest.mark.parametrize(
    ("modes", "binds"),
    [
        ([("*", "on")], "on"),
        ([("*", "on"), ("42", "observe")], "observe"),
        ([("*", "observe"), ("42", "on")], "on"),
        ([("*", "off"), ("42", "observe")], "off"),
        ([("*", "off"), ("42", "on")], "off"),
        ([("*", "on"), ("7", "off")], "on"),
    ],
)
def test_a_merchant_s_own_mode_binds_it_unless_all_are_off(modes, binds):
    """As claim.lua takes it."""
    assert mode_over("42", {name: Mode(mode=mode, merchant=name) for name, mode in modes}).mode == binds


def test_a_mode_names_who_set_it_and_the_command_that_ends_it():
    """Of the merchant, where it is the merchant's own."""
    modes = (
        Mode(mode="on", merchant="*"),
        Mode(mode="off", merchant="42", by="eva", reason="why", at=FAILED),
    )
    ((what, change),) = said(situation(modes=modes))

    assert what == "mode off for merchant 42 since today 17:32 Berlin, by eva: why"
    assert change == "softbounce mode on --merchant 42 --reason ..."


def test_the_pauses_of_a_delivery_are_those_that_cover_it_and_have_not_ended():
    """By reference, claim, customer, merchant, recipient, channel, code."""
    one = delivery(head={"rs": ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]})
    ends = {"z": NOW + 1}
    pauses = {
        "reference:abcdefghijkl": ends,
        "claim:54321": ends,
        "claim:1": ends,
        "merchant:42": {"z": NOW},
        "recipient:bbbbbbbbbbbb": ends,
        "channel:sms": ends,
    }

    assert [field for field, _ in pauses_of(one, pauses, NOW)] == [
        "reference:abcdefghijkl",
        "claim:54321",
        "recipient:bbbbbbbbbbbb",
        "channel:sms",
    ]


def test_a_pause_does_not_bind_what_a_person_hurries():
    """Until then it names its end, who set it, and the command that ends it."""
    pauses = {"reference:abcdefghijkl": {"z": NOW + HOUR, **ASKED}}

    assert said(situation(pauses=pauses)) == [
        (
            "its reference is paused until today 20:32 Berlin, by eva: asked",
            "softbounce retries resume reference:m1 --reason ...",
        )
    ]
    assert said(situation(pauses=pauses, head={"q": 1})) == []


@pytest.mark.parametrize(
    ("head", "state", "until"),
    [
        ({}, "closed", None),
        ({"s": "open", "u": NOW + 1}, "open", NOW + 1),
        ({"s": "open", "u": NOW}, "half-open", None),
        ({"s": "half-open", "u": NOW + 1}, "half-open", None),
        ({"r": NOW - 4 * MINUTE}, "ramping", NOW + 6 * MINUTE),
        ({"r": NOW - 10 * MINUTE}, "closed", None),
    ],
)
def test_the_state_of_a_breaker(head, state, until):
    """Open until its end, then probed, then little by little."""
    assert breaker_state("gate", head, BREAKING, NOW) == (state, until)


def test_a_breaker_binds_without_a_policy_only_where_a_person_opened_it():
    """A provider that the policy does not name has none of its own."""
    head = {"s": "open", "u": NOW + 1}

    assert breaker_state("other", head, BREAKING, NOW)[0] == "closed"
    assert breaker_state("other", {**head, "m": 1}, BREAKING, NOW)[0] == "open"


def test_a_breaker_is_named_with_the_command_that_closes_it():
    """And with what it does by itself."""
    found = situation(breaker={"s": "open", "u": NOW + HOUR}, extra={"provider": "gate"})

    assert said(found, BREAKING) == [
        (
            "the breaker of its provider gate is open until today 20:32 Berlin",
            "softbounce breakers close gate --reason ...; else it is probed then",
        )
    ]


def test_a_cap_says_when_the_next_may_leave():
    """What left longer ago than its time does not count."""
    old, times = NOW - 25 * HOUR, [NOW - 3 * HOUR, NOW - HOUR]
    found = situation(left={"recipient:ABCDEFGHIJKL": [old, *times], "claim:54321": [old, *times]})

    assert said(found, BREAKING) == [
        (
            "limits.resends_per_recipient: 2/24h have left, the next may tomorrow 16:32 Berlin",
            "limits.resends_per_recipient in config/policy.yaml",
        )
    ]


def test_what_a_rate_holds_back_names_it_where_no_cap_does():
    """The provider's own rate, else that of all others."""
    ((what, change),) = said(situation(waits_for="rate", extra={"provider": "gate"}), BREAKING)

    assert (what, change) == ("waits for the rate limit", "providers.gate.rate in config/policy.yaml")
    assert 'providers."*".rate' in said(situation(waits_for="rate"), BREAKING)[0][1]


def test_past_its_deadline_nothing_leaves_unless_a_person_said_even_so():
    """The mark of run-now on what is stale."""
    late = NOW + 100 * HOUR

    assert said(situation(at=late))[-1][0].startswith("past its deadline, ")
    assert "past its deadline" not in str(said(situation(at=late, head={"q": 2})))


def test_a_recipient_on_the_list_is_named_with_the_command_that_takes_it_off():
    """What has ended must be sent anew."""
    refused = Verdict(allowed=False, recipient="r_ABCDEFGHIJKL", reason="INVALID_MOBILE_NUMBER")
    waiting = situation(verdict=refused, end={"state": "suppressed"})
    ended = situation(verdict=refused, state="ended", outcome="suppressed")
    command = "softbounce suppressions remove r_ABCDEFGHIJKL --reason ..."

    assert said(waiting) == [("its recipient is suppressed", command)]
    assert said(ended) == [
        ("its recipient is suppressed", f"{command}; this message has ended, send it anew")
    ]
    assert said(situation(state="ended", outcome="suppressed")) == []
