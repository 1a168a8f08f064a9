"""A message that was refused for good and arrived tells one story: by channel either its arrival or its verdict counts."""

import json
from itertools import permutations

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.policy.file import load
from softbounce.store import Store
from softbounce.store.audit import By

from .store_driver import DAY, HOUR, MINUTE, NUMBER, START, StoreDriver

POLICY = """version: 1
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [2h]}}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
  INVALID_EMAIL_ADDRESS: {do: suppress, fault: recipient}
  INVALID_POSTAL_ADDRESS: {do: suppress, fault: recipient}
  SMS_REJECTED: {do: suppress, fault: recipient, suppression: {scope: merchant}}
  SMS_NOT_DELIVERED: {do: suppress, fault: recipient, confirm: {reports: 2, apart: 1h, within: 7d, meanwhile: drop}}
  COMPLAINT: {do: suppress, fault: recipient, suppression: {scope: merchant}}
  OPT_OUT: {do: suppress, fault: recipient}
"""
DEAD = "INVALID_MOBILE_NUMBER"
EMAIL = "jane@example.com"
LETTER = {"street": "Musterstr. 1", "zip": "10115", "city": "Berlin", "country": "DE", "lastName": "Doe"}
CHANNELS = {  # channel -> its recipient, and the code of a verdict
    "sms": (NUMBER, DEAD),
    "email": (EMAIL, "INVALID_EMAIL_ADDRESS"),
    "letter": (LETTER, "INVALID_POSTAL_ADDRESS"),
}
TAKEN_IN_TRUST = ["email", "letter"]  # who takes them confirms no mailbox


@pytest.fixture
def told(driver):
    """A driver under a policy that suppresses at the first word."""
    return driver.with_policy(POLICY)


def may_send(driver, channel="sms", **options):
    """Whether the recipient of a channel may be sent to."""
    return bool(driver.store.suppressions.check(CHANNELS[channel][0], channel, **options))


def kinds(driver):
    """Return the kinds of cases."""
    return [case.kind for case in driver.cases()]


def lifts(driver):
    """Return what the audit says of blocks that arrivals lifted."""
    found = [entry for entry in driver.store.audit.entries() if entry["action"] == "lift"]
    return [(entry["actor"], entry["reason"]) for entry in found]


# --- the verdict first


def test_a_text_that_arrives_lifts_the_verdict_whose_only_evidence_it_is(told):
    """The handset confirmed it, so the number exists: it recovered, and the audit says by which event."""
    told.fail(code=DEAD)
    told.wait(MINUTE)

    assert told.deliver(event="got-it").outcome == "delivered"
    assert may_send(told)
    assert told.notices() == ["recovered", "suppressed"]
    assert told.story().delivery.outcome == "delivered"
    assert lifts(told) == [("policy", "its message arrived, event got-it")]


def test_a_text_that_arrives_lifts_the_verdict_at_its_merchant(told):
    """Also where the report of the arrival names no merchant: the message is of the one who was told."""
    told.fail(code="SMS_REJECTED", merchant=7)
    assert not may_send(told, merchant=7)

    assert told.deliver(merchant=None).outcome == "delivered"
    assert may_send(told, merchant=7)


def test_two_verdicts_on_one_text_are_lifted_by_its_arrival(told):
    """All evidence is of this one message."""
    told.fail(code=DEAD)
    told.fail(code="SMS_REJECTED")

    assert told.deliver().outcome == "delivered"
    assert may_send(told, merchant=1)


def test_a_verdict_with_other_evidence_stays_and_nobody_is_told_that_it_recovered(told):
    """Two messages say that the number is dead; one of them arrived: the block stays."""
    told.fail(code=DEAD)
    told.fail("m2", code=DEAD)

    assert told.deliver().outcome == "ended"
    assert not may_send(told)
    assert told.notices() == ["suppressed", "suppressed"]
    story = told.story()
    assert (story.delivery.outcome, [line.kind for line in story.history]) == (
        "suppressed",
        ["failed", "delivered"],
    )


def test_a_persons_block_stays_when_a_text_arrives(told):
    """The verdict is lifted beneath it; the recipient stays refused, and nothing recovered."""
    told.fail(code=DEAD)
    told.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=told.now)

    assert told.deliver().outcome == "ended"
    assert told.notices() == ["suppressed"]
    (entry,) = told.store.suppressions.find(NUMBER, "sms")
    assert entry.entry["by"] == "me"


def test_an_arrival_never_lifts_consent(told):
    """That a text arrived says nothing about what its recipient wants."""
    told.fail(code="OPT_OUT")

    assert told.deliver().outcome == "ended"
    assert not may_send(told)
    assert told.notices() == ["suppressed"]
    assert lifts(told) == []


def test_after_a_block_was_lifted_by_a_person_an_arrival_is_a_recovery(told):
    """Nothing refuses the recipient any more."""
    told.fail(code=DEAD)
    told.store.suppressions.remove(told.store.suppressions.find(NUMBER, "sms"), by=By("me", "it is right"))

    assert told.deliver().outcome == "delivered"
    assert told.notices() == ["recovered", "suppressed"]


@pytest.mark.parametrize("channel", TAKEN_IN_TRUST)
def test_an_email_or_a_letter_that_was_taken_disproves_no_verdict(told, channel):
    """A server or the post takes what comes back later: the message stays suppressed, and nobody hears that it recovered."""
    to, code = CHANNELS[channel]
    told.fail(code=code, channel=channel, to=[to])

    assert told.deliver(channel=channel, to=[to]).outcome == "ended"
    assert not may_send(told, channel)
    assert told.notices() == ["suppressed"]
    assert told.story().delivery.outcome == "suppressed"


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_arrival_that_changed_nothing_is_a_duplicate_when_it_comes_again(told, channel):
    """Each event has one outcome, and the history one line of it."""
    to, _ = CHANNELS[channel]
    told.fail(code="OPT_OUT", channel=channel, to=[to])
    event = told.delivered(channel=channel, to=[to])
    first, second = told.accept_all(event), told.accept_all(event)

    assert (first[0].outcome, second[0].outcome, second[0].first) == ("ended", "duplicate", "ended")
    assert [line.kind for line in told.story().history] == ["failed", "delivered"]


def test_a_verdict_after_an_arrival_that_lifted_another_suppresses_nobody(told):
    """Verdict, arrival, verdict of one text: the arrival counts against both, also where consent keeps the recipient refused."""
    told.fail(code=DEAD)
    told.fail(code="OPT_OUT")
    assert told.deliver().outcome == "ended"

    assert told.fail(code=DEAD).outcome == "ended"
    (entry,) = told.store.suppressions.find(NUMBER, "sms")
    assert entry.entry["code"] == "OPT_OUT"
    assert kinds(told) == ["contradiction"]
    assert told.story().delivery.outcome == "suppressed"


def test_a_message_to_several_who_are_all_refused_does_not_recover(told):
    """It ended because nobody was left; that it arrived all the same lifts no block."""
    others = ["+4915112345671", "+4915112345672"]
    told.fail("m1", to=others)
    for name, number in zip(("a", "b"), others, strict=True):
        told.fail(name, code=DEAD, to=[number])
    told.resend("m1")
    assert told.story("m1").delivery.outcome == "suppressed"

    assert told.deliver("m1", to=others).outcome == "ended"
    assert told.notices() == ["suppressed", "suppressed"]


# --- the arrival first


def test_a_verdict_after_the_arrival_of_its_text_suppresses_nobody_and_opens_a_case(told):
    """The provider contradicts itself: a person asks which report is true."""
    told.deliver()
    answer = told.fail(code=DEAD)

    assert (answer.outcome, answer.case) == ("ended", told.cases()[0].id)
    assert may_send(told)
    assert told.notices() == []
    assert [(case.kind, case.count, case.entry["code"]) for case in told.cases()] == [
        ("contradiction", 1, DEAD)
    ]


def test_a_verdict_after_a_text_recovered_suppresses_nobody(told):
    """Failure, arrival, verdict: the delivery stays ended as it was."""
    told.fail()
    told.deliver()

    assert told.fail(code=DEAD).outcome == "ended"
    assert told.story().delivery.outcome == "delivered"
    assert (may_send(told), kinds(told)) == (True, ["contradiction"])


def test_a_verdict_on_a_text_whose_reference_has_arrived_suppresses_nobody(told):
    """As where the producer names the message only, and no recipient."""
    told.deliver(to=[])

    assert told.fail(code=DEAD).outcome == "ended"
    assert (may_send(told), kinds(told)) == (True, ["contradiction"])


def test_a_report_after_the_arrival_of_its_text_confirms_nothing(told):
    """Where two reports convict, one whose own message arrived is none of them."""
    told.deliver()
    told.fail(code="SMS_NOT_DELIVERED")
    told.wait(DAY)

    assert told.fail("m2", code="SMS_NOT_DELIVERED").outcome == "given_up"
    assert may_send(told)


@pytest.mark.parametrize("channel", TAKEN_IN_TRUST)
def test_a_bounce_after_the_arrival_suppresses(told, channel):
    """An asynchronous bounce, a returned letter: it speaks of the recipient, later than the server that took it."""
    to, code = CHANNELS[channel]
    told.deliver(channel=channel, to=[to])

    assert told.fail(code=code, channel=channel, to=[to]).outcome == "suppressed"
    assert not may_send(told, channel)
    assert kinds(told) == []


@pytest.mark.parametrize("channel", CHANNELS)
def test_consent_that_is_withdrawn_after_the_arrival_suppresses(told, channel):
    """Who complains has the message: nothing contradicts it."""
    to, _ = CHANNELS[channel]
    told.deliver(channel=channel, to=[to])

    assert told.fail(code="COMPLAINT", channel=channel, to=[to]).outcome == "suppressed"
    assert not may_send(told, channel, merchant=1)
    assert kinds(told) == []


# --- incidents


def test_an_arrival_lifts_a_provisional_block_and_takes_its_message_out_of_the_incident(driver):
    """The surge's other messages stay held, and an undo finds nothing more of this one."""
    brake = (
        "{by: [code, country, domain], more_than: 2, within: 1h, times_usual: 3, then: provisional, for: 24h}"
    )
    braked = driver.with_policy(
        POLICY.replace("codes:", f"defaults: {{suppression: {{brake: {brake}}}}}\ncodes:")
    )
    for n in range(4):
        braked.fail(f"m{n}", code=DEAD, to=[f"+4915112345{n:03}"])
    (case,) = braked.cases()
    assert (case.kind, case.count) == ("incident", 2)

    assert braked.deliver("m3", to=["+4915112345003"]).outcome == "delivered"
    assert not braked.is_suppressed("+4915112345003")
    assert braked.cases()[0].count == 1
    assert sum(braked.store.incidents.settle(braked.cases()[0], "undo")) == 3


# --- any order


REPORTS = (
    "verdict",
    "second verdict",
    "verdict on another message",
    "consent",
    "soft",
    "arrival",
    "second arrival",
)


@given(
    channel=st.sampled_from(sorted(CHANNELS)),
    order=st.lists(st.sampled_from(REPORTS), min_size=2, max_size=6, unique=True),
)
def test_no_order_of_reports_tells_that_a_message_recovered_whose_recipient_is_refused(channel, order):
    """Neither while its own record was suppressed, nor at the moment of its arrival, unless a case asks a person."""
    told = of_memory()
    to, code = CHANNELS[channel]
    soft = "SMS_EXPIRED" if channel == "sms" else "BOUNCE_TRANSIENT_GENERAL"
    said = {
        "verdict": lambda: told.fail(code=code, channel=channel, to=[to]),
        "second verdict": lambda: told.fail(code=code, channel=channel, to=[to]),
        "verdict on another message": lambda: told.fail("m2", code=code, channel=channel, to=[to]),
        "consent": lambda: told.fail(code="OPT_OUT", channel=channel, to=[to]),
        "soft": lambda: told.fail(code=soft, channel=channel, to=[to]),
        "arrival": lambda: told.deliver(channel=channel, to=[to]),
        "second arrival": lambda: told.deliver(channel=channel, to=[to]),
    }
    was_suppressed = False
    for name in order:
        answer = said[name]()
        stories = told.store.retries.find("m1")
        ended = stories[0].delivery.outcome if stories else None
        if "recovered" in told.notices():
            assert may_send(told, channel) or not was_suppressed or told.cases()
            assert ended == "delivered"
        assert not (ended == "suppressed" and may_send(told, channel))
        if channel == "sms" and ended == "delivered" and name.endswith("verdict"):
            assert answer.outcome == "ended"
        was_suppressed = was_suppressed or ended == "suppressed"


@pytest.mark.parametrize("order", list(permutations(("verdict", "consent", "arrival"))), ids="-".join)
def test_consent_refuses_in_any_order(order):
    """Whatever an arrival disproves, an opt-out stands."""
    told = of_memory()
    said = {
        "verdict": lambda: told.fail(code=DEAD),
        "consent": lambda: told.fail(code="OPT_OUT"),
        "arrival": told.deliver,
    }
    for name in order:
        said[name]()
        told.wait(HOUR)

    (entry,) = told.store.suppressions.find(NUMBER, "sms")
    assert (entry.entry["code"], entry.entry.get("causes")) == ("OPT_OUT", None)


def of_memory():
    """Return a driver of a store in memory under the policy of this file."""
    client = fakeredis.FakeRedis()
    client.flushall()
    store = Store(client)
    store.set_now(START)
    return StoreDriver(store, load(POLICY, file="policy.yaml"), client=client)


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_bare_report_before_it_tells_of_no_recovery_of_a_suppressed_message(driver, channel):
    """Its old form named nobody; the message is suppressed, and nobody hears that it recovered."""
    to = [NUMBER if channel == "sms" else "jane@example.com"]
    bare = json.loads(driver.failed(event="e1", channel=channel.upper(), to=to))
    del bare["claim"]["communication"]["error"], bare["claim"]["communication"]["recipients"]
    driver.accept(json.dumps(bare).encode())
    driver.fail(code="OPT_OUT", channel=channel.upper(), to=to)
    driver.notices()
    driver.deliver(channel=channel.upper(), to=to)

    assert "recovered" not in driver.notices()
