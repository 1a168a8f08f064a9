"""Rules that a wider model of the ledger asked for."""

import pytest

from softbounce.core.filters import parse_filter
from softbounce.errors import WrongKey
from softbounce.store import Store
from softbounce.store.audit import By

from .book import DAY, HOUR, LEASE, NUMBER, SECOND

OTHER = "+4915112345679"
ANY = parse_filter("", keys=())


def crash(book):
    """Claim what is due, and let the lease run out."""
    leases = book.claim()
    book.wait(LEASE + SECOND)
    return leases


def test_a_paused_customer_gets_nothing(book):
    """A pause of a customer holds what waits for it."""
    book.fail(customer="C7")
    book.store.pauses.add("customer", "C7", until=book.now + DAY, by=By("test", "asked"))
    book.until_due()

    assert book.claim() == []


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


def test_a_delivery_clears_the_evidence_against_an_address(book):
    """One "no such number" before it and one after it are no two reports of a dead number."""
    book.fail("m1", "SMS_NOT_DELIVERED")
    book.deliver("m1")
    book.wait(6 * DAY)
    book.fail("m2", "SMS_NOT_DELIVERED")

    assert not book.is_suppressed()


def test_what_is_only_observed_uses_up_the_rate_and_no_more(book):
    """A merchant on trial takes no hand-overs from the others."""
    text = (
        "version: 1\nlimits: {handover_rate: 2/s}\ncodes: {SMS_EXPIRED: {do: retry, retry: {delays: [1m]}}}\n"
    )
    book = book.with_policy(text)
    book.store.modes.set("observe", merchant="1", by=By("test", "trial"), now=book.now)
    for number in range(8):
        book.fail(f"m{number}", to=[f"+49151123456{60 + number}"], claim=number)
    book.wait(HOUR)

    assert len(book.claimed().ended) == 2


def test_a_worker_gives_a_lost_store_its_hash_key_back(book, client):
    """What was exported under the key, and what the worker writes, stays findable."""
    key = book.store.key
    client.delete(book.store.keys.fixed("meta"))
    book.store.found_again()

    assert Store(client).key == key


def test_a_worker_refuses_a_lost_store_that_has_another_key_by_now(book, client):
    """Its blocks would be written where nobody looks."""
    assert book.store.key
    client.delete(book.store.keys.fixed("meta"))
    assert Store(client).key != book.store.key

    with pytest.raises(WrongKey, match="Start this worker or program again"):
        book.store.found_again()


def test_hashes_of_another_key_are_refused_and_not_counted_as_imported(book):
    """They would protect nobody."""
    book.store.suppressions.add(NUMBER, "sms", by=By("test", "asked"), now=book.now)
    (entry,) = book.store.suppressions.select(ANY, now=book.now)
    good = entry.row(reveal=False, key=book.store.suppressions.fingerprint)

    def load_row(row):
        return list(book.store.suppressions.load([row], by=By("test", "import"), now=book.now))

    assert load_row(good) == [None]
    (refused,) = load_row(good | {"key": "0" * 16})
    assert "another key" in str(refused)


def test_a_release_takes_back_its_own_strike_and_no_crash(book):
    """Three crashes hold a retry, also where workers that stop in order gave it back in between."""
    book.fail()
    book.until_due()
    for _ in range(3):
        assert crash(book)
        if leases := book.claim():
            book.finish(*leases, result="later")
    book.claim()

    assert book.story().delivery.state == "held"


def test_a_pause_of_one_of_several_holds_their_delivery(book):
    """A resend goes to all of them or to nobody."""
    book.fail(to=[NUMBER, OTHER])
    book.store.pauses.add("recipient", NUMBER, until=book.now + DAY, by=By("test", "asked"), channel="sms")
    book.until_due()

    assert book.claim() == []
