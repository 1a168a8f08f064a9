"""What is against a try, and what would change it, from what a store knows: no store is asked."""

import pytest

from softbounce.core.durations import HOUR
from softbounce.core.policy.file import load
from softbounce.explain.barriers import against
from softbounce.explain.delivery import last_report
from softbounce.store import Verdict

from .known import FAILED, NOW, ZONE, gate, situation
from .test_decision import POLICY, TEXT

CAPPED = load(
    TEXT.replace(
        "handover_rate: 50/s}",
        "handover_rate: 50/s, resends_per_recipient: 2/1d, resends_per_claim: 3/1d}\n"
        "providers: {gate: {breaker: {open_when: {failures: 50%, of_last: 100, least: 20, within: 10m}, open_for: {base: 1m, factor: 2, cap: 15m}, probe: 5, ramp_up: 10m}}}",
    ),
    file="config/policy.yaml",
)
CLOSE = "softbounce breakers close gate --reason ..."
LISTED = gate("recipient is suppressed", "suppressed", field="ABCDEFGHIJKL", code="INVALID_MOBILE_NUMBER")
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
    off = gate("off", field="*", mode="off", at=FAILED)

    assert said(situation(workers=())) == [("no worker was heard of within a minute", "softbounce worker")]
    assert "no worker" not in str(said(situation(workers=(), gates=(off,))))


def test_a_mode_names_who_set_it_and_the_command_that_ends_it():
    """Of the merchant, where it is the merchant's own."""
    entry = {"mode": "off", "by": "eva", "reason": "why", "at": FAILED}
    own, all_of_them = (situation(gates=(gate("off", field=field, **entry),)) for field in ("42", "*"))

    assert said(own) == [
        (
            "mode off for merchant 42 since today 17:32 Berlin, by eva: why",
            "softbounce mode on --merchant 42 --reason ...",
        )
    ]
    assert said(all_of_them)[0][1] == "softbounce mode on --reason ..."


@pytest.mark.parametrize(
    ("field", "of", "named"),
    [
        ("reference:abcdefghijkl", "reference", "reference:m1"),
        ("recipient:bbbbbbbbbbbb", "recipient", "recipient:r_bbbbbbbbbbbb"),
        ("code:SMS_EXPIRED", "code", "code:SMS_EXPIRED"),
    ],
)
def test_a_pause_names_its_end_who_set_it_and_the_command_that_ends_it(field, of, named):
    """In the words that a person can type."""
    paused = gate("paused", until=NOW + HOUR, field=field, **ASKED)

    assert said(situation(gates=(paused,))) == [
        (
            f"its {of} is paused until today 20:32 Berlin, by eva: asked",
            f"softbounce retries resume {named} --reason ...",
        )
    ]


@pytest.mark.parametrize(
    ("state", "until", "what", "change"),
    [
        ("open", NOW + HOUR, "open until today 20:32 Berlin", f"{CLOSE}; else it is probed then"),
        ("half-open", None, "half-open", f"{CLOSE}; else it closes once its probes arrive"),
        (
            "ramping",
            NOW + HOUR,
            "ramping until today 20:32 Berlin",
            "it lets through more and more until then",
        ),
    ],
)
def test_a_breaker_is_named_with_the_command_that_closes_it(state, until, what, change):
    """And with what it does by itself."""
    barred = gate("rate" if state == "ramping" else "breaker", until=until, field=state)

    assert said(situation(gates=(barred,), extra={"provider": "gate"})) == [
        (f"the breaker of its provider gate is {what}", change)
    ]


def test_a_cap_says_when_the_next_may_leave():
    """And where the policy sets it; a cap says nothing of a try that is not due."""
    capped = gate("capped", until=NOW + HOUR, field="recipient:ABCDEFGHIJKL")

    assert said(situation(gates=(capped,)), CAPPED) == [
        (
            "limits.resends_per_recipient: 2/24h have left, the next may today 20:32 Berlin",
            "limits.resends_per_recipient in config/policy.yaml",
        )
    ]
    assert not said(situation(gates=(capped,), due=NOW + HOUR), CAPPED)


def test_what_a_rate_holds_back_names_it_where_no_cap_does():
    """The provider's own rate, else that of all others; also where the gate is open by now."""
    ((what, change),) = said(situation(gates=(gate("rate"),), extra={"provider": "gate"}), CAPPED)
    line = 'providers."*".rate in config/policy.yaml'

    assert (what, change) == ("waits for the rate limit", "providers.gate.rate in config/policy.yaml")
    assert said(situation(waits_for="rate"), CAPPED) == [(what, line)]
    assert [change for _, change in said(situation(gates=(gate("rate"),), waits_for="rate"))] == [line]


def test_hand_overs_that_never_ended_are_said_before_it_is_held():
    """The next claim holds it."""
    assert "the next claim holds it" in said(situation(gates=(gate("crash loop", "held"),)))[0][0]


def test_an_incident_names_the_command_that_undoes_it():
    """Once, whether the gate or the record says it."""
    for found in (situation(gates=(gate("incident"),)), situation(waits_for="incident")):
        ((what, change),) = said(found)

        assert what == "waits for a person's word on the incident that refuses its recipient"
        assert change.startswith("softbounce suppressions undo incident:CASE")


def test_past_its_deadline_nothing_leaves():
    """It says when that was."""
    late = situation(at=NOW + 100 * HOUR, gates=(gate("too_late", "given_up"),))

    assert said(late)[0][0].startswith("past its deadline, ")


def test_a_recipient_on_the_list_is_named_with_the_command_that_takes_it_off():
    """What has ended must be sent anew."""
    refused = Verdict(allowed=False, recipient="r_ABCDEFGHIJKL", reason="INVALID_MOBILE_NUMBER")
    waiting = situation(verdict=refused, gates=(LISTED,))
    ended = situation(verdict=refused, state="ended", outcome="suppressed")
    command = "softbounce suppressions remove r_ABCDEFGHIJKL --reason ..."

    assert said(waiting) == [("its recipient is suppressed", command)]
    assert said(ended) == [
        ("its recipient is suppressed", f"{command}; this message has ended, send it anew")
    ]
    assert said(situation(state="ended", outcome="suppressed")) == []


def test_a_try_of_which_nobody_is_left_says_so():
    """There is not one recipient whose block could be lifted."""
    nobody = Verdict(allowed=False, recipient="", because="nobody in particular")
    found = situation(verdict=nobody, gates=(gate("no recipient is left", "suppressed"),))

    assert said(found) == [("none of its recipients is left: each is suppressed, cancelled or reached", "")]
