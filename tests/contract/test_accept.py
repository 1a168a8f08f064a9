"""What becomes of one event."""

import json
from itertools import cycle, islice
from pathlib import Path

import pytest

from softbounce.core.decide import decide
from softbounce.core.timestamps import iso
from softbounce.store.audit import By

from .book import ANYTHING, DAY, HOUR, LEASE, MINUTE, NUMBER, SECOND, START

OTHER = "+4915187654321"
SHIPPED = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


def test_a_passing_failure_is_scheduled_once(book):
    """A retry rule schedules the first try, and the same event again changes nothing."""
    event = book.failed(event="e1")

    assert book.accept(event, event) == ["scheduled", "duplicate"]
    assert book.accept_all(event)[0].first == "scheduled"
    assert len(book.waiting()) == 1


def test_the_same_content_without_event_id_is_a_duplicate(book):
    """Without an eventId the content is the identity."""
    event = json.loads(book.failed())
    del event["eventId"]
    raw = json.dumps(event).encode()

    assert book.accept(raw, raw) == ["scheduled", "duplicate"]


def test_a_failure_while_its_retry_waits_is_coalesced(book):
    """One delivery has one waiting retry, however many reports speak of it."""
    first = book.fail()
    book.wait(MINUTE)

    answer = book.fail()

    assert (answer.outcome, answer.attempt) == ("coalesced", 1)
    assert abs(answer.due - first.due) < SECOND
    assert len(book.waiting()) == 1


def test_an_answer_to_a_resend_schedules_the_next_try(book):
    """The failure of a resend counts a try and takes the next delay."""
    book.fail()
    assert book.resend() == [("m1", 1)]
    book.wait(HOUR)

    answer = book.fail()

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
    book, state, before, outcome, attempt
):
    """Clocks differ: one dated up to five minutes before the newest claim answers it, an older one changes no try."""
    book.fail()
    book.until_due()
    leases, claimed = book.claim(), book.now
    if state == "out":
        book.finish(*leases)
    book.wait(20 * SECOND)
    if before < 0:
        book.wait(2 * MINUTE)

    answer = book.fail(at=claimed - before)

    assert (answer.outcome, answer.attempt) == (outcome, attempt)
    assert [waiting.delivery.attempt for waiting in book.waiting() if waiting.state != "leased"] == [2] * (
        outcome == "scheduled"
    )


def test_the_resend_id_beats_the_date(book):
    """A report that names the resend answers it, whatever its date says."""
    book.fail()
    book.resend()
    book.wait(HOUR)

    answer = book.fail(at=book.now - 5 * HOUR, resendId=book.resend_id(attempt=1))

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


def test_the_answer_to_a_try_that_waits_proves_that_it_went_out(book):
    """A failover may take back a claim that was not replicated, never its command: the try counts, the next one is due."""
    first = book.fail(resendId="none yet")

    answer = book.fail(resendId=book.resend_id(attempt=1))

    assert (first.outcome, first.attempt) == ("scheduled", 1)
    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert [line.kind for line in book.story().history] == ["failed", "resent", "failed"]


def test_a_failure_that_outruns_finish_still_gets_its_next_try(book):
    """While the lease is open a failure ends it as handed over; the late finish is stale, changes nothing."""
    book.fail()
    book.until_due()
    (lease,) = book.claim()

    answer = book.fail()

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert book.finish(lease) == ["stale"]
    assert book.finish(lease, result="later") == ["stale"]
    assert [w.delivery.attempt for w in book.waiting()] == [2]
    assert [entry.kind for entry in book.story().history] == ["failed", "resent", "failed"]


def test_the_strike_of_a_lease_that_was_answered_counts_against_no_later_try(book):
    """What is answered has killed nobody: after two crashes of the next try it leaves a third time."""
    book.fail()
    book.until_due()
    book.claim()
    book.fail()
    book.until_due()
    for _ in range(2):
        book.claim()
        book.wait(LEASE + SECOND)

    assert book.hand_over() == [("m1", 2)]


def test_tries_end_with_the_rule_and_open_a_case(book):
    """After max_attempts resends the delivery is given up and a person is asked (then: review)."""
    outcomes = [book.fail().outcome]
    for _ in range(4):
        book.resend()
        book.wait(MINUTE)
        outcomes.append(book.fail().outcome)

    assert outcomes == ["scheduled"] * 4 + ["given_up"]
    assert [case.kind for case in book.cases()] == ["exhausted"]
    assert book.notices() == ["given_up"]


def test_tries_answered_by_the_provider_do_not_use_up_the_recipients(book):
    """max_attempts and the place in delays count tries with the same kind of fault; the number counts all."""
    book.fail(code="PROVIDER_ERROR")
    book.resend()
    for attempt in (2, 3):
        assert book.fail(code="PROVIDER_ERROR").attempt == attempt
        book.resend()

    answer = book.fail(code="SMS_EXPIRED")

    assert (answer.outcome, answer.attempt) == ("scheduled", 4)
    assert (
        190 * MINUTE < answer.due - book.now < 290 * MINUTE
    )  # 4h, its second delay: one try was answered with its kind


@pytest.mark.parametrize("minutes", [30, 85])
def test_nothing_is_scheduled_past_the_messages_own_deadline(book, minutes):
    """NotAfter beats every delay, the 90 minutes that a late receipt may take, too: what cannot go out in time is given up."""
    answer = book.fail(notAfter=iso(book.now + minutes * MINUTE))

    assert answer.outcome == "given_up"
    assert book.waiting() == []


def test_an_old_failure_is_given_up(book):
    """give_up_after runs from the first failure as dated; a stale message is not resent."""
    answer = book.fail(at=book.now - 5 * DAY)

    assert answer.outcome == "given_up"


def test_a_permanent_failure_suppresses_the_recipient_for_its_term(book):
    """A suppressing rule ends the delivery, refuses the recipient from now on, tells the pipeline, and ends by itself."""
    answer = book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", at=book.now - HOUR)

    assert answer.outcome == "suppressed"
    verdict = book.store.suppressions.check(NUMBER, "sms")
    assert (bool(verdict), verdict.reason, verdict.because) == (
        False,
        "INVALID_MOBILE_NUMBER",
        "codes.INVALID_MOBILE_NUMBER",
    )
    assert verdict.until == book.now + 90 * DAY
    assert book.notices() == ["suppressed"]
    book.wait(90 * DAY + SECOND)
    assert not book.is_suppressed()


def test_a_retry_that_quiet_hours_moved_says_so(book):
    """By day it waits for its time, in the evening for the morning."""
    book.fail()
    book.wait(9 * HOUR)  # 19:00 in Berlin
    book.fail("m2", to=["+4915112345679"])

    assert {waiting.delivery.reference: waiting.state for waiting in book.waiting()} == {
        "m1": "waiting",
        "m2": "quiet",
    }


def test_a_retry_for_a_suppressed_recipient_is_not_scheduled(book):
    """A suppressed recipient gets no new retry, whatever the code."""
    book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")

    assert book.fail("m2").outcome == "suppressed"
    assert book.waiting() == []


def test_one_report_of_a_dead_number_is_not_believed(book):
    """confirm: the first SMS_NOT_DELIVERED schedules the confirming resend; one well after it suppresses."""
    assert book.fail(code="SMS_NOT_DELIVERED").outcome == "scheduled"
    assert not book.is_suppressed()
    book.resend()
    book.wait(MINUTE)

    assert book.fail(code="SMS_NOT_DELIVERED").outcome == "suppressed"
    assert book.is_suppressed()


def test_two_reports_within_one_bad_hour_convict_nobody(book):
    """confirm.apart: reports less than 12 hours apart count once."""
    book.fail("m1", code="SMS_NOT_DELIVERED")
    book.wait(HOUR)

    assert book.fail("m2", code="SMS_NOT_DELIVERED").outcome == "scheduled"
    assert not book.is_suppressed()


def test_a_report_that_convicts_is_no_soft_bounce_as_well(book):
    """It says that the number is dead, not that it failed to answer once more: nothing is counted, nobody is asked."""
    strict = book.with_policy(SHIPPED.replace("escalate_at: 3", "escalate_at: 2"))
    strict.fail("m1", code="SMS_NOT_DELIVERED")
    strict.wait(25 * HOUR)
    answer = strict.fail("m2", code="SMS_NOT_DELIVERED")

    assert (answer.outcome, answer.escalated) == ("suppressed", False)
    standing = strict.store.retries.standing(strict.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 1
    assert strict.cases() == []


def test_reports_convict_in_any_order_of_arrival(book):
    """The window ends at the newest report, so a late older one convicts as well."""
    book.fail("m1", code="SMS_REJECTED")
    book.fail("m2", code="SMS_REJECTED", at=book.now - 13 * HOUR)

    assert book.is_suppressed()


def test_a_verdict_to_suppress_ends_the_waiting_retry(book):
    """A permanent failure acts at once, also while a retry of the delivery waits."""
    book.fail()

    assert book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR").outcome == "suppressed"
    assert book.waiting() == []


def test_a_fault_of_the_message_holds_and_groups(book):
    """Broken templates are held; all deliveries with the same cause are one case."""
    details = {"placeholders": ["dueDate"]}
    answers = [
        book.fail(f"m{n}", code="PLACEHOLDER_ERROR", type="RENDER_ERROR", details=details) for n in range(3)
    ]

    assert {answer.outcome for answer in answers} == {"held"}
    (case,) = book.cases()
    assert (case.kind, case.count, case.entry["detail"]) == ("held", 3, "dueDate")
    assert not book.is_suppressed()


def test_a_veto_type_never_suppresses(book):
    """RENDER_ERROR vetoes suppressing, whatever the code says: the delivery is held."""
    assert book.fail(code="INVALID_MOBILE_NUMBER", type="RENDER_ERROR").outcome == "held"
    assert not book.is_suppressed()


def test_an_unknown_code_is_held(book):
    """A code that no rule names waits for a person; it never suppresses and never crashes."""
    assert book.fail(code="SMS_BLOCKED").outcome == "held"
    assert [case.kind for case in book.cases()] == ["unknown_code"]


def test_a_bare_report_gives_way_to_its_enriched_form_once(book):
    """An event with an error supersedes a bare one of its eventId; any other repetition is a duplicate."""
    bare = json.loads(book.failed(event="e1"))
    del bare["claim"]["communication"]["error"], bare["claim"]["communication"]["recipients"]
    enriched = book.failed(event="e1")

    assert book.accept(json.dumps(bare).encode()) == ["held"]
    assert book.accept(enriched, enriched) == ["scheduled", "duplicate"]
    assert [case.count for case in book.cases()] == [0]


def test_a_bare_report_about_the_same_recipient_gives_way_too(book):
    """The same holds where the bare form had a recipient already."""
    bare = json.loads(book.failed(event="e1"))
    del bare["claim"]["communication"]["error"]

    assert book.accept(json.dumps(bare).encode(), book.failed(event="e1")) == ["held", "scheduled"]


def test_several_recipients_without_a_culprit_retry_and_convict_nobody(book):
    """One error for many recipients is one delivery without subject: retried, never suppressed or counted."""
    everyone = [NUMBER, OTHER]

    assert book.fail(to=everyone).outcome == "scheduled"
    assert book.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", to=everyone).outcome == "held"
    assert [case.kind for case in book.cases()] == ["ambiguous_recipient"]
    assert not book.is_suppressed()


@pytest.mark.parametrize(("values", "convicted"), [("0151-12", True), (["0151-12", OTHER], False)])
def test_a_malformed_culprit_among_several_convicts_nobody_else(book, values, convicted):
    """Alone it is known by its spelling; beside a second one nobody is the culprit. Whoever else is named stays free."""
    details = {"invalidValues": {"phone": values}}
    answer = book.fail(
        code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", details=details, to=[NUMBER, "0151-12", OTHER]
    )

    assert answer.outcome == ("suppressed" if convicted else "held")
    assert bool(book.store.suppressions.find("0151-12", "sms")) == convicted
    assert not any(book.is_suppressed(number) for number in (NUMBER, OTHER))


def test_three_messages_on_three_days_are_escalated_once(book):
    """Escalation counts distinct messages at least a day apart, and opens one case for a window of 30 days."""
    escalated = []
    for n in range(33):
        escalated.append(book.fail(f"m{n}").escalated)
        book.wait(25 * HOUR)

    assert [n for n, is_escalated in enumerate(escalated) if is_escalated] == [2, 31]
    assert [case.kind for case in book.cases() if case.kind == "soft_bounces"] == ["soft_bounces"]
    assert book.notices().count("escalated") == 2


def test_what_is_swept_leaves_the_case_that_showed_it(book):
    """The case of a recipient's soft bounces names the last of them; once that is gone, it names nothing."""
    for n in range(3):
        book.fail(f"m{n}")
        book.wait(25 * HOUR)
    members = book.store.keys.fixed("members")
    assert book.client.zcard(members) > 0
    book.wait(9 * DAY)
    assert book.claim() == []
    book.wait(100 * DAY)
    for _ in range(3):
        book.store.sweep(policy=book.policy, count=1000)

    assert [book.client.hlen(book.store.keys.fixed("deliveries")), book.client.zcard(members)] == [0, 0]


def test_six_tries_of_one_message_are_one_soft_bounce(book):
    """Escalation counts messages, not events, unless policy says otherwise."""
    book.fail()
    for _ in range(3):
        book.resend()
        book.fail()

    standing = book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 1


def test_a_provider_failure_is_no_soft_bounce(book):
    """Only a fault of the recipient counts against one."""
    book.fail(code="PROVIDER_ERROR")

    assert book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"] == []


def test_a_delivery_resets_the_count(book):
    """A recipient that receives starts anew."""
    for n in range(2):
        book.fail(f"m{n}")
        book.wait(25 * HOUR)
    book.deliver("m9")

    assert not book.fail("m3").escalated


@pytest.mark.parametrize(("age", "count"), [(DAY, 1), (0, 0)])
def test_an_arrival_clears_what_came_before_it_and_no_more(book, age, count):
    """One dated yesterday says nothing of today: neither the soft bounce nor the pause of today ends."""
    book = book.with_policy(
        "version: 1\ndefaults: {soft_bounce: {escalate_at: 1, then: hold, hold_for: 9d}}\n"
        "codes: {SMS_EXPIRED: {do: retry, fault: recipient}}\n"
    )
    book.fail("m1")
    book.deliver("m9", at=book.now - age)

    standing = book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == count
    assert book.is_suppressed() == bool(count)


@pytest.mark.parametrize("codes", [["SMS_EXPIRED"], ["PROVIDER_ERROR"], ["SMS_EXPIRED", "PROVIDER_ERROR"]])
def test_the_limit_of_all_tries_ends_a_rule_that_has_more(book, codes):
    """limits.max_attempts binds whatever rules say, also where each kind of fault has tries left, and each try knows it."""
    book = book.with_policy(
        "version: 1\nlimits: {max_attempts: 3}\ndefaults: {quiet_hours: off}\ncodes:\n"
        "  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [1h, 1h, 1h, 1h, 1h]}}\n"
        "  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [1h, 1h, 1h, 1h, 1h]}}\n"
    )
    outcomes, last = [], set()
    for code in islice(cycle(codes), 4):
        outcomes.append(book.fail(code=code).outcome)
        last |= {waiting.delivery.head["n"] for waiting in book.waiting()}
        book.wait(2 * HOUR)
        book.hand_over()

    assert outcomes == ["scheduled"] * 3 + ["given_up"]
    assert last == {3}


def test_the_least_delay_holds_where_the_clock_has_moved_since_the_plan(book):
    """A report planned before an outage and accepted after it: its time has passed, and it is due no sooner all the same."""
    least = book.policy.limits.min_delay
    decision = decide(book.failed(code="PROVIDER_ERROR"), policy=book.policy, now=book.now)
    book.wait(2 * HOUR)

    (answer,) = book.store.ledger.accept([decision], policy=book.policy)

    assert answer.due == book.now + least


def test_a_delivery_ends_what_waits(book):
    """MESSAGE_DELIVERED ends the waiting retry and tells the pipeline after how many tries, and how long."""
    book.fail()
    book.resend()
    book.fail()

    assert book.deliver().outcome == "delivered"
    (notice,) = (one for one in book.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered")
    assert (notice.body["tries"], notice.body["after"]) == (1, book.now - START)
    book.wait(9 * HOUR)
    assert book.hand_over() == []


def test_a_failure_after_the_delivery_starts_nothing(book):
    """The end of a delivery is remembered, also where the failure arrives after it; it is no soft bounce of its recipient."""
    book.deliver()

    assert book.fail().outcome == "ended"
    assert book.waiting() == []
    assert book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"] == []


def test_what_has_ended_keeps_what_it_was(book):
    """A later failure of it, of whatever code, is a line of its history and nothing more."""
    book.fail()
    book.deliver()
    book.fail(code="PROVIDER_ERROR")

    assert book.story().delivery.code == "SMS_EXPIRED"
    assert [line.kind for line in book.story().history] == ["failed", "delivered", "failed"]


def test_a_later_report_of_a_message_does_not_make_its_soft_bounce_older(book):
    """In whatever order its reports come, a message counts from its newest failure."""
    for at in (book.now, book.now - 2 * DAY):
        book.fail(at=at)

    standing = book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))
    assert [at for _, at in standing["soft_bounces"]] == [book.now]


def test_a_permanent_verdict_after_the_delivery_still_suppresses(book):
    """An asynchronous bounce speaks of the recipient; the delivery stays ended."""
    book.deliver()

    assert book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR").outcome == "suppressed"
    assert book.is_suppressed()


def test_a_delivery_without_recipient_ends_every_open_delivery_of_the_message(book):
    """Where nobody is named, the reference and the channel are; no count is reset."""
    book.fail(to=[NUMBER])
    book.fail(to=[OTHER])
    book.deliver(to=[])
    book.wait(5 * HOUR)

    assert book.hand_over() == []
    said = [one.body for one in book.store.notices.claim(limit=9, lease=LEASE) if one.type == "recovered"]
    assert [(body["tries"], body["after"]) for body in said] == 2 * [(0, 5 * HOUR)]
    assert book.fail(to=[NUMBER]).outcome == "ended"


def test_the_same_delivery_event_twice_is_a_duplicate(book):
    """A delivery event is taken once."""
    event = book.delivered()

    assert book.accept(event, event) == ["delivered", "duplicate"]
    assert book.deliver().outcome == "duplicate"


def test_other_types_are_acknowledged_and_ignored(book):
    """The topic carries other events; they are no dead letters."""
    assert book.accept(b'{"type":"CLAIM_CREATED","claim":{}}') == ["ignored"]


def test_what_cannot_be_read_is_kept_with_its_bytes(book):
    """Unreadable input becomes a dead letter with reason and path; the same bytes are kept once."""
    assert book.accept(b"{nonsense", b"{nonsense") == ["dead_lettered", "dead_lettered"]

    (letter,) = book.store.dead_letters.select(ANYTHING, now=book.now)
    assert (letter.raw, letter.is_whole) == (b"{nonsense", True)
    assert letter.reason


def test_somebody_else_who_retries_too_is_a_case_once(book):
    """Two failures well apart with no hand-over between them: another system resends this message as well."""
    book.fail()
    for _ in range(3):
        book.wait(100 * MINUTE)
        book.fail(at=book.now)

    assert [case.kind for case in book.cases()] == ["also_retried"]


def test_reports_that_follow_one_another_are_no_second_system(book):
    """Each comes an hour after the one before, as slow receipts do; what counts is how far apart two are, not the sum."""
    for _ in range(4):
        book.fail(at=book.now)
        book.wait(HOUR)

    assert book.cases() == []


def test_a_hold_while_a_retry_waits_keeps_the_number_of_the_try(book):
    """A held try that never went out keeps its number when it is released."""
    book.fail()
    book.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    (case,) = book.cases()
    book.store.cases.resolve(
        case.id, how="release", by=By("me", "mended"), policy=book.policy, first=book.now, step=1
    )

    assert book.hand_over() == [("m1", 1)]


def test_each_event_of_a_batch_has_its_own_outcome(book):
    """A batch is many events, not one: neighbours do not share a fate."""
    outcomes = book.accept(
        book.failed("a"),
        b"\xff\xfe",
        book.failed("b", code="INVALID_MOBILE_NUMBER", to=[OTHER]),
        book.delivered("c"),
    )

    assert outcomes == ["scheduled", "dead_lettered", "suppressed", "delivered"]
    assert book.store.counters() == {"dead_lettered": 1, "delivered": 1, "scheduled": 1, "suppressed": 1}


def test_letters_wait_for_a_person(book):
    """retry: off for a channel wins over a code's delays: the delivery is held."""
    address = {"country": "DE", "postalCode": "10115", "street": "Teststr. 1", "name": "A. Person"}

    assert book.fail(code="PROVIDER_ERROR", channel="LETTER", to=[address]).outcome == "held"


def test_an_invalid_value_is_found_again_under_its_spelling(book):
    """A number that cannot be normalised is keyed as written; a person can look it up and lift it."""
    details = {"invalidValues": {"phone": "0151-12"}}
    book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", details=details, to=["0151-12"])

    (entry,) = book.store.suppressions.find("0151-12", "sms")
    assert book.store.suppressions.remove([entry.field], by=By("me", "corrected")) == 1
    assert book.store.suppressions.find("0151-12", "sms") == []


def test_a_suppression_ends_a_held_delivery_and_leaves_its_case(book):
    """A verdict about the recipient acts on a held delivery too, which then is no member of the case any more."""
    book.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")

    assert book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR").outcome == "suppressed"
    assert [case.count for case in book.cases()] == [0]


def test_a_cancel_does_not_rewrite_how_a_delivery_ended(book):
    """What had ended stays ended as it did."""
    book.fail()
    book.deliver()
    book.store.cancels.add("claim", 54321, by=By("me", "paid"), now=book.now)

    assert book.fail().outcome == "ended"
    assert book.story().delivery.outcome == "delivered"


def test_a_long_history_keeps_its_beginning_and_its_end(book):
    """A message with very many reports keeps the first line and the newest, 16 KiB in all."""
    book.fail(event="first")
    for n in range(210):
        book.fail(event=f"e{n}")

    history = book.story().history
    assert [line.event_id for line in history[1:]] == [f"e{n}" for n in range(211 - len(history), 210)]
    assert (history[0].event_id, len(history) > 50) == ("first", True)
    (lines,) = book.client.hvals(book.store.keys.fixed("history"))
    assert 15_000 < len(lines) <= 16_384


def test_one_line_that_is_longer_than_the_rest_of_a_history_is_kept(book):
    """The first line and the newest stay, whatever lies between them."""
    for n in range(30):
        book.fail(event=f"{n}" + "é" * 250, code="X" * 500, type="Y" * 500)

    assert [line.event_id[:2].strip("é") for line in book.story().history][::1000] == ["0"]
    assert book.story().history[-1].event_id.startswith("29")


def test_one_bad_evening_is_not_a_pattern(book):
    """soft_bounce.apart: three messages that fail within an hour count once."""
    escalated = [book.fail(f"m{n}", at=book.now - n * MINUTE).escalated for n in range(4)]

    assert escalated == [False] * 4


def test_the_window_of_soft_bounces_ends_at_the_newest(book):
    """A failure older than the window does not count, also where it arrives last."""
    for n, age in enumerate((0, 20, 40)):
        escalated = book.fail(f"m{n}", at=book.now - age * DAY).escalated

    assert not escalated
    standing = book.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))
    assert len(standing["soft_bounces"]) == 2


@pytest.mark.parametrize("merchant", ["m" * 200, "shop\u200b1", "€" * 129])
def test_a_merchants_own_suppression_is_found_whatever_the_merchants_name(book, merchant):
    """Long names, and names with a character that is not shown: said and asked under one text."""
    text = "version: 1\ncodes: {SMS_BLOCKED: {do: suppress, fault: recipient, suppression: {scope: merchant}}, SMS_EXPIRED: {do: retry}}"
    book = book.with_policy(text)
    book.fail("m1", merchant=merchant)
    book.fail("m2", "SMS_BLOCKED", merchant=merchant)
    waits = {waiting.delivery.reference: waiting.state for waiting in book.waiting()}

    assert book.is_suppressed(merchant=merchant)
    assert not book.is_suppressed(merchant="another")
    assert waits == {"m1": "suppressed"}
    assert book.resend("m1") == []


def test_a_deadline_in_the_year_0_binds_nothing_and_stops_no_notice(book):
    """With its offset it lies before the first date there is; a notice that cannot be written stops all others."""
    (answer,) = book.accept_all(
        book.failed(code="SNIPPET_ERROR", type="RENDER_ERROR", notAfter="0001-01-01T00:00:00+23:59")
    )
    (notice,) = book.store.notices.claim(limit=10, lease=30_000)

    assert (answer.outcome, notice.body["deadline"][:4]) == ("held", "2026")


def test_a_suppression_until_the_year_9999_stays_when_a_report_adds_to_it(book):
    """The scripts write a time of 15 digits as 2.5e+14, and would read the year 1970: such a date means never."""
    row = {"channel": "sms", "address": NUMBER, "until": "9999-12-31"}
    assert list(book.store.suppressions.load([row], by=By("me", "x"), now=book.now)) == [None]
    text = "version: 1\ncodes: {SMS_BLOCKED: {do: suppress, fault: recipient}}"
    assert book.with_policy(text).fail("m1", "SMS_BLOCKED").outcome == "suppressed"
    (entry,) = book.store.suppressions.find(NUMBER, "sms")

    assert "z" not in entry.entry
    assert book.fail("m2").outcome == "suppressed"


KINDS = """
version: 1
defaults: {quiet_hours: off}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [1h], jitter: 0%}}
  PROVIDER_ERROR: {do: retry, fault: provider, retry: {delays: [10m, 20m], jitter: 0%}}
"""


def test_tries_after_another_kind_of_fault_use_up_no_delay(book):
    """A provider's error after a recipient's begins with the first delay that a provider gets for an answer."""
    book = book.with_policy(KINDS.replace("[1h]", "[1h, 1h]"))
    book.fail()
    book.resend()
    book.fail(resendId=book.resend_id())
    book.resend()

    assert book.fail(code="PROVIDER_ERROR", resendId=book.resend_id(attempt=2)).due == book.now + 20 * MINUTE


def test_given_up_says_how_many_tries_left_whatever_the_faults(book):
    """Two left after errors of the provider, and the report that ends the message is the first of its kind."""
    book = book.with_policy(KINDS.replace("10m, 20m", "10m, 20m, 30m"))
    book.fail(code="PROVIDER_ERROR")
    book.resend()
    book.fail(code="PROVIDER_ERROR", resendId=book.resend_id())
    book.resend()
    assert book.fail(resendId=book.resend_id(attempt=2)).outcome == "given_up"

    (notice,) = (one for one in book.store.notices.claim(limit=9, lease=LEASE) if one.type == "given_up")
    assert notice.body["tries"] == 2


def test_a_later_deadline_does_not_replace_an_earlier_one(book):
    """The answer to a resend names a later notAfter: the message is of no use after the first all the same."""
    book.fail(code="PROVIDER_ERROR", notAfter=iso(book.now + 2 * HOUR))
    book.resend()

    assert book.fail(resendId=book.resend_id(), notAfter=iso(book.now + 24 * HOUR)).outcome == "given_up"


def test_a_delivery_event_that_comes_again_resets_nothing(book):
    """A redelivered MESSAGE_DELIVERED is a duplicate: failures after it keep counting."""
    event = book.delivered("m9")
    book.accept(event)
    for n in range(2):
        book.fail(f"m{n}")
        book.wait(25 * HOUR)

    assert book.accept(event) == ["duplicate"]
    assert book.fail("m3").escalated


@pytest.mark.parametrize(("reference", "outcome"), [("m9", "duplicate"), ("m8", "delivered")])
def test_a_late_report_of_a_delivery_clears_nothing_that_came_after_it(book, reference, outcome):
    """Only what is dated before the delivery is cleared, be its report the first or a repeat under another id."""
    book.accept(book.delivered("m9"))
    late = book.delivered(reference)  # dated as the first, with an id of its own
    for n in range(2):
        book.wait(25 * HOUR)
        book.fail(f"m{n}")
    book.wait(25 * HOUR)

    assert book.accept(late) == [outcome]
    assert book.fail("m3").escalated


@pytest.mark.parametrize("hours", [(24, 1), (4, 24), (24, 4)])
def test_the_earliest_not_after_of_any_report_binds(book, hours):
    """NotAfter is the message's own: named in a later report, it binds a retry that waits already."""
    for number in hours:
        book.fail(notAfter=iso(book.now + number * HOUR))
    book.wait(5 * HOUR)

    assert book.hand_over() == []
    assert book.story().delivery.outcome == "given_up"


def test_silence_resets_no_count_that_nothing_resets(book):
    """reset_on: never also binds where silence counts as delivered."""
    quiet = book.with_policy(
        SHIPPED.replace("feedback: delivered", "feedback: none").replace(
            "reset_on: delivered", "reset_on: never    "
        )
    )
    quiet.fail()
    quiet.resend()
    quiet.wait(25 * HOUR)
    quiet.store.sweep(policy=quiet.policy, count=1000)

    assert len(quiet.store.retries.standing(book.store.suppressions.rid(NUMBER, "sms"))["soft_bounces"]) == 1


def test_a_second_report_of_a_delivery_clears_nothing_that_came_after_it(book):
    """Only what is dated before the delivery is cleared: its report under another id takes no later soft bounce away."""
    book.accept(book.delivered("m9"))
    again = book.delivered("m9")  # dated as the first, with an id of its own
    for n in range(2):
        book.wait(25 * HOUR)
        book.fail(f"m{n}")
    book.wait(25 * HOUR)

    assert book.accept(again) == ["duplicate"]
    assert book.fail("m3").escalated


def test_an_answer_to_a_hand_over_that_seemed_to_fail_gets_its_next_try(book):
    """A report that names a resend answers it, also where the sink lost its reply and the try waits again.

    Handed over once more, under the same id, it would be taken for a repeat, and nobody would hear of it.
    """
    book.fail()
    book.until_due()
    book.finish(*book.claim(), result="later", delay=MINUTE)

    answer = book.fail(resendId=book.resend_id(attempt=1))

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)
    assert [w.delivery.attempt for w in book.waiting()] == [2]
    assert [entry.kind for entry in book.story().history] == ["failed", "resent", "failed"]
