"""What becomes of one event."""

import json
from itertools import cycle, islice
from pathlib import Path

import pytest

from softbounce.core.decide import decide
from softbounce.core.timestamps import iso
from softbounce.store.audit import By

from .store_driver import ANYTHING, DAY, HOUR, LEASE, MINUTE, NUMBER, SECOND, START

OTHER = "+4915187654321"
SHIPPED = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


def test_a_passing_failure_is_scheduled_once(driver):
    """A retry rule schedules the first try, and the same event again changes nothing."""
    event = driver.failed(event="e1")

    assert driver.accept(event, event) == ["scheduled", "duplicate"]
    assert driver.accept_all(event)[0].first == "scheduled"
    assert len(driver.waiting()) == 1


def test_the_same_content_without_event_id_is_a_duplicate(driver):
    """Without an eventId the content is the identity."""
    event = json.loads(driver.failed())
    del event["eventId"]
    raw = json.dumps(event).encode()

    assert driver.accept(raw, raw) == ["scheduled", "duplicate"]


def test_a_failure_while_its_retry_waits_is_coalesced(driver):
    """One delivery has one waiting retry, however many reports speak of it."""
    first = driver.fail()
    driver.wait(MINUTE)

    answer = driver.fail()

    assert (answer.outcome, answer.attempt) == ("coalesced", 1)
    assert abs(answer.due - first.due) < SECOND
    assert len(driver.waiting()) == 1


def test_an_answer_to_a_resend_schedules_the_next_try(driver):
    """The failure of a resend counts a try and takes the next delay."""
    driver.fail()
    assert driver.resend() == [("m1", 1)]
    driver.wait(HOUR)

    answer = driver.fail()

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


@pytest.mark.parametrize(
    ("before", "outcome", "attempt"),
    [
        (-MINUTE, "scheduled", 2),
        (4 * MINUTE, "scheduled", 2),
        (6 * MINUTE, "superseded", 1),
        (HOUR, "superseded", 1),
    ],
)
@pytest.mark.parametrize("state", ["leased", "out"])
def test_a_failure_dated_over_five_minutes_before_the_claim_speaks_of_an_earlier_send(
    driver, state, before, outcome, attempt
):
    """Clocks differ: one dated up to five minutes before the newest claim answers it, an older one changes no try."""
    driver.fail()
    driver.until_due()
    leases, claimed = driver.claim(), driver.now
    if state == "out":
        driver.finish(*leases)
    driver.wait(20 * SECOND)
    if before < 0:
        driver.wait(2 * MINUTE)

    answer = driver.fail(at=claimed - before)

    assert (answer.outcome, answer.attempt) == (outcome, attempt)
    assert [waiting.delivery.attempt for waiting in driver.waiting() if waiting.state != "leased"] == [2] * (
        outcome == "scheduled"
    )


def test_the_resend_id_beats_the_date(driver):
    """A report that names the resend answers it, whatever its date says."""
    driver.fail()
    driver.resend()
    driver.wait(HOUR)

    answer = driver.fail(at=driver.now - 5 * HOUR, resendId=driver.resend_id(attempt=1))

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


def test_the_answer_to_a_try_that_waits_proves_that_it_went_out(driver):
    """A failover may take back a claim that was not replicated, never its command: the try counts, the next one is due."""
    first = driver.fail(resendId="none yet")

    answer = driver.fail(resendId=driver.resend_id(attempt=1))

    assert (first.outcome, first.attempt) == ("scheduled", 1)
    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert [line.kind for line in driver.story().history] == ["failed", "resent", "failed"]


def test_a_failure_that_outruns_finish_still_gets_its_next_try(driver):
    """While the lease is open a failure ends it as handed over; the late finish is stale, changes nothing."""
    driver.fail()
    driver.until_due()
    (lease,) = driver.claim()

    answer = driver.fail()

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert driver.finish(lease) == ["stale"]
    assert driver.finish(lease, result="later") == ["stale"]
    assert [w.delivery.attempt for w in driver.waiting()] == [2]
    assert [entry.kind for entry in driver.story().history] == ["failed", "resent", "failed"]


def test_the_strike_of_a_lease_that_was_answered_counts_against_no_later_try(driver):
    """What is answered has killed nobody: after two crashes of the next try it leaves a third time."""
    driver.fail()
    driver.until_due()
    driver.claim()
    driver.fail()
    driver.until_due()
    for _ in range(2):
        driver.claim()
        driver.wait(LEASE + SECOND)

    assert driver.hand_over() == [("m1", 2)]


def test_tries_end_with_the_rule_and_open_a_case(driver):
    """After max_attempts resends the delivery is given up and a person is asked (then: review)."""
    outcomes = [driver.fail().outcome]
    for _ in range(6):
        driver.resend()
        driver.wait(MINUTE)
        outcomes.append(driver.fail().outcome)

    assert outcomes == ["scheduled"] * 6 + ["given_up"]
    assert [case.kind for case in driver.cases()] == ["exhausted"]
    assert driver.notices() == ["given_up"]


def test_tries_answered_by_the_provider_do_not_use_up_the_recipients(driver):
    """max_attempts and the place in delays count tries with the same kind of fault; the number counts all."""
    driver.fail(code="PROVIDER_ERROR")
    driver.resend()
    for attempt in (2, 3):
        assert driver.fail(code="PROVIDER_ERROR").attempt == attempt
        driver.resend()

    answer = driver.fail(code="SMS_EXPIRED")

    assert (answer.outcome, answer.attempt) == ("scheduled", 4)
    assert (
        190 * MINUTE < answer.due - driver.now < 290 * MINUTE
    )  # 4h, its second delay: one try was answered with its kind


@pytest.mark.parametrize("minutes", [30, 85])
def test_nothing_is_scheduled_past_the_messages_own_deadline(driver, minutes):
    """NotAfter beats every delay, the 90 minutes that a late receipt may take, too: what cannot go out in time is given up."""
    answer = driver.fail(notAfter=iso(driver.now + minutes * MINUTE))

    assert answer.outcome == "given_up"
    assert driver.waiting() == []


def test_an_old_failure_is_given_up(driver):
    """give_up_after runs from the first failure as dated; a stale message is not resent."""
    answer = driver.fail(at=driver.now - 11 * DAY)

    assert answer.outcome == "given_up"


def test_a_permanent_failure_suppresses_the_recipient_for_its_term(driver):
    """A suppressing rule ends the delivery, refuses the recipient from now on, tells the pipeline, and ends by itself."""
    answer = driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", at=driver.now - HOUR)

    assert answer.outcome == "suppressed"
    verdict = driver.store.suppressions.check(NUMBER, "sms")
    assert (bool(verdict), verdict.reason, verdict.because) == (
        False,
        "INVALID_MOBILE_NUMBER",
        "codes.INVALID_MOBILE_NUMBER",
    )
    assert verdict.until == driver.now + 90 * DAY
    assert driver.notices() == ["suppressed"]
    driver.wait(90 * DAY + SECOND)
    assert not driver.is_suppressed()


def test_a_retry_that_quiet_hours_moved_says_so(driver):
    """By day it waits for its time, in the evening for the morning."""
    driver.fail()
    driver.wait(9 * HOUR)  # 19:00 in Berlin
    driver.fail("m2", to=["+4915112345679"])

    assert {waiting.delivery.reference: waiting.state for waiting in driver.waiting()} == {
        "m1": "waiting",
        "m2": "quiet",
    }


def test_a_retry_for_a_suppressed_recipient_is_not_scheduled(driver):
    """A suppressed recipient gets no new retry, whatever the code."""
    driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")

    assert driver.fail("m2").outcome == "suppressed"
    assert driver.waiting() == []


def test_one_report_of_a_dead_number_is_not_believed(driver):
    """confirm: the first SMS_NOT_DELIVERED schedules the confirming resend; one well after it suppresses."""
    assert driver.fail(code="SMS_NOT_DELIVERED").outcome == "scheduled"
    assert driver.store.suppressions.check(NUMBER, "sms").reason == "paused"  # until the answer
    driver.resend()
    driver.wait(MINUTE)

    assert driver.fail(code="SMS_NOT_DELIVERED").outcome == "suppressed"
    assert driver.is_suppressed()


def test_two_reports_within_one_bad_hour_convict_nobody(driver):
    """confirm.apart: reports less than 12 hours apart count once."""
    driver.fail("m1", code="SMS_NOT_DELIVERED")
    driver.wait(HOUR)

    assert driver.fail("m2", code="SMS_NOT_DELIVERED").outcome == "scheduled"
    assert driver.store.suppressions.check(NUMBER, "sms").reason == "paused"


def test_a_report_that_convicts_is_no_soft_bounce_as_well(driver):
    """It says that the number is dead, not that it failed to answer once more: nothing is counted, nobody is asked."""
    strict = driver.with_policy(SHIPPED.replace("escalate_at: 3", "escalate_at: 2"))
    strict.fail("m1", code="SMS_NOT_DELIVERED")
    strict.wait(25 * HOUR)
    answer = strict.fail("m2", code="SMS_NOT_DELIVERED")

    assert (answer.outcome, answer.escalated) == ("suppressed", False)
    standing = strict.store.retries.standing(strict.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 1
    assert strict.cases() == []


def test_reports_convict_in_any_order_of_arrival(driver):
    """The window ends at the newest report, so a late older one convicts as well."""
    driver.fail("m1", code="SMS_REJECTED")
    driver.fail("m2", code="SMS_REJECTED", at=driver.now - 13 * HOUR)

    assert driver.is_suppressed()


def test_a_verdict_to_suppress_ends_the_waiting_retry(driver):
    """A permanent failure acts at once, also while a retry of the delivery waits."""
    driver.fail()

    assert driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR").outcome == "suppressed"
    assert driver.waiting() == []


def test_a_fault_of_the_message_holds_and_groups(driver):
    """Broken templates are held; all deliveries with the same cause are one case."""
    details = {"placeholders": ["dueDate"]}
    answers = [
        driver.fail(f"m{n}", code="PLACEHOLDER_ERROR", type="RENDER_ERROR", details=details) for n in range(3)
    ]

    assert {answer.outcome for answer in answers} == {"held"}
    (case,) = driver.cases()
    assert (case.kind, case.count, case.entry["detail"]) == ("held", 3, "dueDate")
    assert not driver.is_suppressed()


def test_a_veto_type_never_suppresses(driver):
    """RENDER_ERROR vetoes suppressing, whatever the code says: the delivery is held."""
    assert driver.fail(code="INVALID_MOBILE_NUMBER", type="RENDER_ERROR").outcome == "held"
    assert not driver.is_suppressed()


def test_an_unknown_code_is_held(driver):
    """A code that no rule names waits for a person; it never suppresses and never crashes."""
    assert driver.fail(code="SMS_BLOCKED").outcome == "held"
    assert [case.kind for case in driver.cases()] == ["unknown_code"]


def test_a_bare_report_gives_way_to_its_enriched_form_once(driver):
    """An event with an error supersedes a bare one of its eventId; any other repetition is a duplicate."""
    bare = json.loads(driver.failed(event="e1"))
    del bare["claim"]["communication"]["error"], bare["claim"]["communication"]["recipients"]
    enriched = driver.failed(event="e1")

    assert driver.accept(json.dumps(bare).encode()) == ["held"]
    assert driver.accept(enriched, enriched) == ["scheduled", "duplicate"]
    assert [case.count for case in driver.cases()] == [0]


def test_a_bare_report_about_the_same_recipient_gives_way_too(driver):
    """The same holds where the bare form had a recipient already."""
    bare = json.loads(driver.failed(event="e1"))
    del bare["claim"]["communication"]["error"]

    assert driver.accept(json.dumps(bare).encode(), driver.failed(event="e1")) == ["held", "scheduled"]


def test_several_recipients_without_a_culprit_retry_and_convict_nobody(driver):
    """One error for many recipients is one delivery without subject: retried, never suppressed or counted."""
    everyone = [NUMBER, OTHER]

    assert driver.fail(to=everyone).outcome == "scheduled"
    assert (
        driver.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", to=everyone).outcome == "held"
    )
    assert [case.kind for case in driver.cases()] == ["ambiguous_recipient"]
    assert not driver.is_suppressed()


@pytest.mark.parametrize(("values", "convicted"), [("0151-12", True), (["0151-12", OTHER], False)])
def test_a_malformed_culprit_among_several_convicts_nobody_else(driver, values, convicted):
    """Alone it is known by its spelling; beside a second one nobody is the culprit. Whoever else is named stays free."""
    details = {"invalidValues": {"phone": values}}
    answer = driver.fail(
        code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", details=details, to=[NUMBER, "0151-12", OTHER]
    )

    assert answer.outcome == ("suppressed" if convicted else "held")
    assert bool(driver.store.suppressions.find("0151-12", "sms")) == convicted
    assert not any(driver.is_suppressed(number) for number in (NUMBER, OTHER))


def test_three_messages_on_three_days_are_escalated_once(driver):
    """Escalation counts distinct messages at least a day apart, and opens one case for a window of 30 days."""
    escalated = []
    for n in range(33):
        escalated.append(driver.fail(f"m{n}").escalated)
        driver.wait(25 * HOUR)

    assert [n for n, is_escalated in enumerate(escalated) if is_escalated] == [2, 31]
    assert [case.kind for case in driver.cases() if case.kind == "soft_bounces"] == ["soft_bounces"]
    assert driver.notices().count("escalated") == 2


def test_what_is_swept_leaves_the_case_that_showed_it(driver):
    """The case of a recipient's soft bounces names the last of them; once that is gone, it names nothing."""
    for n in range(3):
        driver.fail(f"m{n}")
        driver.wait(25 * HOUR)
    members = driver.store.keys.fixed("members")
    assert driver.client.zcard(members) > 0
    driver.wait(9 * DAY)
    assert driver.claim() == []
    driver.wait(100 * DAY)
    for _ in range(3):
        driver.store.sweep(policy=driver.policy, count=1000)

    assert [driver.client.hlen(driver.store.keys.fixed("deliveries")), driver.client.zcard(members)] == [0, 0]


def test_six_tries_of_one_message_are_one_soft_bounce(driver):
    """Escalation counts messages, not events, unless policy says otherwise."""
    driver.fail()
    for _ in range(3):
        driver.resend()
        driver.fail()

    standing = driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 1


def test_a_provider_failure_is_no_soft_bounce(driver):
    """Only a fault of the recipient counts against one."""
    driver.fail(code="PROVIDER_ERROR")

    assert driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"] == []


def test_a_delivery_resets_the_count(driver):
    """A recipient that receives starts anew."""
    for n in range(2):
        driver.fail(f"m{n}")
        driver.wait(25 * HOUR)
    driver.deliver("m9")

    assert not driver.fail("m3").escalated


@pytest.mark.parametrize(("age", "count"), [(DAY, 1), (0, 0)])
def test_an_arrival_clears_what_came_before_it_and_no_more(driver, age, count):
    """One dated yesterday says nothing of today: neither the soft bounce nor the pause of today ends."""
    driver = driver.with_policy(
        "version: 1\ndefaults: {soft_bounce: {escalate_at: 1, then: hold, hold_for: 9d}}\n"
        "codes: {SMS_EXPIRED: {do: retry, fault: recipient}}\n"
    )
    driver.fail("m1")
    driver.deliver("m9", at=driver.now - age)

    standing = driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == count
    assert driver.is_suppressed() == bool(count)


@pytest.mark.parametrize("codes", [["SMS_EXPIRED"], ["PROVIDER_ERROR"], ["SMS_EXPIRED", "PROVIDER_ERROR"]])
def test_the_limit_of_all_tries_ends_a_rule_that_has_more(driver, codes):
    """limits.max_attempts binds whatever rules say, also where each kind of fault has tries left, and each try knows it."""
    driver = driver.with_policy(
        "version: 1\nlimits: {max_attempts: 3}\ndefaults: {quiet_hours: off}\ncodes:\n"
        "  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [1h, 1h, 1h, 1h, 1h]}}\n"
        "  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [1h, 1h, 1h, 1h, 1h]}}\n"
    )
    outcomes, last = [], set()
    for code in islice(cycle(codes), 4):
        outcomes.append(driver.fail(code=code).outcome)
        last |= {waiting.delivery.head["n"] for waiting in driver.waiting()}
        driver.wait(2 * HOUR)
        driver.hand_over()

    assert outcomes == ["scheduled"] * 3 + ["given_up"]
    assert last == {3}


def test_the_least_delay_holds_where_the_clock_has_moved_since_the_plan(driver):
    """A report planned before an outage and accepted after it: its time has passed, and it is due no sooner all the same."""
    least = driver.policy.limits.min_delay
    decision = decide(driver.failed(code="PROVIDER_ERROR"), policy=driver.policy, now=driver.now)
    driver.wait(2 * HOUR)

    (answer,) = driver.store.ledger.accept([decision], policy=driver.policy)

    assert answer.due == driver.now + least


def test_a_delivery_ends_what_waits(driver):
    """MESSAGE_DELIVERED ends the waiting retry and tells the pipeline after how many tries, and how long."""
    driver.fail()
    driver.resend()
    driver.fail()

    assert driver.deliver().outcome == "delivered"
    (notice,) = (one for one in driver.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered")
    assert (notice.body["tries"], notice.body["after"]) == (1, driver.now - START)
    driver.wait(9 * HOUR)
    assert driver.hand_over() == []


def test_a_failure_after_the_delivery_starts_nothing(driver):
    """The end of a delivery is remembered, also where the failure arrives after it; it is no soft bounce of its recipient."""
    driver.deliver()

    assert driver.fail().outcome == "ended"
    assert driver.waiting() == []
    assert driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"] == []


def test_what_has_ended_keeps_what_it_was(driver):
    """A later failure of it, of whatever code, is a line of its history and nothing more."""
    driver.fail()
    driver.deliver()
    driver.fail(code="PROVIDER_ERROR")

    assert driver.story().delivery.code == "SMS_EXPIRED"
    assert [line.kind for line in driver.story().history] == ["failed", "delivered", "failed"]


def test_a_later_report_of_a_message_does_not_make_its_soft_bounce_older(driver):
    """In whatever order its reports come, a message counts from its newest failure."""
    for at in (driver.now, driver.now - 2 * DAY):
        driver.fail(at=at)

    standing = driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))
    assert [at for _, at in standing["soft_bounces"]] == [driver.now]


def test_a_delivery_without_recipient_ends_every_open_delivery_of_the_message(driver):
    """Where nobody is named, the reference and the channel are; no count is reset."""
    driver.fail(to=[NUMBER])
    driver.fail(to=[OTHER])
    driver.deliver(to=[])
    driver.wait(5 * HOUR)

    assert driver.hand_over() == []
    said = [one.body for one in driver.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered"]
    assert [(body["tries"], body["after"]) for body in said] == 2 * [(0, 0)]
    assert driver.fail(to=[NUMBER]).outcome == "ended"


def test_the_same_delivery_event_twice_is_a_duplicate(driver):
    """A delivery event is taken once."""
    event = driver.delivered()

    assert driver.accept(event, event) == ["delivered", "duplicate"]
    assert driver.deliver().outcome == "duplicate"


def test_other_types_are_acknowledged_and_ignored(driver):
    """The topic carries other events; they are no dead letters."""
    assert driver.accept(b'{"type":"CLAIM_CREATED","claim":{}}') == ["ignored"]


def test_what_cannot_be_read_is_kept_with_its_bytes(driver):
    """Unreadable input becomes a dead letter with reason and path; the same bytes are kept once."""
    assert driver.accept(b"{nonsense", b"{nonsense") == ["dead_lettered", "dead_lettered"]

    (letter,) = driver.store.dead_letters.select(ANYTHING, now=driver.now)
    assert (letter.raw, letter.is_whole) == (b"{nonsense", True)
    assert letter.reason


def test_somebody_else_who_retries_too_is_a_case_once(driver):
    """Two failures well apart with no hand-over between them: another system resends this message as well."""
    driver.fail()
    for _ in range(3):
        driver.wait(100 * MINUTE)
        driver.fail(at=driver.now)

    assert [case.kind for case in driver.cases()] == ["also_retried"]


def test_reports_that_follow_one_another_are_no_second_system(driver):
    """Each comes an hour after the one before, as slow receipts do; what counts is how far apart two are, not the sum."""
    for _ in range(4):
        driver.fail(at=driver.now)
        driver.wait(HOUR)

    assert driver.cases() == []


def test_a_hold_while_a_retry_waits_keeps_the_number_of_the_try(driver):
    """A held try that never went out keeps its number when it is released."""
    driver.fail()
    driver.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    (case,) = driver.cases()
    driver.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=driver.policy, first=driver.now, step=1
    )

    assert driver.hand_over() == [("m1", 1)]


def test_each_event_of_a_batch_has_its_own_outcome(driver):
    """A batch is many events, not one: neighbours do not share a fate."""
    outcomes = driver.accept(
        driver.failed("a"),
        b"\xff\xfe",
        driver.failed("b", code="INVALID_MOBILE_NUMBER", to=[OTHER]),
        driver.delivered("c"),
    )

    assert outcomes == ["scheduled", "dead_lettered", "suppressed", "delivered"]
    assert driver.store.counters() == {"dead_lettered": 1, "delivered": 1, "scheduled": 1, "suppressed": 1}


def test_letters_wait_for_a_person(driver):
    """retry: off for a channel wins over a code's delays: the delivery is held."""
    address = {"country": "DE", "postalCode": "10115", "street": "Teststr. 1", "name": "A. Person"}

    assert driver.fail(code="PROVIDER_ERROR", channel="LETTER", to=[address]).outcome == "held"


def test_an_invalid_value_is_found_again_under_its_spelling(driver):
    """A number that cannot be normalised is keyed as written; a person can look it up and lift it."""
    details = {"invalidValues": {"phone": "0151-12"}}
    driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", details=details, to=["0151-12"])

    (entry,) = driver.store.suppressions.find("0151-12", "sms")
    assert driver.store.suppressions.remove([entry], by=By("me", "corrected")) == 1
    assert driver.store.suppressions.find("0151-12", "sms") == []


def test_a_suppression_ends_a_held_delivery_and_leaves_its_case(driver):
    """A verdict about the recipient acts on a held delivery too, which then is no member of the case any more."""
    driver.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")

    assert driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR").outcome == "suppressed"
    assert [case.count for case in driver.cases()] == [0]


def test_a_cancel_does_not_rewrite_how_a_delivery_ended(driver):
    """What had ended stays ended as it did."""
    driver.fail()
    driver.deliver()
    driver.store.cancels.add("claim", 54321, by=By("me", "paid"), now=driver.now)

    assert driver.fail().outcome == "ended"
    assert driver.story().delivery.outcome == "delivered"


def test_a_long_history_keeps_its_beginning_and_its_end(driver):
    """A message with very many reports keeps the first line and the newest, 16 KiB in all."""
    driver.fail(event="first")
    for n in range(210):
        driver.fail(event=f"e{n}")

    history = driver.story().history
    assert [line.event_id for line in history[1:]] == [f"e{n}" for n in range(211 - len(history), 210)]
    assert (history[0].event_id, len(history) > 50) == ("first", True)
    (lines,) = driver.client.hvals(driver.store.keys.fixed("history"))
    assert 15_000 < len(lines) <= 16_384


def test_one_line_that_is_longer_than_the_rest_of_a_history_is_kept(driver):
    """The first line and the newest stay, whatever lies between them."""
    for n in range(30):
        driver.fail(event=f"{n}" + "é" * 250, code="X" * 500, type="Y" * 500)

    assert [line.event_id[:2].strip("é") for line in driver.story().history][::1000] == ["0"]
    assert driver.story().history[-1].event_id.startswith("29")


def test_one_bad_evening_is_not_a_pattern(driver):
    """soft_bounce.apart: three messages that fail within an hour count once."""
    escalated = [driver.fail(f"m{n}", at=driver.now - n * MINUTE).escalated for n in range(4)]

    assert escalated == [False] * 4


def test_the_window_of_soft_bounces_ends_at_the_newest(driver):
    """A failure older than the window does not count, also where it arrives last."""
    for n, age in enumerate((0, 20, 40)):
        escalated = driver.fail(f"m{n}", at=driver.now - age * DAY).escalated

    assert not escalated
    standing = driver.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 2


@pytest.mark.parametrize("merchant", ["m" * 200, "shop\u200b1", "€" * 129])
def test_a_merchants_own_suppression_is_found_whatever_the_merchants_name(driver, merchant):
    """Long names, and names with a character that is not shown: said and asked under one text."""
    text = "version: 1\ncodes: {SMS_BLOCKED: {do: suppress, fault: recipient, suppression: {scope: merchant}}, SMS_EXPIRED: {do: retry}}"
    driver = driver.with_policy(text)
    driver.fail("m1", merchant=merchant)
    driver.fail("m2", "SMS_BLOCKED", merchant=merchant)
    waits = {waiting.delivery.reference: waiting.state for waiting in driver.waiting()}

    assert driver.is_suppressed(merchant=merchant)
    assert not driver.is_suppressed(merchant="another")
    assert waits == {"m1": "suppressed"}
    assert driver.resend("m1") == []


def test_a_deadline_in_the_year_0_binds_nothing_and_stops_no_notice(driver):
    """With its offset it lies before the first date there is; a notice that cannot be written stops all others."""
    (answer,) = driver.accept_all(
        driver.failed(code="SNIPPET_ERROR", type="RENDER_ERROR", notAfter="0001-01-01T00:00:00+23:59")
    )
    (notice,) = driver.store.notices.claim(limit=10, lease=30_000)

    assert (answer.outcome, notice.body["deadline"][:4]) == ("held", "2026")


def test_a_suppression_until_the_year_9999_stays_when_a_report_adds_to_it(driver):
    """The scripts write a time of 15 digits as 2.5e+14, and would read the year 1970: such a date means never."""
    row = {"channel": "sms", "address": NUMBER, "until": "9999-12-31"}
    assert list(driver.store.suppressions.load([row], by=By("me", "x"), now=driver.now)) == [None]
    text = "version: 1\ncodes: {SMS_BLOCKED: {do: suppress, fault: recipient}}"
    assert driver.with_policy(text).fail("m1", "SMS_BLOCKED").outcome == "suppressed"
    person, report = driver.store.suppressions.find(NUMBER, "sms")

    assert (person.until, driver.store.suppressions.check(NUMBER, "sms").until) == (None, None)
    assert report.until > driver.now
    assert driver.fail("m2").outcome == "suppressed"


KINDS = """
version: 1
defaults: {quiet_hours: off}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [1h], jitter: 0%}}
  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [10m, 20m], jitter: 0%}}
"""


def test_tries_after_another_kind_of_fault_use_up_no_delay(driver):
    """A provider's error after a recipient's begins with the first delay that a provider gets for an answer."""
    driver = driver.with_policy(KINDS.replace("[1h]", "[1h, 1h]"))
    driver.fail()
    driver.resend()
    driver.fail(resendId=driver.resend_id())
    driver.resend()

    assert (
        driver.fail(code="PROVIDER_ERROR", resendId=driver.resend_id(attempt=2)).due
        == driver.now + 20 * MINUTE
    )


def test_given_up_says_how_many_tries_left_whatever_the_faults(driver):
    """Two left after errors of the provider, and the report that ends the message is the first of its kind."""
    driver = driver.with_policy(KINDS.replace("10m, 20m", "10m, 20m, 30m"))
    driver.fail(code="PROVIDER_ERROR")
    driver.resend()
    driver.fail(code="PROVIDER_ERROR", resendId=driver.resend_id())
    driver.resend()
    assert driver.fail(resendId=driver.resend_id(attempt=2)).outcome == "given_up"

    (notice,) = (one for one in driver.store.notices.claim(limit=9, lease=LEASE) if one.type == "given_up")
    assert notice.body["tries"] == 2


def test_a_later_deadline_does_not_replace_an_earlier_one(driver):
    """The answer to a resend names a later notAfter: the message is of no use after the first all the same."""
    driver.fail(code="PROVIDER_ERROR", notAfter=iso(driver.now + 2 * HOUR))
    driver.resend()

    assert (
        driver.fail(resendId=driver.resend_id(), notAfter=iso(driver.now + 24 * HOUR)).outcome == "given_up"
    )


def test_a_delivery_event_that_comes_again_resets_nothing(driver):
    """A redelivered MESSAGE_DELIVERED is a duplicate: failures after it keep counting."""
    event = driver.delivered("m9")
    driver.accept(event)
    for n in range(2):
        driver.fail(f"m{n}")
        driver.wait(25 * HOUR)

    assert driver.accept(event) == ["duplicate"]
    assert driver.fail("m3").escalated


@pytest.mark.parametrize(("reference", "outcome"), [("m9", "duplicate"), ("m8", "delivered")])
def test_a_late_report_of_a_delivery_clears_nothing_that_came_after_it(driver, reference, outcome):
    """Only what is dated before the delivery is cleared, be its report the first or a repeat under another id."""
    driver.accept(driver.delivered("m9"))
    late = driver.delivered(reference)  # dated as the first, with an id of its own
    for n in range(2):
        driver.wait(25 * HOUR)
        driver.fail(f"m{n}")
    driver.wait(25 * HOUR)

    assert driver.accept(late) == [outcome]
    assert driver.fail("m3").escalated


@pytest.mark.parametrize("hours", [(24, 1), (4, 24), (24, 4)])
def test_the_earliest_not_after_of_any_report_binds(driver, hours):
    """NotAfter is the message's own: named in a later report, it binds a retry that waits already."""
    for number in hours:
        driver.fail(notAfter=iso(driver.now + number * HOUR))
    driver.wait(5 * HOUR)

    assert driver.hand_over() == []
    assert driver.story().delivery.outcome == "given_up"


def test_silence_resets_no_count_that_nothing_resets(driver):
    """reset_on: never also binds where silence counts as delivered."""
    quiet = driver.with_policy(
        SHIPPED.replace("feedback: delivered", "feedback: none").replace(
            "reset_on: delivered", "reset_on: never    "
        )
    )
    quiet.fail()
    quiet.resend()
    quiet.wait(25 * HOUR)
    quiet.store.sweep(policy=quiet.policy, count=1000)

    assert (
        len(quiet.store.retries.standing(driver.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"]) == 1
    )


def test_a_second_report_of_a_delivery_clears_nothing_that_came_after_it(driver):
    """Only what is dated before the delivery is cleared: its report under another id takes no later soft bounce away."""
    driver.accept(driver.delivered("m9"))
    again = driver.delivered("m9")  # dated as the first, with an id of its own
    for n in range(2):
        driver.wait(25 * HOUR)
        driver.fail(f"m{n}")
    driver.wait(25 * HOUR)

    assert driver.accept(again) == ["duplicate"]
    assert driver.fail("m3").escalated


def test_an_answer_to_a_hand_over_that_seemed_to_fail_gets_its_next_try(driver):
    """A report that names a resend answers it, also where the sink lost its reply and the try waits again.

    Handed over once more, under the same id, it would be taken for a repeat, and nobody would hear of it.
    """
    driver.fail()
    driver.until_due()
    driver.finish(*driver.claim(), result="later", delay=MINUTE)

    answer = driver.fail(resendId=driver.resend_id(attempt=1))

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert [w.delivery.attempt for w in driver.waiting()] == [2]
    assert [entry.kind for entry in driver.story().history] == ["failed", "resent", "failed"]
