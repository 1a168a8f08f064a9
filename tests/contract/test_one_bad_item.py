"""One bad item costs only itself: no record, event or notice stops a claim, a batch or a loop."""

import json
import threading

import pytest

from softbounce.errors import NewerRecord, ScriptFailed
from softbounce.store.audit import By
from softbounce.worker.intake import Intake

from .store_driver import ANYTHING, HOUR, LEASE, NUMBER, SECOND

SLOW = "version: 1\nlimits: {handover_rate: 1/s, min_delay: 1s}\ncodes: {SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [1m]}}}"
ORDINARY = [f"m{n}" for n in range(4)]


class InForce:
    """A policy that no file changes."""

    def __init__(self, policy):
        self.current = policy


def intake_of(driver):
    """Return a worker's intake over the driver's store."""
    return Intake(driver.store, InForce(driver.policy), worker="w1", lease=LEASE, stopping=threading.Event())


def change_record(driver, reference, change):
    """Write a message's record anew: ``change`` gets its three lines and returns them, or other bytes."""
    key = driver.store.keys.fixed("deliveries")
    ident = driver.story(reference).delivery.id
    lines = change(*driver.client.hget(key, ident).split(b"\n", 2))
    driver.client.hset(key, ident, b"\n".join(lines) if isinstance(lines, list) else lines)
    return ident


def with_head(**facts):
    """Return a change of a record's head."""

    def change(head, payload, recipients):
        return [json.dumps(json.loads(head) | facts, separators=(",", ":")).encode(), payload, recipients]

    return change


def due_beside(driver, reference):
    """Report four ordinary messages beside one, and let all become due."""
    for name in (*ORDINARY, reference):
        driver.fail(name, to=[f"+491511234{5678 + len(driver.waiting())}"])
    driver.wait(driver.waiting()[-1].due + HOUR - driver.now)


DAMAGE = {
    "no record at all": lambda *_: b"garbage",
    "no bytes": lambda *_: b"",
    "a head that is no JSON": lambda _, payload, to: [b"{", payload, to],
    "a head that is a list": lambda _, payload, to: [b"[1]", payload, to],
    "a deadline that is text": with_head(x="soon"),
    "a try of 400 digits": with_head(a=10**400),
    "a due time that is a list": with_head(d=[]),
    "a state that nobody knows": with_head(s="lost"),
    "a version that is text": with_head(v="2"),
    "no deadline": lambda head, payload, to: [head.replace(b'"x":', b'"xx":'), payload, to],
    "a payload that is no JSON": lambda head, _, to: [head, b"[", to],
    "a payload that is an object": lambda head, _, to: [head, b"{}", to],
    "a payload of two": lambda head, _, to: [head, b'["a","sms"]', to],
    "a merchant with a line break": lambda head, payload, to: [
        head,
        payload.replace(b",1,", b',"a\\nb",'),
        to,
    ],
    "a payload that is no UTF-8": lambda head, payload, to: [head, payload.replace(b"bad", b"\xff\xfe"), to],
    "no recipients": lambda head, payload, _: [head, payload, b""],
    "recipients that are no list": lambda head, payload, _: [head, payload, b"{}"],
    "recipients torn off": lambda head, payload, _: [head, payload, b'["+49'],
    "hashes of recipients that are numbers": with_head(rs=[1]),
}


@pytest.mark.parametrize("line_up", [False, True], ids=["at once", "in line"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_that_cannot_be_read_is_set_aside_and_the_claim_goes_on(driver, damage, line_up):
    """Its neighbours leave, its bytes are kept by a case, and nothing of it is left in the schedule."""
    due_beside(driver, "bad")
    ident = change_record(driver, "bad", DAMAGE[damage])
    raw = driver.client.hget(driver.store.keys.fixed("deliveries"), ident)
    if line_up:
        slow = driver.with_policy(SLOW)
        gone = []
        for _ in range(8):
            gone += [reference for reference, _ in slow.hand_over()]
            driver.wait(SECOND)
    else:
        gone = [reference for reference, _ in driver.hand_over()]

    assert sorted(gone) == ORDINARY
    (case,) = [case for case in driver.cases() if case.kind == "damaged_record"]
    ((kept, kept_raw),) = driver.store.cases.damaged().items()
    assert (case.count, kept) == (1, ident)
    assert (
        kept_raw == raw or kept_raw.split(b"\n", 1)[1] == raw.split(b"\n", 1)[1]
    )  # leased, and then given up as unreadable
    assert driver.waiting() == []
    assert driver.client.zscore(driver.store.keys.fixed("schedule"), ident) is None


def test_a_deadline_before_1970_does_not_stop_the_line(driver):
    """Whatever number a record has for its deadline, it gets a place in line, and ends as too late."""
    due_beside(driver, "bad")
    change_record(driver, "bad", with_head(x=-62_135_596_800))
    slow, gone = driver.with_policy(SLOW), []
    for _ in range(8):
        gone += [reference for reference, _ in slow.hand_over()]
        driver.wait(SECOND)

    assert sorted(gone) == ORDINARY
    assert driver.story("bad").delivery.outcome == "given_up"


@pytest.mark.parametrize(
    "unset",
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", 0],
)
def test_a_second_report_with_an_unset_deadline_binds_nothing(driver, unset):
    """NotAfter of the year 1 or 9999 is none: the waiting retry keeps its deadline, and history tells that it was left out."""
    driver.fail()
    before = driver.story().delivery.deadline
    driver.fail(notAfter=unset)

    story = driver.story()
    assert story.delivery.deadline == before
    assert story.history[-1].endless
    assert driver.resend() == [("m1", 1)]


def test_a_timezone_that_is_none_is_told_in_the_history_and_counted(driver):
    """The report counts all the same; doctor says how many named such a zone."""
    driver.fail(timezone="Mars/Olympus")
    driver.fail(timezone="europe/berlin")

    assert [line.no_zone for line in driver.story().history] == ["Mars/Olympus", None]
    assert driver.store.sources(now=driver.now)["1"] == (0, {"no_zone": 1})


def test_a_report_of_a_damaged_record_is_taken_in_anew(driver):
    """Accept keeps the bytes as claim does, and the report gets its outcome."""
    driver.fail()
    ident = change_record(driver, "m1", DAMAGE["a head that is no JSON"])

    assert driver.accept(driver.failed(), driver.failed("m2")) == ["scheduled", "scheduled"]
    assert list(driver.store.cases.damaged()) == [ident]
    assert [case.kind for case in driver.cases()] == ["damaged_record"]


def test_a_sweep_sets_aside_what_nobody_claims(driver):
    """A damaged record that waits for nothing is found by the slow scan, which goes on."""
    driver.fail(code="INVALID_MOBILE_NUMBER")
    ident = change_record(driver, "m1", DAMAGE["no record at all"])
    driver.store.sweep(policy=driver.policy)

    assert list(driver.store.cases.damaged()) == [ident]


def damaged_case(driver):
    """Return the case of the damaged records."""
    return next(case for case in driver.cases() if case.kind == "damaged_record")


def resolved(driver, how):
    """Resolve that case; return what it did."""
    return driver.store.cases.resolve(
        damaged_case(driver).id,
        how=how,
        by=By("me", "looked"),
        policy=driver.policy,
        first=driver.now,
        step=1,
    )


def test_a_damaged_record_that_is_released_is_tried_again(driver):
    """A release of softbounce that can read it takes it up; the bytes are those that were found."""
    driver.fail()
    sound = driver.client.hgetall(driver.store.keys.fixed("deliveries"))
    driver.until_due()
    change_record(driver, "m1", DAMAGE["a payload of two"])
    assert driver.hand_over() == []
    (ident,) = driver.store.cases.damaged()
    driver.client.hset(
        driver.store.keys.fixed("damaged"), ident, sound[ident.encode()]
    )  # what a mended reader sees

    assert resolved(driver, "release").released == 1
    assert driver.hand_over() == [("m1", 1)]
    assert driver.store.cases.damaged() == {}


def test_a_damaged_record_that_was_reported_again_meanwhile_stays_aside(driver):
    """The record that was made anew counts: a release does not bring back what it replaced."""
    driver.fail()
    driver.until_due()
    change_record(driver, "m1", DAMAGE["a payload of two"])
    driver.claim()
    driver.fail(code="PROVIDER_ERROR")

    assert (resolved(driver, "release").released, driver.store.cases.damaged()) == (0, {})
    assert driver.story().delivery.code == "PROVIDER_ERROR"


def test_a_damaged_record_that_is_dropped_is_gone(driver):
    """Its bytes go with its case."""
    driver.fail()
    driver.until_due()
    change_record(driver, "m1", DAMAGE["a payload of two"])
    driver.claim()

    assert resolved(driver, "drop").ended == 1
    assert driver.store.cases.damaged() == {}
    assert driver.client.hlen(driver.store.keys.fixed("deliveries")) == 0


def test_a_notice_that_cannot_be_read_is_set_aside_and_the_others_are_told(driver):
    """One bad notice holds none back; released, it is tried again."""
    driver.fail("m1", code="INVALID_MOBILE_NUMBER")
    driver.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR", to=["+4915112345679"])
    bodies = driver.store.keys.fixed("notice_bodies")
    name, body = next(
        (name, body) for name, body in driver.client.hgetall(bodies).items() if name.startswith(b"supp")
    )
    driver.client.hset(bodies, name, b"\xff no notice")

    assert driver.notices() == ["held"]
    (kept,) = driver.store.cases.damaged()
    driver.client.hset(driver.store.keys.fixed("damaged"), kept, body)
    resolved(driver, "release")
    assert driver.notices() == ["case_resolved", "suppressed"]


@pytest.mark.parametrize("send", ["failed", "delivered", "bare"])
def test_an_event_about_a_newer_release_s_record_waits_for_that_release(driver, send):
    """Nothing is changed, nobody is told, and the worker of the newer release finds it as it was."""
    driver.fail()
    change_record(driver, "m1", with_head(v=2))
    before = driver.client.hgetall(driver.store.keys.fixed("deliveries"))
    raw = {"failed": driver.failed(), "delivered": driver.delivered(), "bare": bare(driver)}[send]

    assert driver.accept(raw, driver.failed("m2", to=["+4915112345679"])) == ["deferred", "scheduled"]
    assert before.items() <= driver.client.hgetall(driver.store.keys.fixed("deliveries")).items()
    assert driver.cases() == []
    assert "deferred" not in driver.store.counters()
    with pytest.raises(NewerRecord):
        intake_of(driver).take([raw])
    change_record_back(driver)
    assert driver.accept(raw) != ["deferred"]


def bare(driver):
    """Return a report of the message that names neither a cause nor a recipient."""
    report = json.loads(driver.failed())
    del report["claim"]["communication"]["error"]
    return json.dumps(report).encode()


def change_record_back(driver):
    """Make the newer release's record one of ours."""
    key = driver.store.keys.fixed("deliveries")
    for ident, raw in driver.client.hgetall(key).items():
        head, rest = raw.split(b"\n", 1)
        facts = {name: value for name, value in json.loads(head).items() if name != "v"}
        driver.client.hset(key, ident, json.dumps(facts, separators=(",", ":")).encode() + b"\n" + rest)


def test_a_deferred_report_stays_in_the_stream_without_a_strike(driver):
    """However often it is taken over, it is neither acknowledged nor a dead letter."""
    driver.fail()
    change_record(driver, "m1", with_head(v=2))
    events, intake = driver.store.events, intake_of(driver)
    events.publish([driver.failed(), driver.failed("m2", to=["+4915112345679"])])
    intake.turn()
    intake.settle()

    for _ in range(6):
        (entry,) = events.reclaim("w2", idle_ms=0, count=10)
        events.defer([entry], "w2")
        assert entry.deliveries == 1
    assert (events.lag().unread, events.lag().pending) == (0, 1)
    assert sorted(waiting.delivery.reference for waiting in driver.waiting()) == ["m1", "m2"]


def test_an_entry_that_is_too_large_is_kept_as_the_head_of_a_dead_letter(driver):
    """Its letter tells its whole length, and it cannot be replayed; its neighbours are taken in."""
    events, intake = driver.store.events, intake_of(driver)
    huge = b'{"type":"' + b"x" * 300_000 + b'"}'
    events.publish([driver.failed("m1"), huge, driver.failed("m2", to=["+4915112345679"])])
    intake.turn()
    intake.settle()

    assert sorted(waiting.delivery.reference for waiting in driver.waiting()) == ["m1", "m2"]
    (letter,) = driver.store.dead_letters.select(ANYTHING, now=driver.now)
    assert (letter.length, letter.is_whole, letter.reason) == (len(huge), False, "is larger than 256 KiB")


def test_a_report_on_which_the_script_fails_stands_alone_as_a_dead_letter(driver):
    """The batch is halved until the culprit stands alone; its neighbours get their outcome in the same call of the worker."""
    standing = driver.store.keys.fixed("standing")
    driver.fail("before")
    (rid,) = driver.client.hkeys(standing)
    driver.client.hset(standing, rid, "5")  # whatever makes a script fail on this recipient's reports
    raws = [driver.failed(f"m{n}", to=[f"+49151123{n:05}"]) for n in range(20)]
    raws[7] = driver.failed("bad", to=[NUMBER])
    before = {
        name: driver.client.hgetall(driver.store.keys.fixed(name))
        for name in ("cases", "open_cases", "notice_bodies")
    }
    with pytest.raises(ScriptFailed, match="the store's script fails on it"):
        driver.accept(*raws)
    assert driver.waiting()[1:] == []
    assert {name: driver.client.hgetall(driver.store.keys.fixed(name)) for name in before} == before

    answers = intake_of(driver).take(raws)

    assert [answer.outcome for answer in answers] == ["scheduled"] * 7 + ["dead_lettered"] + [
        "scheduled"
    ] * 12
    (letter,) = driver.store.dead_letters.select(ANYTHING, now=driver.now)
    assert (letter.raw, letter.is_whole) == (raws[7], True)
    assert "script fails on it" in letter.reason
    driver.client.delete(standing)


def test_a_server_that_refuses_a_command_convicts_no_report(driver):
    """A key of another type is the store's fault: the batch fails as a whole, and nothing becomes a dead letter."""
    key = driver.store.keys.fixed("cases")
    driver.client.set(key, "of another type", ex=60)
    raw = driver.failed(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    with pytest.raises(Exception, match="WRONGTYPE"):
        intake_of(driver).take([raw])
    driver.client.delete(key)

    assert driver.accept(raw) == ["held"]
    assert list(driver.store.dead_letters.select(ANYTHING, now=driver.now)) == []


def test_a_label_that_is_a_number_of_401_digits_is_text_in_its_case(driver):
    """The case exists, and the message belongs to it."""
    details = {"snippets": [10**400]}
    answer = driver.fail(code="SNIPPET_ERROR", type="RENDER_ERROR", details=details)
    (case,) = driver.cases()

    assert (answer.outcome, answer.case, case.count) == ("held", case.id, 1)
    assert case.entry["detail"] == str(10**400)[:200]


def test_a_producer_that_repeats_a_report_hears_what_came_of_it_first(driver):
    """The reply to a duplicate says which outcome the report had."""
    raw = driver.failed()
    driver.store.events.publish([raw, raw], reply="t1")
    intake = intake_of(driver)
    intake.turn()
    intake.settle()

    replies = driver.store.events.wait_replies("t1", count=2, seconds=0)
    assert [(reply["outcome"], reply.get("first")) for reply in replies] == [
        ("scheduled", None),
        ("duplicate", "scheduled"),
    ]
