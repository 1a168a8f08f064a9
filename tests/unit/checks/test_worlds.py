"""The measure of policies: what it counts is what happened, and a planted fault of a policy is seen."""

from dataclasses import astuple
from math import isnan
from pathlib import Path

import pytest
import redis
from checks.worlds import tables
from checks.worlds.driving import drive
from checks.worlds.figures import figures, interval, recoveries
from checks.worlds.kinds import KINDS
from checks.worlds.measuring import ORACLE, SHIPPED, measured
from checks.worlds.people import Trait, person
from checks.worlds.strategies import EXPONENTIAL, SVIX, no_retry, oracle, plain
from checks.worlds.world import World

from softbounce.settings import packaged_policy
from softbounce.store import Store

NAMED = {kind.name: kind for kind in KINDS}
MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture
def policy(tmp_path):
    """Return a function that writes the shipped policy with some texts replaced, and returns its path."""

    def written(**changes):
        text = packaged_policy()
        for old, new in changes.values():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def empty_store(valkey):
    """Return a function that gives an empty store; one in memory would take half a minute for these worlds."""
    stores = []
    with redis.Redis.from_url(valkey, db=3) as client:

        def opened():
            client.flushdb()
            stores.append(Store.open(f"{valkey}?db=3"))
            return stores[-1]

        yield opened
        client.flushdb()
    for store in stores:
        store.close()


@pytest.fixture
def run(empty_store):
    """Return a function that drives one small world under a policy, and returns its figures."""

    def driven(kind, path, *, messages=150):
        world = World(NAMED[kind], seed=1, messages=messages)
        return figures(drive(world, empty_store(), policy=path), oracle=oracle(world))

    return driven


@pytest.mark.parametrize("kind", NAMED)
def test_the_oracle_is_never_beaten_by_its_own_rules(kind):
    """Whoever resends by day, and not before a late receipt can have come, recovers nothing more than the oracle."""
    world = World(NAMED[kind], seed=3, messages=800)
    best = oracle(world)
    found = [figures(plain(world, delays), oracle=best) for delays in (EXPONENTIAL, SVIX)]

    assert recoveries(best)
    assert [one.beyond for one in found] == [0, 0]
    assert all(0 < one.share <= 100 for one in found)


def test_who_beats_the_oracle_is_noticed():
    """A measure whose oracle misses a message that another way recovers says so."""
    world = World(NAMED["brief"], seed=3, messages=800)
    blind = figures(plain(world, SVIX), oracle=no_retry(world))

    assert blind.beyond > 0


@pytest.mark.parametrize("kind", ["nights", "brief", "mailboxes", "mixed"])
def test_the_shipped_policy_recovers_nothing_that_the_oracle_does_not(kind, policy, empty_store):
    """The oracle obeys the rules of the policy, so whatever the policy brings, it brings too."""
    world = World(NAMED[kind], seed=2, messages=200)
    found = recoveries(drive(world, empty_store(), policy=policy()))

    assert found
    assert found <= recoveries(oracle(world))


def test_the_oracle_sends_each_failed_message_at_most_once_and_by_day():
    """The oracle stands for what is possible within the rules: no double text, no night text."""
    world = World(NAMED["nights"], seed=1, messages=800)
    best = oracle(world)
    counted = figures(best, oracle=best)

    assert (counted.share, counted.tries, counted.each, counted.night, counted.doubles) == (100, 1, 1, 0, 0)


def test_the_same_seed_gives_the_same_table(policy, empty_store):
    """Whoever repeats a measurement finds the same figures; another seed is another world."""
    path = policy()

    def table(seed):
        found = measured(
            NAMED["mixed"], seed=seed, messages=100, policies={SHIPPED: path}, empty_store=empty_store
        )
        return tables.tables({"mixed": {name: [one] for name, one in found.items()}}, KINDS)

    first, other = (World(NAMED["mixed"], seed=seed, messages=100).messages for seed in (1, 2))

    assert table(1) == table(1)
    assert table(1) != table(2)
    assert sorted(message.merchant for message in first) != sorted(message.merchant for message in other)


def test_a_world_does_not_depend_on_who_retries_in_it():
    """What becomes of a send follows from the seed, the message and the minute, in whatever order is asked."""
    first, second = (World(NAMED["mixed"], seed=1, messages=100) for _ in range(2))
    asked = [(message, message.sent + hours * HOUR) for message in first.messages for hours in (0, 5, 30)]
    carried = [first.carry(*question) for question in asked]

    assert [second.carry(*question) for question in reversed(asked)] == carried[::-1]


def test_a_policy_that_does_not_retry_recovers_nothing(policy, run):
    """A planted fault: ``retry: off`` for everybody."""
    text = packaged_policy()
    begin, end = text.index("  retry:   "), text.index("  quiet_hours: off  ")
    found = run("nights", policy(off=(text[begin:end], "  retry: off\n")))

    assert (found.recovered, found.share) == (0, 0)
    assert isnan(found.each)


def test_a_policy_without_quiet_hours_has_night_texts(policy, run):
    """A planted fault: texts leave whenever they are due. The shipped policy sends none at night."""
    quiet = 'quiet_hours: {from: "20:00", to: "08:00", zone: recipient, days: all, spread: 45m}'

    assert run("nights", policy()).night == 0
    assert run("nights", policy(quiet=(quiet, "quiet_hours: off"))).night > 0


def test_a_policy_that_believes_every_operator_blocks_the_healthy_until_a_person_undoes_the_incident(
    policy, run
):
    """Who is blocked is counted before a person acts, and after; without an incident nobody acts."""
    said = "INVALID_MOBILE_NUMBER:                {do: suppress, fault: recipient}"
    brake = "more_than: 50,"
    convinced = run("campaign", policy(said=(said, said), brake=(brake, "more_than: 3,")), messages=300)
    unnoticed = run("campaign", policy(said=(said, said), brake=(brake, "more_than: 9000,")), messages=300)
    doubtful = run("campaign", policy(said=(said, said.replace("suppress", "hold"))), messages=300)

    assert convinced.incidents > 0
    assert convinced.blocked_before > convinced.blocked_after
    assert convinced.recovered > unnoticed.recovered  # the undo sends what the incident holds
    assert unnoticed.blocked_after == unnoticed.blocked_before > 0
    assert doubtful.blocked_before < unnoticed.blocked_before


def test_a_phone_that_is_off_at_night_is_reached_in_the_morning():
    """The first reachable moment is now or later, and is reachable itself."""
    sleeper = person(5, "sms", Trait.NIGHTS, seed=1)
    night = next(
        begin for begin, end in zip(sleeper.begins, sleeper.ends, strict=True) if end - begin > 4 * HOUR
    )
    morning = sleeper.reachable_from(night + HOUR)

    assert morning in sleeper.ends
    assert sleeper.reachable_from(morning) == morning


def test_nobody_reaches_the_dead():
    """A number without an owner has no reachable moment, and is not healthy."""
    dead = person(5, "sms", Trait.DEAD, seed=1)

    assert dead.is_lost
    assert dead.reachable_from(0) is None


def test_the_page_shows_every_world():
    """A new kind of world is recorded before it lands."""
    page = (Path(__file__).parents[3] / "docs/reference/worlds.md").read_text(encoding="utf-8")

    assert [kind.name for kind in KINDS if f"### {kind.name.capitalize()}\n\n{kind.about}." not in page] == []


def test_an_interval_is_as_wide_as_student_says():
    """Three seeds with a standard deviation of 1: 4.30 / sqrt(3) on each side; one seed has no interval."""
    mean, half = interval([1.0, 2.0, 3.0])

    assert (mean, round(half, 2)) == (2.0, 2.48)
    assert isnan(interval([1.0])[1])
    assert interval([4.0, float("nan"), 4.0]) == (4.0, 0.0)


def test_all_strategies_meet_the_same_first_sends(policy, empty_store):
    """A share of the oracle's recoveries compares like with like."""
    found = measured(
        NAMED["journeys"], seed=1, messages=150, policies={SHIPPED: policy()}, empty_store=empty_store
    )

    assert list(found) == ["no retry", "exponential", "Svix", SHIPPED, ORACLE]
    assert astuple(found["no retry"])[:3] == (0, 0, 0)
    assert found["no retry"].dead == found[ORACLE].dead
