"""Retries of one message to several recipients."""

import pytest

from softbounce.store.audit import By

from .book import DAY, HOUR, MINUTE, NUMBER

OTHER = "+4915187654321"
THIRD = "+4915112121212"


def test_a_named_culprit_is_the_only_one_resent_to(book):
    """Of several recipients the named culprit alone gets the resend: the others have the message."""
    details = {"invalidValues": {"phone": NUMBER}}
    book.fail(code="PROVIDER_ERROR", details=details, to=[OTHER, NUMBER])
    book.until_due()
    (lease,) = book.claim()

    assert lease.delivery.recipients == (NUMBER,)


def test_a_delivery_to_several_ends_theirs_alone(book):
    """MESSAGE_DELIVERED for several recipients ends what waits for each of them, and for nobody else."""
    for number in (NUMBER, OTHER, THIRD):
        book.fail(to=[number])
    book.deliver(to=[NUMBER, OTHER])
    book.until_due()
    book.wait(2 * HOUR)

    assert [lease.delivery.recipients for lease in book.claim()] == [(THIRD,)]


def test_no_resend_to_several_reaches_one_who_refuses(book):
    """A suppressed recipient gets no retry, also as one of several; the others get theirs."""
    book.fail(to=[NUMBER, OTHER])
    book.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", to=[OTHER])
    book.until_due()
    (lease,) = book.claim()

    assert lease.delivery.recipients == (NUMBER,)
    book.finish(lease)
    book.wait(HOUR)
    assert book.fail(to=[NUMBER]).outcome == "scheduled"


def test_a_resend_to_several_ends_where_all_refuse(book):
    """Where each of several recipients is suppressed the retry ends as suppressed."""
    book.fail(to=[NUMBER, OTHER])
    for number in (NUMBER, OTHER):
        book.store.suppressions.add(number, "sms", by=By("me", "asked us to"), now=book.now)
    book.until_due()

    assert [ended.outcome for ended in book.claimed().ended] == ["suppressed"]


def test_one_of_several_who_has_the_message_does_not_get_it_again(book):
    """MESSAGE_DELIVERED for one of several recipients takes that one out of the resend."""
    book.fail(to=[NUMBER, OTHER])
    book.deliver(to=[NUMBER])
    book.until_due()

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


def test_one_of_several_who_had_the_message_before_does_not_get_it_again(book):
    """MESSAGE_DELIVERED of one that comes before the failure of several takes that one out, too."""
    book.deliver(to=[NUMBER])
    book.fail(to=[NUMBER, OTHER])
    book.until_due()

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


def test_one_of_several_who_is_cancelled_is_left_out(book):
    """A cancelled recipient gets nothing that waited when it was cancelled, also as one of several, and what comes later."""
    book.fail(to=[NUMBER, OTHER])
    book.store.cancels.add("recipient", OTHER, channel="sms", by=By("me", "moved"), now=book.now)
    book.wait(MINUTE)
    book.fail("m2", to=[NUMBER, OTHER])
    book.wait(5 * HOUR)

    going = {lease.delivery.reference: lease.delivery.recipients for lease in book.claim()}
    assert going == {"m1": (NUMBER,), "m2": (NUMBER, OTHER)}


def test_one_of_several_stays_left_out_while_the_others_wait(book):
    """A pause of the rest keeps who was left out and who was not apart."""
    book.fail(to=[NUMBER, OTHER, THIRD])
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=book.now)
    book.until_due()
    book.store.pauses.add("merchant", 1, until=book.now + HOUR, by=By("me", "wait"))
    assert book.claim() == []
    book.store.suppressions.add(THIRD, "sms", by=By("me", "asked us to"), now=book.now)
    book.wait(HOUR)

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


@pytest.mark.parametrize("first", ["m1", "m2"])
def test_a_recipients_cap_counts_resends_to_several(book, first):
    """The same phone rings as often whether a message names it alone or beside others, and whichever goes first."""
    text = "version: 1\nlimits: {resends_per_recipient: 1/1d}\ndefaults: {quiet_hours: off}\ncodes: {SMS_EXPIRED: {do: retry, retry: {delays: [1m]}}}\n"
    book = book.with_policy(text)
    to, left = {"m1": [NUMBER, OTHER], "m2": [NUMBER]}, []
    for name in sorted(to, key=lambda name: name != first):
        book.fail(name, to=to[name], claim=name)
        book.wait(HOUR)
        left.append(len(book.hand_over()))

    assert left == [1, 0]


def test_a_pause_of_one_of_several_holds_their_delivery(book):
    """A resend goes to all of them or to nobody."""
    book.fail(to=[NUMBER, OTHER])
    book.store.pauses.add("recipient", NUMBER, until=book.now + DAY, by=By("test", "asked"), channel="sms")
    book.until_due()

    assert book.claim() == []
