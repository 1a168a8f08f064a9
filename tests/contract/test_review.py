"""Rules that a review of the store found broken, or that nothing else pinned."""

import json
from pathlib import Path

import pytest

from softbounce.core.timestamps import iso
from softbounce.errors import NotFound
from softbounce.store.audit import By

from .book import DAY, HOUR, MINUTE, NUMBER, SECOND

OTHER = "+4915187654321"
THIRD = "+4915112121212"
SHIPPED = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


def _bare(book, event, *, recipients=True, **options):
    report = json.loads(book.failed(event=event, **options))
    del report["claim"]["communication"]["error"]
    if not recipients:
        del report["claim"]["communication"]["recipients"]
    return json.dumps(report).encode()


def _resolve(book, case, how, **options):
    return book.store.cases.resolve(
        case.id, how=how, by=By("me", "looked"), policy=book.policy, first=book.now, step=1, **options
    )


def test_the_number_of_the_try_survives_a_bare_report_and_its_enriched_form(book):
    """The attempt number only grows, also where the answer to a resend came bare first, enriched later."""
    book.fail()
    book.resend()
    book.wait(HOUR)

    assert book.accept(_bare(book, "e9")) == ["held"]
    answer = book.accept_all(book.failed(event="e9"))[0]

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


def test_an_enriched_form_leaves_the_waiting_try_its_number(book):
    """A bare report that held a waiting retry gives way, and the try that never went out keeps its number."""
    book.fail()

    assert book.accept(_bare(book, "e9")) == ["held"]
    answer = book.accept_all(book.failed(event="e9"))[0]

    assert (answer.outcome, answer.attempt) == ("scheduled", 1)
    assert len(book.waiting()) == 1
    assert [case.count for case in book.cases()] == [0]


def test_an_enriched_form_frees_nothing_that_another_report_holds(book):
    """A delivery that is held for a fix stays held when some bare report of it is enriched."""
    book.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    book.accept(_bare(book, "e9"))

    assert book.accept(book.failed(event="e9")) == ["held"]
    assert [case.count for case in book.cases()] == [1]


def test_a_delivery_takes_the_bare_report_out_of_its_case(book):
    """What was delivered is no member of a case any more, also where the bare report named nobody."""
    book.accept(_bare(book, "e1", recipients=False))
    book.deliver()

    assert [case.count for case in book.cases()] == [0]


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


def test_a_case_decides_about_its_own_deliveries_only(book):
    """Resolving a case of soft bounces does not end what another case holds for a fix."""
    for n in range(3):
        book.fail(f"m{n}")
        book.wait(25 * HOUR)
    book.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    soft, held = (next(c for c in book.cases() if c.kind == kind) for kind in ("soft_bounces", "held"))

    _resolve(book, soft, "fixed")

    assert book.story("m2").delivery.state == "held"
    assert _resolve(book, held, "release").released == 1


def test_a_resolved_case_is_not_reopened_by_an_acknowledgement(book):
    """Only an open case can be acknowledged."""
    book.fail(code="SMS_BLOCKED")
    (case,) = book.cases()
    _resolve(book, case, "drop")

    with pytest.raises(NotFound, match="no open case"):
        book.store.cases.ack(case.id, by=By("me", "late"))
    (case,) = book.cases()
    assert case.state == "resolved"


def test_a_deadline_suppresses_nobody(book):
    """then: suppress applies where the tries are used up, not where the message ran out of time."""
    strict = book.with_policy(SHIPPED.replace("then: review ", "then: suppress "))

    assert strict.fail(notAfter="2026-11-23T09:30:00Z").outcome == "given_up"
    assert not strict.is_suppressed()


def test_tries_that_are_used_up_suppress_a_named_recipient_and_nobody_in_particular(book):
    """then: suppress speaks of one recipient; of several nobody is known to be the cause."""
    strict = book.with_policy(SHIPPED.replace("then: review ", "then: suppress "))
    outcomes = {}
    for name, to in (("m1", [NUMBER]), ("m2", ["+4915112345671", "+4915112345672"])):
        while (answer := strict.fail(name, to=to)).outcome == "scheduled":
            strict.resend(name)
        outcomes[name] = answer.outcome

    assert outcomes == {"m1": "suppressed", "m2": "given_up"}
    assert strict.is_suppressed()
    assert strict.client.hlen("{sb:default}:suppressions") == 1


def test_a_persons_suppression_ends_by_itself(book):
    """An entry that a person made for a week refuses retries for a week, and is swept after it."""
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=book.now, expires=7 * DAY)
    assert book.fail().outcome == "suppressed"
    book.wait(7 * DAY + SECOND)

    assert book.fail("m2").outcome == "scheduled"
    assert book.resend("m2") == [("m2", 1)]
    book.store.sweep(policy=book.policy, count=1000)
    assert book.store.suppressions.find(NUMBER, "sms") == []


def test_a_permanent_verdict_outlasts_a_persons_shorter_word(book):
    """A report may lengthen an entry that a person made, never shorten it."""
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "ill"), now=book.now, expires=7 * DAY)
    book.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    book.wait(8 * DAY)

    assert book.is_suppressed()


def test_an_opt_out_without_a_merchant_refuses_everything(book):
    """scope: merchant needs a merchant; where none is named the recipient is refused altogether."""
    book.fail(code="OPT_OUT", merchant=None)

    assert book.is_suppressed()
    assert book.is_suppressed(merchant=1)


def test_a_policys_pause_does_not_shorten_a_persons(book):
    """soft_bounce.then: hold leaves a longer pause of a person as it is; a delivery does not lift that."""
    strict = book.with_policy(SHIPPED.replace("then: notify", "then: hold"))
    strict.store.pauses.add(
        "recipient", NUMBER, channel="sms", until=book.now + 60 * DAY, by=By("me", "court")
    )
    for n in range(3):
        strict.fail(f"m{n}")
        strict.wait(25 * HOUR)
    strict.deliver("m9")

    assert strict.is_suppressed()


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


def test_an_ignored_enriched_form_changes_nothing(book):
    """do: ignore. The enriched form leaves what the bare report held where a person finds it."""
    ignoring = book.with_policy(SHIPPED.replace("{do: drop, fault: message}", "{do: ignore, fault: message}"))
    ignoring.accept(_bare(book, "e1"))

    assert ignoring.accept(book.failed(event="e1", code="DEADLINE_EXCEEDED")) == ["ignored"]
    assert ignoring.story().delivery.state == "held"
    assert [case.count for case in ignoring.cases()] == [1]


def test_the_enriched_form_counts_the_try_once(book):
    """A try answered bare and then enriched is one answered try of its rule."""
    book.fail()
    book.resend()
    book.wait(HOUR)
    book.accept(_bare(book, "e9"))
    book.accept(book.failed(event="e9"))

    assert book.story().delivery.head["o"] == 1


def test_a_refusal_for_ever_has_no_end_in_its_notice(book):
    """The notice of a suppression without an end says null, not the epoch."""
    book.fail(code="OPT_OUT")
    (notice,) = book.store.notices.claim(limit=10, lease=MINUTE)

    assert notice.body["until"] is None


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


def test_a_named_culprit_is_the_only_one_resent_to(book):
    """Of several recipients the named culprit alone gets the resend: the others have the message."""
    details = {"invalidValues": {"phone": NUMBER}}
    book.fail(code="PROVIDER_ERROR", details=details, to=[OTHER, NUMBER])
    book.until_due()
    (lease,) = book.claim()

    assert lease.delivery.recipients == (NUMBER,)


def test_a_delivery_to_several_ends_theirs_alone(book):
    """MESSAGE_DELIVERED for several recipients ends what waits for each of them, and for nobody else."""
    for number in (NUMBER, OTHER, THIRD):
        book.fail(to=[number])
    book.deliver(to=[NUMBER, OTHER])
    book.until_due()
    book.wait(2 * HOUR)

    assert [lease.delivery.recipients for lease in book.claim()] == [(THIRD,)]


def test_no_resend_to_several_reaches_one_who_refuses(book):
    """A suppressed recipient gets no retry, also as one of several; the others get theirs."""
    book.fail(to=[NUMBER, OTHER])
    book.fail("m2", code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR", to=[OTHER])
    book.until_due()
    (lease,) = book.claim()

    assert lease.delivery.recipients == (NUMBER,)
    book.finish(lease)
    book.wait(HOUR)
    assert book.fail(to=[NUMBER]).outcome == "scheduled"


def test_a_resend_to_several_ends_where_all_refuse(book):
    """Where each of several recipients is suppressed the retry ends as suppressed."""
    book.fail(to=[NUMBER, OTHER])
    for number in (NUMBER, OTHER):
        book.store.suppressions.add(number, "sms", by=By("me", "asked us to"), now=book.now)
    book.until_due()

    assert [ended.outcome for ended in book.claimed().ended] == ["suppressed"]


def test_one_of_several_who_has_the_message_does_not_get_it_again(book):
    """MESSAGE_DELIVERED for one of several recipients takes that one out of the resend."""
    book.fail(to=[NUMBER, OTHER])
    book.deliver(to=[NUMBER])
    book.until_due()

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


def test_one_of_several_who_had_the_message_before_does_not_get_it_again(book):
    """MESSAGE_DELIVERED of one that comes before the failure of several takes that one out, too."""
    book.deliver(to=[NUMBER])
    book.fail(to=[NUMBER, OTHER])
    book.until_due()

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


def test_one_of_several_who_is_cancelled_is_left_out(book):
    """A cancelled recipient gets nothing that waited when it was cancelled, also as one of several, and what comes later."""
    book.fail(to=[NUMBER, OTHER])
    book.store.cancels.add("recipient", OTHER, channel="sms", by=By("me", "moved"), now=book.now)
    book.wait(MINUTE)
    book.fail("m2", to=[NUMBER, OTHER])
    book.wait(5 * HOUR)

    going = {lease.delivery.reference: lease.delivery.recipients for lease in book.claim()}
    assert going == {"m1": (NUMBER,), "m2": (NUMBER, OTHER)}


def test_one_of_several_stays_left_out_while_the_others_wait(book):
    """A pause of the rest keeps who was left out and who was not apart."""
    book.fail(to=[NUMBER, OTHER, THIRD])
    book.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=book.now)
    book.until_due()
    book.store.pauses.add("merchant", 1, until=book.now + HOUR, by=By("me", "wait"))
    assert book.claim() == []
    book.store.suppressions.add(THIRD, "sms", by=By("me", "asked us to"), now=book.now)
    book.wait(HOUR)

    assert [lease.delivery.recipients for lease in book.claim()] == [(OTHER,)]


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
