"""Recipients that nobody can read: known by their spelling in every guard, held unless policy sends all the same."""

import pytest

from softbounce.store.audit import By

from .store_driver import HOUR, NUMBER

DIGITS = "4915112345678"  # of NUMBER, without its plus
MASKED = "+49151•••78"
RETRIES = """
version: 1
unreadable_recipient: retry
defaults: {quiet_hours: off}
limits: {resends_per_recipient: 1/1d}
codes:
  SMS_EXPIRED: {do: retry, retry: {delays: [1m, 1m]}}
  SMS_REJECTED: {do: suppress, fault: recipient}
"""

INTERNATIONAL = """
version: 1
digits_without_plus: international
defaults: {quiet_hours: off}
codes: {SMS_EXPIRED: {do: retry, retry: {delays: [1m, 1m]}}}
"""


@pytest.fixture
def sending(driver):
    """The same store under a policy that retries whom nobody can read."""
    return driver.with_policy(RETRIES)


@pytest.mark.parametrize("recipient", [DIGITS, "0151 12345678", MASKED, "4.915E+12"])
def test_a_retry_to_whom_nobody_can_read_is_held_with_its_reason(driver, recipient):
    """A block, a pause or a cap of the person would not stop it."""
    answer = driver.fail(to=[recipient])
    (case,) = driver.cases()
    (line,) = driver.story().history

    assert answer.outcome == "held"
    assert case.kind == "ambiguous_recipient"
    assert "a phone number must be written internationally" in case.entry["detail"]
    assert line.unread.startswith("recipients[0]: ")


def test_where_policy_says_so_it_is_sent_and_a_cap_knows_it_again(sending):
    """By its folded spelling, so that another dash makes nobody new."""
    sending.fail("m1", to=["0151 12345678"])
    sending.fail("m2", to=["0151-12345678"])

    sending.wait(HOUR)

    assert len(sending.hand_over()) == 1


def test_a_pause_stops_whom_nobody_can_read(sending):
    """A pause is told by the same spelling."""
    sending.fail(to=["0151 12345678"])
    sending.store.pauses.add(
        "recipient", "0151/12345678", channel="sms", until=sending.now + HOUR, by=By("eva", "x")
    )

    assert sending.resend() == []


def test_a_block_of_whom_nobody_can_read_ends_what_waits(sending):
    """It was convicted under one spelling, and is found under the other."""
    sending.fail("m1", to=["0151 12345678"])

    assert sending.fail("m2", "SMS_REJECTED", to=["0151-12345678"]).outcome == "suppressed"
    assert sending.resend("m1") == []


def test_a_refusal_of_digits_without_a_plus_holds_for_the_number_with_one(sending):
    """Carriers write numbers so; nobody is refused the other way round."""
    sending.fail("m1", "SMS_REJECTED", to=[DIGITS])

    assert not sending.store.suppressions.check(NUMBER, "sms").allowed
    assert sending.fail("m2").outcome == "suppressed"


def test_a_refusal_of_a_number_leaves_the_digits_to_their_own(sending):
    """They may be a national number of somebody else."""
    sending.fail("m1", "SMS_REJECTED")

    assert sending.fail("m2", to=[DIGITS]).outcome == "scheduled"


def test_a_masked_address_convicts_nobody(sending):
    """It stands for many."""
    assert sending.fail("m1", "SMS_REJECTED", to=[MASKED]).outcome == "held"
    assert list(sending.store.suppressions.find(MASKED.replace("•", "1"), "sms")) == []


def test_of_several_the_one_that_cannot_be_read_is_left_out(driver):
    """The others get their resend, and the history says who does not."""
    driver.fail(code="PROVIDER_ERROR", to=[NUMBER, "0151-12"])
    driver.until_due()
    (lease,) = driver.claim()
    (line, *_) = driver.story().history

    assert lease.delivery.recipients == (NUMBER,)
    assert line.unread.startswith("recipients[1]: ")


OTHER = "+4915187654321"


def test_an_arrival_that_leaves_somebody_out_ends_nobody_elses_retry(driver):
    """It says that those have the message whom it names."""
    driver.fail(code="PROVIDER_ERROR", to=[OTHER])
    driver.deliver(to=[NUMBER, "0170 1234567"])
    driver.until_due()

    assert len(driver.hand_over()) == 1


def test_an_arrival_to_whom_nobody_can_read_ends_the_message(driver):
    """It may be anybody of it: a text too few costs less than a text twice."""
    driver.fail(code="PROVIDER_ERROR")
    driver.deliver(to=[DIGITS])
    driver.wait(HOUR)

    assert driver.hand_over() == []


def test_a_consent_under_digits_outlasts_a_shorter_block_of_the_number(sending):
    """The longer end binds, as in any entry."""
    sending.store.suppressions.add(NUMBER, "sms", by=By("eva", "x"), now=sending.now, expires=HOUR)
    sending.fail("m1", "SMS_REJECTED", to=[DIGITS])
    sending.wait(2 * HOUR)

    assert not sending.store.suppressions.check(NUMBER, "sms").allowed


def test_soft_bounces_of_a_masked_address_suppress_nobody(driver):
    """It stands for many."""
    text = RETRIES + "defaults: {soft_bounce: {escalate_at: 2, within: 30d, apart: 0s, then: suppress}}\n"
    masked = driver.with_policy(text.replace("defaults: {quiet_hours: off}\n", ""))
    outcomes = [masked.fail(f"m{number}", to=[MASKED]).outcome for number in range(3)]

    assert "suppressed" not in outcomes
    assert masked.client.hlen(masked.store.keys.fixed("suppressions")) == 0


def test_somebody_left_out_still_makes_several(driver):
    """A policy that holds what is about several recipients holds this, too."""
    text = "version: 1\ndefaults: {several_recipients: hold}\ncodes: {SMS_EXPIRED: {do: retry}}\n"

    assert driver.with_policy(text).fail(to=[NUMBER, "0170 1234567"]).outcome == "held"


def test_one_of_several_who_is_named_twice_gets_one_resend(driver):
    """In the spelling that came first."""
    driver.fail(code="PROVIDER_ERROR", to=[NUMBER, NUMBER.replace("+", "00"), OTHER])
    driver.until_due()
    (lease,) = driver.claim()

    assert lease.delivery.recipients == (NUMBER, OTHER)


def test_a_policy_may_say_that_digits_are_an_international_number(driver):
    """Then the number and its digits are one person; a resend repeats what was reported."""
    bare = driver.with_policy(INTERNATIONAL)
    driver.fail("m0", to=["447911123457"])
    assert driver.story("m0").delivery.state == "held"
    assert bare.fail(to=["447911123457"]).outcome == "scheduled"
    assert bare.deliver("m1", to=["+447911123457"]).outcome == "delivered"
    bare.fail("m2", to=["447911123457"])
    bare.until_due("m2")
    (lease,) = bare.claim()

    assert lease.delivery.recipients == ("447911123457",)
    assert bare.fail("m3", to=["0791 1123457"]).outcome == "held"
