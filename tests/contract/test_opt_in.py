"""Who agrees again is written to again: an opt-in lifts consent that was withdrawn before it, and nothing else."""

import json

import pytest

from softbounce.store.audit import By

from .store_driver import DAY, HOUR, MINUTE, NUMBER, SECOND

OTHER = "+4915187654321"
DEAD = "INVALID_MOBILE_NUMBER"


def undated(raw):
    """Return an event without its date."""
    return json.dumps({name: value for name, value in json.loads(raw).items() if name != "date"}).encode()


def doubts(driver):
    """Return whom the open doubts are about, and at which merchant."""
    rid = driver.store.suppressions.rid
    names = {rid(number, "sms"): number for number in (NUMBER, OTHER)}
    found = [case.entry for case in driver.cases() if case.kind == "opt_in_doubt"]
    return [(names[entry["recipient"]], entry["merchant"]) for entry in found]


@pytest.mark.parametrize("code", ["OPT_OUT", "COMPLAINT"])
def test_an_opt_in_lifts_the_consent_withdrawn_at_its_merchant(driver, code):
    """START after STOP: the recipient may be sent to again, and the audit says by which event."""
    driver.fail(code=code)
    driver.wait(HOUR)

    assert driver.opt_in(event="start-1").outcome == "opted_in"
    assert not driver.is_suppressed(merchant=1)
    (entry,) = [one for one in driver.store.audit.entries() if one["action"] == "opt in"]
    rid = driver.store.suppressions.rid(NUMBER, "sms")
    assert (entry["actor"], entry["what"], entry["reason"]) == ("policy", f"r_{rid}@1", "event start-1")
    assert driver.fail("m2").outcome == "scheduled"


def test_an_opt_in_leaves_the_consent_of_other_merchants(driver):
    """Who agrees to one merchant's messages agrees to no other's."""
    driver.fail(code="OPT_OUT")
    driver.fail("m2", code="OPT_OUT", merchant=2)

    assert driver.opt_in().outcome == "opted_in"
    assert (driver.is_suppressed(merchant=1), driver.is_suppressed(merchant=2)) == (False, True)


def test_an_opt_in_without_a_merchant_lifts_what_was_withdrawn_without_one(driver):
    """Where no merchant was named there is one sender only."""
    driver.fail(code="OPT_OUT", merchant=None)

    assert driver.opt_in(merchant=None).outcome == "opted_in"
    assert not driver.is_suppressed()


def test_an_opt_in_lifts_nothing_but_consent(driver):
    """A person's block and a dead number stay: to agree makes no number reachable."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked"), now=driver.now)
    driver.fail(code=DEAD, to=[OTHER])

    assert driver.opt_in(to=[NUMBER, OTHER]).outcome == "opted_in"
    assert driver.is_suppressed()
    assert driver.is_suppressed(OTHER)


def test_consent_goes_and_the_dead_number_beneath_it_stays(driver):
    """An entry keeps each of its causes, and an opt-in lifts its own."""
    driver.fail(code=DEAD, merchant=None)
    driver.fail("m2", code="OPT_OUT", merchant=None)
    driver.opt_in(merchant=None)

    (entry,) = driver.store.suppressions.find(NUMBER, "sms")
    assert entry.entry["code"] == DEAD
    assert driver.is_suppressed()


def test_an_opt_in_of_whom_nothing_is_known_is_taken(driver):
    """It opens no case and writes no entry."""
    assert driver.opt_in().outcome == "opted_in"
    assert driver.cases() == []
    assert list(driver.store.audit.entries()) == []


def test_each_opt_in_counts_once(driver):
    """START, reported again after another STOP, is an old word: it lifts nothing."""
    start = undated(driver.opted_in(event="start-1"))
    driver.fail(code="OPT_OUT")
    assert driver.accept(start, start) == ["opted_in", "duplicate"]
    driver.fail("m2", code="OPT_OUT")

    assert driver.accept(start) == ["duplicate"]
    assert driver.is_suppressed(merchant=1)
    assert driver.accept(undated(driver.opted_in(event="start-2"))) == ["opted_in"]
    assert not driver.is_suppressed(merchant=1)


def test_one_id_of_two_recipients_is_two_opt_ins(driver):
    """A carrier that gives all its reports one id loses none."""
    driver.fail(code="OPT_OUT", to=[OTHER])

    assert driver.opt_in(event="e").outcome == "opted_in"
    assert driver.opt_in(event="e", to=[OTHER]).outcome == "opted_in"
    assert not driver.is_suppressed(OTHER, merchant=1)


def test_an_opt_in_at_a_merchant_leaves_what_was_withdrawn_from_all_to_a_person(driver):
    """Whether the recipient meant all is not certain: the block stays, and one case says whom to ask."""
    driver.fail(code="OPT_OUT", merchant=None)
    answers = [driver.opt_in(), driver.opt_in()]

    assert [answer.outcome for answer in answers] == ["held", "held"]
    assert answers[0].case == answers[1].case is not None
    assert doubts(driver) == [(NUMBER, "1")]
    assert [case.entry["detail"] for case in driver.cases()] == [
        "it names a merchant, and consent is withdrawn from all"
    ]
    assert driver.is_suppressed(merchant=1)


def test_an_opt_in_without_a_merchant_leaves_what_was_withdrawn_at_one_to_a_person(driver):
    """Nobody knows at which merchants the recipient agrees again."""
    driver.fail(code="OPT_OUT")

    assert driver.opt_in(merchant=None).outcome == "held"
    assert doubts(driver) == [(NUMBER, "")]
    assert driver.is_suppressed(merchant=1)


def test_consent_that_is_lifted_and_still_withdrawn_from_all_is_a_doubt(driver):
    """The opt-in reaches what it names, and a case tells that the recipient is refused all the same."""
    driver.fail(code="OPT_OUT", merchant=None)
    driver.fail("m2", code="OPT_OUT")

    assert driver.opt_in().outcome == "held"
    assert len(driver.store.suppressions.find(NUMBER, "sms")) == 1
    assert driver.is_suppressed(merchant=1)


@pytest.mark.parametrize(
    ("earlier", "outcome"),
    [
        (-HOUR, "opted_in"),
        (0, "opted_in"),
        (SECOND, "held"),
        (5 * MINUTE, "held"),
        (5 * MINUTE + SECOND, "superseded"),
        (DAY, "superseded"),
    ],
)
def test_an_opt_in_dated_before_the_opt_out_lifts_nothing(driver, earlier, outcome):
    """STOP after START, reported the other way round: the block stays; where the dates are close a person decides."""
    driver.wait(2 * DAY)
    driver.fail("m2")  # by a clock that is right
    driver.fail(code="OPT_OUT", at=driver.now - 2 * HOUR)

    assert driver.opt_in(at=driver.now - 2 * HOUR - earlier).outcome == outcome
    assert driver.is_suppressed(merchant=1) == (outcome != "opted_in")
    assert bool(doubts(driver)) == (outcome == "held")


def test_an_opt_in_that_only_its_own_late_clock_dates_before_the_opt_out_is_a_doubt(driver):
    """A clock whose every report comes late may be behind: neither order is certain."""
    driver.fail(code="OPT_OUT", at=driver.now - HOUR)

    assert driver.opt_in(at=driver.now - 2 * HOUR).outcome == "held"
    assert driver.is_suppressed(merchant=1)


@pytest.mark.parametrize("undated_one", ["opt-out", "opt-in"])
def test_without_a_date_the_order_of_receipt_counts(driver, undated_one):
    """What came first was first."""
    out, again = driver.failed(code="OPT_OUT"), driver.opted_in()
    pair = [undated(out), again] if undated_one == "opt-out" else [out, undated(again)]

    assert driver.accept(*pair) == ["suppressed", "opted_in"]


def test_an_opt_in_dated_before_an_opt_out_without_a_date_came_in_is_a_doubt(driver):
    """Nobody knows when the opt-out was said; so it is with one whose clock is known to be late."""
    assert driver.accept(undated(driver.failed(code="OPT_OUT")), driver.opted_in(at=driver.now - MINUTE)) == [
        "suppressed",
        "held",
    ]


def test_consent_withdrawn_after_the_opt_in_refuses(driver):
    """An opt-in is no promise for ever."""
    driver.opt_in()
    driver.wait(MINUTE)
    driver.fail(code="OPT_OUT")

    assert driver.is_suppressed(merchant=1)


def test_the_outcome_of_an_opt_in_says_what_holds_for_all_of_its_recipients(driver):
    """Each recipient is judged alone; one in doubt is told, and so is one for whom it is too old."""
    driver.wait(DAY)
    driver.fail(code="OPT_OUT", to=[OTHER])

    assert driver.opt_in(at=driver.now - HOUR, to=[NUMBER, OTHER]).outcome == "superseded"
    driver.fail("m2", code="OPT_OUT", merchant=None)
    assert driver.opt_in(to=[NUMBER, OTHER]).outcome == "held"
    assert not driver.is_suppressed(OTHER, merchant=1)
    assert doubts(driver) == [(NUMBER, "1")]


def test_the_counters_know_opt_ins(driver):
    """They are read where all outcomes are."""
    driver.accept(driver.failed(code="OPT_OUT"), driver.opted_in(), driver.opted_in(event="x"))

    assert driver.store.counters() == {"suppressed": 1, "opted_in": 2}
