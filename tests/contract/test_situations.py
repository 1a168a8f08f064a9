"""How a delivery stands, and what keeps it from leaving: one script that only reads."""

import pytest
import redis

from softbounce.store.audit import By

from .book import DAY, HOUR, MINUTE, NUMBER

STRICT = "version: 1\nlimits: {resends_per_recipient: 1/1d, resends_per_claim: 1/1d}\ndefaults: {quiet_hours: off}\ncodes: {PROVIDER_ERROR: {do: retry, retry: {delays: [1m]}}}\n"
WORD = {"by": By("eva", "why")}


def situation(book, **options):
    """Return how the only delivery stands under the book's policy."""
    (found,) = book.store.situations.of("m1", policy=book.policy, **options)
    return found


def test_a_delivery_that_nothing_holds_back(book):
    """No gate is closed, and its recipient's soft bounce is known."""
    book.fail()
    found = situation(book)

    assert (found.story, found.at, found.now) == (book.story(), book.now, book.now)
    assert (found.gates, found.end, found.workers) == ((), None, ())
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms")
    assert found.verdict.allowed
    assert len(found.soft_bounces) == 1


def test_a_message_that_no_report_named_has_no_situation(book):
    """It is no error of the store's."""
    assert book.store.situations.of("m1", policy=book.policy) == ()


def test_each_recipient_s_delivery_of_a_message_stands_by_itself(book):
    """In the order of the reports, each with its own lines of history."""
    book.fail(to=["+4915112345678"])
    book.fail(to=["+4915187654321"])
    book.store.pauses.add("recipient", "+4915187654321", channel="sms", until=book.now + HOUR, **WORD)
    first, second = book.store.situations.of("m1", policy=book.policy)

    assert [len(found.story.history) for found in (first, second)] == [1, 1]
    assert [[gate.why for gate in found.gates] for found in (first, second)] == [[], ["paused"]]


def test_what_holds_a_delivery_back_is_what_people_said(book):
    """Pauses that cover it and no others, the mode that binds it, its provider's breaker, the workers."""
    book.fail(code="PROVIDER_ERROR")
    delivery, store, until = book.story().delivery, book.store, book.now + HOUR
    for kind, value in (("reference", "m1"), ("code", "PROVIDER_ERROR"), ("channel", "email")):
        store.pauses.add(kind, value, until=until, **WORD)
    store.modes.set("observe", now=book.now, **WORD)
    store.breakers.open(delivery.provider, until=until, now=book.now, **WORD)
    store.breakers.open("another", until=until, now=book.now, **WORD)
    store.workers.beat("w1", {}, now=book.now)
    found = situation(book)
    gates = [(gate.becomes, gate.why, gate.field, gate.until) for gate in found.gates]

    assert gates == [
        ("waiting", "paused", "code:PROVIDER_ERROR", until),
        ("waiting", "paused", f"reference:{delivery.id[:12]}", until),
        ("waiting", "breaker", "open", until),
        ("observed", "observe", "*", None),
    ]
    assert all(gate.entry["by"] == "eva" for gate in found.gates if gate.why != "breaker")
    assert found.workers == ("w1",)
    book.wait(2 * MINUTE)
    assert not situation(book).workers


def test_the_state_of_a_provider_s_breaker_is_that_of_the_next_claim(book):
    """Open until its end, then probed; closed where nothing is known of it, and where only a person had opened it."""
    book.store.breakers.open("sms:1", until=book.now + HOUR, now=book.now, **WORD)
    asked = {"policy": book.policy}

    assert book.store.situations.breakers(["sms:1", "x"], **asked) == {
        "sms:1": ("open", book.now + HOUR),
        "x": ("closed", None),
    }
    book.wait(HOUR)
    assert book.store.situations.breakers(["sms:1"], **asked)["sms:1"][0] in ("half-open", "closed")


def test_a_cap_counts_what_left(book):
    """By the recipient and by the claim: the gate says until when, and it opens then."""
    book.fail(code="PROVIDER_ERROR")
    book.resend()
    strict = book.with_policy(STRICT)
    strict.fail("m2", code="PROVIDER_ERROR")
    (found,) = book.store.situations.of("m2", policy=strict.policy)
    fields = {gate.field: gate.until for gate in found.gates}

    assert set(fields) == {f"recipient:{book.story().delivery.rid}", "claim:54321"}
    later = book.store.situations.of("m2", policy=strict.policy, at=max(fields.values()) + MINUTE)
    assert later[0].gates == ()


@pytest.mark.parametrize(
    ("kind", "value"), [("reference", "m1"), ("claim", 54321), ("customer", "C1"), ("merchant", 1)]
)
def test_what_was_cancelled_ends_as_the_list_says(book, kind, value):
    """With who and why."""
    book.fail()
    book.store.cancels.add(kind, value, by=By("eva", "paid"), now=book.now)
    end = situation(book).end

    assert (end.becomes, end.entry["by"], end.entry["reason"]) == ("cancelled", "eva", "paid")
    assert [waiting.state for waiting in book.waiting()] == ["cancelled"]


@pytest.mark.parametrize("merchant", [None, 1, 2])
def test_a_block_ends_what_waits_while_it_lasts(book, merchant):
    """A block of another merchant does not; the verdict is as of now, the end as of the moment asked about."""
    book.fail()
    word = {"by": By("eva", "asked"), "now": book.now}
    book.store.suppressions.add(NUMBER, "sms", expires=DAY, merchant=merchant, **word)
    found, later = situation(book), situation(book, at=book.now + DAY)

    assert (found.end and found.end.becomes) == (None if merchant == 2 else "suppressed")
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms", merchant=1)
    assert later.end is None
    assert later.verdict == found.verdict


def test_a_retry_whose_recipients_are_all_listed_ends(book):
    """It has several: each is asked, and the one that is left is enough."""
    both = ["+4915112345678", "+4915187654321"]
    book.fail(code="PROVIDER_ERROR", to=both)
    for place, number in enumerate(both, start=1):
        book.store.suppressions.add(number, "sms", by=By("eva", "asked"), now=book.now)
        end = situation(book).end
        assert (end and end.becomes) == ("suppressed" if place == len(both) else None)
    assert [waiting.state for waiting in book.waiting()] == ["suppressed"]


def test_a_pause_of_the_recipient_refuses_until_it_ends(book):
    """As the verdict on its address says."""
    book.fail()
    book.store.pauses.add("recipient", NUMBER, channel="sms", until=book.now + HOUR, by=By("eva", "x"))
    found = situation(book)

    assert found.verdict.reason == "paused"
    assert found.verdict == book.store.suppressions.check(NUMBER, "sms")
    book.wait(HOUR)
    assert situation(book).verdict.allowed


def test_nobody_in_particular_has_no_verdict(book):
    """A report that names no recipient: there is nobody whom the list could allow or refuse."""
    book.fail(code="PROVIDER_ERROR", to=[])
    verdict = situation(book).verdict

    assert (verdict.allowed, verdict.recipient) == (False, "")


def test_what_only_its_policy_could_stop_is_left_out_without_one(book):
    """A list of what waits has no policy at hand."""
    book.fail(code="PROVIDER_ERROR")
    book.store.breakers.open(book.story().delivery.provider, until=book.now + HOUR, now=book.now, **WORD)
    (found,) = book.store.situations.of("m1")

    assert found.gates == ()
    assert [gate.why for gate in situation(book).gates] == ["breaker"]


def test_it_is_one_call_of_a_script_that_changes_nothing(book, monkeypatch):
    """However much may stand against a delivery, and whether or not the server knows the script."""
    book.fail()
    book.store.pauses.add("reference", "m1", until=book.now + HOUR, **WORD)
    situation(book)
    before = {key: book.client.dump(key) for key in book.client.scan_iter()}
    sent, execute = [], redis.Redis.execute_command

    def counted(client, *words, **options):
        sent.append(words[0])
        return execute(client, *words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "execute_command", counted)
        situation(book, at=book.now + DAY)

    assert [name for name in sent if name != "EVALSHA"] == ["EVALSHA_RO"]
    assert before == {key: book.client.dump(key) for key in book.client.scan_iter()}
