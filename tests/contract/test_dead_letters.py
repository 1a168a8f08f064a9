"""A flood of large dead letters: bounded in the store, nothing silently lost, and said."""

import hashlib
import json

import fakeredis
import pytest

from softbounce.core.decide import HEAD_BYTES
from softbounce.store.audit import By
from softbounce.store.limits import DEAD_LETTER_BYTES, DEAD_LETTERS_BYTES

from .book import ANYTHING, DAY

LARGE = 250 * 1024
FLOOD = 300


def large(number):
    """Unreadable input of 250 KiB; each number has its own."""
    return f"{{torn {number} ".encode().ljust(LARGE, b"x")


def flood(book):
    """Let the whole flood be taken in; returns how many were cut."""
    return sum(
        answer.is_cut
        for start in range(0, FLOOD, 50)
        for answer in book.accept_all(*map(large, range(start, start + 50)))
    )


def letters(book):
    """Every dead letter."""
    return list(book.store.dead_letters.select(ANYTHING, now=book.now))


def counted(book):
    """Whether the counter says what the entries take."""
    real = sum(map(len, book.client.hvals("{sb:default}:dead_letters")))
    assert book.store.dead_letters.kept_bytes() == real
    return real


def test_a_flood_of_large_letters_stays_within_its_budget(book):
    """75 MiB of unreadable input take 17 MiB of the store; each keeps head, length, hash and reason."""
    cut = flood(book)
    kept = letters(book)

    assert (len(kept), book.store.counters()) == (FLOOD, {"dead_lettered": FLOOD, "dead_letters_cut": cut})
    assert cut > 100
    assert DEAD_LETTERS_BYTES - DEAD_LETTER_BYTES < counted(book) < DEAD_LETTERS_BYTES + cut * 2 * HEAD_BYTES
    assert {len(letter.raw) for letter in kept} == {64 * 1024, HEAD_BYTES}
    for letter in kept:
        whole = large(int(letter.raw.split()[1]))
        entry = json.loads(book.client.hget("{sb:default}:dead_letters", letter.id))

        assert whole.startswith(letter.raw)
        assert (letter.length, entry["sha256"]) == (LARGE, hashlib.sha256(whole).hexdigest())
        assert letter.reason.startswith("is not JSON")


def test_the_store_itself_grows_no_further_than_the_budget(book):
    """What the server takes for the flood, by its own word."""
    if isinstance(book.client, fakeredis.FakeRedis):
        pytest.skip("fakeredis has no memory to ask for")
    flood(book)  # of the key alone: other tests fill the same server meanwhile

    assert (
        DEAD_LETTERS_BYTES / 2
        < book.client.memory_usage("{sb:default}:dead_letters", samples=0)
        < 1.5 * DEAD_LETTERS_BYTES
    )


def test_ordinary_events_pass_and_ordinary_letters_are_kept_whole_in_a_flood(book):
    """Neither an outcome nor the replay of input of an event's usual size depends on the flood."""
    flood(book)
    answers = book.accept_all(book.failed("m1"), book.failed("", "X"), book.failed("m2"))

    assert [answer.outcome for answer in answers] == ["scheduled", "dead_lettered", "scheduled"]
    assert not answers[1].is_cut
    assert len([letter for letter in letters(book) if letter.is_whole]) == 1
    assert sorted(book.resend("m1")) == [("m1", 1), ("m2", 1)]


def test_a_letter_that_was_kept_whole_stays_whole_when_it_comes_again(book):
    """Its bytes are there already: the budget has no say in it."""
    middle = b"{torn".ljust(10_000, b"x")
    book.accept(middle)
    flood(book)
    (again,) = book.accept_all(middle)

    assert not again.is_cut
    assert [letter.length for letter in letters(book) if letter.is_whole] == [10_000]
    assert counted(book)


def test_what_leaves_gives_its_share_of_the_budget_back(book):
    """By drop, by replay and by age: afterwards the next letter is kept as before the flood."""
    flood(book)
    some = [letter.id for letter in letters(book)[:100]]
    assert book.store.dead_letters.drop(some, by=By("me", "noise")) == 100
    assert counted(book)
    small = b"{torn"
    book.accept(small)
    (letter,) = [letter for letter in letters(book) if letter.is_whole]
    book.store.dead_letters.replay([letter], events=book.store.events, by=By("me", "mended"))
    assert len(letters(book)) == FLOOD - 100
    assert counted(book)
    book.wait(31 * DAY)
    while book.store.sizes()["dead_letters"]:
        book.store.sweep(policy=book.policy, count=1000)

    assert counted(book) == 0
    (answer,) = book.accept_all(large(1))
    assert not answer.is_cut
