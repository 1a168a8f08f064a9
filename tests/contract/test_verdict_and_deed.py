"""What ``explain`` has against a retry is what ``claim`` has against it: it leaves if and only if nothing is."""

import pytest

from softbounce.explain.barriers import against
from softbounce.explain.delivery import last_report
from softbounce.store.audit import By

from .book import HOUR, MINUTE, NUMBER, SECOND

OTHER = "+4915187654321"


def paused(kind, value, **options):
    """Return a person's word: a pause of an hour."""

    def say(book):
        until = book.now + HOUR
        book.store.control.pause(kind, value, until=until, by=By("eva", "x"), **options)

    return say


def cancelled(kind, value, **options):
    """Return a person's word: a cancel of what has failed by now."""

    def say(book):
        book.store.control.cancel(kind, value, by=By("eva", "x"), now=book.now, **options)

    return say


def mode(of_all, own=None):
    """Return a person's word: the mode of all, and a second later the merchant's own."""

    def say(book):
        book.store.control.set_mode(of_all, by=By("eva", "x"), now=book.now)
        if own:
            book.store.control.set_mode(own, by=By("eva", "x"), now=book.now + SECOND, merchant="1")

    return say


def listed(number=NUMBER, **options):
    """Return a person's word: an entry on the list."""

    def say(book):
        book.store.suppressions.add(number, "sms", by=By("eva", "x"), now=book.now, **options)

    return say


def opened(provider, *, period=HOUR):
    """Return a person's word: a breaker that is open."""

    def say(book):
        until = book.now + period
        book.store.control.open_breaker(provider, until=until, by=By("eva", "x"), now=book.now)

    return say


WORDS = {
    "nothing": (lambda _: None, True),
    "reference": (paused("reference", "m1"), False),
    "another reference": (paused("reference", "m2"), True),
    "claim": (paused("claim", 54321), False),
    "customer": (paused("customer", "C1"), False),
    "another customer": (paused("customer", "C2"), True),
    "merchant": (paused("merchant", 1), False),
    "recipient": (paused("recipient", NUMBER, channel="sms"), False),
    "another recipient": (paused("recipient", OTHER, channel="sms"), True),
    "channel": (paused("channel", "sms"), False),
    "another channel": (paused("channel", "email"), True),
    "code": (paused("code", "PROVIDER_ERROR"), False),
    "off": (mode("off"), False),
    "off, but the merchant on": (mode("off", "on"), False),
    "off, the merchant observed": (mode("off", "observe"), False),
    "observe": (mode("observe"), False),
    "observe, but the merchant on": (mode("observe", "on"), True),
    "the merchant off": (mode("on", "off"), False),
    "listed": (listed(), False),
    "listed by its merchant": (listed(merchant=1), False),
    "listed by another merchant": (listed(merchant=2), True),
    "another listed": (listed(OTHER), True),
    "listed until a moment ago": (listed(expires=MINUTE), True),
    "breaker": (opened("sms:1"), False),
    "another breaker": (opened("sms:2"), True),
    "cancelled": (cancelled("reference", "m1"), False),
    "claim cancelled": (cancelled("claim", 54321), False),
    "another claim cancelled": (cancelled("claim", 1), True),
    "customer cancelled": (cancelled("customer", "C1"), False),
    "merchant cancelled": (cancelled("merchant", 1), False),
    "recipient cancelled": (cancelled("recipient", NUMBER, channel="sms"), False),
}


@pytest.mark.parametrize(("say", "leaves"), WORDS.values(), ids=WORDS)
def test_a_due_retry_leaves_if_and_only_if_nothing_is_against_it(book, say, leaves):
    """Each word of a person that can hold one back, and its neighbour that speaks of others."""
    book.fail(code="PROVIDER_ERROR")
    say(book)
    book.wait(max(0, book.waiting()[0].due - book.now) + MINUTE)
    book.store.control.beat("w1", {}, now=book.now)
    found = book.store.situation(book.story(), at=book.now)
    decision = last_report(found.story, book.policy)
    holds = [one.what for one in against(found, decision, policy=book.policy, zone="Europe/Berlin")]
    is_over = found.end is not None

    assert (not holds and not is_over) == leaves, holds
    assert bool(book.claim()) == leaves
