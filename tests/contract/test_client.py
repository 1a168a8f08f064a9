"""The client against a store: reports arrive unchanged, verdicts are true, a cancel holds."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from redis.exceptions import ResponseError

from softbounce import InvalidEvent, Softbounce, WrongKey
from softbounce.store import Store
from softbounce.testing import failed

from .store_driver import DAY, HOUR, NUMBER, START

OTHER = "+4915112345679"


@pytest.fixture
def sb(driver):
    """A producer's client of the driver's store."""
    return Softbounce(driver.store)


def reported(driver):
    """Return the bytes of all that producers have reported."""
    return [fields[b"event"] for _, fields in driver.client.xrange("softbounce:events")]


def decided(driver):
    """Let a worker decide on all that producers have reported; returns the outcomes."""
    driver.store.events.make_group()
    entries, _ = driver.store.events.read("w1", count=1000, block_ms=0)
    driver.store.events.ack(entries)
    return driver.accept(*[entry.raw for entry in entries])


def test_an_event_is_stored_as_it_was_given(driver, sb):
    """Fields that nobody knows stay; bytes stay bytes; the receipt names event and entry."""
    event = failed("m1") | {"yours": {"ü": [1, 2.5, None, True]}}
    spaced = json.dumps(event, indent=2).encode()
    receipts = [sb.report(event), sb.report(spaced), sb.report(spaced.decode())]

    assert json.loads(reported(driver)[0]) == event
    assert reported(driver)[1:] == [spaced, spaced]
    assert {receipt.event_id for receipt in receipts} == {event["eventId"]}
    assert [receipt.entry_id.encode() for receipt in receipts] == [
        entry for entry, _ in driver.client.xrange("softbounce:events")
    ]


def test_many_events_keep_their_order(driver, sb):
    """Any iterable, of any length, over the bounds of a block."""
    receipts = list(sb.report_many(failed(f"m{n}") for n in range(1001)))
    references = [json.loads(raw)["claim"]["communication"]["reference"] for raw in reported(driver)]

    assert references == [f"m{n}" for n in range(1001)]
    assert [receipt.entry_id.encode() for receipt in receipts] == [
        entry for entry, _ in driver.client.xrange("softbounce:events")
    ]


def test_many_events_are_reported_as_their_receipts_are_asked_for(driver, sb):
    """An endless source is no trouble: a block at a time."""
    endless = (failed(f"m{n}") for n in iter(int, 1))
    list(islice(sb.report_many(endless), 600))

    assert len(reported(driver)) == 1000


def test_events_before_an_invalid_one_are_reported_and_none_after_it(driver, sb):
    """The receipts that came say which event it is."""
    receipts = sb.report_many([failed("m1"), failed("m2"), {"type": "MESSAGE_DELIVERED"}, failed("m4")])
    before = list(islice(receipts, 2))
    with pytest.raises(InvalidEvent) as found:
        next(receipts)

    assert found.value.path == "claim"
    assert (len(before), len(reported(driver))) == (2, 2)


def test_a_report_repeated_is_one_report(driver, sb):
    """A producer that does not know whether it had reported may report again."""
    event = failed("m1")
    sb.report(event)
    sb.report(event)

    assert decided(driver) == ["scheduled", "duplicate"]


def test_a_message_that_arrived_is_not_sent_again(driver, sb):
    """By reference and channel alone."""
    driver.fail("m1")
    sb.delivered(reference="m1", channel="SMS")

    assert decided(driver) == ["delivered"]
    driver.wait(DAY)
    assert driver.hand_over() == []


def test_a_recipient_who_agrees_again_may_be_sent_to(driver, sb):
    """The producer's word lifts the opt-out, at the merchant that it names; the same id again is harmless."""
    driver.fail(code="OPT_OUT", merchant=7)
    driver.wait(HOUR)
    for _ in range(2):
        sb.opt_in(NUMBER, channel="SMS", merchant=7, event_id="start-1")

    assert decided(driver) == ["opted_in", "duplicate"]
    assert sb.may_send(NUMBER, channel="sms", merchant=7)


def test_an_opt_in_has_the_date_of_the_call_or_the_one_that_is_given(driver, sb):
    """Reported late with its own date it does not outdo a later opt-out."""
    driver.fail(code="OPT_OUT", merchant=7)
    earlier = datetime.fromtimestamp(driver.now / 1000, UTC) - timedelta(days=1)
    sb.opt_in(NUMBER, channel="sms", merchant=7, at=earlier)
    sb.opt_in(NUMBER, channel="sms", merchant=7)

    assert decided(driver) == ["superseded", "opted_in"]


def test_a_delivery_on_one_channel_leaves_the_other_alone(driver, sb):
    """The same reference may travel on two channels."""
    driver.fail("m1")
    driver.fail("m1", "BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", to=["jane@example.com"])
    sb.delivered(reference="m1", channel="email")
    decided(driver)
    driver.wait(DAY)

    assert [lease.delivery.channel for lease in driver.claim()] == ["sms"]


def test_a_whole_delivery_event_is_reported_unchanged(driver, sb):
    """It names the recipient, whose soft bounces it clears."""
    event = json.loads(driver.delivered("m1"))
    sb.delivered(event)

    assert [json.loads(raw) for raw in reported(driver)] == [event]


@pytest.mark.parametrize(
    "what",
    [
        {"claim": 54321},
        {"claim": "54321"},
        {"reference": "m1"},
        {"customer": "C1"},
        {"merchant": 1},
        {"recipient": NUMBER, "channel": "SMS"},
        {"recipient": {"phoneNumber": "0049 151 12345678"}, "channel": "sms"},
    ],
    ids=str,
)
def test_what_was_cancelled_is_not_sent(driver, sb, what):
    """Whatever names it; the neighbour still goes."""
    driver.fail("m1")
    driver.fail("m2", claim=7, customer="C2", merchant=2, to=[OTHER])
    sb.cancel(**what, reason="paid")
    driver.wait(4 * HOUR)

    assert driver.hand_over() == [("m2", 1)]
    audit = next(driver.store.audit.entries())
    assert (audit["action"], audit["reason"], audit["actor"]) == ("cancel", "paid", "pipeline")


def test_a_failure_after_the_payment_starts_nothing(driver, sb):
    """A cancelled claim covers reports that come later."""
    sb.cancel(claim=54321, reason="paid")

    assert driver.fail("m1").outcome == "cancelled"


def test_a_suppressed_recipient_is_refused_with_its_reason(driver, sb):
    """However the number is spelled, and however the channel."""
    driver.fail("m1", "INVALID_MOBILE_NUMBER")
    verdict = sb.may_send({"phone": "0049 151 12345678"}, channel="SMS")

    assert not verdict
    assert (verdict.reason, verdict.because) == ("INVALID_MOBILE_NUMBER", "codes.INVALID_MOBILE_NUMBER")
    assert verdict.until == START + 90 * DAY
    assert sb.unreachable == 0


def test_an_opt_out_binds_its_merchant(driver, sb):
    """Scope ``merchant``: the others may still send; who names no merchant may be any of them, and is refused."""
    driver.fail("m1", "OPT_OUT", merchant=1)
    answers = [bool(sb.may_send(NUMBER, channel="sms", merchant=merchant)) for merchant in (1, 2, None)]

    assert answers == [False, True, False]


def test_a_campaign_is_split_in_order(driver, sb):
    """Any length; what is no address is blocked."""
    driver.fail("m1", "INVALID_MOBILE_NUMBER", to=[OTHER])
    crowd = [f"+49151123{n:05}" for n in range(6000)] + ["nobody", OTHER, NUMBER]
    allowed, blocked = sb.split(iter(crowd), channel="sms")

    assert allowed == [*crowd[:6000], NUMBER]
    assert blocked == ["nobody", OTHER]
    assert [bool(verdict) for verdict in sb.may_send_many(crowd[-3:], channel="sms")] == [False, False, True]


def test_an_error_of_the_server_leaves_no_answer_behind(driver, sb):
    """What was asked beside it is not read by the next call on that connection."""
    assert sb.may_send(NUMBER, channel="sms")
    driver.client.set(driver.store.keys.fixed("suppressions"), "no hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        sb.may_send(NUMBER, channel="sms")
    driver.client.delete(driver.store.keys.fixed("suppressions"))

    assert [bool(verdict) for verdict in sb.may_send_many([NUMBER, OTHER], channel="sms")] == [True, True]


def test_another_hash_key_is_no_silent_allow(driver, client):
    """With the wrong key every lookup would miss, so nothing is answered."""
    driver.fail("m1", "INVALID_MOBILE_NUMBER")
    stranger = Softbounce(Store(client, pii_key=b"another key of 32 bytes, at least"))

    with pytest.raises(WrongKey):
        stranger.may_send(NUMBER, channel="sms")
