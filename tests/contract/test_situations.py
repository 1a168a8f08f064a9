"""How a delivery stands, and what keeps it from leaving: one script that only reads."""

import pytest
import redis

from softbounce.core.decide import rule_of
from softbounce.explain.delivery import last_report
from softbounce.simulate.from_history import reports
from softbounce.store.audit import By

from .store_driver import DAY, HOUR, MINUTE, NUMBER

STRICT = "version: 1\nlimits: {resends_per_recipient: 1/1d, resends_per_claim: 1/1d}\ndefaults: {quiet_hours: off}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1m]}}}\n"
WORD = {"by": By("eva", "why")}


def situation(driver, **options):
    """Return how the only delivery stands under the driver's policy."""
    (found,) = driver.store.situations.of("m1", policy=driver.policy, **options)
    return found


def test_a_delivery_that_nothing_holds_back(driver):
    """No gate is closed, and its recipient's soft bounce is known."""
    driver.fail()
    found = situation(driver)

    assert (found.story, found.at, found.now) == (driver.story(), driver.now, driver.now)
    assert (found.gates, found.end, found.workers) == ((), None, ())
    assert found.verdict == driver.store.suppressions.check(NUMBER, "sms")
    assert found.verdict.allowed
    assert len(found.soft_bounces) == 1


def test_a_message_that_no_report_named_has_no_situation(driver):
    """It is no error of the store's."""
    assert driver.store.situations.of("m1", policy=driver.policy) == ()


def test_each_recipient_s_delivery_of_a_message_stands_by_itself(driver):
    """In the order of the reports, each with its own lines of history."""
    driver.fail(to=["+4915112345678"])
    driver.fail(to=["+4915187654321"])
    driver.store.pauses.add("recipient", "+4915187654321", channel="sms", until=driver.now + HOUR, **WORD)
    first, second = driver.store.situations.of("m1", policy=driver.policy)

    assert [len(found.story.history) for found in (first, second)] == [1, 1]
    assert [[gate.why for gate in found.gates] for found in (first, second)] == [[], ["paused"]]


def test_what_holds_a_delivery_back_is_what_people_said(driver):
    """Pauses that cover it and no others, the mode that binds it, its provider's breaker, the workers."""
    driver.fail(code="PROVIDER_ERROR")
    delivery, store, until = driver.story().delivery, driver.store, driver.now + HOUR
    for kind, value in (("reference", "m1"), ("code", "PROVIDER_ERROR"), ("channel", "email")):
        store.pauses.add(kind, value, until=until, **WORD)
    store.modes.set("observe", now=driver.now, **WORD)
    store.breakers.open(delivery.provider, until=until, now=driver.now, **WORD)
    store.breakers.open("another", until=until, now=driver.now, **WORD)
    store.workers.beat("w1", {}, now=driver.now)
    found = situation(driver)
    gates = [(gate.becomes, gate.why, gate.field, gate.until) for gate in found.gates]

    assert gates == [
        ("waiting", "paused", "code:PROVIDER_ERROR", until),
        ("waiting", "paused", f"reference:{delivery.id[:12]}", until),
        ("waiting", "breaker", "open", until),
        ("observed", "observe", "*", None),
    ]
    assert all(gate.entry["by"] == "eva" for gate in found.gates if gate.why != "breaker")
    assert found.workers == ("w1",)
    driver.wait(2 * MINUTE)
    assert not situation(driver).workers


def test_the_state_of_a_provider_s_breaker_is_that_of_the_next_claim(driver):
    """Open until its end, then probed; closed where nothing is known of it, and where only a person had opened it."""
    driver.store.breakers.open("sms:1", until=driver.now + HOUR, now=driver.now, **WORD)
    asked = {"policy": driver.policy}

    assert driver.store.situations.breakers(["sms:1", "x"], **asked) == {
        "sms:1": ("open", driver.now + HOUR),
        "x": ("closed", None),
    }
    driver.wait(HOUR)
    assert driver.store.situations.breakers(["sms:1"], **asked)["sms:1"][0] in ("half-open", "closed")


def test_a_cap_counts_what_left(driver):
    """By the recipient and by the claim: the gate says until when, and it opens then."""
    driver.fail(code="PROVIDER_ERROR")
    driver.resend()
    strict = driver.with_policy(STRICT)
    strict.fail("m2", code="PROVIDER_ERROR")
    (found,) = driver.store.situations.of("m2", policy=strict.policy)
    fields = {gate.field: gate.until for gate in found.gates}

    assert set(fields) == {f"recipient:{driver.story().delivery.rid}", "claim:54321"}
    later = driver.store.situations.of("m2", policy=strict.policy, at=max(fields.values()) + MINUTE)
    assert later[0].gates == ()


@pytest.mark.parametrize(
    ("kind", "value"), [("reference", "m1"), ("claim", 54321), ("customer", "C1"), ("merchant", 1)]
)
def test_what_was_cancelled_ends_as_the_list_says(driver, kind, value):
    """With who and why."""
    driver.fail()
    driver.store.cancels.add(kind, value, by=By("eva", "paid"), now=driver.now)
    end = situation(driver).end

    assert (end.becomes, end.entry["by"], end.entry["reason"]) == ("cancelled", "eva", "paid")
    assert [waiting.state for waiting in driver.waiting()] == ["cancelled"]


@pytest.mark.parametrize("merchant", [None, 1, 2])
def test_a_block_ends_what_waits_while_it_lasts(driver, merchant):
    """A block of another merchant does not; the verdict is as of now, the end as of the moment asked about."""
    driver.fail()
    word = {"by": By("eva", "asked"), "now": driver.now}
    driver.store.suppressions.add(NUMBER, "sms", expires=DAY, merchant=merchant, **word)
    found, later = situation(driver), situation(driver, at=driver.now + DAY)

    assert (found.end and found.end.becomes) == (None if merchant == 2 else "suppressed")
    assert found.verdict == driver.store.suppressions.check(NUMBER, "sms", merchant=1)
    assert later.end is None
    assert later.verdict == found.verdict


def test_a_retry_whose_recipients_are_all_listed_ends(driver):
    """It has several: each is asked, and the one that is left is enough."""
    both = ["+4915112345678", "+4915187654321"]
    driver.fail(code="PROVIDER_ERROR", to=both)
    for place, number in enumerate(both, start=1):
        driver.store.suppressions.add(number, "sms", by=By("eva", "asked"), now=driver.now)
        end = situation(driver).end
        assert (end and end.becomes) == ("suppressed" if place == len(both) else None)
    assert [waiting.state for waiting in driver.waiting()] == ["suppressed"]


def test_a_pause_of_the_recipient_refuses_until_it_ends(driver):
    """As the verdict on its address says."""
    driver.fail()
    driver.store.pauses.add("recipient", NUMBER, channel="sms", until=driver.now + HOUR, by=By("eva", "x"))
    found = situation(driver)

    assert found.verdict.reason == "paused"
    assert found.verdict == driver.store.suppressions.check(NUMBER, "sms")
    driver.wait(HOUR)
    assert situation(driver).verdict.allowed


def test_nobody_in_particular_has_no_verdict(driver):
    """A report that names no recipient: there is nobody whom the list could allow or refuse."""
    driver.fail(code="PROVIDER_ERROR", to=[])
    verdict = situation(driver).verdict

    assert (verdict.allowed, verdict.recipient) == (False, "")


def test_what_only_its_policy_could_stop_is_left_out_without_one(driver):
    """A list of what waits has no policy at hand."""
    driver.fail(code="PROVIDER_ERROR")
    driver.store.breakers.open(
        driver.story().delivery.provider, until=driver.now + HOUR, now=driver.now, **WORD
    )
    (found,) = driver.store.situations.of("m1")

    assert found.gates == ()
    assert [gate.why for gate in situation(driver).gates] == ["breaker"]


def test_it_is_one_call_of_a_script_that_changes_nothing(driver, monkeypatch):
    """However much may stand against a delivery, and whether or not the server knows the script."""
    driver.fail()
    driver.store.pauses.add("reference", "m1", until=driver.now + HOUR, **WORD)
    situation(driver)
    before = {key: driver.client.dump(key) for key in driver.client.scan_iter()}
    sent, execute = [], redis.Redis.execute_command

    def counted(client, *words, **options):
        sent.append(words[0])
        return execute(client, *words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "execute_command", counted)
        situation(driver, at=driver.now + DAY)

    assert [name for name in sent if name != "EVALSHA"] == ["EVALSHA_RO"]
    assert before == {key: driver.client.dump(key) for key in driver.client.scan_iter()}


@pytest.mark.parametrize(
    ("text", "kept", "verdict"),
    [
        ("552 <Jane@Web.de>: Mailbox\nNot Found", "mailbox not found", "suppress"),
        ("552 <jane@web.de> is over quota", None, "retry"),
        ("550 <jane@web.de> rejected", None, "hold"),
    ],
)
def test_a_decision_by_the_text_of_a_reply_is_repeated_without_the_text(driver, text, kept, verdict):
    """The history keeps the pattern, never the address beside it; explain and simulate decide the same again."""
    when = (
        "[{text: [no such user, Mailbox not found], do: suppress, fault: recipient}, "
        "{smtp: ['552'], do: retry}, {smtp: ['*'], do: hold}]"
    )
    driver = driver.with_policy(
        f"version: 1\ncodes: {{BOUNCE_A: {{do: suppress, fault: recipient, when: {when}}}}}"
    )
    driver.fail(code="BOUNCE_A", channel="EMAIL", to=["jane@web.de"], details={"message": text})
    story = driver.story()
    (line,) = story.history
    (report,) = reports([story])

    assert (line.text, line.outcome) == (
        kept,
        {"suppress": "suppressed", "retry": "scheduled", "hold": "held"}[verdict],
    )
    assert last_report(story, driver.policy).do == verdict
    assert rule_of(report.event, driver.policy).do == verdict
