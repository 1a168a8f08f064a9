"""What has been seen is known again: the events of a delivery, and what arrived and never failed."""

import json

from contract.store_driver import DAY


def _turn(driver, days):
    """Let days pass, with the sweeps of a worker."""
    for _ in range(days):
        driver.wait(DAY)
        driver.store.sweep(policy=driver.policy, count=1000)


def test_what_arrived_is_known_for_the_dedupe_period_and_forgotten_after_two(driver):
    """A late failure of what arrived starts nothing for 14 days at least; then two turns of generations have taken it."""
    _turn(driver, 1)
    driver.deliver()
    _turn(driver, 14)  # one generation is over

    assert driver.deliver().outcome == "duplicate"
    assert driver.fail().outcome == "ended"

    driver.deliver("m2")
    _turn(driver, 30)
    assert driver.deliver("m2").outcome == "delivered"
    assert driver.client.hlen(driver.store.keys.fixed("delivered_before")) == 0


def test_what_arrived_is_known_beside_a_report_to_several(driver):
    """Each event of a batch is looked for by its own hash, and each of several recipients by his."""
    driver.deliver("m2")
    several = driver.failed("m1", to=["+4915112345671", "+4915112345672"])

    assert driver.accept(several, driver.failed("m2")) == ["scheduled", "ended"]


def test_what_arrived_stays_known_when_the_buckets_are_full(driver):
    """A larger set of buckets opens beside the full one, which is still looked at."""
    driver.accept(*(driver.delivered(f"m{n}") for n in range(20)))
    driver.client.hset(driver.store.keys.fixed("meta"), "delivered", 128 * 512)
    driver.accept(*(driver.delivered(f"n{n}") for n in range(20)))
    fields = {len(field) for field in driver.client.hkeys(driver.store.keys.fixed("delivered"))}

    assert fields == {3, 4}
    for name in ("m", "n"):
        assert set(driver.accept(*(driver.failed(f"{name}{n}") for n in range(20)))) == {"ended"}
    assert set(driver.accept(*(driver.failed(f"o{n}") for n in range(20)))) == {"scheduled"}


def test_many_that_arrived_take_few_bytes_each(driver):
    """Eight bytes and a part of a bucket: 3,000 messages that never failed make no record."""
    for start in range(0, 3000, 200):
        driver.accept(*(driver.delivered(f"m{n}") for n in range(start, start + 200)))
    kept = driver.client.hvals(driver.store.keys.fixed("delivered"))

    assert sum(map(len, kept)) == 8 * 3000
    assert len(kept) <= 512
    assert driver.client.hlen(driver.store.keys.fixed("deliveries")) == 0


def test_a_bare_report_after_its_enriched_form_is_a_duplicate(driver):
    """The enriched form names the recipient, the bare one nobody: they are one event all the same."""
    bare = json.loads(driver.failed(event="e1"))
    del bare["claim"]["communication"]["error"], bare["claim"]["communication"]["recipients"]

    assert driver.accept(driver.failed(event="e1"), json.dumps(bare).encode()) == ["scheduled", "duplicate"]
    assert driver.cases() == []


def test_a_record_does_not_grow_with_every_event_of_a_flood(driver):
    """At most 200 events of one delivery are remembered, the newest."""
    raws = [driver.failed(event=f"e{n}") for n in range(250)]
    for raw in raws:
        driver.accept(raw)
    marks = json.loads(driver.client.hvals(driver.store.keys.fixed("deliveries"))[0].split(b"\n")[0])["h"]

    assert len(marks) == 200 * 10
    assert driver.accept(raws[-1], raws[100]) == ["duplicate", "duplicate"]


def test_what_arrived_earlier_in_the_same_batch_is_known(driver):
    """A failure that stands behind the delivery of its message in one batch starts nothing."""
    assert driver.accept(driver.delivered(), driver.failed()) == ["delivered", "ended"]
