"""Retries of one message to several recipients."""

import pytest

from softbounce.store.audit import By

from .store_driver import DAY, HOUR, MINUTE, NUMBER

OTHER = "+4915187654321"
THIRD = "+4915112121212"


def test_a_named_culprit_is_the_only_one_resent_to(driver):
    """Of several recipients the named culprit alone gets the resend: the others have the message."""
    details = {"invalidValues": {"phone": NUMBER}}
    driver.fail(code="PROVIDER_ERROR", details=details, to=[OTHER, NUMBER])
    driver.until_due()
    (lease,) = driver.claim()

    assert lease.delivery.recipients == (NUMBER,)


def test_a_delivery_to_several_ends_theirs_alone(driver):
    """MESSAGE_DELIVERED for several recipients ends what waits for each of them, and for nobody else."""
    for number in (NUMBER, OTHER, THIRD):
        driver.fail(to=[number])
    driver.deliver(to=[NUMBER, OTHER])
    driver.until_due()
    driver.wait(2 * HOUR)

    assert [lease.delivery.recipients for lease in driver.claim()] == [(THIRD,)]


def test_no_resend_to_several_reaches_one_who_refuses(driver):
    """A suppressed recipient gets no retry, also as one of several; the others get theirs."""
    driver.fail(to=[NUMBER, OTHER])
    driver.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", to=[OTHER])
    driver.until_due()
    (lease,) = driver.claim()

    assert lease.delivery.recipients == (NUMBER,)
    driver.finish(lease)
    driver.wait(HOUR)
    assert driver.fail(to=[NUMBER]).outcome == "scheduled"


def test_a_resend_to_several_ends_where_all_refuse(driver):
    """Where each of several recipients is suppressed the retry ends as suppressed."""
    driver.fail(to=[NUMBER, OTHER])
    for number in (NUMBER, OTHER):
        driver.store.suppressions.add(number, "sms", by=By("me", "asked us to"), now=driver.now)
    driver.until_due()

    assert [ended.outcome for ended in driver.claimed().ended] == ["suppressed"]


def test_one_of_several_who_has_the_message_does_not_get_it_again(driver):
    """MESSAGE_DELIVERED for one of several recipients takes that one out of the resend."""
    driver.fail(to=[NUMBER, OTHER])
    driver.deliver(to=[NUMBER])
    driver.until_due()

    assert [lease.delivery.recipients for lease in driver.claim()] == [(OTHER,)]


def test_one_of_several_who_had_the_message_before_does_not_get_it_again(driver):
    """MESSAGE_DELIVERED of one that comes before the failure of several takes that one out, too."""
    driver.deliver(to=[NUMBER])
    driver.fail(to=[NUMBER, OTHER])
    driver.until_due()

    assert [lease.delivery.recipients for lease in driver.claim()] == [(OTHER,)]


def test_one_of_several_who_is_cancelled_is_left_out(driver):
    """A cancelled recipient gets nothing that waited when it was cancelled, also as one of several, and what comes later."""
    driver.fail(to=[NUMBER, OTHER])
    driver.store.cancels.add("recipient", OTHER, channel="sms", by=By("me", "moved"), now=driver.now)
    driver.wait(MINUTE)
    driver.fail("m2", to=[NUMBER, OTHER])
    driver.wait(5 * HOUR)

    going = {lease.delivery.reference: lease.delivery.recipients for lease in driver.claim()}
    assert going == {"m1": (NUMBER,), "m2": (NUMBER, OTHER)}


def test_one_of_several_stays_left_out_while_the_others_wait(driver):
    """A pause of the rest keeps who was left out and who was not apart."""
    driver.fail(to=[NUMBER, OTHER, THIRD])
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=driver.now)
    driver.until_due()
    driver.store.pauses.add("merchant", 1, until=driver.now + HOUR, by=By("me", "wait"))
    assert driver.claim() == []
    driver.store.suppressions.add(THIRD, "sms", by=By("me", "asked us to"), now=driver.now)
    driver.wait(HOUR)

    assert [lease.delivery.recipients for lease in driver.claim()] == [(OTHER,)]


@pytest.mark.parametrize("first", ["m1", "m2"])
def test_a_recipients_cap_counts_resends_to_several(driver, first):
    """The same phone rings as often whether a message names it alone or beside others, and whichever goes first."""
    text = "version: 1\nlimits: {resends_per_recipient: 1/1d}\ndefaults: {quiet_hours: off}\ncodes: {SMS_EXPIRED: {do: retry, retry: {delays: [1m]}}}\n"
    driver = driver.with_policy(text)
    to, left = {"m1": [NUMBER, OTHER], "m2": [NUMBER]}, []
    for name in sorted(to, key=lambda name: name != first):
        driver.fail(name, to=to[name], claim=name)
        driver.wait(HOUR)
        left.append(len(driver.hand_over()))

    assert left == [1, 0]


def test_a_pause_of_one_of_several_holds_their_delivery(driver):
    """A resend goes to all of them or to nobody."""
    driver.fail(to=[NUMBER, OTHER])
    driver.store.pauses.add(
        "recipient", NUMBER, until=driver.now + DAY, by=By("test", "asked"), channel="sms"
    )
    driver.until_due()

    assert driver.claim() == []
