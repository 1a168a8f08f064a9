"""``handle_once``: each id is acted on once, whoever receives it how often."""

import os
import signal
from datetime import timedelta

import pytest

from softbounce import InvalidEvent, TryAgain, embedded, handle_once
from softbounce.core.timestamps import iso
from softbounce.receiver import Handled
from softbounce.store import Store
from softbounce.store.limits import RECEIPT_KEPT
from softbounce.store.receipts import Taken

from .store_driver import HOUR, MINUTE, START

COMMAND = {"id": "0b7e6c1e-5f0a-5d53-9a41-3c1f1f0c9a27", "reference": "m1"}
KEY = "{sb:default}:r:" + COMMAND["id"]


@pytest.fixture
def store(client):
    """The store that receivers share."""
    return Store(client)


@pytest.fixture
def acts():
    """What was acted on."""
    return []


def test_a_command_is_acted_on_once(store, client, acts):
    """Delivered again, also to another receiver, it says ``seen``; another id is another command."""
    first = handle_once(COMMAND, acts.append, store=store)
    again = handle_once(COMMAND, acts.append, store=Store(client))
    other = handle_once({"id": "other"}, acts.append, store=store)

    assert acts == [COMMAND, {"id": "other"}]
    assert (first, again, other) == (Handled.ACTED, Handled.SEEN, Handled.ACTED)
    assert (bool(first), bool(again)) == (True, False)


def test_an_id_is_remembered_for_fourteen_days(store, client, acts):
    """As long as softbounce itself knows an event again; the key has an end."""
    handle_once(COMMAND, acts.append, store=store)

    assert RECEIPT_KEPT - MINUTE < client.pttl(KEY) <= RECEIPT_KEPT


@pytest.mark.parametrize("error", [ConnectionResetError, SystemExit, KeyboardInterrupt])
def test_an_act_that_failed_may_be_tried_again(store, client, acts, error):
    """The error passes through, also one that ends the process, and the next delivery of the id acts."""

    def fail(_):
        raise error

    with pytest.raises(error):
        handle_once(COMMAND, fail, store=store)

    assert not client.exists(KEY)
    assert handle_once(COMMAND, acts.append, store=store)


def test_of_two_receivers_at_once_one_acts(store, acts):
    """The other is told to try again: its broker delivers again, and by then it is known how it ended."""

    def act(command):
        with pytest.raises(TryAgain):
            handle_once(command, acts.append, store=store)
        acts.append("first")

    assert handle_once(COMMAND, act, store=store)
    assert acts == ["first"]
    assert handle_once(COMMAND, acts.append, store=store) is Handled.SEEN


@pytest.mark.parametrize(
    ("named", "least", "most"), [({}, 4, 5), ({"longest": timedelta(hours=2)}, 119, 120)]
)
def test_an_id_is_held_for_as_long_as_an_act_may_take(store, client, named, least, most):
    """Five minutes unless the receiver names another time: until then no other acts on it."""
    left = []

    assert handle_once(COMMAND, lambda _: left.append(client.pttl(KEY)), store=store, **named)
    assert least * MINUTE < left[0] <= most * MINUTE


def test_after_the_deadline_nobody_acts(store, acts):
    """By the store's time; the id stays free, and is refused again."""
    store.set_now(START)
    command = COMMAND | {"notAfter": iso(START + HOUR)}
    store.set_now(START + HOUR + 1)
    answers = [handle_once(command, acts.append, store=store) for _ in range(2)]

    assert answers == [Handled.TOO_LATE, Handled.TOO_LATE]
    assert not answers[0]
    store.set_now(START + HOUR)
    assert handle_once(command, acts.append, store=store)
    assert acts == [command]


def test_a_receiver_that_was_killed_holds_the_id_until_its_lease_ends(store, acts):
    """Then another acts."""
    store.receipts.take(COMMAND["id"], holder="killed", lease=50)
    answer, refused = None, 0
    while answer is None:
        try:
            answer = handle_once(COMMAND, acts.append, store=store, longest=timedelta(minutes=1))
        except TryAgain:
            refused += 1

    assert (answer, acts) == (Handled.ACTED, [COMMAND])
    assert refused > 0


def test_a_late_failure_gives_back_only_what_is_its_own(store):
    """Whose lease had passed on must not free the id for a third."""
    store.receipts.take("c", holder="second", lease=60_000)

    assert store.receipts.give_back("c", holder="first") is False
    assert store.receipts.take("c", holder="third", lease=60_000)[0] is Taken.THEIRS


def test_a_lost_reply_costs_nothing(store):
    """Taking with the same token again gives the same answer."""
    answers = [store.receipts.take("c", holder="same", lease=60_000)[0] for _ in range(2)]

    assert answers == [Taken.OURS, Taken.OURS]


@pytest.mark.parametrize("ident", [None, "", 7, "x" * 129])
def test_a_command_without_an_id_is_refused(store, acts, ident):
    """Nothing could tell it from another."""
    with pytest.raises(InvalidEvent, match="id: must be text"):
        handle_once({"id": ident}, acts.append, store=store)

    assert acts == []


def test_a_deadline_that_cannot_be_read_is_refused(store, acts):
    """Nobody may guess that there is none."""
    with pytest.raises(InvalidEvent, match="notAfter"):
        handle_once(COMMAND | {"notAfter": "soon"}, acts.append, store=store)

    assert acts == []


def test_any_redis_will_do_by_its_url(valkey, acts):
    """The pipeline may keep the ids in its own; a real server's time counts there."""
    command = {"id": "by-url", "notAfter": "2020-01-01T00:00:00Z"}
    answers = [handle_once({"id": "by-url"}, acts.append, store=valkey) for _ in range(2)]
    answers.append(handle_once(command | {"id": "late"}, acts.append, store=valkey))

    assert answers == [Handled.ACTED, Handled.SEEN, Handled.TOO_LATE]


def test_what_was_done_is_not_brought_back_by_a_store_that_went_away(tmp_path, acts, caplog):
    """An error after the act would be a second act; it is logged instead."""
    with embedded.start(tmp_path) as server:

        def act(command):
            acts.append(command)
            os.kill(server.pid, signal.SIGKILL)

        answer = handle_once(COMMAND, act, store=server.url)

    assert (answer, acts) == (Handled.ACTED, [COMMAND])
    assert "receipt.lost" in caplog.text
