"""A resend without an answer: every delivery that was handed over has an end."""

import json
from pathlib import Path

import pytest

from softbounce.core.records import decode
from softbounce.store.audit import By

from .store_driver import DAY, HOUR, NUMBER

SHIPPED = Path(__file__).parents[2] / "config" / "policy.yaml"
GRACE = 72 * HOUR
OTHER = "+4915112345679"


@pytest.fixture(name="reported")
def where_arrivals_are_reported(driver):
    """A driver whose merchant has reported an arrival on SMS before."""
    driver.deliver("m0", to=["+4915112345600"])
    return driver


def out(driver, reference="m1", **options):
    """Report a failure of a message and hand its retry over."""
    driver.fail(reference, **options)
    driver.resend(reference)


def sweep(driver):
    """Sweep all fields once."""
    driver.store.sweep(policy=driver.policy, count=1000)


def silence(driver, reference="m1"):
    """Let time pass until the grace after a message's deadline is over, and sweep."""
    driver.wait(driver.story(reference).delivery.deadline + GRACE - driver.now)
    sweep(driver)


def test_a_resend_without_an_answer_ends_unanswered_after_its_deadline_and_the_grace(reported):
    """It joins a case of its merchant and channel, and the pipeline hears that it is given up as unanswered."""
    out(reported)
    reported.wait(reported.story().delivery.deadline + GRACE - reported.now - 1000)
    sweep(reported)
    assert reported.story().delivery.state == "out"
    reported.wait(1000)
    sweep(reported)
    (case,) = reported.cases()
    (notice,) = [one.body for one in reported.store.notices.claim(limit=9, lease=1) if one.type == "given_up"]

    assert reported.story().delivery.outcome == "unanswered"
    assert (case.kind, case.count, case.entry["merchant"], case.entry["channel"]) == (
        "unanswered",
        1,
        "1",
        "sms",
    )
    assert (notice["why"], notice["case"], notice["tries"]) == ("unanswered", case.id, 1)
    assert reported.store.counters()["unanswered"] == 1


def test_all_unanswered_resends_of_a_merchant_and_channel_are_one_case(reported):
    """The next one joins the case that is open, whatever its code was."""
    out(reported)
    out(reported, "m2", to=[OTHER], claim=2)
    silence(reported)
    silence(reported, "m2")
    (case,) = reported.cases()

    assert (case.kind, case.count) == ("unanswered", 2)


@pytest.mark.parametrize("answer", ["arrival", "failure"])
def test_a_report_after_the_silence_still_counts(reported, answer):
    """An arrival ends it as delivered; a failure uses up its try, as it would have in time. It leaves the case."""
    out(reported)
    silence(reported)
    (case,) = reported.cases()
    if answer == "arrival":
        assert reported.deliver().outcome == "delivered"
        assert reported.story().delivery.outcome == "delivered"
        assert "recovered" in reported.notices()
    else:
        assert reported.fail().outcome == "given_up"
        assert reported.story().delivery.attempt == 1
    (unanswered,) = [one for one in reported.cases() if one.id == case.id]
    assert unanswered.count == 0


def test_a_report_of_an_earlier_send_does_not_wake_what_ended_unanswered(reported):
    """By a right clock it is dated before the newest claim, so it answers another send."""
    out(reported)
    first = reported.now - HOUR
    silence(reported)
    for n in range(3):
        reported.fail(f"other{n}", to=[f"+491511234570{n}"], claim=f"c{n}")  # its clock is right

    assert reported.fail(at=first, event="old").outcome == "ended"
    assert reported.story().delivery.outcome == "unanswered"


def test_where_no_arrival_was_ever_reported_there_is_no_case_but_a_count_for_doctor(driver):
    """Silence tells nothing there: each resend ends, nobody gets a notice, and doctor names the merchant."""
    out(driver)
    driver.notices()
    silence(driver)

    assert driver.story().delivery.outcome == "unanswered"
    assert driver.cases() == []
    assert driver.notices() == []
    assert driver.store.unanswered() == [("1", "sms", 1)]
    driver.deliver("m9")
    assert driver.store.unanswered() == []


def test_an_observed_try_never_left_and_is_not_unanswered(reported):
    """Mode observe hands nothing over, so that nobody can answer."""
    reported.store.modes.set("observe", by=By("me", "cut-over"), now=reported.now)
    reported.fail()
    reported.until_due()
    reported.claim()
    silence(reported)

    assert reported.cases() == []
    assert reported.story().delivery.state == "out"


def test_nothing_is_forgotten_before_it_has_ended(reported):
    """A deadline may lie past the time that history is kept: then it ends as unanswered first."""
    short = reported.with_policy(SHIPPED.read_text(encoding="utf-8").replace("history: 90d", "history: 20d"))
    out(short, notAfter="2027-06-30T00:00:00Z")
    short.client.hset(short.store.keys.fixed("feedback"), "1\nsms", '{"a":1}')
    short.wait(21 * DAY)
    sweep(short)

    assert short.story().delivery.outcome == "unanswered"
    short.wait(21 * DAY)
    sweep(short)
    assert short.client.hlen(short.store.keys.fixed("deliveries")) == 0


def test_a_short_arrival_ends_what_was_handed_over(driver):
    """delivered(reference=, channel=) has outcome, notice, history and breaker's answer; the count of soft bounces stays."""
    out(driver)
    out(driver, to=[OTHER])
    assert driver.deliver(to=[]).outcome == "delivered"

    stories = driver.store.retries.find("m1")
    assert [story.delivery.outcome for story in stories] == ["delivered", "delivered"]
    assert [story.history[-1].kind for story in stories] == ["delivered", "delivered"]
    assert driver.notices().count("recovered") == 2
    rid = driver.store.suppressions.rid(NUMBER, "sms")
    assert len(driver.store.retries.standing(rid)["soft_bounces"]) == 1
    assert driver.deliver(to=[], event="once more").outcome == "duplicate"


def test_a_short_arrival_leaves_other_channels_alone(driver):
    """It names its channel."""
    out(driver)
    driver.fail(code="BOUNCE_TRANSIENT_GENERAL", channel="EMAIL", to=["a@b.example"])
    driver.deliver(to=[])

    assert {story.delivery.channel: story.delivery.state for story in driver.store.retries.find("m1")} == {
        "sms": "ended",
        "email": "waiting",
    }


def test_a_resend_to_several_ends_when_the_last_of_them_has_the_message(reported):
    """Each arrival names one of them."""
    reported.fail(to=[NUMBER, OTHER])
    reported.resend()
    assert reported.deliver(to=[NUMBER]).outcome == "delivered"
    assert [
        s.delivery.state for s in reported.store.retries.find("m1") if s.delivery.rid.startswith("*")
    ] == ["out"]
    reported.deliver(to=[OTHER])

    assert [
        s.delivery.outcome for s in reported.store.retries.find("m1") if s.delivery.rid.startswith("*")
    ] == ["delivered"]


def test_a_short_arrival_ends_also_what_the_history_names_no_more(reported):
    """A history keeps some 60 lines: the mark of the arrival is read before a resend counts as unanswered."""
    for n in range(100):
        reported.fail(to=[f"+49151{30000000 + n}"], event=f"an event with a long name {n:060}", claim=None)
    reported.wait(5 * HOUR)
    while leases := reported.claim():
        reported.finish(*leases)
        reported.wait(20_000)
    reported.deliver(to=[], claim=None)
    reported.wait(10 * DAY)
    sweep(reported)
    raws = reported.client.hgetall(reported.store.keys.fixed("deliveries")).items()

    assert {decode(name.decode(), raw).outcome for name, raw in raws} == {"delivered"}
    assert reported.cases() == []


def test_a_short_arrival_of_no_merchant_shows_that_arrivals_are_reported(driver):
    """It is of all merchants on its channel, so doctor has no fault to tell."""
    out(driver)
    silence(driver)
    assert driver.store.unanswered() == [("1", "sms", 1)]
    driver.deliver("m9", to=[], merchant=None)

    assert driver.store.unanswered() == []


def test_a_record_without_an_end_stops_no_sweep(reported):
    """It was damaged while it was out; what comes after it is swept."""
    out(reported)
    key = reported.store.keys.fixed("deliveries")
    ((ident, raw),) = reported.client.hgetall(key).items()
    head, rest = raw.split(b"\n", 1)
    kept = {name: value for name, value in json.loads(head).items() if name != "z"}
    reported.client.hset(key, ident, json.dumps(kept).encode() + b"\n" + rest)
    silence(reported)

    assert reported.story().delivery.outcome == "unanswered"
