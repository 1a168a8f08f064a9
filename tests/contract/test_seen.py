"""What has been seen is known again: the events of a delivery, and what arrived and never failed."""

import json

from contract.book import DAY


def _turn(book, days):
    """Let days pass, with the sweeps of a worker."""
    for _ in range(days):
        book.wait(DAY)
        book.store.sweep(policy=book.policy, count=1000)


def test_what_arrived_is_known_for_the_dedupe_period_and_forgotten_after_two(book):
    """A late failure of what arrived starts nothing for 14 days at least; then two turns of generations have taken it."""
    _turn(book, 1)
    book.deliver()
    _turn(book, 15)  # one generation is over

    assert book.deliver().outcome == "duplicate"
    assert book.fail().outcome == "ended"

    book.deliver("m2")
    _turn(book, 30)
    assert book.deliver("m2").outcome == "delivered"
    assert book.client.hlen(book.store.keys.fixed("delivered_before")) == 0


def test_what_arrived_is_known_beside_a_report_to_several(book):
    """Each event of a batch is looked for by its own hash, and each of several recipients by his."""
    book.deliver("m2")
    several = book.failed("m1", to=["+4915112345671", "+4915112345672"])

    assert book.accept(several, book.failed("m2")) == ["scheduled", "ended"]


def test_what_arrived_stays_known_when_the_buckets_are_full(book):
    """A larger set of buckets opens beside the full one, which is still looked at."""
    book.accept(*(book.delivered(f"m{n}") for n in range(20)))
    book.client.hset(book.store.keys.fixed("meta"), "delivered", 128 * 512)
    book.accept(*(book.delivered(f"n{n}") for n in range(20)))
    fields = {len(field) for field in book.client.hkeys(book.store.keys.fixed("delivered"))}

    assert fields == {3, 4}
    for name in ("m", "n"):
        assert set(book.accept(*(book.failed(f"{name}{n}") for n in range(20)))) == {"ended"}
    assert set(book.accept(*(book.failed(f"o{n}") for n in range(20)))) == {"scheduled"}


def test_many_that_arrived_take_few_bytes_each(book):
    """Six bytes and a part of a bucket: 3,000 messages that never failed make no record."""
    for start in range(0, 3000, 200):
        book.accept(*(book.delivered(f"m{n}") for n in range(start, start + 200)))
    kept = book.client.hvals(book.store.keys.fixed("delivered"))

    assert sum(map(len, kept)) == 6 * 3000
    assert len(kept) <= 512
    assert book.client.hlen(book.store.keys.fixed("deliveries")) == 0


def test_a_bare_report_after_its_enriched_form_is_a_duplicate(book):
    """The enriched form names the recipient, the bare one nobody: they are one event all the same."""
    bare = json.loads(book.failed(event="e1"))
    del bare["claim"]["communication"]["error"], bare["claim"]["communication"]["recipients"]

    assert book.accept(book.failed(event="e1"), json.dumps(bare).encode()) == ["scheduled", "duplicate"]
    assert book.cases() == []


def test_a_record_does_not_grow_with_every_event_of_a_flood(book):
    """At most 200 events of one delivery are remembered, the newest."""
    raws = [book.failed(event=f"e{n}") for n in range(250)]
    for raw in raws:
        book.accept(raw)
    marks = json.loads(book.client.hvals(book.store.keys.fixed("deliveries"))[0].split(b"\n")[0])["h"]

    assert len(marks) == 200 * 9
    assert book.accept(raws[-1], raws[100]) == ["duplicate", "duplicate"]


def test_what_arrived_earlier_in_the_same_batch_is_known(book):
    """A failure that stands behind the delivery of its message in one batch starts nothing."""
    assert book.accept(book.delivered(), book.failed()) == ["delivered", "ended"]
