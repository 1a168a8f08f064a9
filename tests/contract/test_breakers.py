"""Providers: their rate, and the breaker that opens while one is down."""

import pytest

from softbounce.store.audit import By

from .book import DAY, HOUR, SECOND

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
def down(book):
    """A book in which four resends to sms:1 went out and failed by the provider's fault."""
    book = book.with_policy(text_of())
    fail_all(book, "a", 4)
    assert len(book.hand_over()) == 4
    fail_all(book, "a", 4)
    return book


def fail_all(book, name, count, code="PROVIDER_ERROR", **options):
    """Report failures of so many messages, and let time pass until their next resend."""
    book.accept(*(book.failed(f"{name}{n}", code, claim=n, **options) for n in range(count)))
    book.wait(MINUTE + SECOND)


def head(book, name="sms:1"):
    """Return what the store knows of a provider."""
    return book.store.breakers.all().get(name, ({}, ""))[0]


def states(book):
    """Return what the waiting retries wait for."""
    return sorted(waiting.state for waiting in book.waiting())


def places(book):
    """Return the time at which each waiting retry comes back, sorted."""
    return [score for _, score in book.client.zrange("{sb:default}:schedule", 0, -1, withscores=True)]


def half_open(book):
    """Let the breaker's time pass, and as many probes leave as may."""
    book.wait(4 * MINUTE)
    leases = book.claim()
    book.finish(*leases)
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


def test_first_failures_open_no_breaker(book):
    """What the pipeline sent first is reported only where it failed: its share would always be all."""
    book = book.with_policy(text_of())
    fail_all(book, "a", 50)

    assert head(book) == {}
    assert len(book.claim()) == 50


@pytest.mark.parametrize("between", [None, 15 * MINUTE])
def test_three_answers_are_too_few_to_open_a_breaker(book, between):
    """With fewer answers than least, a share says nothing, and what was answered before ``within`` is no answer any more."""
    book = book.with_policy(text_of())
    for _ in range(2 if between else 1):
        fail_all(book, "a", 3)
        assert len(book.hand_over()) == 3
        fail_all(book, "a", 3)
        book.wait(between or 0)

    assert head(book).get("s") is None


def test_a_recipients_fault_says_nothing_of_the_provider(book):
    """A full mailbox is no outage."""
    book = book.with_policy(text_of())
    fail_all(book, "a", 10, "SMS_EXPIRED")
    assert len(book.hand_over()) == 10
    fail_all(book, "a", 10, "SMS_EXPIRED")

    assert head(book).get("s") is None


def test_arrivals_keep_the_breaker_closed(book):
    """Four failures beside five arrivals are less than half of the answers."""
    book = book.with_policy(text_of())
    fail_all(book, "a", 9)
    assert len(book.hand_over()) == 9
    book.accept(*(book.delivered(f"a{n}") for n in range(4, 9)))
    fail_all(book, "a", 4)

    assert head(book).get("s") is None


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
    book = down.with_policy(text_of())
    fail_all(book, "c", 6, merchant=3)
    book.hand_over()
    fail_all(book, "c", 4, merchant=3)
    assert head(book, "sms:3")["s"] == "open"
    book.wait(2 * MINUTE)
    assert book.claim()
    assert head(book, "sms:3")["s"] == "half"
    before = head(book, "sms:3")
    book.fail("c5", "PROVIDER_ERROR", claim=5, merchant=3)

    assert head(book, "sms:3")["b"] == before["b"] == 0


def test_silence_is_good_where_nobody_reports_deliveries(book):
    """With feedback: none each hand-over counts as arrived until it fails; probes that stay silent close."""
    book = book.with_policy(text_of(feedback="none"))
    fail_all(book, "a", 10)
    assert len(book.hand_over()) == 10
    fail_all(book, "a", 4)
    assert head(book).get("s") is None
    book.accept(book.failed("a4", "PROVIDER_ERROR", claim=4))
    assert head(book)["s"] == "open"

    assert len(half_open(book)) == 3
    book.wait(11 * MINUTE)
    book.claim()
    assert head(book).get("s") is None


def test_a_round_without_a_probe_does_not_close_the_breaker(book):
    """Silence is good only of what left: where the rate let no probe out, another round begins."""
    book = book.with_policy(text_of(feedback="none", rate="6/10m"))
    fail_all(book, "a", 4)
    left = []
    while len(left) < 4:
        book.wait(100 * SECOND)
        left += book.hand_over()
    fail_all(book, "a", 4)  # it opens for a minute, and the rate lets nothing out for another 40 s
    rounds = []
    for _ in range(3):
        rounds.append((len(book.hand_over()), head(book).get("s", "closed")))
        book.wait(11 * MINUTE)

    assert rounds == [(0, "half"), (1, "half"), (0, "closed")]


def test_a_rate_binds_one_provider_and_the_others_go_on(book):
    """What is over the rate waits for a place of its own; who stands behind it does not."""
    book = book.with_policy(text_of(rate="2/s"))
    fail_all(book, "a", 10)
    fail_all(book, "b", 10, merchant="free")

    assert sorted(reference[0] for reference, _ in book.hand_over()) == ["a"] * 2 + ["b"] * 10
    assert states(book) == ["rate"] * 8
    assert len(set(places(book))) == 8
    left = 0
    for _ in range(8):
        book.wait(SECOND // 2)
        left += len(book.hand_over())
    assert left == 8


def test_a_breaker_that_a_person_opens_ends_by_itself(book):
    """Nothing leaves for the time named, then probes; without a breaker in policy, all."""
    book = book.with_policy(text_of())
    for name in ("sms:1", "sms:free"):
        book.store.breakers.open(name, until=book.now + HOUR, by=By("me", "x"), now=book.now)
    fail_all(book, "a", 6)
    fail_all(book, "b", 6, merchant="free")
    assert book.hand_over() == []
    book.wait(HOUR)

    assert sorted(reference[0] for reference, _ in book.hand_over()) == ["a"] * 3 + ["b"] * 6


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
