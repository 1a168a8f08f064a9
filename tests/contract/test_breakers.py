"""Providers: their rate, and the breaker that opens while one is down."""

import json

import pytest

from softbounce.store.audit import By

from .store_driver import DAY, HOUR, SECOND

MINUTE = 60 * SECOND
BREAKER = "{open_when: {failures: 50%, of_last: 20, least: 4, within: 10m}, open_for: {base: 1m, factor: 2, cap: 3m}, probe: 3, ramp_up: 10m}"
TEXT = """version: 1
limits: {{resends_per_recipient: 900/1d, resends_per_claim: 900/1d, min_delay: 1s, handover_rate: 100/s, max_attempts: 20}}
feedback: {feedback}
defaults: {{quiet_hours: off}}
codes:
  PROVIDER_ERROR: {{do: retry, fault: provider, retry: {{backoff: {{base: 1m, factor: 1}}, jitter: 0%, max_attempts: 20, give_up_after: 9d}}}}
  SMS_EXPIRED: {{do: retry, retry: {{delays: [1m], max_attempts: 20, jitter: 0%}}}}
providers:
  "*": {{{general}breaker: {breaker}}}
  "sms:free": {{rate: 900/s, breaker: off}}
"""


def text_of(*, feedback="delivered", rate=None, breaker=BREAKER):
    """Return a policy."""
    return TEXT.format(feedback=feedback, general=f"rate: {rate}, " if rate else "", breaker=breaker)


@pytest.fixture
def down(driver):
    """A driver in which four resends to sms:1 went out and failed by the provider's fault."""
    driver = driver.with_policy(text_of())
    fail_all(driver, "a", 4)
    assert len(driver.hand_over()) == 4
    fail_all(driver, "a", 4)
    return driver


def fail_all(driver, name, count, code="PROVIDER_ERROR", **options):
    """Report failures of so many messages, and let time pass until their next resend."""
    driver.accept(*(driver.failed(f"{name}{n}", code, claim=n, **options) for n in range(count)))
    driver.wait(MINUTE + SECOND)


def head(driver, name="sms:1"):
    """Return what the store knows of a provider."""
    known = driver.client.hget(driver.store.keys.fixed("breakers"), name) or b"{}"
    return json.loads(known.partition(b"\n")[0])


def states(driver):
    """Return what the waiting retries wait for."""
    return sorted(waiting.state for waiting in driver.waiting())


def places(driver):
    """Return the time at which each waiting retry comes back, sorted."""
    return [score for _, score in driver.client.zrange("{sb:default}:schedule", 0, -1, withscores=True)]


def half_open(driver):
    """Let the breaker's time pass, and as many probes leave as may."""
    driver.wait(4 * MINUTE)
    leases = driver.claim()
    driver.finish(*leases)
    return [lease.delivery.reference for lease in leases]


def test_failed_resends_open_the_breaker(down):
    """Half of the answers to resends are the provider's failures: nothing leaves for it, whatever is due."""
    assert head(down)["s"] == "open"
    assert [entry["action"] for entry in down.store.audit.entries()] == ["breaker opened"]
    assert [(case.kind, case.entry["code"]) for case in down.cases()] == [("incident", "provider_down")]


def test_a_worker_hears_once_of_a_breaker_that_opened(down):
    """The next claim that meets the provider tells it, for the log; the one after does not."""
    fail_all(down, "b", 1)

    assert down.claimed().breakers == (("sms:1", "open"),)
    down.wait(1)
    fail_all(down, "c", 1)
    assert down.claimed().breakers == ()


def test_first_failures_open_no_breaker(driver):
    """What the pipeline sent first is reported only where it failed: its share would always be all."""
    driver = driver.with_policy(text_of())
    fail_all(driver, "a", 50)

    assert head(driver) == {}
    assert len(driver.claim()) == 50


@pytest.mark.parametrize("between", [None, 15 * MINUTE])
def test_three_answers_are_too_few_to_open_a_breaker(driver, between):
    """With fewer answers than least, a share says nothing, and what was answered before ``within`` is no answer any more."""
    driver = driver.with_policy(text_of())
    for _ in range(2 if between else 1):
        fail_all(driver, "a", 3)
        assert len(driver.hand_over()) == 3
        fail_all(driver, "a", 3)
        driver.wait(between or 0)

    assert head(driver).get("s") is None


def test_a_recipients_fault_says_nothing_of_the_provider(driver):
    """A full mailbox is no outage."""
    driver = driver.with_policy(text_of())
    fail_all(driver, "a", 10, "SMS_EXPIRED")
    assert len(driver.hand_over()) == 10
    fail_all(driver, "a", 10, "SMS_EXPIRED")

    assert head(driver).get("s") is None


def test_arrivals_keep_the_breaker_closed(driver):
    """Four failures beside five arrivals are less than half of the answers."""
    driver = driver.with_policy(text_of())
    fail_all(driver, "a", 9)
    assert len(driver.hand_over()) == 9
    driver.accept(*(driver.delivered(f"a{n}") for n in range(4, 9)))
    fail_all(driver, "a", 4)

    assert head(driver).get("s") is None


def test_an_open_breaker_stops_its_provider_alone(down):
    """Another provider's resends leave meanwhile; a wait costs no attempt."""
    down.store.breakers.open("sms:1", until=down.now + HOUR, by=By("test", "x"), now=down.now)
    tries = {w.delivery.reference: w.delivery.attempt for w in down.waiting()}
    fail_all(down, "b", 3, merchant=2)

    assert sorted(reference for reference, _ in down.hand_over()) == ["b0", "b1", "b2"]
    assert states(down) == ["breaker"] * 4
    assert {w.delivery.reference: w.delivery.attempt for w in down.waiting()} == tries
    assert len(set(places(down))) == 4
    assert min(places(down)) > down.now + 50 * MINUTE
    assert down.claimed().idle


def test_probes_go_first_and_their_arrival_closes_the_breaker_into_a_ramp(down):
    """Three probes leave; once most of them arrived, the rate grows from little to all of it."""
    fail_all(down, "b", 500)
    probes = half_open(down)
    assert len(probes) == 3
    assert head(down)["s"] == "half"
    assert set(states(down)) <= {"breaker", "waiting"}
    down.accept(*(down.delivered(reference) for reference in probes[:2]))
    assert head(down).get("s") is None
    assert down.cases() == []
    assert not down.client.exists("{sb:default}:members")

    seen = []
    for _ in range(3):
        down.wait(3 * MINUTE)
        seen.append(len(down.hand_over()))
    assert 0 < seen[0] < seen[1] < seen[2] <= 100


def test_failed_probes_open_it_again_for_longer(down):
    """One minute, two, and then no longer than the cap."""
    waits = []
    for _ in range(3):
        probes = half_open(down)
        assert len(probes) == 3
        down.accept(*(down.failed(reference, "PROVIDER_ERROR") for reference in probes))
        waits.append(head(down)["u"] - down.now)

    assert waits == [2 * MINUTE, 3 * MINUTE, 3 * MINUTE]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ("+", "half"),
        ("-", "half"),
        ("+-", "half"),
        ("++", "closed"),
        ("--", "open"),
        ("-++", "closed"),
        ("+--", "open"),
    ],
)
def test_two_of_three_probes_decide(down, answers, state):
    """The first word that half of them have closes the breaker or opens it; fewer decide nothing."""
    for reference, answer in zip(half_open(down), answers, strict=False):
        if answer == "+":
            down.deliver(reference)
        else:
            down.fail(reference, "PROVIDER_ERROR")

    assert head(down).get("s", "closed") == state


def test_answers_of_two_rounds_count_together(down):
    """A failed probe is not forgotten because the two beside it were silent."""
    for state in ("half", "open"):
        fail_all(down, state, 3)
        (reference, *_) = half_open(down)
        down.fail(reference, "PROVIDER_ERROR")
        assert head(down)["s"] == state
        down.wait(7 * MINUTE)


def test_after_a_close_the_next_opening_lasts_the_base(down):
    """However often it had opened in a row before."""
    for good in (False, True):
        tell = down.delivered if good else down.failed
        down.accept(
            *(
                tell(reference, **({} if good else {"code": "PROVIDER_ERROR"}))
                for reference in half_open(down)
            )
        )
    assert head(down).get("s") is None
    down.wait(10 * MINUTE)
    fail_all(down, "b", 4)
    down.hand_over()
    down.accept(*(down.failed(f"b{n}", "PROVIDER_ERROR", claim=n) for n in range(4)))

    assert head(down)["u"] - down.now == MINUTE


def test_probes_that_nobody_answers_make_room_for_others(down):
    """A crash between claim and finish, or a silent provider, leaves the breaker half-open, never stuck."""
    down.wait(4 * MINUTE)
    assert len(down.claim()) == 3
    down.wait(9 * MINUTE)
    assert down.claim() == []
    down.wait(9 * MINUTE)

    assert len(down.claim()) == 3
    assert head(down)["p"] == 0


def test_answers_to_what_left_before_decide_nothing_afterwards(down):
    """Failures of the outage that come late do not fail the probes."""
    driver = down.with_policy(text_of())
    fail_all(driver, "c", 6, merchant=3)
    driver.hand_over()
    fail_all(driver, "c", 4, merchant=3)
    assert head(driver, "sms:3")["s"] == "open"
    driver.wait(2 * MINUTE)
    assert driver.claim()
    assert head(driver, "sms:3")["s"] == "half"
    before = head(driver, "sms:3")
    driver.fail("c5", "PROVIDER_ERROR", claim=5, merchant=3)

    assert head(driver, "sms:3")["b"] == before["b"] == 0


def test_silence_is_good_where_nobody_reports_deliveries(driver):
    """With feedback: none each hand-over counts as arrived until it fails; probes that stay silent close."""
    driver = driver.with_policy(text_of(feedback="none"))
    fail_all(driver, "a", 10)
    assert len(driver.hand_over()) == 10
    fail_all(driver, "a", 4)
    assert head(driver).get("s") is None
    driver.accept(driver.failed("a4", "PROVIDER_ERROR", claim=4))
    assert head(driver)["s"] == "open"

    assert len(half_open(driver)) == 3
    driver.wait(11 * MINUTE)
    driver.claim()
    assert head(driver).get("s") is None


def test_a_round_without_a_probe_does_not_close_the_breaker(driver):
    """Silence is good only of what left: where the rate let no probe out, another round begins."""
    driver = driver.with_policy(text_of(feedback="none", rate="6/10m"))
    fail_all(driver, "a", 4)
    left = []
    while len(left) < 4:
        driver.wait(100 * SECOND)
        left += driver.hand_over()
    fail_all(driver, "a", 4)  # it opens for a minute, and the rate lets nothing out for another 40 s
    rounds = []
    for _ in range(3):
        rounds.append((len(driver.hand_over()), head(driver).get("s", "closed")))
        driver.wait(11 * MINUTE)

    assert rounds == [(0, "half"), (1, "half"), (0, "closed")]


def test_a_rate_binds_one_provider_and_the_others_go_on(driver):
    """What is over the rate waits for a place of its own; who stands behind it does not."""
    driver = driver.with_policy(text_of(rate="2/s"))
    fail_all(driver, "a", 10)
    fail_all(driver, "b", 10, merchant="free")

    assert sorted(reference[0] for reference, _ in driver.hand_over()) == ["a"] * 2 + ["b"] * 10
    assert states(driver) == ["rate"] * 8
    assert len(set(places(driver))) == 8
    left = 0
    for _ in range(8):
        driver.wait(SECOND // 2)
        left += len(driver.hand_over())
    assert left == 8


def test_a_breaker_that_a_person_opens_ends_by_itself(driver):
    """Nothing leaves for the time named, then probes; without a breaker in policy, all."""
    driver = driver.with_policy(text_of())
    for name in ("sms:1", "sms:free"):
        driver.store.breakers.open(name, until=driver.now + HOUR, by=By("me", "x"), now=driver.now)
    fail_all(driver, "a", 6)
    fail_all(driver, "b", 6, merchant="free")
    assert driver.hand_over() == []
    driver.wait(HOUR)

    assert sorted(reference[0] for reference, _ in driver.hand_over()) == ["a"] * 3 + ["b"] * 6


def test_a_person_closes_a_breaker_into_the_ramp(down):
    """The case goes, and old answers do not open it again."""
    down.store.breakers.close("sms:1", by=By("me", "they said so"), now=down.now)
    down.wait(5 * MINUTE)

    assert down.cases() == []
    assert down.hand_over()


def test_a_provider_without_news_is_forgotten(down):
    """An entry carries its end, and is swept."""
    down.wait(3 * DAY)
    down.store.sweep(policy=down.policy)

    assert head(down) == {}
