"""Why a recipient is on the list: several causes stand side by side, in one order, each with its own end."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softbounce.core.filters import parse_filter
from softbounce.core.timestamps import iso
from softbounce.store.audit import By
from softbounce.store.suppressions import FILTER_KEYS

from .store_driver import ANYTHING, DAY, NUMBER, SECOND

ME = By("me", "asked")
BOUNCE = "INVALID_MOBILE_NUMBER"
POLICY = """version: 1
defaults: {suppression: {brake: off}}
codes:
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient, suppression: {expires: 90d}}
  SMS_REJECTED: {do: suppress, fault: recipient, suppression: {expires: 30d}}
  OPT_OUT: {do: suppress, fault: recipient, suppression: {scope: merchant, expires: never}}
  COMPLAINT: {do: suppress, fault: recipient, suppression: {scope: merchant, expires: 30d}}
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [2h]}}
"""


@pytest.fixture
def listed(driver):
    """A driver under a policy that suppresses by several codes."""
    return driver.with_policy(POLICY)


def row(driver, code, origin, end=None, **more):
    """One row of an import about the number; its end in ms from now."""
    until = "never" if end is None else iso(driver.now + end)
    return {"channel": "sms", "address": NUMBER, "code": code, "origin": origin, "until": until} | more


def load(driver, *rows, dry_run=False):
    """Import rows, and return what became of each."""
    return list(driver.store.suppressions.load(rows, by=ME, now=driver.now, dry_run=dry_run))


def stands(driver):
    """Return code and end of each cause of the number that stands, the strongest first."""
    found = driver.store.suppressions.select(ANYTHING, now=driver.now)
    return [(one.code, one.until and one.until - driver.now) for one in found]


def lift(driver, words):
    """Lift what a filter finds."""
    wanted = parse_filter(words, keys=FILTER_KEYS, bare="recipient")
    found = driver.store.suppressions.select(wanted, now=driver.now)
    return driver.store.suppressions.remove(found, by=ME)


ORDER = [
    ("COMPLAINT", "provider"),
    ("OUR_LIST", "person"),
    ("SMS_REJECTED", "event"),
    ("BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", "provider"),
]


@pytest.mark.parametrize("turn", range(4))
def test_one_order_of_causes_whichever_comes_first(driver, turn):
    """Consent (also of a provider's list), a person, a bounce, an echo: so they are named, whatever their ends."""
    for n, (code, origin) in enumerate(ORDER[turn:] + ORDER[:turn]):
        load(driver, row(driver, code, origin, (1 + (n * 7 + turn) % 4) * DAY))

    assert [code for code, _ in stands(driver)] == [code for code, _ in ORDER]
    assert driver.store.suppressions.check(NUMBER, "sms").reason == "COMPLAINT"


def test_a_verdict_names_the_strongest_cause_that_stands_and_the_latest_end(driver):
    """Once a stronger cause has ended the next one is named, before a sweep too; the end is the latest of all."""
    load(driver, row(driver, "COMPLAINT", "event", DAY), row(driver, "SMS_REJECTED", "event", 3 * DAY))
    ends = driver.now + 3 * DAY
    told = []
    for _ in range(2):
        verdict = driver.store.suppressions.check(NUMBER, "sms")
        told.append((verdict.reason, verdict.until))
        driver.wait(2 * DAY)

    assert told == [("COMPLAINT", ends), ("SMS_REJECTED", ends)]
    assert driver.store.suppressions.check(NUMBER, "sms")


CAUSES = st.lists(
    st.tuples(
        st.sampled_from(["COMPLAINT", "OPT_OUT", "OUR_LIST", "SMS_REJECTED"]),
        st.sampled_from(["event", "person", "provider"]),
        st.sampled_from([None, DAY, 2 * DAY, 3 * DAY]),
        st.sampled_from([DAY, 2 * DAY]),
        st.sampled_from([[], ["e1"], ["e2"]]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(causes=CAUSES, data=st.data(), merchant=st.sampled_from(["", "7"]))
def test_causes_joined_in_any_order_give_the_same_entry(driver, causes, data, merchant):
    """Order does not matter: of one code and origin there is one cause, with the later end, and of all the latest counts."""
    found = []
    for some in (causes, data.draw(st.permutations(causes))):
        driver.store.suppressions.remove(driver.store.suppressions.select(ANYTHING, now=driver.now), by=ME)
        for code, origin, end, since, evidence in some:
            more = {"since": iso(driver.now - since), "evidence": evidence, "merchant": merchant}
            load(driver, row(driver, code, origin, end, **more))
        rows = [one.row(reveal=True) for one in driver.store.suppressions.select(ANYTHING, now=driver.now)]
        found.append([one | {"evidence": sorted(one["evidence"])} for one in rows])
    ends = [end for _, _, end, _, _ in causes]
    verdict = driver.store.suppressions.check(NUMBER, "sms", merchant=merchant or None)

    assert found[0] == found[1]
    assert len(found[0]) == len({(code, origin) for code, origin, *_ in causes})
    assert verdict.until == (None if None in ends else driver.now + max(ends))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(causes=CAUSES, data=st.data())
def test_lifting_one_cause_leaves_the_others(driver, causes, data):
    """Each of the others keeps its end, and the entry gets the latest of these; the last one takes the entry along."""
    driver.store.suppressions.remove(driver.store.suppressions.select(ANYTHING, now=driver.now), by=ME)
    load(driver, *(row(driver, code, origin, end) for code, origin, end, *_ in causes))
    left = list(driver.store.suppressions.select(ANYTHING, now=driver.now))
    while left:
        gone = left.pop(data.draw(st.integers(0, len(left) - 1)))
        assert driver.store.suppressions.remove([gone], by=ME) == 1
        rest = list(driver.store.suppressions.select(ANYTHING, now=driver.now))
        verdict = driver.store.suppressions.check(NUMBER, "sms")

        assert [one.row(reveal=True) for one in rest] == [one.row(reveal=True) for one in left]
        assert bool(verdict) == (not left)
        ends = [one.until for one in left]
        assert verdict.until == (None if None in ends or not ends else max(ends))


def test_a_filter_lifts_the_causes_that_it_matches_and_an_address_all_of_them(listed):
    """code:X takes one cause away; the recipient stays refused for the other, until its own end."""
    listed.fail("m1", BOUNCE)
    listed.fail("m2", "SMS_REJECTED")
    assert stands(listed) == [(BOUNCE, 90 * DAY), ("SMS_REJECTED", 30 * DAY)]

    assert lift(listed, f"code:{BOUNCE}") == 1
    assert stands(listed) == [("SMS_REJECTED", 30 * DAY)]
    listed.fail("m3", BOUNCE)
    assert lift(listed, f"r_{listed.store.suppressions.rid(NUMBER, 'sms')}") == 2
    assert not listed.is_suppressed()


def test_an_import_says_what_it_would_weaken_and_what_is_listed_already(driver):
    """A bounce of an old file stands beneath a complaint; in either order of rows the complaint is named, for ever."""
    complaint, bounce = row(driver, "COMPLAINT", "provider"), row(driver, BOUNCE, "event", DAY)
    assert load(driver, complaint, bounce, complaint, bounce) == [None, "weaker", "listed", "listed"]
    assert stands(driver) == [("COMPLAINT", None), (BOUNCE, DAY)]
    lift(driver, f"code:{BOUNCE}")
    lift(driver, "code:COMPLAINT")

    assert load(driver, bounce, complaint) == [None, None]
    assert stands(driver) == [("COMPLAINT", None), (BOUNCE, DAY)]


@pytest.mark.parametrize("count", [1, 600])
def test_a_dry_run_of_an_import_changes_nothing_and_says_the_same(driver, count):
    """Also of rows that the file itself has before, how far apart they may be."""
    others = [{"channel": "sms", "address": f"+49151{20000000 + n}"} for n in range(count)]
    complaint, bounce = row(driver, "COMPLAINT", "event"), row(driver, BOUNCE, "event", DAY)
    past = row(driver, BOUNCE, "event", -DAY)
    rows = [complaint, *others, bounce, past, *others, complaint, bounce, {"channel": "fax"}]
    dry = load(driver, *rows, dry_run=True)
    before = driver.store.sizes()["suppressions"], len(list(driver.store.audit.entries()))

    real = load(driver, *rows)
    assert before == (0, 0)
    assert [str(one) for one in dry] == [str(one) for one in real]
    assert dry.count("listed") == count + 2


def test_a_persons_newer_word_replaces_the_older_and_nothing_else(driver):
    """Add says anew until when; what a report or an import says stays beside it, and add returns all that stands."""
    suppressions = driver.store.suppressions
    suppressions.add(NUMBER, "sms", by=ME, now=driver.now)
    load(driver, row(driver, BOUNCE, "event", 30 * DAY))
    causes = suppressions.add(NUMBER, "sms", by=By("me", "ill"), now=driver.now, expires=DAY)

    assert [(one.code, one.until) for one in causes] == [
        ("MANUAL", driver.now + DAY),
        (BOUNCE, driver.now + 30 * DAY),
    ]
    assert suppressions.check(NUMBER, "sms").until == driver.now + 30 * DAY


def test_without_a_merchant_every_merchants_consent_counts(listed):
    """may_send, a waiting retry and a new report without a merchant meet any merchant's opt-out, as long as one stands."""
    suppressions = listed.store.suppressions
    listed.fail("w1", "SMS_EXPIRED", merchant=None)
    listed.fail("m1", "OPT_OUT", merchant=1)
    listed.fail("m2", "COMPLAINT", merchant=2)
    end = listed.now + 30 * DAY
    listed.fail("w2", "SMS_EXPIRED", merchant=3)

    verdict = suppressions.check(NUMBER, "sms")
    assert (verdict.allowed, verdict.reason, verdict.until) == (False, "OPT_OUT", None)
    assert suppressions.check(NUMBER, "sms", merchant=" ") == verdict
    assert listed.fail("m3", "SMS_EXPIRED", merchant=None).outcome == "suppressed"
    assert listed.resend("w1") == []
    assert listed.story("w1").delivery.outcome == "suppressed"
    assert suppressions.check(NUMBER, "sms", merchant=3)
    assert listed.resend("w2") == [("w2", 1)]

    lift(listed, "merchant:1")
    verdict = suppressions.check(NUMBER, "sms")
    assert (verdict.reason, verdict.until) == ("COMPLAINT", end)
    lift(listed, "merchant:2")
    assert suppressions.check(NUMBER, "sms")


def test_a_merchants_bounce_is_that_merchants_alone(driver):
    """Only consent counts for who names no merchant; what is no consent keeps its scope."""
    load(driver, row(driver, BOUNCE, "event", merchant="7"), row(driver, "OUR_LIST", "person", merchant="8"))

    assert driver.store.suppressions.check(NUMBER, "sms")
    assert not driver.store.suppressions.check(NUMBER, "sms", merchant=7)


def test_the_mirror_of_consents_is_no_entry(listed):
    """It is not listed, counted, found or moved, goes with its last consent, and is swept when they have ended."""
    listed.fail("m1", "COMPLAINT", merchant=1)
    listed.fail("m2", "COMPLAINT", merchant=2)
    suppressions, hash_ = listed.store.suppressions, listed.store.keys.fixed("suppressions")

    assert len(list(suppressions.find(NUMBER, "sms"))) == len(stands(listed)) == 2
    assert (listed.store.sizes()["suppressions"], listed.client.hlen(hash_)) == (2, 3)
    rid = suppressions.rid(NUMBER, "sms")
    places = listed.store.erasure.find(rid, streams={})
    assert len(places.suppressions) == 2
    lift(listed, "merchant:1")
    listed.wait(31 * DAY)
    listed.store.sweep(policy=listed.policy, count=1000)
    assert (listed.store.sizes()["suppressions"], listed.client.hlen(hash_)) == (0, 0)


def test_blanks_around_an_id_make_no_other_merchant(listed):
    """A merchant " 42 " of a report, a row or a question is 42; so are claims and customers that are cancelled."""
    listed.fail("m1", "OPT_OUT", merchant=" 42 ")
    load(listed, row(listed, "OPT_OUT", "person", merchant="\t43 "))
    suppressions = listed.store.suppressions

    assert not suppressions.check(NUMBER, "sms", merchant=42)
    assert not suppressions.check(NUMBER, "sms", merchant=" 43")
    assert {one.merchant for one in suppressions.find(NUMBER, "sms")} == {"42", "43"}
    listed.store.cancels.add("claim", " 9 ", by=ME, now=listed.now)
    assert listed.fail("m2", "SMS_EXPIRED", claim="9 ", to=["+4915112345679"]).outcome == "cancelled"


def test_a_cause_knows_its_delivery_until_another_adds_to_it(listed):
    """By that a later receipt can lift what one delivery alone had caused; consent knows its newest believed date."""
    listed.fail("m1", BOUNCE)
    (cause,) = listed.store.suppressions.find(NUMBER, "sms")
    assert cause.entry["d"] == listed.story("m1").delivery.id
    listed.fail("m2", BOUNCE)
    (cause,) = listed.store.suppressions.find(NUMBER, "sms")
    assert ("d" in cause.entry, cause.entry["first"]) == (False, listed.story("m1").delivery.id)

    for name, ago in (("m3", 30 * SECOND), ("m4", 60 * SECOND)):
        listed.fail(name, "OPT_OUT", at=listed.now - ago)
    dated = {one.code: one.entry.get("dated") for one in listed.store.suppressions.find(NUMBER, "sms")}
    assert dated == {BOUNCE: None, "OPT_OUT": listed.now - 30 * SECOND}


def test_an_entry_has_ten_causes_at_most(driver):
    """A producer with codes without end makes no entry too large; of more causes the one that ends first goes."""
    load(
        driver,
        *(row(driver, f"CODE_{n:02}", "event", (n + 1) * DAY) for n in (7, 3, *range(8, 15), 2, 1, 6, 4)),
    )

    assert sorted(end // DAY for _, end in stands(driver)) == [5, 7, 8, *range(9, 16)]
    assert driver.store.suppressions.check(NUMBER, "sms").until == driver.now + 15 * DAY


def test_a_change_of_one_entry_is_in_the_audit_without_the_address(driver):
    """Before and after, for who asks later; an erasure must not have to look there."""
    driver.store.suppressions.add(NUMBER, "sms", by=ME, now=driver.now)
    load(driver, row(driver, "OPT_OUT", "event"))
    lift(driver, "code:OPT_OUT")
    removed, imported, added = driver.store.audit.entries()

    assert (added["before"], json.loads(added["after"])["code"]) == ("", "MANUAL")
    assert [json.loads(one["after"])["code"] for one in (imported, removed)] == ["OPT_OUT", "MANUAL"]
    assert NUMBER not in json.dumps([added, imported, removed])


def test_a_merchant_whose_name_ends_like_the_mirrors_is_shown(listed):
    """Only the field of no merchant mirrors the consents of all."""
    listed.store.suppressions.add(NUMBER, "sms", by=ME, now=listed.now, merchant="shop@")
    (entry,) = listed.store.suppressions.find(NUMBER, "sms")

    assert entry.merchant == "shop@"
    assert [code for code, _ in stands(listed)] == ["MANUAL"]


def test_consent_goes_last_where_an_entry_has_too_many_causes(listed):
    """Ten causes stand; consent that ends is kept beside bounces that do not."""
    load(listed, row(listed, "OPT_OUT", "event", 10 * DAY))
    load(listed, *(row(listed, f"X{n}", "event") for n in range(10)))

    assert len(stands(listed)) == 10
    assert stands(listed)[0] == ("OPT_OUT", 10 * DAY)


def test_a_verdict_names_the_strongest_cause_that_stands_and_the_latest_end_of_both_scopes(listed):
    """A cause that has ended is named no more, and a merchant's bounce hides no consent of all."""
    load(listed, row(listed, "COMPLAINT", "event", DAY), row(listed, BOUNCE, "event"))
    load(listed, row(listed, "SMS_REJECTED", "event", DAY, merchant="7"))
    suppressions = listed.store.suppressions
    first = suppressions.check(NUMBER, "sms", merchant="7")
    listed.wait(2 * DAY)
    later = suppressions.check(NUMBER, "sms", merchant="7")

    assert [(one.reason, one.until) for one in (first, later)] == [("COMPLAINT", None), (BOUNCE, None)]


def test_a_row_whose_weaker_cause_is_new_is_not_listed_already(listed):
    """What becomes of a row is said of all of its causes."""
    load(listed, row(listed, "COMPLAINT", "event"))
    also = [{"code": BOUNCE, "origin": "event", "until": "never"}]

    assert load(listed, row(listed, "COMPLAINT", "event", also=also)) != ["listed"]
    assert [code for code, _ in stands(listed)] == ["COMPLAINT", BOUNCE]


def test_the_mask_of_a_recipient_stays_where_a_stronger_cause_has_none(listed):
    """An import by hash knows no address."""
    load(listed, row(listed, BOUNCE, "event"))
    shown = listed.store.suppressions.find(NUMBER, "sms")[0].entry["mask"]
    rid = listed.store.suppressions.rid(NUMBER, "sms")
    load(listed, row(listed, "COMPLAINT", "event") | {"address": "", "recipient": f"r_{rid}"})

    assert {one.entry["mask"] for one in listed.store.suppressions.find(NUMBER, "sms")} == {shown}
