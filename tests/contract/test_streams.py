"""The event stream: nothing unread is lost, nothing is read twice without need."""

import hashlib
import json

import fakeredis
import pytest
from redis import exceptions

from softbounce.errors import InvalidEvent, Overloaded, StoreUnreachable
from softbounce.store import inbox as streams
from softbounce.store.connection import reaching

from .store_driver import HOUR


def test_what_was_reported_before_the_first_worker_is_read(driver):
    """The consumer group starts at 0, never at $."""
    driver.store.events.publish([b"one", b"two"])

    entries, now = driver.store.events.read("w1", count=10, block_ms=0)

    assert [entry.raw for entry in entries] == [b"one", b"two"]
    assert now == driver.now


def test_an_acknowledged_event_leaves_the_stream(driver):
    """XDEL and XACK in one step: nothing stays for ever."""
    driver.store.events.publish([b"one"])
    entries, _ = driver.store.events.read("w1", count=10, block_ms=0)
    driver.store.events.ack(entries)

    lag = driver.store.events.lag()
    assert (lag.unread, lag.pending) == (0, 0)


def test_what_a_dead_worker_read_is_taken_over(driver):
    """An event that was read and never acknowledged comes to another worker, with its count of deliveries."""
    driver.store.events.publish([b"one"])
    driver.store.events.read("dead", count=10, block_ms=0)

    (entry,) = driver.store.events.reclaim("living", idle_ms=0, count=10)

    assert (entry.raw, entry.deliveries) == (b"one", 2)


def test_a_lost_stream_is_made_again(driver, client):
    """NOGROUP means that data was lost; the group is made anew, from 0."""
    if isinstance(client, fakeredis.FakeRedis):
        pytest.skip("fakeredis answers a read of a missing stream with words of its own")
    driver.store.events.make_group()
    client.delete(driver.store.events.key)
    assert driver.store.events.read("w1", count=10, block_ms=0)[0] == []
    driver.store.events.publish([b"one"])

    assert [entry.raw for entry in driver.store.events.read("w1", count=10, block_ms=0)[0]] == [b"one"]
    assert driver.store.events.made_again == 1


def test_strikes_of_what_a_broker_delivers_again_are_counted_for_a_time(driver, client):
    """Each message has its own; they end by themselves after 72 hours, or when it was given back."""
    strikes = driver.store.events
    counts = [strikes.strike(message) for message in (b"one", b"one", b"two")]
    ends = [client.pttl(key) for key in client.scan_iter() if not key.endswith(b":meta")]
    strikes.pardon(b"one")

    assert (counts, strikes.strike(b"one")) == ([1, 2, 1], 1)
    assert all(0 < end <= 72 * HOUR for end in ends)


def test_a_producer_that_waits_hears_the_outcome(driver):
    """Events report --wait: the reply goes out before the acknowledgement."""
    driver.store.events.publish([b"one", b"two"], reply="t1")
    entries, _ = driver.store.events.read("w1", count=10, block_ms=0)
    driver.store.events.ack(entries, replies={entry.id: {"outcome": "scheduled"} for entry in entries})

    (reply,) = driver.store.events.wait_replies("t1", count=1, seconds=0)
    assert (reply["outcome"], reply["entry"]) == ("scheduled", entries[0].id)


def test_gone_workers_leave_the_group(driver, client):
    """Each start has a name of its own; those that hold nothing are forgotten."""
    driver.store.events.publish([b"one", b"two"])
    driver.store.events.ack(driver.store.events.read("idle", count=1, block_ms=0)[0])
    driver.store.events.read("busy", count=1, block_ms=0)
    driver.store.events.forget_consumers(idle_ms=-1)

    names = [row["name"] for row in client.xinfo_consumers(driver.store.events.key, "softbounce")]
    assert names == [b"busy"]


def test_the_outgoing_stream_keeps_what_a_group_has_not_acknowledged(driver, client):
    """The resend stream is trimmed up to the oldest unacknowledged entry, however old the rest is."""
    out = driver.store.stream("softbounce:resend")
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


def test_an_entry_without_the_field_event_becomes_a_letter_with_what_it_says(driver):
    """A producer that names the field otherwise must not lose its report."""
    driver.client.xadd("softbounce:events", {"body": "{}", b"\xff": b"\xfe"})
    ((entry,), _) = driver.store.events.read("w", count=10, block_ms=0)

    assert json.loads(entry.raw) == {"body": "{}", "\ufffd": "\ufffd"}
    assert driver.accept(entry.raw) == ["dead_lettered"]


def test_an_empty_event_is_kept_as_what_it_is(driver):
    """The field is there and says nothing: its letter has no bytes, and a replay gives none."""
    driver.client.xadd("softbounce:events", {"event": b""})
    ((entry,), _) = driver.store.events.read("w", count=10, block_ms=0)

    assert entry.raw == b""


HUGE = b"x" * 3_000_000


def test_one_read_holds_so_many_bytes_and_no_more(driver):
    """Whatever lies in the stream, a read ends near its budget, and the next one takes what is left."""
    raws = [bytes([65 + n % 26]) * 200_000 for n in range(60)]
    driver.store.events.publish(raws)
    reads = []
    while entries := driver.store.events.read("w1", count=300, block_ms=0)[0]:
        reads.append([entry.raw for entry in entries])

    assert [raw for read in reads for raw in read] == raws
    assert max(sum(map(len, read)) for read in reads) <= streams.READ_BYTES + 10 * 200_000
    assert len(reads) <= 60 * 200_000 // streams.READ_BYTES + 1


@pytest.mark.parametrize("block_ms", [0, 50])
def test_an_oversize_event_is_kept_by_its_head_and_costs_only_itself(driver, block_ms):
    """Above 256 KiB it is a dead letter with its length and hash; its bytes are let go, its neighbours taken."""
    driver.store.events.publish([b"before", HUGE, b"after"])
    taken = {}
    while entries := driver.store.events.read("w1", count=300, block_ms=block_ms)[0]:
        taken |= {entry.raw[:6]: entry for entry in entries}

    assert list(taken) == [b"before", b"xxxxxx", b"after"]
    assert taken[b"before"].letter is taken[b"after"].letter is None
    letter = taken[b"xxxxxx"].letter
    assert (letter.length, letter.sha256) == (len(HUGE), hashlib.sha256(HUGE).hexdigest())
    assert len(taken[b"xxxxxx"].raw) == len(letter.raw) == 64 * 1024
    assert letter.reason == "is larger than 256 KiB"


def test_what_a_dead_worker_read_is_taken_over_in_bounded_bytes(driver):
    """Oversize, wrongly named and ordinary entries alike, however many are asked for."""
    raws = [HUGE, b"one", *[b"y" * 250_000] * 20, b"two"]
    driver.store.events.publish(raws)
    driver.client.xadd(driver.store.events.key, {"body": "{}"})
    while driver.store.events.read("dead", count=300, block_ms=0)[0]:
        pass
    rounds = []
    while entries := driver.store.events.reclaim("living", idle_ms=0, count=300):
        rounds.append(entries)
        driver.store.events.ack(entries)

    taken = [entry for entries in rounds for entry in entries]
    assert [entry.raw for entry in taken] == [HUGE[: 64 * 1024], *raws[1:], b'{"body": "{}"}']
    assert {entry.deliveries for entry in taken} == {2}
    assert max(sum(len(entry.raw) for entry in entries) for entries in rounds) <= streams.READ_BYTES + 250_000


def test_an_ordinary_event_beside_a_huge_field_is_a_report_like_any_other(driver):
    """What else an entry holds is nothing to us."""
    driver.client.xadd(driver.store.events.key, {"event": b"one", "trace": HUGE})
    ((entry,), _) = driver.store.events.read("w1", count=300, block_ms=0)

    assert (entry.raw, entry.letter) == (b"one", None)


@pytest.mark.parametrize(
    "token", ["", "x" * 65, "a b", "a:b", "../../x", "\xff", "ünder", "t1\n", b"\xff\xfe"], ids=repr
)
def test_what_is_no_token_is_taken_as_none(driver, token):
    """1 to 64 letters, digits, _ and -: nobody waits by anything else, and it names no key."""
    driver.client.xadd(driver.store.events.key, {"event": b"one", "reply": token})
    ((entry,), _) = driver.store.events.read("w1", count=10, block_ms=0)
    before = set(driver.client.scan_iter())
    driver.store.events.ack([entry], replies={entry.id: {"outcome": "scheduled"}})

    assert entry.reply is None
    assert set(driver.client.scan_iter()) <= before
    with pytest.raises(InvalidEvent, match="reply"):
        driver.store.events.publish([b"one"], reply="a b")


@pytest.mark.parametrize("value", ["string", "hash", "stream"])
def test_a_reply_never_stops_an_acknowledgement(driver, value):
    """A token may name a key of another type: its own reply is lost, and nothing else."""
    taken = driver.store.keys.reply("taken")
    match value:
        case "string":
            driver.client.set(taken, "x", ex=100)
        case "hash":
            driver.client.hset(taken, "a", "b")
        case _:
            driver.client.xadd(taken, {"a": "b"})
    driver.client.expire(taken, 100)
    driver.store.events.publish([b"one"], reply="taken")
    driver.store.events.publish([b"two"], reply="free")
    entries, _ = driver.store.events.read("w1", count=10, block_ms=0)
    driver.store.events.ack(entries, replies={entry.id: {"outcome": "held"} for entry in entries})

    lag = driver.store.events.lag()
    assert (lag.unread, lag.pending) == (0, 0)
    assert [reply["entry"] for reply in driver.store.events.wait_replies("free", count=9, seconds=0)] == [
        entries[1].id
    ]


def test_a_list_of_replies_has_an_end_and_a_bound(driver, monkeypatch):
    """Nobody may ever take them: it goes by itself, and holds no more than 10,000."""
    monkeypatch.setattr(streams, "REPLIES", 3)
    driver.store.events.publish([b"one"] * 5, reply="nobody")
    entries, _ = driver.store.events.read("w1", count=10, block_ms=0)
    driver.store.events.ack(entries, replies={entry.id: {"outcome": "held"} for entry in entries})

    key = driver.store.keys.reply("nobody")
    assert driver.client.llen(key) == 3
    assert 0 < driver.client.ttl(key) <= 600


def test_replies_lie_beside_no_stream(driver):
    """A namespace may have any name, also reply: no key of one is a key of another."""
    names = {store_keys.stream("events") for store_keys in map(streams.Keys, ("reply", "a"))}

    assert driver.store.keys.reply("events") not in names
