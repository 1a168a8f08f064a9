"""When a retry leaves, and what stops it."""

import json
import random
import threading
from pathlib import Path

import pytest

from softbounce.core.timestamps import iso
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.worker.handover import Pump
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.stream import ToStream

from .store_driver import DAY, HOUR, LEASE, MINUTE, NUMBER, SECOND, START, StoreDriver

SHIPPED = Path(__file__).parents[2] / "config" / "policy.yaml"


def test_nothing_leaves_before_its_time(driver):
    """A retry is claimed when it is due, not before, and only once."""
    driver.fail()

    assert driver.hand_over() == []
    assert driver.resend() == [("m1", 1)]
    assert driver.hand_over() == []


def test_a_lease_that_runs_out_comes_back_under_the_same_id(driver):
    """A worker that dies costs a lease and a strike; the try and its id stay."""
    driver.fail()
    driver.until_due()
    (first,) = driver.claim()
    driver.wait(LEASE - SECOND)
    assert driver.claim() == []
    driver.wait(2 * SECOND)

    (second,) = driver.claim()

    assert (second.delivery.attempt, second.token) == (first.delivery.attempt, first.token + 1)


def test_a_stale_token_changes_nothing(driver):
    """A zombie's late finish is stale, whatever it says."""
    driver.fail()
    driver.until_due()
    (zombie,) = driver.claim()
    driver.wait(LEASE + SECOND)
    (living,) = driver.claim()

    assert driver.finish(zombie) == ["stale"]
    assert driver.finish(zombie, result="gone") == ["stale"]
    assert driver.finish(living) == ["done"]


def test_finish_answers_the_same_when_its_reply_was_lost(driver):
    """Repeating a finish is harmless and gives the same answer."""
    driver.fail()
    driver.until_due()
    (lease,) = driver.claim()

    assert driver.finish(lease) == ["done"]
    assert driver.finish(lease) == ["done"]
    assert [entry.kind for entry in driver.story().history] == ["failed", "resent"]


def test_each_of_several_hand_overs_has_its_own_answer(driver):
    """In the order in which they were asked, whatever they have in common."""
    for name in ("m1", "m2"):
        driver.fail(name, claim=name)
    driver.wait(5 * HOUR)
    leases = {lease.delivery.reference: lease for lease in driver.claim()}
    driver.fail("m1", claim="m1")  # its failure is quicker than its finish

    assert driver.finish(leases["m1"], leases["m2"]) == ["stale", "done"]


def test_later_costs_no_try_and_no_strike(driver):
    """A sink that refuses gets the same try under the same id after the delay."""
    driver.fail()
    driver.until_due()
    for _ in range(5):
        (lease,) = driver.claim()
        driver.finish(lease, result="later", delay=MINUTE)
        assert driver.claim() == []
        driver.wait(MINUTE)

    (lease,) = driver.claim()

    assert lease.delivery.attempt == 1
    assert lease.delivery.head["k"] == 1


def test_a_released_lease_is_due_at_once(driver):
    """What a stopping worker did not begin goes back without a strike."""
    driver.fail()
    driver.until_due()
    leases = driver.claim()

    assert driver.store.ledger.release(leases, policy=driver.policy) == ["done"]
    assert driver.hand_over() == [("m1", 1)]


def test_gone_cancels(driver):
    """A receiver that says the message is gone ends the delivery."""
    driver.fail()
    driver.until_due()
    driver.finish(*driver.claim(), result="gone")

    assert driver.story().delivery.outcome == "cancelled"
    assert driver.fail().outcome == "ended"


def test_three_strikes_hold_the_delivery(driver):
    """What kills its worker three times is held as a crash loop, not tried for ever."""
    driver.fail()
    driver.until_due()
    for _ in range(3):
        assert len(driver.claim()) == 1
        driver.wait(LEASE + SECOND)

    assert driver.claim() == []
    assert [case.kind for case in driver.cases()] == ["crash_loop"]
    assert driver.story().delivery.state == "held"


def test_strikes_that_are_forgotten_stay_so_while_the_retry_waits(driver):
    """Put aside 72 h after the first of them, by a pause or a breaker, a retry begins anew after it."""
    driver.fail(code="BOUNCE_TRANSIENT_MBX_FULL", channel="EMAIL", to=["j.doe@example.com"])
    driver.until_due()
    for hours in (10, 63):
        assert len(driver.claim()) == 1
        driver.wait(hours * HOUR)
    driver.store.pauses.add("channel", "email", until=driver.now + HOUR, by=By("me", "carrier"))
    assert driver.claim() == []
    driver.wait(HOUR)

    for _ in range(3):
        assert len(driver.claim()) == 1
        driver.wait(LEASE + SECOND)
    assert driver.claim() == []
    assert driver.story().delivery.state == "held"


def test_what_has_a_strike_is_not_claimed_with_what_has_none(driver):
    """A poisonous item cannot convict its neighbours."""
    for n in range(3):
        driver.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n + 1)
    driver.until_due("m2")
    driver.wait(HOUR)
    (struck, *_) = driver.claim(limit=1)
    driver.wait(LEASE + SECOND)

    batches = [[lease.delivery.reference for lease in driver.claim()] for _ in range(3)]

    alone = [batch for batch in batches if struck.delivery.reference in batch]
    assert alone == [[struck.delivery.reference]]
    assert sorted(reference for batch in batches for reference in batch) == ["m0", "m1", "m2"]


def test_what_a_dead_worker_had_leaves_again_in_groups_of_few(driver):
    """One strike says little: one by one, the batch of a killed worker took up to 13 s."""
    _many_due(driver, 50)
    driver.claim()
    driver.wait(LEASE + SECOND)

    assert [len(driver.claim()) for _ in range(4)] == [20, 20, 10, 0]


def test_what_kills_its_worker_convicts_none_of_those_claimed_with_it(driver):
    """After two strikes it is claimed alone, so that the third is nobody else's."""
    poison = _many_due(driver, 50)[17]
    sizes = []
    while leases := driver.claim():
        sizes.append(len(leases))
        if poison in [lease.delivery.reference for lease in leases]:
            driver.wait(LEASE + SECOND)
        else:
            driver.finish(*leases)

    assert [case.kind for case in driver.cases()] == ["crash_loop"]
    assert driver.story(poison).delivery.state == "held"
    assert sizes[:3] == [50, 20, 20]
    assert driver.store.counters()["handed_over"] == 49


def _many_due(driver, count):
    names = [f"m{n}" for n in range(count)]
    for n, name in enumerate(names):
        driver.fail(name, to=[f"+49151123450{n:02}"], claim=n + 1)
    driver.until_due(names[-1])
    driver.wait(HOUR)
    return names


def test_a_cancelled_message_does_not_leave(driver):
    """Cancel is obeyed by the next claim, and covers a failure that arrives later."""
    driver.fail()
    driver.store.cancels.add("claim", 54321, by=By("me", "paid"), now=driver.now)
    driver.until_due()

    assert driver.hand_over() == []
    assert driver.story().delivery.outcome == "cancelled"
    assert driver.fail("m2").outcome == "cancelled"


def test_cancelling_a_customer_covers_what_waits_and_not_what_comes(driver):
    """Customer, merchant and recipient name people who go on getting messages."""
    driver.fail("m1")
    driver.store.cancels.add("customer", "C1", by=By("me", "settled"), now=driver.now)
    driver.wait(MINUTE)
    driver.fail("m2", to=["+4915199999999"], claim=2)
    driver.wait(5 * HOUR)

    assert driver.hand_over() == [("m2", 1)]


def test_a_suppressed_recipient_gets_no_retry(driver):
    """A suppression by a person stops what waits already."""
    driver.fail()
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=driver.now)
    driver.until_due()

    claimed = driver.claimed()

    assert claimed.leases == ()
    assert [ended.outcome for ended in claimed.ended] == ["suppressed"]


def test_a_suppression_for_one_merchant_stops_that_merchant_only(driver):
    """scope: merchant. A complaint about one sender says nothing about another."""
    driver.fail("m1", merchant=1, claim=1)
    driver.fail("m2", merchant=2, claim=2)
    driver.fail("m0", code="OPT_OUT", merchant=1)
    driver.wait(5 * HOUR)

    assert driver.hand_over() == [("m2", 1)]
    assert driver.is_suppressed(merchant=1)
    assert not driver.is_suppressed(merchant=2)


def test_off_keeps_everything_and_loses_nothing(driver):
    """Mode off: intake goes on, nothing leaves, and afterwards everything does."""
    driver.store.modes.set("off", by=By("me", "wrong template"), now=driver.now)
    assert driver.fail().outcome == "scheduled"
    driver.until_due()
    assert driver.claimed().mode == "off"
    driver.store.modes.set("on", by=By("me", "mended"), now=driver.now)

    assert driver.hand_over() == [("m1", 1)]


def test_off_for_one_merchant_lets_the_others_go(driver):
    """A merchant's switch stops that merchant alone."""
    driver.fail("m1", merchant=1, claim=1)
    driver.fail("m2", merchant=2, claim=2, to=["+4915199999999"])
    driver.store.modes.set("off", by=By("me", "complaint"), now=driver.now, merchant="1")
    driver.wait(3 * HOUR)

    assert driver.hand_over() == [("m2", 1)]


def test_while_all_are_observed_one_merchant_can_be_switched_on(driver):
    """Its retries leave, those of others are recorded; a mode of all takes it back, so that it means all."""
    modes = driver.store.modes
    modes.set("observe", by=By("me", "cut-over"), now=driver.now)
    driver.wait(1)
    modes.set("on", merchant="1", by=By("me", "first"), now=driver.now)
    driver.fail("m1", merchant=1)
    driver.fail("m2", merchant=2, to=["+4915112345679"])
    driver.until_due("m1")
    driver.until_due("m2")

    assert [lease.delivery.reference for lease in driver.claim()] == ["m1"]
    assert driver.story("m2").history[-1].kind == "observed"

    modes.set("observe", by=By("me", "something is odd"), now=driver.now)
    assert [(mode.merchant, mode.mode) for mode in modes.all()] == [("*", "observe")]
    driver.fail("m3", merchant=1)
    driver.until_due("m3")
    assert driver.claim() == []
    modes.set("on", merchant="1", by=By("me", "again"), now=driver.now)
    modes.set("on", by=By("me", "all"), now=driver.now)
    assert [(mode.merchant, mode.mode) for mode in modes.all()] == [("*", "on")]


def test_observe_records_what_would_have_left(driver):
    """Mode observe: nothing is handed over, and the history says what would have been."""
    driver.store.modes.set("observe", by=By("me", "cut-over"), now=driver.now)
    driver.fail()
    driver.until_due()

    assert driver.claim() == []
    assert [entry.kind for entry in driver.story().history] == ["failed", "observed"]


def test_after_a_long_gap_hand_overs_wait_for_a_person(driver):
    """Nobody swept for over six hours: an old backup, a weekend off. Quarantine until somebody says on."""
    driver.fail()
    driver.claim()
    driver.store.set_now(driver.now + 7 * HOUR)

    assert driver.claimed().mode == "off"
    assert [case.kind for case in driver.cases()] == ["incident"]
    driver.store.modes.set("on", by=By("me", "looked at it"), now=driver.now)
    assert driver.hand_over() == [("m1", 1)]


def test_what_a_person_switched_off_may_rest_for_days(driver):
    """Off is off: whether somebody swept meanwhile is no alarm, and opens no incident."""
    driver.fail()
    driver.store.modes.set("off", by=By("me", "holidays"), now=driver.now)
    driver.claim()
    driver.store.set_now(driver.now + 7 * HOUR)

    assert driver.claimed().alarm == ""
    assert driver.cases() == []


@pytest.mark.parametrize("waits", [True, False])
def test_seven_hours_in_which_everything_stands_in_line_raise_the_alarm(driver, waits):
    """What waits may be in line for the rate and nowhere else; where nothing waits there is nothing to fear."""
    for n in range(60 if waits else 50):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n, to=[f"+4915112{n:05}"])
    driver.wait(10 * MINUTE)
    driver.finish(*driver.claim())
    sizes = driver.store.sizes()
    assert (sizes["scheduled"], sizes["ready"] > 0) == (0, waits)
    driver.store.set_now(driver.now + 7 * HOUR)

    assert bool(driver.claimed().alarm) == waits


@pytest.mark.parametrize("fault", ["empty", "older"])
def test_a_store_that_lost_its_state_waits_for_a_person(driver, fault):
    """Payments and blocks may be gone with it: who knew it before gets nothing until somebody says on."""
    epoch, seen = driver.store.epoch(), [driver.claimed().number for _ in range(5)][-1]
    if fault == "empty":
        driver.client.hdel("{sb:default}:meta", "epoch", "claims", "swept")
    else:
        driver.client.hset("{sb:default}:meta", "claims", 1)
    driver.fail()
    driver.until_due()
    stranger = driver.claimed(limit=0)  # a new worker that was first cannot know
    known = driver.store.ledger.claim(policy=driver.policy, limit=9, lease=LEASE, epoch=epoch, seen=seen)

    assert (stranger.mode, stranger.alarm) == ("on", "")
    assert (known.mode, known.leases) == ("off", ())
    assert ("empty" if fault == "empty" else "older") in known.alarm
    assert [case.entry["detail"] for case in driver.cases()] == [known.alarm]
    driver.store.modes.set("on", by=By("me", "looked at it"), now=driver.now)
    assert driver.hand_over() == [("m1", 1)]


def test_a_clock_that_is_set_back_is_no_older_state(driver):
    """Only the number of claims tells: a time server may move the clock by an hour."""
    epoch, seen = driver.store.epoch(), driver.claimed().number
    driver.store.set_now(driver.now - HOUR)

    again = driver.store.ledger.claim(policy=driver.policy, limit=9, lease=LEASE, epoch=epoch, seen=seen)
    assert (again.mode, again.alarm) == ("on", "")


def test_a_recipient_gets_at_most_six_resends_a_day(driver):
    """resends_per_recipient counts what left, over all messages; what is over it waits and keeps its try."""
    for n in range(8):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n)
    driver.wait(10 * MINUTE)

    assert len(driver.hand_over()) == 6
    assert {w.state for w in driver.waiting()} == {"rate"}
    assert driver.store.next_due() == driver.now + DAY  # then the first of the six counts no more
    driver.wait(DAY)
    late = driver.claimed()
    assert len(late.leases) + len(late.ended) == 2


def test_a_claim_gets_at_most_twelve_resends_a_week(driver):
    """resends_per_claim bounds what one claim may set off, over all its recipients."""
    for n in range(14):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", to=[f"+49151123450{n:02}"])
    driver.wait(10 * MINUTE)

    assert len(driver.hand_over()) == 12


def test_a_second_claim_of_one_try_counts_once(driver):
    """A lease that ran out is not another resend."""
    for n in range(6):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n)
    driver.wait(10 * MINUTE)
    driver.claim()
    driver.wait(LEASE + SECOND)

    again = [lease for _ in range(6) for lease in driver.claim()]

    assert len(again) == 6


def test_the_hand_over_rate_is_kept(driver):
    """30/s of all, where each provider would take 50: a burst leaves in seconds, not at once, however often workers claim."""
    slow = driver.with_policy(
        SHIPPED.read_text("utf-8").replace("handover_rate: 50/s", "handover_rate: 30/s")
    )
    for n in range(80):
        slow.fail(f"m{n}", code="PROVIDER_ERROR", claim=n, to=[f"+4915112{n:05}"])
    slow.wait(10 * MINUTE)
    counts = []
    for _ in range(4):
        counts.append((len(slow.hand_over()), len(slow.hand_over())))
        slow.wait(SECOND)

    assert counts == [(30, 0), (30, 0), (20, 0), (0, 0)]


def test_merchants_take_turns(driver):
    """A merchant with much to send does not keep another waiting."""
    for n in range(60):
        driver.fail(f"a{n}", code="PROVIDER_ERROR", claim=n, to=[f"+4915112{n:05}"], merchant="big")
    for n in range(3):
        driver.fail(f"b{n}", code="PROVIDER_ERROR", claim=100 + n, to=[f"+4915113{n:05}"], merchant="small")
    driver.wait(10 * MINUTE)

    first = driver.claim(limit=8)

    assert sum(lease.delivery.merchant == "small" for lease in first) == 3


def test_who_had_two_turns_waits_until_the_others_had_two(driver):
    """Where fewer may leave than merchants wait, the one that had the fewest goes first."""
    for n in range(10):
        driver.fail(f"m{n}", merchant=1 + n % 2, claim=n, to=[f"+49151123456{n:02}"])
    driver.wait(5 * HOUR)
    owners = [[lease.delivery.merchant for lease in driver.claim(limit)] for limit in (3, 1, 2)]

    assert owners[0] in (["1", "2", "1"], ["2", "1", "2"])
    assert owners[1] == [owners[0][1]]
    assert sorted(owners[2]) == ["1", "2"]


def test_the_nearest_deadline_goes_first(driver):
    """Where more is due than may leave within a second, the message that ends soonest leaves first."""
    ends = [f"2026-11-23T{hour}:00:00Z" for hour in (18, 12, 15)] + [None] * 50
    for n, end in enumerate(ends):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n, notAfter=end, to=[f"+4915112{n:05}"])
    driver.wait(10 * MINUTE)

    assert [lease.delivery.reference for lease in driver.claim()][:3] == ["m1", "m2", "m0"]


def test_run_now_is_due_at_once(driver):
    """A person's word moves a retry to now, with an audit entry."""
    driver.fail()
    (waiting,) = driver.waiting()

    assert driver.store.retries.run_now([waiting.delivery.id], by=By("me", "customer waits")) == 1
    assert driver.hand_over() == [("m1", 1)]
    assert next(driver.store.audit.entries())["action"] == "run-now"


def test_run_now_passes_quiet_hours_and_a_late_retry_does_not(driver):
    """At ten in the evening what a person sends leaves; what was late anyhow waits for the morning, with its try."""
    for name in ("m1", "m2"):
        driver.fail(name, to=[f"+491511234561{name[1]}"], claim=name)
    driver.wait(12 * HOUR)
    (hurried,) = (waiting for waiting in driver.waiting() if waiting.delivery.reference == "m1")
    driver.store.retries.run_now([hurried.delivery.id], by=By("me", "customer waits"))
    stream = driver.store.stream("softbounce:resend")
    pump = Pump(
        driver.store,
        PolicyInForce(SHIPPED),
        ToStream(driver.store, "softbounce:resend", field="command"),
        worker="w",
        lease=LEASE,
        rng=random.Random(1),
        stopping=threading.Event(),
    )

    def left():
        pump.turn()
        pump.settle()
        return [
            (command["reference"], command["attempt"])
            for command in (json.loads(fields["command"]) for _, fields in stream.read())
        ]

    assert left() == [("m1", 1)]
    assert [(waiting.delivery.reference, waiting.state) for waiting in driver.waiting()] == [("m2", "quiet")]
    assert driver.store.next_due() >= START + 22 * HOUR  # at eight in the morning, and not in vain before it
    driver.wait(9 * HOUR)
    assert left() == [("m1", 1)]
    driver.wait(2 * HOUR)
    assert left() == [("m1", 1), ("m2", 1)]


@pytest.mark.parametrize(("late", "left"), [(HOUR, [("m1", 1)]), (11 * DAY, [])])
def test_run_now_passes_a_pause_and_no_deadline(driver, late, left):
    """A person's word goes before another's; only --even-stale sends what is too old."""
    driver.fail()
    (waiting,) = driver.waiting()
    driver.store.pauses.add("channel", "sms", until=driver.now + 19 * DAY, by=By("me", "carrier"))
    driver.wait(late)
    driver.store.retries.run_now([waiting.delivery.id], by=By("me", "customer waits"))

    assert driver.hand_over() == left


def test_the_try_after_a_hurried_one_is_not_hurried(driver):
    """A person's word speaks of one try: the next waits for the end of a pause, also where its failure came first."""
    driver.fail()
    driver.store.retries.run_now([driver.story().delivery.id], by=By("me", "customer waits"))
    assert len(driver.claim()) == 1
    driver.fail(resendId=driver.resend_id())
    driver.store.pauses.add("channel", "sms", until=driver.now + 2 * DAY, by=By("me", "carrier"))
    driver.until_due()

    assert driver.claim() == []


def test_a_resume_sends_nothing_before_its_time(driver):
    """What waits for its own time, and not for the end of the pause, keeps that time."""
    driver.fail()
    due = driver.story().delivery.due
    driver.store.retries.resume([driver.story().delivery.id], by=By("me", "over"))

    assert driver.claim() == []
    assert driver.story().delivery.due == due


def test_a_released_retry_waits_for_the_end_of_a_pause(driver):
    """A release lets a message go its usual way; only --even-stale sends it at once."""
    driver.fail(code="PLACEHOLDER_ERROR")
    (case,) = driver.cases()
    driver.store.pauses.add("channel", "sms", until=driver.now + DAY, by=By("me", "carrier"))
    driver.store.cases.resolve(
        case.id,
        how="release",
        first=driver.now,
        step=0,
        even_stale=False,
        policy=driver.policy,
        by=By("me", "mended"),
    )
    driver.wait(SECOND)

    assert driver.claim() == []
    assert driver.story().delivery.state == "waiting"


def test_a_try_that_was_held_before_it_left_keeps_its_number(driver):
    """A report that asks for a person stops the first retry while it waits; released, it is the first still."""
    driver.fail()
    assert driver.fail(code="PLACEHOLDER_ERROR").outcome == "held"
    (case,) = driver.cases()
    driver.store.cases.resolve(
        case.id,
        how="release",
        first=driver.now,
        step=0,
        even_stale=False,
        policy=driver.policy,
        by=By("me", "mended"),
    )
    driver.wait(SECOND)

    assert [lease.delivery.attempt for lease in driver.claim()] == [1]


def test_recovered_of_what_was_due_says_the_tries_before_it(driver):
    """Each of two has the message before its first retry leaves: it arrived after no try at all."""
    other = "+4915112345679"
    driver.fail(to=[NUMBER, other])
    for who in (NUMBER, other):
        driver.deliver(to=[who])

    assert driver.waiting() == []
    (notice,) = (one for one in driver.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered")
    assert notice.body["tries"] == 0


def test_a_newer_release_s_record_is_left_alone(driver):
    """A record of a version we do not know is neither handed over nor lost."""
    driver.fail()
    (waiting,) = driver.waiting()
    key = driver.store.keys.fixed("deliveries")
    raw = driver.client.hget(key, waiting.delivery.id).decode()
    driver.client.hset(key, waiting.delivery.id, raw.replace("{", '{"v":2,', 1))
    driver.wait(5 * HOUR)

    assert driver.claim() == []
    assert driver.store.sizes()["scheduled"] == 1


def test_state_stays_for_its_retention(driver):
    """What became of a message can be told for 90 days, though a repeated event is known for 14 only."""
    driver.fail()
    driver.deliver()
    for _ in range(89):
        driver.wait(DAY)
        driver.store.sweep(policy=driver.policy, count=1000)

    assert [line.kind for line in driver.story().history] == ["failed", "delivered"]


def test_state_is_gone_after_retention(driver):
    """After its retention nothing of a message is left: records, history, counts."""
    for n in range(20):
        driver.fail(f"m{n}", claim=n)
        driver.deliver(f"m{n}")
    driver.notices()
    for _ in range(200):
        driver.wait(DAY)
        driver.store.sweep(policy=driver.policy, count=1000)
    left = {
        name: driver.client.hlen(driver.store.keys.fixed(name))
        for name in ("deliveries", "history", "standing", "cancels", "sent")
    }

    assert set(left.values()) == {0}


def test_a_sweep_of_one_of_two_deliveries_keeps_the_history_of_the_other(driver):
    """Each takes its own lines along, whichever has the newest."""
    driver.fail("m1", code="PLACEHOLDER_ERROR", to=[NUMBER, "+4915112345679"])
    driver.wait(90 * DAY - HOUR)
    driver.fail("m1", to=[NUMBER, "+4915112345679"], details={"invalidValues": [NUMBER]})
    driver.fail("m1", to=[NUMBER, "+4915112345679"])
    driver.wait(2 * HOUR)
    driver.store.sweep(policy=driver.policy)

    assert [(line.kind, line.outcome) for line in driver.story().history] == [("failed", "scheduled")]


def test_a_sweep_goes_on_while_it_finds_what_has_ended(driver):
    """Hundreds of messages a second end on a busy day: a look at some fields a second would never catch up."""
    for n in range(300):
        driver.fail(f"m{n}", "PLACEHOLDER_ERROR" if n % 2 else "SMS_EXPIRED", claim=n)
        driver.deliver(f"m{n}")
    driver.wait(91 * DAY)
    kept = driver.client.hlen(driver.store.keys.fixed("deliveries"))

    assert kept == 300
    assert driver.store.sweep(policy=driver.policy, count=10) >= 300
    assert driver.client.hlen(driver.store.keys.fixed("deliveries")) == 0


def test_silence_after_a_resend_counts_as_delivered_where_nobody_reports_it(driver):
    """feedback: none. A silent day clears the soft-bounce count; a later failure still answers the resend."""
    quiet = driver.with_policy(_shipped().replace("feedback: delivered", "feedback: none"))
    quiet.fail()
    quiet.resend()
    for hours, last in ((23, "resent"), (2, "presumed")):
        quiet.wait(hours * HOUR)
        quiet.store.sweep(policy=quiet.policy, count=1000)
        assert quiet.story().history[-1].kind == last

    assert quiet.store.retries.standing(quiet.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"] == []
    assert quiet.fail().attempt == 2


def test_then_hold_pauses_the_recipient(driver):
    """soft_bounce.then: hold stops sends to the recipient for a time; a delivery ends the pause."""
    strict = driver.with_policy(_shipped().replace("then: notify", "then: hold"))
    for n in range(3):
        strict.fail(f"m{n}")
        strict.wait(25 * HOUR)
    verdict = strict.store.suppressions.check(NUMBER, "sms")

    assert (bool(verdict), verdict.reason) == (False, "paused")
    strict.deliver("m9")
    assert strict.store.suppressions.check(NUMBER, "sms")


def _shipped():
    return SHIPPED.read_text(encoding="utf-8")


def test_two_workers_never_lease_the_same_retry(driver, client):
    """Any number of workers side by side: each item has one lease."""
    for n in range(40):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n, to=[f"+4915112{n:05}"])
    driver.wait(10 * MINUTE)
    other = StoreDriver(Store(client), driver.policy, client=client)

    leases = [
        *driver.claim(limit=10),
        *other.claim(limit=10),
        *driver.claim(limit=10),
        *other.claim(limit=10),
    ]

    assert sorted(lease.delivery.reference for lease in leases) == sorted(
        {lease.delivery.reference for lease in leases}
    )
    assert len(leases) == 40


def test_what_is_left_of_several_recipients_is_as_it_was_reported(driver):
    """Long numbers, empty lists and null among the fields of one recipient do not change when another drops out."""
    second = {
        "phone": "+4915112345679",
        "id": 123456789012345678,
        "n": 0.1234567890123456789,
        "tags": [],
        "deep": [[], {}, None, ']}\\",['],
        "ü": "\\",
    }
    driver.fail(to=[NUMBER, second])
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=driver.now)
    driver.until_due()
    (lease,) = driver.claim()

    assert json.dumps(lease.delivery.recipients) == json.dumps([second])


def test_a_claim_without_an_answer_costs_no_lease_and_no_strike(driver):
    """The worker got no answer and says so with its next claim: the same retries leave at once, however often."""
    for n in range(3):
        driver.fail(f"m{n}", to=[f"+4915112345{n}11"], claim=n + 1)
    driver.wait(5 * HOUR)
    for number in range(1, 6):
        driver.asked(number, answered=0)

    leases = driver.asked(6, answered=0)

    assert {lease.delivery.reference for lease in leases} == {"m0", "m1", "m2"}
    assert {(lease.token, lease.delivery.head["k"]) for lease in leases} == {(6, 1)}
    assert driver.cases() == []
    assert driver.finish(*leases) == ["done"] * 3


def test_what_a_worker_has_in_hand_stays_its_own(driver):
    """Only a claim that got no answer is taken back: not an answered one, not another worker's."""
    driver.fail()
    driver.until_due()
    (mine,) = driver.asked(1, answered=0)

    assert driver.asked(2, answered=1) == []
    assert driver.asked(1, answered=0, by="w2") == []
    assert driver.finish(mine) == ["done"]


def test_a_lease_that_another_worker_has_by_now_is_not_taken_back(driver):
    """The lease of the lost answer ran out, and somebody else has the retry in hand."""
    driver.fail()
    driver.until_due()
    driver.asked(1, answered=0)
    driver.wait(LEASE + SECOND)
    (theirs,) = driver.claim()

    assert driver.asked(2, answered=0) == []
    assert driver.finish(theirs) == ["done"]


def test_a_claim_that_comes_after_its_successor_leases_nothing(driver):
    """It was long on its way; the worker has given it up and waits for no answer."""
    driver.fail()
    driver.asked(2, answered=0)
    driver.until_due()

    assert driver.asked(1, answered=0) == []
    assert len(driver.asked(3, answered=2)) == 1


@pytest.mark.parametrize("on", ["off", "on"])
def test_a_merchant_that_was_off_has_no_turns_to_catch_up(driver, on):
    """Others went on meanwhile; switched on again it gets its turn like everybody else, and not every turn.

    One at a time, as one claim serves all in turn anyway.
    """
    for n in range(60):
        for merchant in ("a", "b", "c"):
            place = {"a": 10, "b": 11, "c": 12}[merchant]
            driver.fail(
                f"{merchant}{n}",
                code="PROVIDER_ERROR",
                claim=100 * place + n,
                to=[f"+49151{place}{n:05}"],
                merchant=merchant,
            )
    driver.store.modes.set(on, by=By("me", "test"), now=driver.now, merchant="a")
    driver.wait(10 * MINUTE)
    for _ in range(4):
        left = driver.claim(limit=10)
        assert any(lease.delivery.merchant == "a" for lease in left) == (on == "on")
    driver.store.modes.set("on", by=By("me", "test"), now=driver.now, merchant="a")
    first = [lease.delivery.merchant for _ in range(9) for lease in driver.claim(limit=1)]

    assert {merchant: first.count(merchant) for merchant in "abc"} == {"a": 3, "b": 3, "c": 3}


def test_what_stands_in_line_twice_leaves_once(driver):
    """A retry that was scheduled anew under a nearer deadline while it stood in line is listed and leased once."""
    driver.fail()
    driver.until_due()
    driver.store.modes.set("off", by=By("me", "test"), now=driver.now, merchant="1")
    assert driver.claim() == []
    driver.fail(notAfter=iso(driver.now + 2 * HOUR))
    driver.store.retries.resume([driver.story().delivery.id], by=By("me", "test"))
    assert len(driver.waiting()) == 1
    assert driver.claim() == []
    assert len(driver.waiting()) == 1
    driver.store.modes.set("on", by=By("me", "test"), now=driver.now, merchant="1")

    assert [lease.token for lease in driver.claim()] == [1]


def test_what_stands_in_line_for_the_rate_is_overdue(driver):
    """Doctor sees by how much the oldest is late, also where it stands in line."""
    for n in range(120):
        driver.fail(f"m{n}", code="PROVIDER_ERROR", claim=n, to=[f"+4915112{n:05}"])
    driver.wait(10 * MINUTE)
    late = driver.store.overdue()
    driver.hand_over()
    driver.wait(HOUR)

    assert driver.store.sizes()["ready"] == 70
    assert HOUR <= driver.store.overdue() <= HOUR + late


def test_nothing_leaves_past_its_deadline(driver):
    """A retry that is late past give_up_after, by a minute, is given up, with a case; it was never tried."""
    driver.fail()
    (waiting,) = driver.waiting()
    driver.wait(waiting.delivery.head["x"] * SECOND + MINUTE - driver.now)

    assert driver.hand_over() == []
    assert driver.story().delivery.outcome == "given_up"
    assert [case.kind for case in driver.cases()] == ["exhausted"]
    (notice,) = driver.store.notices.claim(limit=9, lease=LEASE)
    assert (notice.type, notice.body["tries"]) == ("given_up", 0)


def test_a_retry_waits_for_the_end_of_its_longest_pause(driver):
    """Where several hold it, it does not come back for each in vain."""
    driver.fail()
    ends = {"merchant": 6 * HOUR, "channel": 9 * HOUR, "claim": 7 * HOUR}
    for kind, value in (("merchant", "1"), ("channel", "sms"), ("claim", "54321")):
        driver.store.pauses.add(kind, value, until=START + ends[kind], by=By("me", "x"))
    driver.wait(5 * HOUR)

    assert driver.hand_over() == []
    assert driver.store.next_due() == START + 9 * HOUR


def test_a_paused_recipient_waits_without_losing_a_try(driver):
    """A pause puts the retry aside; after it the same try leaves."""
    driver.fail()
    driver.store.pauses.add(
        "recipient", NUMBER, until=driver.now + 6 * HOUR, by=By("me", "angry"), channel="sms"
    )
    driver.wait(3 * HOUR)
    assert driver.hand_over() == []
    assert [w.state for w in driver.waiting()] == ["paused"]
    driver.wait(3 * HOUR + SECOND)

    assert driver.hand_over() == [("m1", 1)]


def test_resume_gives_waiting_retries_their_own_time_back(driver):
    """After a resume nothing waits for the end of the pause."""
    driver.fail()
    driver.store.pauses.add("channel", "sms", until=driver.now + 20 * HOUR, by=By("me", "carrier"))
    driver.wait(3 * HOUR)
    driver.hand_over()
    assert driver.store.pauses.end("channel", "sms", by=By("me", "mended"))
    driver.store.retries.resume([w.delivery.id for w in driver.waiting()], by=By("me", "mended"))

    assert driver.hand_over() == [("m1", 1)]


def crash(driver):
    """Claim what is due, and let the lease run out."""
    leases = driver.claim()
    driver.wait(LEASE + SECOND)
    return leases


def test_a_paused_customer_gets_nothing(driver):
    """A pause of a customer holds what waits for it."""
    driver.fail(customer="C7")
    driver.store.pauses.add("customer", "C7", until=driver.now + DAY, by=By("test", "asked"))
    driver.until_due()

    assert driver.claim() == []


def test_what_is_only_observed_uses_up_the_rate_and_no_more(driver):
    """A merchant on trial takes no hand-overs from the others."""
    text = (
        "version: 1\nlimits: {handover_rate: 2/s}\ncodes: {SMS_EXPIRED: {do: retry, retry: {delays: [1m]}}}\n"
    )
    driver = driver.with_policy(text)
    driver.store.modes.set("observe", merchant="1", by=By("test", "trial"), now=driver.now)
    for number in range(8):
        driver.fail(f"m{number}", to=[f"+49151123456{60 + number}"], claim=number)
    driver.wait(HOUR)

    assert len(driver.claimed().ended) == 2


def test_a_release_takes_back_its_own_strike_and_no_crash(driver):
    """Three crashes hold a retry, also where workers that stop in order gave it back in between."""
    driver.fail()
    driver.until_due()
    for _ in range(3):
        assert crash(driver)
        if leases := driver.claim():
            driver.finish(*leases, result="later")
    driver.claim()

    assert driver.story().delivery.state == "held"


def test_recovered_counts_no_try_that_a_crash_loop_kept_back(driver):
    """Three hand-overs began and none ended, so that no try is known to have left."""
    driver.fail()
    driver.until_due()
    for _ in range(3):
        driver.claim()
        driver.wait(LEASE + SECOND)
    driver.claim()
    assert driver.story().delivery.state == "held"
    driver.deliver()
    (notice,) = (one for one in driver.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered")

    assert notice.body["tries"] == 0
