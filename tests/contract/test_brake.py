"""The suppression brake: too many new suppressions of one kind become an incident that one command undoes."""

import re

import pytest

from softbounce.core.filters import parse_filter
from softbounce.core.timestamps import iso
from softbounce.store.audit import By
from softbounce.store.cases import FILTER_KEYS
from softbounce.store.suppression_entries import exported

from .store_driver import ANYTHING, DAY, HOUR, MINUTE

CODE = "INVALID_MOBILE_NUMBER"
POLICY = """version: 1
defaults:
  suppression:
    brake: {by: [code, country, domain], more_than: 5, within: 1h, times_usual: 3, then: provisional, for: 24h}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [2h]}}
  PLACEHOLDER_ERROR: {do: hold, fault: message}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
  INVALID_EMAIL_ADDRESS: {do: suppress, fault: recipient}
  OPT_OUT: {do: suppress, fault: recipient}
"""


@pytest.fixture
def braked(driver):
    """A driver under a policy with a small brake."""
    return driver.with_policy(POLICY)


def number(n):
    """One of many recipients."""
    return f"+49151{20000000 + n}"


def suppress(driver, first, count, code=CODE, prefix="s"):
    """Report so many recipients as dead, in one batch."""
    raws = [driver.failed(f"{prefix}{n}", code, to=[number(n)]) for n in range(first, first + count)]
    return driver.accept(*raws)


def incidents(driver):
    """Return the cases of the brake."""
    return [case for case in driver.cases() if case.kind == "incident"]


def refused(driver, n):
    """Whether a recipient may not be sent to."""
    return not driver.store.suppressions.check(number(n), "sms")


def undo(driver, case):
    """Do what suppressions undo does: lift, then release."""
    done = sum(driver.store.incidents.settle(case, "undo"))
    resolved = driver.store.cases.resolve(
        case.id, how="release", by=By("me", "mislabelled"), policy=driver.policy, first=driver.now, step=20
    )
    return done, resolved


def test_at_the_limit_nothing_happens(braked):
    """As many suppressions as more_than says are ordinary."""
    assert suppress(braked, 0, 5) == ["suppressed"] * 5
    assert incidents(braked) == []
    assert braked.store.suppressions.check(number(1), "sms").until > braked.now + DAY


def test_above_the_limit_one_incident_opens_and_the_rest_is_provisional(braked):
    """From the first above on a suppression refuses for the brake's time and its message is held by one case."""
    assert suppress(braked, 0, 9) == ["suppressed"] * 5 + ["held"] * 4

    (case,) = incidents(braked)
    assert (case.count, case.entry["suppressed"], case.entry["code"]) == (4, 9, CODE)
    assert braked.notices().count("incident") == 1
    verdict = braked.store.suppressions.check(number(7), "sms")
    assert (bool(verdict), verdict.until) == (False, braked.now + DAY)
    assert braked.store.suppressions.check(number(1), "sms").until > braked.now + DAY


def test_a_later_batch_joins_the_open_incident(braked):
    """The brake stays on over windows until a person resolves the case: no second one opens."""
    suppress(braked, 0, 9)
    braked.wait(3 * HOUR)

    assert suppress(braked, 20, 2) == ["held"] * 2
    (case,) = incidents(braked)
    assert case.entry["suppressed"] == 11


def test_a_window_ends(braked):
    """Suppressions of different windows are not added up."""
    suppress(braked, 0, 5)
    braked.wait(HOUR)

    assert suppress(braked, 10, 5) == ["suppressed"] * 5


def test_what_is_usual_does_not_trip(braked):
    """Where many suppressions are usual the limit is times_usual the average of earlier windows."""
    quiet = braked.with_policy(POLICY.replace("more_than: 5", "more_than: 50"))
    suppress(quiet, 0, 4)
    braked.wait(HOUR)

    assert suppress(braked, 10, 12) == ["suppressed"] * 12
    assert suppress(braked, 30, 1) == ["held"]


@pytest.mark.parametrize(
    ("windows", "silence", "limit"), [([40], 1, 120), ([40, 10], 1, 111), ([40], 10, 46), ([40], 26, 8)]
)
def test_what_is_usual_is_remembered_and_fades(braked, windows, silence, limit):
    """A tenth of the average is the newest window; an hour without any takes a tenth off; no sweep forgets it at once."""
    quiet, count = braked.with_policy(POLICY.replace("more_than: 5", "more_than: 50")), 0
    for number_of in windows:
        braked.wait(HOUR if count else 0)
        suppress(quiet, count, number_of)
        count += number_of
    for _ in range(silence):
        braked.wait(HOUR)
        braked.store.sweep(policy=braked.policy, count=1000)

    assert suppress(braked, 500, limit + 1) == ["suppressed"] * limit + ["held"]


def test_what_an_incident_did_is_not_usual(braked):
    """After its undo the brake is as sharp as before, however long the incident was open."""
    suppress(braked, 0, 9)
    braked.wait(HOUR)
    suppress(braked, 20, 1)
    undo(braked, incidents(braked)[0])

    assert suppress(braked, 40, 6) == ["suppressed"] * 5 + ["held"]


def test_an_open_incident_outlasts_a_silent_weekend(braked):
    """Sweeps take nothing of it before a person's word: the next suppression joins it, and one undo lifts all."""
    suppress(braked, 0, 9)
    for _ in range(3):
        braked.wait(DAY)
        braked.store.sweep(policy=braked.policy, count=1000)

    assert suppress(braked, 40, 1) == ["held"]
    (case,) = incidents(braked)
    assert (case.state, case.count, case.entry["suppressed"]) == ("open", 5, 10)
    undo(braked, case)
    braked.wait(400 * DAY)
    braked.store.sweep(policy=braked.policy, count=1000)
    assert not braked.client.exists("{sb:default}:brakes")


@pytest.mark.parametrize("provisional", ["all", "merchant"])
def test_an_ordinary_block_goes_before_a_provisional_one(braked, provisional):
    """Whom another word refuses for good no incident protects: the message ends, the retry too, and the block is named."""
    text = POLICY.replace("fault: recipient}", f"fault: recipient, suppression: {{scope: {provisional}}}}}")
    scoped, merchant = braked.with_policy(text), 1 if provisional == "all" else None
    scoped.fail("w", "SMS_EXPIRED", to=[number(8)])
    suppress(scoped, 0, 9)
    braked.store.suppressions.add(number(8), "sms", by=By("me", "asked"), now=braked.now, merchant=merchant)

    assert scoped.fail("other", "SMS_EXPIRED", to=[number(8)]).outcome == "suppressed"
    assert scoped.resend("w") == []
    assert scoped.story("w").delivery.outcome == "suppressed"
    verdict = braked.store.suppressions.check(number(8), "sms", merchant=1)
    assert (verdict.reason, verdict.until) == ("MANUAL", None)


def test_groups_are_counted_apart(braked):
    """Countries, domains and codes of one brake do not add up."""
    suppress(braked, 0, 5)
    mails = [
        braked.failed(f"d{n}", "INVALID_EMAIL_ADDRESS", to=[f"a{n}@one.example"], channel="EMAIL")
        for n in range(6)
    ]
    other = braked.failed("x", "INVALID_EMAIL_ADDRESS", to=["a@two.example"], channel="EMAIL")

    assert braked.accept(*mails, other) == ["suppressed"] * 5 + ["held", "suppressed"]
    assert braked.accept(braked.failed("b", CODE, to=["+447700900123"])) == ["suppressed"]


def test_opt_outs_are_never_provisional(braked):
    """A person's own will is no mislabelling: no number of opt-outs trips the brake."""
    assert suppress(braked, 0, 9, code="OPT_OUT") == ["suppressed"] * 9


def test_repeats_do_not_count(braked):
    """Further reports of recipients that are listed already do not count."""
    suppress(braked, 0, 4)
    suppress(braked, 0, 4, prefix="again")

    assert incidents(braked) == []


def test_a_provisional_suppression_ends_by_itself(braked):
    """Without a person's word the recipient may be sent to again after the brake's time."""
    suppress(braked, 0, 6)
    assert refused(braked, 5)
    braked.wait(DAY)

    assert not refused(braked, 5)
    assert refused(braked, 0)


def test_undo_lifts_all_of_the_window(braked):
    """Undo lifts the provisional entries and those of the same window from before the brake, and sends all again."""
    suppress(braked, 90, 1)
    braked.wait(2 * HOUR)
    suppress(braked, 0, 9)

    done, resolved = undo(braked, incidents(braked)[0])

    assert done == 9
    assert not any(refused(braked, n) for n in range(9))
    assert refused(braked, 90)
    assert (resolved.released, resolved.skipped) == (9, 0)
    assert len(braked.hand_over()) == 1  # at the pace that was asked for
    braked.wait(MINUTE)
    assert len(braked.hand_over()) == 8


def test_undo_keeps_persons_and_other_evidence(braked):
    """What a person listed, and whom another report convicts as well, stays refused for the full term."""
    suppress(braked, 0, 9)
    braked.store.suppressions.add(number(1), "sms", by=By("me", "asked"), now=braked.now)
    braked.fail("o", "OPT_OUT", to=[number(8)])

    done, _ = undo(braked, incidents(braked)[0])

    assert done == 9  # of numbers 1 and 8 the incident's cause, and no other
    assert refused(braked, 1)
    assert braked.store.suppressions.check(number(8), "sms").until > braked.now + 300 * DAY


def test_undo_twice_changes_nothing_more(braked):
    """A second undo finds nothing, also if the operator mislabels again since."""
    suppress(braked, 0, 9)
    undo(braked, incidents(braked)[0])
    braked.wait(MINUTE)
    assert suppress(braked, 40, 3) == ["suppressed"] * 3  # the brake is off again

    assert sum(braked.store.incidents.settle(incidents(braked)[0], "undo")) == 0
    assert braked.store.suppressions.check(number(41), "sms").until > braked.now + DAY


def test_an_undo_that_was_cut_off_is_finished_by_the_next(braked):
    """What one batch undid stays so, the incident stays open, and the next run does the rest."""
    suppress(braked, 0, 9)
    (case,) = incidents(braked)
    assert next(braked.store.incidents.settle(case, "undo", batch=4)) == 4

    assert incidents(braked)[0].state == "open"
    done, resolved = undo(braked, incidents(braked)[0])
    assert (done, resolved.released) == (5, 9)
    audit = next(iter(braked.store.audit.entries(count=1)))
    assert (audit["what"], audit["recipients"]) == (case.id, 9)


def test_confirmed_suppressions_last_their_term(braked):
    """A person's word that the reports are right makes provisional entries ordinary; their messages end."""
    suppress(braked, 0, 9)
    (case,) = incidents(braked)

    assert sum(braked.store.incidents.settle(case, "confirm")) == 4
    braked.store.cases.resolve(
        case.id, how="suppress", by=By("me", "dead"), policy=braked.policy, first=braked.now, step=20
    )

    assert braked.store.suppressions.check(number(7), "sms").until > braked.now + 300 * DAY
    assert braked.story("s7").delivery.outcome == "suppressed"
    assert suppress(braked, 40, 9) == ["suppressed"] * 9


def test_a_waiting_retry_outlives_a_provisional_suppression(braked):
    """A retry to a provisionally refused recipient waits; an ordinary suppression ends it."""
    braked.fail("w", "SMS_EXPIRED", to=[number(8)])
    suppress(braked, 0, 9)

    assert braked.resend("w") == []
    assert [(found.delivery.reference, found.state) for found in braked.waiting()] == [("w", "incident")]
    braked.wait(DAY)
    assert ("w", 1) in braked.hand_over()


def test_another_failure_of_a_provisionally_refused_recipient_is_held(braked):
    """A message that would be ended by the list is held by the incident as well."""
    suppress(braked, 0, 9)

    assert braked.fail("other", "SMS_EXPIRED", to=[number(8)]).outcome == "held"
    assert incidents(braked)[0].count == 5


@pytest.mark.parametrize(
    ("state", "suppressed"),
    [
        ("waits", "before the brake"),
        ("waits", "under the brake"),
        ("waits", "by the report of another message"),
        ("is held", "before the brake"),
        ("is held", "under the brake"),
        ("has left", "before the brake"),
        ("has left", "under the brake"),
        ("has left", "by the report of another message"),
    ],
)
def test_a_try_that_never_left_keeps_its_number_under_an_incident(braked, state, suppressed):
    """Whatever brought its message to the incident, an undo sends the same try; after one that left, the next."""
    if suppressed != "before the brake":
        suppress(braked, 0, 9)
    braked.fail("m1", to=[number(99)])
    if state == "has left":
        braked.resend()
    if state == "is held":
        braked.fail("m1", code="PLACEHOLDER_ERROR", to=[number(99)])
    if suppressed == "by the report of another message":
        braked.fail("m2", code=CODE, to=[number(99)])
        braked.fail("m1", to=[number(99)])
    else:
        braked.fail("m1", code=CODE, to=[number(99)])
    if suppressed == "before the brake":
        suppress(braked, 0, 9)
    (case,) = incidents(braked)
    undo(braked, case)
    braked.wait(MINUTE)

    (attempt,) = [lease.delivery.attempt for lease in braked.claim() if lease.delivery.reference == "m1"]
    assert attempt == (2 if state == "has left" else 1)


def test_without_a_brake_nothing_is_counted(driver):
    """brake: off leaves every suppression ordinary."""
    off = driver.with_policy(re.sub("brake: {.*}", "brake: off", POLICY))

    assert suppress(off, 0, 20) == ["suppressed"] * 20
    assert not off.client.exists("{sb:default}:brakes")


def test_what_an_undo_clears_is_counted_anew(braked):
    """Reports that the undo declares wrong do not count for a later verdict that needs two."""
    confirm = braked.with_policy(
        POLICY.replace(
            "INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}",
            "INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient, "
            "confirm: {reports: 2, within: 30d, apart: 0s, meanwhile: drop}}",
        )
    )
    suppress(confirm, 0, 7)
    suppress(confirm, 0, 7, prefix="t")
    undo(confirm, incidents(confirm)[0])

    assert confirm.fail("new", CODE, to=[number(6)]).outcome == "given_up"
    assert not refused(confirm, 6)


def test_people_hear_of_an_incident_in_words_and_with_a_command(braked):
    """The pipeline gets the facts; people get the group, how many are usual, and what to type."""
    people = braked.policy.grouping
    suppress(braked, 0, 8)
    braked.store.notices.finish(braked.store.notices.claim(limit=100, lease=1000), people=people)
    braked.wait(people.wait)
    told = [one for one in braked.store.notices.claim(limit=100, lease=1000) if one.told]

    assert [one.type for one in told] == ["incident"]
    assert told[0].body["text"].startswith(f"1 incident of sudden suppressions: code {CODE}.")
    command = told[0].body["command"].removeprefix("softbounce cases list ")
    wanted = parse_filter(command, keys=FILTER_KEYS)
    assert [case.kind for case in braked.store.cases.select(wanted, now=braked.now)] == ["incident"]


def test_an_export_that_is_imported_during_an_incident_changes_nothing(braked):
    """Its rows say nothing new: the undo still lifts all, and no provisional block ends sooner."""
    suppress(braked, 0, 8)
    (case,) = incidents(braked)
    suppressions = braked.store.suppressions
    key = suppressions.fingerprint
    rows = list(exported(suppressions.select(ANYTHING, now=braked.now), reveal=False, key=key))
    assert set(suppressions.load(rows, by=By("me", "again"), now=braked.now)) == {"listed"}

    assert undo(braked, case)[0] == 8
    assert not any(refused(braked, n) for n in range(8))


def test_an_import_never_shortens_a_provisional_block(braked):
    """A row that ends sooner is evidence of its own; the later end stays."""
    suppress(braked, 0, 8)
    until = braked.store.suppressions.check(number(7), "sms").until
    row = {
        "channel": "sms",
        "address": number(7),
        "code": CODE,
        "origin": "event",
        "until": iso(braked.now + HOUR),
    }
    list(braked.store.suppressions.load([row], by=By("me", "list"), now=braked.now))

    assert braked.store.suppressions.check(number(7), "sms").until == until
