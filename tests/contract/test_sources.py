"""Producers' clocks: a date that cannot be believed ends no message, and convicts nobody."""

import json
from zlib import crc32

import pytest

from .store_driver import DAY, HOUR, MINUTE, SECOND

LAGS = (0, 6 * MINUTE, 20 * MINUTE, 5 * HOUR)


def handed_over(driver, **options):
    """Report a failure, hand its resend over, and let a quarter of an hour pass."""
    driver.fail(code="PROVIDER_ERROR", **options)
    driver.resend()
    driver.wait(15 * MINUTE)


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("after", [MINUTE, HOUR])
def test_the_answer_to_a_resend_counts_whatever_the_clock_of_its_source(driver, lag, after):
    """A clock that is behind dates the answer before the resend; it is its answer all the same."""
    driver.fail(code="PROVIDER_ERROR", at=driver.now - lag)
    driver.resend()
    driver.wait(after)
    answer = driver.fail(code="PROVIDER_ERROR", at=driver.now - lag)

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


def test_a_late_report_of_an_earlier_send_by_a_right_clock_answers_nothing(driver):
    """The smallest lag of the source's last reports shows that its clock is right."""
    handed_over(driver)

    assert driver.fail(code="SMS_EXPIRED", at=driver.now - 2 * HOUR).outcome == "superseded"


def test_a_copy_of_a_known_failure_answers_nothing_even_by_a_clock_that_is_behind(driver):
    """The same code and the same date under another id: somebody reports it twice."""
    dated = driver.now - HOUR
    handed_over(driver, at=dated)

    assert driver.fail(code="PROVIDER_ERROR", at=dated).outcome == "superseded"


def test_only_the_last_twenty_reports_tell_of_a_clock(driver):
    """A clock that was set wrong yesterday is behind today."""
    driver.fail("right", code="PROVIDER_ERROR")
    for number in range(20):
        driver.fail(f"m{number}", code="PROVIDER_ERROR", at=driver.now - HOUR)
    (raw,) = driver.client.hvals(driver.store.keys.fixed("sources"))

    assert json.loads(raw)["l"] == [3600] * 20


def test_what_is_known_of_a_clock_is_swept_a_month_after_its_last_report(driver):
    """A source that is heard of no more leaves nothing."""
    driver.fail()
    driver.wait(31 * DAY)
    driver.store.sweep(policy=driver.policy)

    assert driver.client.hvals(driver.store.keys.fixed("sources")) == []


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-11-23T04:00:00"])
def test_a_date_that_counts_for_nothing_leaves_the_time_of_receipt(driver, date):
    """The first try is planned from now, and the history says why."""
    raw = json.loads(driver.failed(code="PROVIDER_ERROR")) | {"date": date}
    (answer,) = driver.accept_all(json.dumps(raw).encode())
    (line,) = driver.story().history

    assert answer.outcome == "scheduled"
    assert driver.now + SECOND < answer.due
    assert line.misdated.startswith("its date ")
    assert line.dated == driver.now // SECOND * SECOND


def test_a_report_older_than_all_that_is_remembered_waits_for_a_person(driver):
    """Somebody replays an archive: one case for all of it, and nothing leaves."""
    old = driver.now - driver.policy.retention.history - DAY
    answers = [driver.fail(f"m{number}", at=old) for number in range(3)]

    assert [answer.outcome for answer in answers] == ["held"] * 3
    assert [case.kind for case in driver.cases()] == ["archive"]


def test_a_date_ahead_says_nothing_of_a_clock(driver):
    """A source that is behind stays so: the answer to its resend counts."""
    for number in range(3):
        driver.fail(f"m{number}", code="PROVIDER_ERROR", at=driver.now - HOUR)
    driver.fail("ahead", code="PROVIDER_ERROR", at=driver.now + 30 * DAY)
    driver.deliver("too", at=driver.now + 30 * DAY)
    (line,) = driver.story("ahead").history
    driver.resend("m0")
    driver.wait(MINUTE)

    assert line.misdated == "its date lies ahead"
    assert driver.fail("m0", code="PROVIDER_ERROR", at=driver.now - HOUR).outcome == "scheduled"


def test_two_codes_under_one_event_id_are_two_events(driver):
    """Whatever the id: these collided while two characters told the code."""
    outcomes = []
    for number in range(300):
        driver.fail(f"m{number}", "SMS_EXPIRED", event=f"msg-{number}", claim=number)
        outcomes.append(
            driver.fail(f"m{number}", "PROVIDER_ERROR", event=f"msg-{number}", claim=number).outcome
        )

    assert "duplicate" not in outcomes


CONFIRMS = """
version: 1
defaults: {quiet_hours: off}
codes:
  SMS_NOT_DELIVERED: {do: suppress, fault: recipient, confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: retry}, retry: {delays: [24h]}}
"""


@pytest.mark.parametrize("lag", [0, 30 * MINUTE])
def test_a_second_report_of_one_send_confirms_nothing(driver, lag):
    """Confirmations come from different sends: the retry waits still."""
    strict = driver.with_policy(CONFIRMS)
    strict.fail(code="SMS_NOT_DELIVERED", at=strict.now - lag)
    strict.wait(13 * HOUR)

    assert strict.fail(code="SMS_NOT_DELIVERED", at=strict.now - lag).outcome == "coalesced"
    assert strict.resend()
    strict.wait(MINUTE)
    assert strict.fail(code="SMS_NOT_DELIVERED", at=strict.now - lag).outcome == "suppressed"


def test_what_is_odd_about_reports_is_counted_by_source_until_a_week_without_it(driver):
    """Dates that cannot be right, by the source whose clock dated them."""
    for n, date in enumerate(["0001-01-01T00:00:00Z", "2026-11-23T04:00:00"]):
        raw = json.loads(driver.failed(f"m{n}")) | {"date": date, "source": "gateway"}
        driver.accept(json.dumps(raw).encode())
    assert driver.store.sources(now=driver.now) == {"gateway": (0, {"misdated": 2})}
    driver.wait(8 * DAY)
    assert driver.store.sources(now=driver.now) == {"gateway": (0, {})}
    raw = json.loads(driver.failed("m3")) | {"date": "soon", "source": "gateway"}
    driver.accept(json.dumps(raw).encode())
    assert driver.store.sources(now=driver.now) == {"gateway": (0, {"misdated": 1})}


@pytest.mark.parametrize("other", [{"code": "SMS_REJECTED"}, {"resendId": "another"}])
def test_an_event_id_that_comes_again_with_another_content_is_decided_on_and_counted(driver, other):
    """Some carriers give all reports of a message one id: doctor says so. A redelivery is no such event."""
    driver.fail(event="e1")
    assert driver.fail(event="e1").outcome == "duplicate"
    assert driver.store.sources(now=driver.now)["1"] == (0, {})
    assert driver.fail(**({"event": "e1"} | other)).outcome != "duplicate"
    assert driver.store.sources(now=driver.now)["1"] == (0, {"repeated_id": 1})


SKEWS = (0, 3 * MINUTE, 6 * MINUTE, 20 * MINUTE, 3 * HOUR)  # by how much the source's clock is behind
DELAYS = (0, MINUTE, 20 * MINUTE, 2 * HOUR)  # how long its reports travel
MESSAGES = 5


def test_no_clock_and_no_delay_loses_a_message_and_only_a_slow_one_sends_a_text_twice(driver):
    """The table over skew and delay: each resend's own answer counts; a copy of the first failure counts nowhere.

    Another report of the first send is told from an answer by its date alone, so by a clock that seems right: where
    it is behind, or all reports are late, it uses up a try.
    """
    table = {}
    for skew in SKEWS:
        for delay in DELAYS:
            found = [_lost_and_double(driver, skew, delay, number) for number in range(MESSAGES)]
            table[skew, delay] = tuple(map(sum, zip(*found, strict=True)))

    assert {lost for lost, _ in table.values()} == {0}
    for (skew, delay), (_, doubled) in table.items():
        assert doubled == (0 if skew + delay < 5 * MINUTE else MESSAGES), (skew, delay)


def _lost_and_double(driver, skew, delay, number):
    """Let a text fail twice, reported by one source; return whether its answer was lost, and whether it is sent twice."""
    ref, name = f"{skew}-{delay}-{number}", f"gateway-{skew}-{delay}"

    def say(dated, code="SMS_EXPIRED"):
        raw = json.loads(
            driver.failed(
                ref, code, at=dated - skew, claim=ref, to=[f"+4915{crc32(ref.encode()) % 10**9:09}"]
            )
        )
        (answer,) = driver.accept_all(json.dumps(raw | {"source": name}).encode())
        return answer.outcome

    first = driver.now
    driver.wait(delay)
    say(first)
    driver.resend(ref)
    driver.wait(10 * MINUTE)
    assert say(first) == "superseded"  # the same failure under another id
    is_double = say(first + MINUTE, "PROVIDER_ERROR") == "scheduled"
    if is_double:
        return 0, 1
    failed = driver.now
    driver.wait(delay)
    return int(say(failed) != "scheduled"), 0
