"""What ``explain`` has against a retry is what ``claim`` has against it: it leaves if and only if nothing is."""

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core.policy.file import load
from softbounce.explain.barriers import against
from softbounce.explain.delivery import last_report
from softbounce.store import Store
from softbounce.store.audit import By

from .store_driver import HOUR, MINUTE, NUMBER, SECOND, START, StoreDriver

OTHER = "+4915187654321"


def paused(kind, value, **options):
    """Return a person's word: a pause of an hour."""

    def say(driver):
        until = driver.now + HOUR
        driver.store.pauses.add(kind, value, until=until, by=By("eva", "x"), **options)

    return say


def cancelled(kind, value, **options):
    """Return a person's word: a cancel of what has failed by now."""

    def say(driver):
        driver.store.cancels.add(kind, value, by=By("eva", "x"), now=driver.now, **options)

    return say


def mode(of_all, own=None):
    """Return a person's word: the mode of all, and a second later the merchant's own."""

    def say(driver):
        driver.store.modes.set(of_all, by=By("eva", "x"), now=driver.now)
        if own:
            driver.store.modes.set(own, by=By("eva", "x"), now=driver.now + SECOND, merchant="1")

    return say


def listed(number=NUMBER, **options):
    """Return a person's word: an entry on the list."""

    def say(driver):
        driver.store.suppressions.add(number, "sms", by=By("eva", "x"), now=driver.now, **options)

    return say


def opened(provider, *, period=HOUR):
    """Return a person's word: a breaker that is open."""

    def say(driver):
        until = driver.now + period
        driver.store.breakers.open(provider, until=until, by=By("eva", "x"), now=driver.now)

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
def test_a_due_retry_leaves_if_and_only_if_nothing_is_against_it(driver, say, leaves):
    """Each word of a person that can hold one back, and its neighbour that speaks of others."""
    driver.fail(code="PROVIDER_ERROR")
    say(driver)
    driver.wait(max(0, driver.waiting()[0].due - driver.now) + MINUTE)
    driver.store.workers.beat("w1", {}, now=driver.now)
    (found,) = driver.store.situations.of("m1", policy=driver.policy)
    decision = last_report(found.story, driver.policy)
    holds = [one.what for one in against(found, decision, policy=driver.policy, zone="Europe/Berlin")]

    assert (not holds and found.end is None) == leaves, holds
    assert (found.gates == ()) == leaves
    assert bool(driver.claim()) == leaves


BREAKS = (
    "version: 1\ndefaults: {quiet_hours: off}\n"
    "limits: {resends_per_recipient: 2/6h, resends_per_claim: 3/6h}\n"
    "codes: {PROVIDER_ERROR: {do: retry, retry: {delays: [5m, 5m, 5m, 5m], give_up_after: 3d}}}\n"
    "providers: {'*': {rate: 1/10m, breaker: {open_when: {failures: 50%, of_last: 10, least: 2, within: 1h},"
    " open_for: {base: 10m, factor: 2, cap: 1h}, probe: 1, ramp_up: 30m}}}\n"
)
PERIODS = (MINUTE, 10 * MINUTE, HOUR, 5 * HOUR)
SAID = (
    *(
        ("pause", kind, value)
        for kind, value in (("claim", 54321), ("code", "PROVIDER_ERROR"), ("reference", "m1"))
    ),
    ("breaker", "sms:1", None),
    ("listed", NUMBER, None),
    ("listed", OTHER, None),
    ("cancel", "customer", "C1"),
    ("mode", "off", None),
    ("mode", "observe", None),
    ("mode", "on", None),
    ("urgent", "m1", None),
)


def said(driver, what, kind, value, period):
    """Say one of these words; most of them hold for a period."""
    store, by, now = driver.store, By("eva", "x"), driver.now
    match what:
        case "pause":
            store.pauses.add(kind, value, until=now + period, by=by)
        case "breaker":
            store.breakers.open(kind, until=now + period, by=by, now=now)
        case "listed":
            driver.store.suppressions.add(kind, "sms", expires=period, by=by, now=now)
        case "cancel":
            store.cancels.add(kind, value, by=by, now=now)
        case "mode":
            store.modes.set(kind, by=by, now=now)
        case "urgent":
            driver.store.retries.run_now([driver.story().delivery.id], by=by)


@given(
    people=st.sampled_from([[NUMBER], [NUMBER, OTHER], []]),
    left=st.integers(0, 2),
    words=st.lists(st.tuples(st.sampled_from(SAID), st.sampled_from(PERIODS)), max_size=4),
)
def test_claim_does_what_the_situation_says_at_every_gate_on_the_way(people, left, words):
    """Time travels from gate to gate until it leaves or ends, and at each of them the first gate decides."""
    driver = StoreDriver(Store(fakeredis.FakeRedis()), load(BREAKS, file="policy.yaml"), client=None)
    driver.client = driver.store.situations._client  # noqa: SLF001 - StoreDriver moves the clock through it
    driver.store.set_now(START)
    for number in range(left):  # so that caps, tokens and a ramp have something to count
        driver.fail(f"old{number}", code="PROVIDER_ERROR")
        while not driver.hand_over():
            driver.wait(max(SECOND, driver.store.next_due() - driver.now))
    driver.fail("m1", code="PROVIDER_ERROR", to=people)
    for (what, kind, value), period in words:
        said(driver, what, kind, value, period)
    for _ in range(20):
        driver.wait(
            max(SECOND, (driver.store.next_due() or 0) - driver.now)
        )  # off leaves it in line, not in the schedule
        (found,) = driver.store.situations.of("m1", policy=driver.policy)
        first = found.gates[0] if found.gates else None
        claimed = driver.claimed()
        (after,) = driver.store.situations.of("m1", policy=driver.policy)
        delivery = after.story.delivery
        if first is None:
            assert [lease.delivery.reference for lease in claimed.leases] == ["m1"]
            return
        assert not claimed.leases
        if first.why == "off":
            assert (delivery.state, delivery.due) == ("waiting", found.story.delivery.due)
            driver.store.modes.set("on", by=By("eva", "x"), now=driver.now)
            continue
        if first.becomes == "waiting":
            assert delivery.waits_for == {"capped": "rate"}.get(first.why, first.why)
            ends = [gate.until or driver.now for gate in found.gates if gate.why == first.why]
            assert (driver.store.next_due() or 0) >= max(ends)
            continue
        is_noted = first.becomes == "observed"
        assert (delivery.state, delivery.outcome) == (("out", None) if is_noted else ("ended", first.becomes))
        return
    pytest.fail("it neither left nor ended after 20 gates")
