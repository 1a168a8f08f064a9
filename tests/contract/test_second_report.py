"""A verdict that needs a second report: one retry asks, and meanwhile nothing else is sent to the recipient."""

import pytest

from softbounce.store.audit import By

from .store_driver import DAY, HOUR, NUMBER

POLICY = """version: 1
defaults: {quiet_hours: off, suppression: {brake: off}}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [2h, 2h]}}
  INVALID_MOBILE_NUMBER:
    {do: suppress, fault: recipient, confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: retry}, retry: {delays: [24h], max_attempts: 1}}
"""
CODE = "INVALID_MOBILE_NUMBER"


@pytest.fixture
def asking(driver):
    """A driver under a policy that believes a dead number at the second report."""
    return driver.with_policy(POLICY)


def verdict(driver):
    """Whether the number may be sent to, else why not."""
    found = driver.store.suppressions.check(NUMBER, "sms")
    return True if found else found.reason


def test_only_the_retry_that_asks_is_sent_while_a_verdict_waits_for_its_second_report(asking):
    """Another message of the recipient waits, and may_send refuses a new one."""
    asking.fail("other")
    assert asking.fail(code=CODE).outcome == "scheduled"
    assert verdict(asking) == "paused"
    asking.until_due("m1")

    assert asking.hand_over() == [("m1", 1)]


def test_a_second_report_suppresses(asking):
    """It is of the send that asked."""
    asking.fail(code=CODE)
    asking.resend()
    asking.wait(HOUR)

    assert asking.fail(code=CODE).outcome == "suppressed"
    assert verdict(asking) == CODE


@pytest.mark.parametrize("answer", ["arrival", "another arrival", "another failure"])
def test_another_answer_ends_the_pause(asking, answer):
    """The number is not dead: what waits for it leaves again."""
    asking.fail(code=CODE)
    asking.resend()
    asking.wait(HOUR)
    if answer == "arrival":
        asking.deliver()
    elif answer == "another arrival":
        asking.deliver("m9")
    else:
        asking.fail(code="SMS_EXPIRED")

    assert verdict(asking) is True


def test_an_arrival_of_before_the_verdict_ends_no_pause(asking):
    """It says nothing of the number as it is now."""
    asking.fail(code=CODE)
    asking.deliver("m9", at=asking.now - HOUR)

    assert verdict(asking) == "paused"


def test_the_pause_ends_where_no_answer_comes(asking):
    """Four days after the retry that asks was due: its validity and the receipt are over."""
    asking.fail(code=CODE)
    asking.resend()
    asking.wait(4 * DAY + HOUR)

    assert verdict(asking) is True


def test_a_pause_of_a_person_stays(asking):
    """Neither is it shortened, nor does an answer end it."""
    asking.store.pauses.add(
        "recipient", NUMBER, channel="sms", by=By("eva", "asked"), until=asking.now + 2 * HOUR
    )
    asking.fail(code=CODE)
    asking.wait(HOUR)
    asking.deliver("m9")

    assert verdict(asking) == "paused"
