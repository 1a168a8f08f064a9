"""What may end a try or hold it back, read at once: the same as the lists say, in one round trip."""

import pytest
import redis

from softbounce.store.audit import By

from .book import DAY, HOUR, MINUTE, NUMBER


def test_a_delivery_that_nothing_holds_back(book):
    """Nothing is against it, and its recipient's soft bounce is known."""
    book.fail()
    found = book.store.situation(book.story(), at=book.now)

    assert (found.story, found.at) == (book.story(), book.now)
    assert (found.end, found.verdict.allowed, found.breaker, found.pauses) == (None, True, {}, {})
    assert [(mode.merchant, mode.mode) for mode in found.modes] == [("*", "on")]
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms")
    assert len(found.soft_bounces) == 1
    assert not found.workers
    assert all(times == [] for times in found.left.values())


def test_what_holds_a_delivery_back_is_what_people_said(book):
    """Pauses that cover it and no others, modes, its provider's breaker, the workers, each as their own lists say."""
    book.fail(code="PROVIDER_ERROR")
    delivery, control, word = book.story().delivery, book.store.control, {"by": By("eva", "why")}
    for kind, value in (("reference", "m1"), ("code", "PROVIDER_ERROR"), ("channel", "email")):
        control.pause(kind, value, until=book.now + HOUR, **word)
    control.set_mode("observe", now=book.now, **word)
    control.open_breaker(delivery.provider, until=book.now + HOUR, now=book.now, **word)
    control.open_breaker("another", until=book.now + HOUR, now=book.now, **word)
    control.beat("w1", {}, now=book.now)
    found = book.store.situation(book.story(), at=book.now)
    pauses = control.pauses()

    assert len(pauses) == 3
    assert found.pauses == {field: entry for field, entry in pauses.items() if field != "channel:email"}
    assert list(found.modes) == control.modes()
    assert found.breaker == control.breakers()[delivery.provider][0]
    assert found.workers == ("w1",)
    book.wait(2 * MINUTE)
    assert not book.store.situation(book.story(), at=book.now).workers


def test_a_cap_counts_what_left(book):
    """By the recipient and by the claim."""
    book.fail(code="PROVIDER_ERROR")
    book.resend()
    found = book.store.situation(book.story(), at=book.now)

    assert set(found.left) == {f"recipient:{book.story().delivery.rid}", "claim:54321"}
    assert [len(times) for times in found.left.values()] == [1, 1]
    assert all(abs(times[0] - book.now) < MINUTE for times in found.left.values())


@pytest.mark.parametrize(
    ("kind", "value"), [("reference", "m1"), ("claim", 54321), ("customer", "C1"), ("merchant", 1)]
)
def test_what_was_cancelled_ends_as_the_list_says(book, kind, value):
    """With who and why."""
    book.fail()
    book.store.control.cancel(kind, value, by=By("eva", "paid"), now=book.now)
    end = book.store.situation(book.story(), at=book.now).end

    assert (end["state"], end["by"], end["reason"]) == ("cancelled", "eva", "paid")
    assert [waiting.state for waiting in book.waiting()] == ["cancelled"]


@pytest.mark.parametrize("merchant", [None, 1, 2])
def test_a_block_ends_what_waits_while_it_lasts(book, merchant):
    """A block of another merchant does not; the verdict is as of now, the end as of the moment asked about."""
    book.fail()
    word = {"by": By("eva", "asked"), "now": book.now}
    book.store.suppressions.add(NUMBER, "sms", expires=DAY, merchant=merchant, **word)
    found = book.store.situation(book.story(), at=book.now)
    later = book.store.situation(book.story(), at=book.now + DAY)

    assert (found.end or {}).get("state") == (None if merchant == 2 else "suppressed")
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms", merchant=1)
    assert later.end is None
    assert later.verdict == found.verdict


def test_a_pause_of_the_recipient_refuses_until_it_ends(book):
    """As the verdict on its address says."""
    book.fail()
    book.store.control.pause("recipient", NUMBER, channel="sms", until=book.now + HOUR, by=By("eva", "x"))
    found = book.store.situation(book.story(), at=book.now)

    assert found.verdict.reason == "paused"
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms")
    book.wait(HOUR)
    assert book.store.situation(book.story(), at=book.now).verdict.allowed


def test_nobody_in_particular_has_no_verdict(book):
    """A report that names no recipient: there is nobody whom the list could allow or refuse."""
    book.fail(code="PROVIDER_ERROR", to=[])
    verdict = book.store.situation(book.story(), at=book.now).verdict

    assert (verdict.allowed, verdict.recipient) == (False, "")


def test_it_is_one_round_trip_of_commands_that_read(book, monkeypatch):
    """However much may stand against a delivery."""
    book.fail()
    story, sent = book.story(), []
    execute = redis.client.Pipeline.execute

    def counted(pipe, *args, **options):
        sent.append([words[0] for words, _ in pipe.command_stack])
        return execute(pipe, *args, **options)

    monkeypatch.setattr(redis.client.Pipeline, "execute", counted)
    monkeypatch.setattr(redis.Redis, "execute_command", lambda *_, **__: pytest.fail("a trip of its own"))
    book.store.situation(story, at=0)

    assert len(sent) == 1
    assert set(sent[0]) == {"HGET", "TIME", "HMGET", "HGETALL"}
