"""A flood of large dead letters: bounded in the store, nothing silently lost, and said."""

import hashlib
import json

import fakeredis
import pytest

from softbounce.core.decide import HEAD_BYTES
from softbounce.store.audit import By
from softbounce.store.limits import DEAD_LETTER_BYTES, DEAD_LETTERS_BYTES

from .store_driver import ANYTHING, DAY

LARGE = 250 * 1024
FLOOD = 300


def large(number):
    """Unreadable input of 250 KiB; each number has its own."""
    return f"{{torn {number} ".encode().ljust(LARGE, b"x")


def flood(driver):
    """Let the whole flood be taken in; returns how many were cut."""
    return sum(
        answer.is_cut
        for start in range(0, FLOOD, 50)
        for answer in driver.accept_all(*map(large, range(start, start + 50)))
    )


def letters(driver):
    """Every dead letter."""
    return list(driver.store.dead_letters.select(ANYTHING, now=driver.now))


def counted(driver):
    """Whether the counter says what the entries take."""
    real = sum(map(len, driver.client.hvals("{sb:default}:dead_letters")))
    assert driver.store.dead_letters.kept_bytes() == real
    return real


def test_a_flood_of_large_letters_stays_within_its_budget(driver):
    """75 MiB of unreadable input take 17 MiB of the store; each keeps head, length, hash and reason."""
    cut = flood(driver)
    kept = letters(driver)

    assert (len(kept), driver.store.counters()) == (FLOOD, {"dead_lettered": FLOOD, "dead_letters_cut": cut})
    assert cut > 100
    assert (
        DEAD_LETTERS_BYTES - DEAD_LETTER_BYTES < counted(driver) < DEAD_LETTERS_BYTES + cut * 2 * HEAD_BYTES
    )
    assert {len(letter.raw) for letter in kept} == {64 * 1024, HEAD_BYTES}
    for letter in kept:
        whole = large(int(letter.raw.split()[1]))
        entry = json.loads(driver.client.hget("{sb:default}:dead_letters", letter.id))

        assert whole.startswith(letter.raw)
        assert (letter.length, entry["sha256"]) == (LARGE, hashlib.sha256(whole).hexdigest())
        assert letter.reason.startswith("is not JSON")


def test_the_store_itself_grows_no_further_than_the_budget(driver):
    """What the server takes for the flood, by its own word."""
    if isinstance(driver.client, fakeredis.FakeRedis):
        pytest.skip("fakeredis has no memory to ask for")
    flood(driver)  # of the key alone: other tests fill the same server meanwhile

    assert (
        DEAD_LETTERS_BYTES / 2
        < driver.client.memory_usage("{sb:default}:dead_letters", samples=0)
        < 1.5 * DEAD_LETTERS_BYTES
    )


def test_ordinary_events_pass_and_ordinary_letters_are_kept_whole_in_a_flood(driver):
    """Neither an outcome nor the replay of input of an event's usual size depends on the flood."""
    flood(driver)
    answers = driver.accept_all(driver.failed("m1"), driver.failed("", "X"), driver.failed("m2"))

    assert [answer.outcome for answer in answers] == ["scheduled", "dead_lettered", "scheduled"]
    assert not answers[1].is_cut
    assert len([letter for letter in letters(driver) if letter.is_whole]) == 1
    assert sorted(driver.resend("m1")) == [("m1", 1), ("m2", 1)]


def test_a_letter_that_was_kept_whole_stays_whole_when_it_comes_again(driver):
    """Its bytes are there already: the budget has no say in it."""
    middle = b"{torn".ljust(10_000, b"x")
    driver.accept(middle)
    flood(driver)
    (again,) = driver.accept_all(middle)

    assert not again.is_cut
    assert [letter.length for letter in letters(driver) if letter.is_whole] == [10_000]
    assert counted(driver)


def test_what_leaves_gives_its_share_of_the_budget_back(driver):
    """By drop, by replay and by age: afterwards the next letter is kept as before the flood."""
    flood(driver)
    some = [letter.id for letter in letters(driver)[:100]]
    assert driver.store.dead_letters.drop(some, by=By("me", "noise")) == 100
    assert counted(driver)
    small = b"{torn"
    driver.accept(small)
    (letter,) = [letter for letter in letters(driver) if letter.is_whole]
    driver.store.dead_letters.replay([letter], events=driver.store.events, by=By("me", "mended"))
    assert len(letters(driver)) == FLOOD - 100
    assert counted(driver)
    driver.wait(31 * DAY)
    while driver.store.sizes()["dead_letters"]:
        driver.store.sweep(policy=driver.policy, count=1000)

    assert counted(driver) == 0
    (answer,) = driver.accept_all(large(1))
    assert not answer.is_cut
