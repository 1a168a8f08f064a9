"""Two messages under one reference: each is resent, ended and told by itself, and a person hears of it."""

import pytest

from softbounce.core.records import command_id
from softbounce.store.audit import By

from .store_driver import DAY, HOUR, NUMBER

OTHER = "+4915112345679"
RETRIES = "codes: {SMS_EXPIRED: {do: retry, retry: {delays: [1h, 1h], give_up_after: 72h}}}"


def states(driver, reference="m1"):
    """Return claim, state, end and try of each delivery under a reference."""
    stories = driver.store.retries.find(reference)
    return [
        (one.delivery.claim.id, one.delivery.state, one.delivery.outcome, one.delivery.attempt)
        for one in stories
    ]


def kinds(driver):
    """Return the kinds of all cases that are not empty."""
    return sorted(case.kind for case in driver.cases() if case.count)


@pytest.mark.parametrize("names", [{"claim": 2}, {"merchant": 2}, {"claim": 2, "merchant": 2}])
def test_a_report_that_names_another_merchant_or_claim_is_of_another_message(driver, names):
    """Both are resent, under ids of their own, and one case says that the reference was given twice."""
    first = driver.fail(claim=1)
    second = driver.fail(**({"claim": 1} | names))
    assert (first.outcome, second.outcome) == ("scheduled", "scheduled")
    assert kinds(driver) == ["reference_reused"]
    driver.until_due()
    driver.wait(HOUR)
    leases = driver.claim()

    assert len({lease.delivery.id for lease in leases}) == 2
    assert {lease.delivery.rid for lease in leases} == {driver.store.suppressions.rid(NUMBER, "sms")}
    histories = [[line.kind for line in story.history] for story in driver.store.retries.find("m1")]
    assert histories == [["failed"], ["reused", "failed"]]


def test_each_report_finds_its_own_message(driver):
    """A later failure or arrival of one leaves the other as it is; a third message is one more."""
    for claim in (1, 2, 3):
        assert driver.fail(claim=claim).outcome == "scheduled"
    assert driver.fail(claim=2).outcome == "coalesced"
    assert driver.deliver(claim=2).outcome == "delivered"
    assert driver.deliver(claim=4).case == driver.cases()[0].id
    assert states(driver) == [
        (1, "waiting", None, 1),
        (2, "ended", "delivered", 1),
        (3, "waiting", None, 1),
    ]
    assert driver.deliver(claim=1).outcome == "delivered"
    assert [state for _, state, *_ in states(driver)] == ["ended", "ended", "waiting"]


def test_a_resend_id_names_the_message_whatever_else_is_named(driver):
    """Its answer finds the second message although it names neither merchant nor claim."""
    driver.fail(claim=1)
    driver.fail(claim=2)
    driver.wait(3 * HOUR)
    second = next(lease for lease in driver.claim() if lease.delivery.claim.id == 2)
    driver.finish(second)
    answer = driver.fail(claim=None, merchant=None, resendId=command_id(second.delivery.id, 1))

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert [attempt for *_, attempt in states(driver)] == [1, 2]


@pytest.mark.parametrize("named", [True, False])
def test_a_short_arrival_reaches_the_messages_that_it_does_not_contradict(driver, named):
    """One that names neither merchant nor claim ends both; one that names a claim ends that one."""
    driver.fail(claim=1)
    driver.fail(claim=2)
    driver.deliver(to=[], claim=2 if named else None, merchant=None)

    assert [state for _, state, *_ in states(driver)] == ["waiting" if named else "ended", "ended"]
    driver.wait(5 * HOUR)
    assert len(driver.hand_over()) == named


def test_a_cancel_of_the_reference_reaches_all_of_them(driver):
    """Whoever names the reference means each message under it."""
    driver.fail(claim=1)
    driver.fail(claim=2)
    driver.store.cancels.add("reference", "m1", by=By("eva", "paid"), now=driver.now, channel=None)
    driver.wait(5 * HOUR)

    assert driver.hand_over() == []


def test_a_message_that_arrived_does_not_hide_the_failure_of_another(driver):
    """The first never failed and has no record; the second is resent all the same."""
    driver.deliver(claim=1)
    assert driver.fail(claim=1).outcome == "ended"
    other = driver.fail("m2", claim=1)
    driver.deliver("m3", claim=1)
    again = driver.fail("m3", claim=2)

    assert (other.outcome, again.outcome) == ("scheduled", "scheduled")
    assert kinds(driver) == ["reference_reused"]
    assert driver.fail("m3", claim=None, merchant=None).outcome == "coalesced"


def test_an_arrival_without_names_ends_what_any_of_them_began(driver):
    """A report may name neither merchant nor claim, before or after one that does."""
    driver.deliver(claim=None, merchant=None)
    assert driver.fail(claim=1).outcome == "ended"
    driver.deliver("m2", claim=1)
    assert driver.fail("m2", claim=None, merchant=None).outcome == "ended"


def test_a_reference_that_comes_again_weeks_after_its_end_is_of_a_new_message(driver):
    """Within 14 days a failure of what has ended is a late one; after them it is a message of its own, and a case."""
    driver.fail()
    driver.deliver()
    driver.wait(13 * DAY)
    assert driver.fail().outcome == "ended"
    driver.wait(2 * DAY)
    assert driver.fail().outcome == "scheduled"

    assert [state for _, state, *_ in states(driver)] == ["ended", "waiting"]
    assert kinds(driver) == ["reference_reused"]
    driver.wait(3 * HOUR)
    (lease,) = driver.claim()
    driver.finish(lease)
    assert driver.fail().outcome == "scheduled"
    assert [attempt for *_, attempt in states(driver)] == [1, 2]


def test_what_arrived_weeks_ago_without_a_failure_does_not_end_a_new_message(driver):
    """The day of an arrival is kept with it, and so is that of a short one."""
    driver.deliver()
    driver.deliver("m2", to=[], claim=None, merchant=None)
    driver.wait(13 * DAY)
    assert driver.fail(event="late").outcome == "ended"
    driver.wait(2 * DAY)

    assert driver.fail("m2").outcome == "scheduled"


def test_the_first_message_is_remembered_as_long_as_the_next_ones(driver):
    """Reports find the second past the first, so that sweep must not take the first away meanwhile."""
    driver.fail()
    driver.deliver()
    driver.wait(80 * DAY)
    driver.fail()
    driver.wait(11 * DAY)
    driver.store.sweep(policy=driver.policy, count=1000)

    assert [state for _, state, *_ in states(driver)] == ["ended", "waiting"]
    assert driver.fail().outcome == "coalesced"


def test_recipients_of_a_resend_to_several_keep_it_though_another_message_reached_them(driver):
    """An arrival names its claim, whether the message has a record or not."""
    driver.fail(to=[NUMBER, OTHER], claim=1)
    driver.deliver(to=[NUMBER], claim=2)
    driver.fail(to=[OTHER], claim=2)
    driver.deliver(to=[OTHER], claim=2)
    driver.wait(5 * HOUR)
    (lease,) = driver.claim()

    assert lease.delivery.recipients == (NUMBER, OTHER)


def test_a_damaged_payload_stops_no_report_of_a_later_message(driver):
    """Only the time tells that the reference comes again; the damaged record stays as it is."""
    driver.fail()
    driver.deliver()
    key = driver.store.keys.fixed("deliveries")
    ((ident, raw),) = driver.client.hgetall(key).items()
    head, _, recipients = raw.split(b"\n")
    driver.client.hset(key, ident, b"\n".join([head, b"[7]", recipients]))
    driver.wait(15 * DAY)

    assert driver.fail().outcome == "scheduled"


def test_what_was_scheduled_weeks_after_an_arrival_is_handed_over(driver):
    """Hand-over reads the same marks as the decision, with the same limit; also of several recipients."""
    driver.deliver(to=[], claim=None, merchant=None)
    driver.fail("m2")
    driver.deliver("m2")
    driver.wait(20 * DAY)
    driver.fail()
    driver.fail("m2", to=[NUMBER, OTHER])
    driver.wait(5 * HOUR)

    assert {lease.delivery.reference: lease.delivery.recipients for lease in driver.claim()} == {
        "m1": (NUMBER,),
        "m2": (NUMBER, OTHER),
    }


@pytest.mark.parametrize("period", ["20d", "400d"])
def test_another_retention_makes_no_message_of_today_one_of_weeks_ago(driver, period):
    """The record says when it ended, whatever the policy of that day kept."""
    longer = driver.with_policy(f"version: 1\nretention: {{history: {period}, dedupe: 20d}}\n{RETRIES}")
    driver.fail()
    driver.deliver()
    driver.wait(HOUR)

    assert longer.fail(event="late").outcome == "ended"


def test_an_arrival_without_names_is_of_a_message_that_still_waits(driver):
    """Another message of the reference that arrived before makes it no duplicate."""
    driver.fail(claim=1)
    driver.deliver(claim=2)
    assert driver.deliver(claim=None, merchant=None).outcome == "delivered"
    assert states(driver)[0][:3] == (1, "ended", "delivered")
    driver.fail("m2", claim=1)
    driver.deliver("m2", to=[], claim=None, merchant=None)
    driver.fail("m2", to=[OTHER], claim=1)
    assert driver.deliver("m2", to=[], claim=None, merchant=None, event="again").outcome == "duplicate"


@pytest.mark.parametrize("form", ["{}", " {} ", "{{{}}}"])
def test_the_spelling_of_a_claim_makes_no_other_message(driver, form):
    """Capitals and braces of a UUID, and blanks, are those of a system along the way."""
    uuid = "a6590eb9-497a-4a7f-b5df-0c2f6f1f7d10"
    driver.fail(claim=uuid)
    other = form.format(uuid.upper())

    assert driver.fail(claim=other).outcome == "coalesced"
    assert driver.deliver(claim=other).outcome == "delivered"
    assert kinds(driver) == []
    driver.deliver("m2", claim=uuid)
    assert driver.fail("m2", claim=other).outcome == "ended"


@pytest.mark.parametrize("delivered", [True, False])
def test_a_resend_id_names_the_message_also_against_its_names(driver, delivered):
    """An arrival's as well as a failure's."""
    driver.fail(claim=1)
    driver.fail(claim=2)
    driver.wait(3 * HOUR)
    second = next(lease for lease in driver.claim() if lease.delivery.claim.id == 2)
    driver.finish(second)
    report = driver.deliver if delivered else driver.fail
    report(claim=1, resendId=command_id(second.delivery.id, 1))

    assert [end for _, _, end, _ in states(driver)] == [None, "delivered" if delivered else None]
    assert [attempt for *_, attempt in states(driver)] == [1, 1 if delivered else 2]


def test_each_arrival_of_a_reference_is_remembered(driver):
    """A short arrival of one message does not make the other's forgotten."""
    driver.deliver(to=[], claim=1, merchant=None)
    driver.deliver(to=[], claim=2, merchant=None)

    assert [driver.fail(claim=claim).outcome for claim in (1, 2, 3)] == ["ended", "ended", "scheduled"]


def test_a_report_without_names_leaves_the_message_its_own(driver):
    """Its resend still names merchant and claim, and a report of another claim is of another message."""
    driver.fail(claim=1)
    driver.resend()
    driver.fail(code="PROVIDER_ERROR", claim=None, merchant=None, customer=None)
    assert states(driver) == [(1, "waiting", None, 2)]
    assert driver.fail(claim=2).outcome == "scheduled"
    assert [claim for claim, *_ in states(driver)] == [1, 2]


def test_each_of_several_recipients_of_a_second_message_can_have_it(driver):
    """An arrival of one recipient finds the delivery to several of its own message."""
    driver.fail(to=[NUMBER, OTHER], claim=1)
    driver.fail(to=[NUMBER, OTHER], claim=2)
    driver.deliver(to=[NUMBER], claim=2)
    driver.wait(5 * HOUR)

    assert {lease.delivery.claim.id: lease.delivery.recipients for lease in driver.claim()} == {
        1: (NUMBER, OTHER),
        2: (OTHER,),
    }


@pytest.mark.parametrize("code", ["OPT_OUT", "COMPLAINT"])
def test_consent_that_is_withdrawn_weeks_after_an_arrival_opens_no_case(driver, code):
    """It speaks of the recipient, whichever message it names; so does a late arrival."""
    driver.deliver()
    driver.fail("m2", "DEADLINE_EXCEEDED")
    driver.wait(20 * DAY)

    assert driver.fail(code=code).outcome == "suppressed"
    assert driver.deliver("m2").outcome == "delivered"
    assert kinds(driver) == []


def test_a_damaged_mark_stops_no_claim(driver):
    """It says nothing, and the others leave."""
    driver.fail()
    driver.fail("m2", claim=2, merchant=2)
    reference = driver.story().delivery.id[:12]
    for raw in ("x", '{"of": 7, "a": 1}', '{"a": 1, "of": [7, [1], ["", "", "x"]]}'):
        driver.client.hset(driver.store.keys.fixed("cancels"), f"delivered:{reference}:sms", raw)
        driver.wait(5 * HOUR)
        leases = driver.claim()
        assert len(leases) == 2
        driver.finish(*leases, result="later")
    driver.client.hdel(driver.store.keys.fixed("cancels"), f"delivered:{reference}:sms")
