"""The event stream: nothing unread is lost, nothing is read twice without need."""

import hashlib
import json

import fakeredis
import pytest
from redis import exceptions

from softbounce.errors import InvalidEvent, Overloaded, StoreUnreachable
from softbounce.store import inbox as streams
from softbounce.store.connection import reaching

from .book import HOUR


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
    assert book.store.events.made_again == 1


def test_strikes_of_what_a_broker_delivers_again_are_counted_for_a_time(book, client):
    """Each message has its own; they end by themselves after 72 hours, or when it was given back."""
    strikes = book.store.events
    counts = [strikes.strike(message) for message in (b"one", b"one", b"two")]
    ends = [client.pttl(key) for key in client.scan_iter() if not key.endswith(b":meta")]
    strikes.pardon(b"one")

    assert (counts, strikes.strike(b"one")) == ([1, 2, 1], 1)
    assert all(0 < end <= 72 * HOUR for end in ends)


def test_a_producer_that_waits_hears_the_outcome(book):
    """Events report --wait: the reply goes out before the acknowledgement."""
    book.store.events.publish([b"one", b"two"], reply="t1")
    entries, _ = book.store.events.read("w1", count=10, block_ms=0)
    book.store.events.ack(entries, replies={entry.id: {"outcome": "scheduled"} for entry in entries})

    (reply,) = book.store.events.wait_replies("t1", count=1, seconds=0)
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
    """Without SOFTBOUNCE_TEST_REDIS_URL the suite runs on fakeredis and Valkey alone; this skip says so, and CI refuses it."""
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


HUGE = b"x" * 3_000_000


def test_one_read_holds_so_many_bytes_and_no_more(book):
    """Whatever lies in the stream, a read ends near its budget, and the next one takes what is left."""
    raws = [bytes([65 + n % 26]) * 200_000 for n in range(60)]
    book.store.events.publish(raws)
    reads = []
    while entries := book.store.events.read("w1", count=300, block_ms=0)[0]:
        reads.append([entry.raw for entry in entries])

    assert [raw for read in reads for raw in read] == raws
    assert max(sum(map(len, read)) for read in reads) <= streams.READ_BYTES + 10 * 200_000
    assert len(reads) <= 60 * 200_000 // streams.READ_BYTES + 1


@pytest.mark.parametrize("block_ms", [0, 50])
def test_an_oversize_event_is_kept_by_its_head_and_costs_only_itself(book, block_ms):
    """Above 256 KiB it is a dead letter with its length and hash; its bytes are let go, its neighbours taken."""
    book.store.events.publish([b"before", HUGE, b"after"])
    taken = {}
    while entries := book.store.events.read("w1", count=300, block_ms=block_ms)[0]:
        taken |= {entry.raw[:6]: entry for entry in entries}

    assert list(taken) == [b"before", b"xxxxxx", b"after"]
    assert taken[b"before"].letter is taken[b"after"].letter is None
    letter = taken[b"xxxxxx"].letter
    assert (letter.length, letter.sha256) == (len(HUGE), hashlib.sha256(HUGE).hexdigest())
    assert len(taken[b"xxxxxx"].raw) == len(letter.raw) == 64 * 1024
    assert letter.reason == "is larger than 256 KiB"


def test_what_a_dead_worker_read_is_taken_over_in_bounded_bytes(book):
    """Oversize, wrongly named and ordinary entries alike, however many are asked for."""
    raws = [HUGE, b"one", *[b"y" * 250_000] * 20, b"two"]
    book.store.events.publish(raws)
    book.client.xadd(book.store.events.key, {"body": "{}"})
    while book.store.events.read("dead", count=300, block_ms=0)[0]:
        pass
    rounds = []
    while entries := book.store.events.reclaim("living", idle_ms=0, count=300):
        rounds.append(entries)
        book.store.events.ack(entries)

    taken = [entry for entries in rounds for entry in entries]
    assert [entry.raw for entry in taken] == [HUGE[: 64 * 1024], *raws[1:], b'{"body": "{}"}']
    assert {entry.deliveries for entry in taken} == {2}
    assert max(sum(len(entry.raw) for entry in entries) for entries in rounds) <= streams.READ_BYTES + 250_000


def test_an_ordinary_event_beside_a_huge_field_is_a_report_like_any_other(book):
    """What else an entry holds is nothing to us."""
    book.client.xadd(book.store.events.key, {"event": b"one", "trace": HUGE})
    ((entry,), _) = book.store.events.read("w1", count=300, block_ms=0)

    assert (entry.raw, entry.letter) == (b"one", None)


@pytest.mark.parametrize(
    "token", ["", "x" * 65, "a b", "a:b", "../../x", "\xff", "ünder", "t1\n", b"\xff\xfe"], ids=repr
)
def test_what_is_no_token_is_taken_as_none(book, token):
    """1 to 64 letters, digits, _ and -: nobody waits by anything else, and it names no key."""
    book.client.xadd(book.store.events.key, {"event": b"one", "reply": token})
    ((entry,), _) = book.store.events.read("w1", count=10, block_ms=0)
    before = set(book.client.scan_iter())
    book.store.events.ack([entry], replies={entry.id: {"outcome": "scheduled"}})

    assert entry.reply is None
    assert set(book.client.scan_iter()) <= before
    with pytest.raises(InvalidEvent, match="reply"):
        book.store.events.publish([b"one"], reply="a b")


@pytest.mark.parametrize("value", ["string", "hash", "stream"])
def test_a_reply_never_stops_an_acknowledgement(book, value):
    """A token may name a key of another type: its own reply is lost, and nothing else."""
    taken = book.store.keys.reply("taken")
    match value:
        case "string":
            book.client.set(taken, "x", ex=100)
        case "hash":
            book.client.hset(taken, "a", "b")
        case _:
            book.client.xadd(taken, {"a": "b"})
    book.client.expire(taken, 100)
    book.store.events.publish([b"one"], reply="taken")
    book.store.events.publish([b"two"], reply="free")
    entries, _ = book.store.events.read("w1", count=10, block_ms=0)
    book.store.events.ack(entries, replies={entry.id: {"outcome": "held"} for entry in entries})

    lag = book.store.events.lag()
    assert (lag.unread, lag.pending) == (0, 0)
    assert [reply["entry"] for reply in book.store.events.wait_replies("free", count=9, seconds=0)] == [
        entries[1].id
    ]


def test_a_list_of_replies_has_an_end_and_a_bound(book, monkeypatch):
    """Nobody may ever take them: it goes by itself, and holds no more than 10,000."""
    monkeypatch.setattr(streams, "REPLIES", 3)
    book.store.events.publish([b"one"] * 5, reply="nobody")
    entries, _ = book.store.events.read("w1", count=10, block_ms=0)
    book.store.events.ack(entries, replies={entry.id: {"outcome": "held"} for entry in entries})

    key = book.store.keys.reply("nobody")
    assert book.client.llen(key) == 3
    assert 0 < book.client.ttl(key) <= 600


def test_replies_lie_beside_no_stream(book):
    """A namespace may have any name, also reply: no key of one is a key of another."""
    names = {store_keys.stream("events") for store_keys in map(streams.Keys, ("reply", "a"))}

    assert book.store.keys.reply("events") not in names
