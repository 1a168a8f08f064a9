"""The event stream: nothing unread is lost, nothing is read twice without need."""

import json

import fakeredis
import pytest
from redis import exceptions

from softbounce.errors import Overloaded, StoreUnreachable
from softbounce.store.connection import reaching


def test_what_was_reported_before_the_first_worker_is_read(book):
    """The consumer group starts at 0, never at $."""
    book.store.events.publish([b"one", b"two"])

    entries, now = book.store.events.read("w1", count=10, block_ms=0)

    assert [entry.raw for entry in entries] == [b"one", b"two"]
    assert now == book.now


def test_an_acknowledged_event_leaves_the_stream(book):
    """XDEL and XACK in one step: nothing stays for ever."""
    book.store.events.publish([b"one"])
    entries, _ = book.store.events.read("w1", count=10, block_ms=0)
    book.store.events.ack(entries)

    lag = book.store.events.lag()
    assert (lag.unread, lag.pending) == (0, 0)


def test_what_a_dead_worker_read_is_taken_over(book):
    """An event that was read and never acknowledged comes to another worker, with its count of deliveries."""
    book.store.events.publish([b"one"])
    book.store.events.read("dead", count=10, block_ms=0)

    (entry,) = book.store.events.reclaim("living", idle_ms=0, count=10)

    assert (entry.raw, entry.deliveries) == (b"one", 2)


def test_a_lost_stream_is_made_again(book, client):
    """NOGROUP means that data was lost; the group is made anew, from 0."""
    if isinstance(client, fakeredis.FakeRedis):
        pytest.skip("fakeredis answers a read of a missing stream with words of its own")
    book.store.events.make_group()
    client.delete(book.store.events.key)
    assert book.store.events.read("w1", count=10, block_ms=0)[0] == []
    book.store.events.publish([b"one"])

    assert [entry.raw for entry in book.store.events.read("w1", count=10, block_ms=0)[0]] == [b"one"]


def test_a_producer_that_waits_hears_the_outcome(book):
    """Events report --wait: the reply goes out before the acknowledgement."""
    book.store.events.publish([b"one"], reply="t1")
    entries, _ = book.store.events.read("w1", count=10, block_ms=0)
    book.store.events.ack(entries, replies={entries[0].id: {"outcome": "scheduled"}})

    (reply,) = book.store.events.wait_replies("t1", count=1, seconds=1)
    assert (reply["outcome"], reply["entry"]) == ("scheduled", entries[0].id)


def test_gone_workers_leave_the_group(book, client):
    """Each start has a name of its own; those that hold nothing are forgotten."""
    book.store.events.publish([b"one", b"two"])
    book.store.events.ack(book.store.events.read("idle", count=1, block_ms=0)[0])
    book.store.events.read("busy", count=1, block_ms=0)
    book.store.events.forget_consumers(idle_ms=-1)

    names = [row["name"] for row in client.xinfo_consumers(book.store.events.key, "softbounce")]
    assert names == [b"busy"]


def test_the_outgoing_stream_keeps_what_a_group_has_not_acknowledged(book, client):
    """The resend stream is trimmed up to the oldest unacknowledged entry, however old the rest is."""
    out = book.store.stream("softbounce:resend")
    out.add("command", [("a", "1"), ("b", "2"), ("c", "3")])
    client.xgroup_create(out.key, "pipeline", id="0")
    read = client.xreadgroup("pipeline", "p1", {out.key: ">"}, count=2)
    ids = [entry for entry, _ in next(iter(read.values()) if isinstance(read, dict) else iter([read[0][1]]))]
    client.xack(out.key, "pipeline", ids[0])

    assert out.trim(before=0) == 1
    assert [fields["id"] for _, fields in out.read()] == ["b", "c"]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            exceptions.ResponseError("Command # 1 (XADD x) of pipeline caused error: MISCONF no disk"),
            StoreUnreachable,
        ),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), StoreUnreachable),
        (exceptions.OutOfMemoryError("command not allowed"), Overloaded),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), exceptions.ResponseError),
    ],
)
def test_what_the_store_refuses_for_now_may_pass_by_itself(error, answer):
    """redis-py puts its own words before the server's, or takes the server's away; a bug stays a bug."""
    with pytest.raises(answer), reaching():
        raise error


def test_the_suite_ran_on_an_external_redis_too(redis_url):
    """Without SOFTBOUNCE_TEST_REDIS_URL the suite runs on fakeredis and Valkey alone; this skip says so."""
    assert redis_url


def test_an_entry_without_the_field_event_becomes_a_letter_with_what_it_says(book):
    """A producer that names the field otherwise must not lose its report."""
    book.client.xadd("softbounce:events", {"body": "{}", b"\xff": b"\xfe"})
    ((entry,), _) = book.store.events.read("w", count=10, block_ms=0)

    assert json.loads(entry.raw) == {"body": "{}", "\ufffd": "\ufffd"}
    assert book.accept(entry.raw) == ["dead_lettered"]


def test_an_empty_event_is_kept_as_what_it_is(book):
    """The field is there and says nothing: its letter has no bytes, and a replay gives none."""
    book.client.xadd("softbounce:events", {"event": b""})
    ((entry,), _) = book.store.events.read("w", count=10, block_ms=0)

    assert entry.raw == b""
