"""Who is suppressed, for how long, and by whose word."""

from pathlib import Path

from softbounce.store.audit import By

from .store_driver import ANYTHING, DAY, HOUR, MINUTE, NUMBER, SECOND

SHIPPED = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


def test_a_deadline_suppresses_nobody(driver):
    """then: suppress applies where the tries are used up, not where the message ran out of time."""
    strict = driver.with_policy(SHIPPED.replace("then: review ", "then: suppress "))

    assert strict.fail(notAfter="2026-11-23T09:30:00Z").outcome == "given_up"
    assert not strict.is_suppressed()


def test_tries_that_are_used_up_suppress_a_named_recipient_and_nobody_in_particular(driver):
    """then: suppress speaks of one recipient; of several nobody is known to be the cause."""
    strict = driver.with_policy(SHIPPED.replace("then: review ", "then: suppress "))
    outcomes = {}
    for name, to in (("m1", [NUMBER]), ("m2", ["+4915112345671", "+4915112345672"])):
        while (answer := strict.fail(name, to=to)).outcome == "scheduled":
            strict.resend(name)
        outcomes[name] = answer.outcome

    assert outcomes == {"m1": "suppressed", "m2": "given_up"}
    assert strict.is_suppressed()
    assert strict.client.hlen("{sb:default}:suppressions") == 1


def test_a_persons_suppression_ends_by_itself(driver):
    """An entry that a person made for a week refuses retries for a week, and is swept after it."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "asked us to"), now=driver.now, expires=7 * DAY)
    assert driver.fail().outcome == "suppressed"
    driver.wait(7 * DAY + SECOND)

    assert driver.fail("m2").outcome == "scheduled"
    assert driver.resend("m2") == [("m2", 1)]
    driver.store.sweep(policy=driver.policy, count=1000)
    assert driver.store.suppressions.find(NUMBER, "sms") == []


def test_a_permanent_verdict_outlasts_a_persons_shorter_word(driver):
    """A report may lengthen an entry that a person made, never shorten it."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("me", "ill"), now=driver.now, expires=7 * DAY)
    driver.fail(code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
    driver.wait(8 * DAY)

    assert driver.is_suppressed()


def test_an_opt_out_without_a_merchant_refuses_everything(driver):
    """scope: merchant needs a merchant; where none is named the recipient is refused altogether."""
    driver.fail(code="OPT_OUT", merchant=None)

    assert driver.is_suppressed()
    assert driver.is_suppressed(merchant=1)


def test_a_policys_pause_does_not_shorten_a_persons(driver):
    """soft_bounce.then: hold leaves a longer pause of a person as it is; a delivery does not lift that."""
    strict = driver.with_policy(SHIPPED.replace("then: notify", "then: hold"))
    strict.store.pauses.add(
        "recipient", NUMBER, channel="sms", until=driver.now + 60 * DAY, by=By("me", "court")
    )
    for n in range(3):
        strict.fail(f"m{n}")
        strict.wait(25 * HOUR)
    strict.deliver("m9")

    assert strict.is_suppressed()


def test_a_refusal_for_ever_has_no_end_in_its_notice(driver):
    """The notice of a suppression without an end says null, not the epoch."""
    driver.fail(code="OPT_OUT")
    (notice,) = driver.store.notices.claim(limit=10, lease=MINUTE)

    assert notice.body["until"] is None


def test_a_delivery_clears_the_evidence_against_an_address(driver):
    """One "no such number" before it and one after it are no two reports of a dead number."""
    driver.fail("m1", "SMS_NOT_DELIVERED")
    driver.deliver("m1")
    driver.wait(6 * DAY)
    driver.fail("m2", "SMS_NOT_DELIVERED")

    assert driver.store.suppressions.check(NUMBER, "sms").reason == "paused"


def test_hashes_of_another_key_are_refused_and_not_counted_as_imported(driver):
    """They would protect nobody."""
    driver.store.suppressions.add(NUMBER, "sms", by=By("test", "asked"), now=driver.now)
    (entry,) = driver.store.suppressions.select(ANYTHING, now=driver.now)
    good = entry.row(reveal=False, key=driver.store.suppressions.fingerprint)

    def load_row(row):
        return list(driver.store.suppressions.load([row], by=By("test", "import"), now=driver.now))

    assert load_row(good) == ["listed"]
    (refused,) = load_row(good | {"key": "0" * 16})
    assert "another key" in str(refused)
