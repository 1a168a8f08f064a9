# ruff: noqa: SLF001 - one test reads the private parts that we stand in for
"""Our take on kombu's Redis transport: what kombu promises still holds, and nothing is lost between two steps."""

import inspect
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
import redis
from celery import Celery
from celery.app import control
from celery.worker.pidbox import Pidbox
from kombu import Consumer, Queue, pidbox
from kombu.transport import pyamqp, virtual
from kombu.transport import redis as stock
from live import failed_now, until
from proxy import Door
from tests.servers import PATIENCE

from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.worker.celery import transport
from softbounce.worker.celery.broker import celery_url
from softbounce.worker.celery.transport import AMQP, LOSSLESS, Connection

OPTIONS = {"visibility_timeout": 1, "unacked_restore_interval": 0.1, "unacked_restore_throttle": 1}
JUNK = (
    b"junk",
    b"\xff\xfe",
    b"[1]",
    b'"text"',
    b"{}",
    b'{"properties": []}',
    b'{"body": 1, "properties": {}}',
    b'{"body": "", "headers": {}, "properties": {"delivery_info": {}, "delivery_tag": "1", "priority": 1e999}}',
    b"[" * 9999,
)

Open = Callable[..., kombu.Connection]


@pytest.fixture(params=["valkey", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, as Celery spells it."""
    if request.param == "valkey":
        named = request.getfixturevalue("valkey")
        named += ("&" if "?" in named else "?") + "virtual_host=7"
        plain = redis.Redis.from_url(request.getfixturevalue("valkey"), db=7)
    else:
        named = request.getfixturevalue("redis_url")
        plain = redis.Redis.from_url(named)
    with closing(plain):
        plain.flushdb()
    return celery_url(named)


@pytest.fixture
def plain(url: str) -> Iterator[redis.Redis]:
    """A plain client of the same database."""
    with kombu.Connection(url) as connection, closing(connection.channel().client) as client:
        yield client


@pytest.fixture
def connect(url: str) -> Iterator[Open]:
    """Open connections with options; ours, or kombu's own."""
    opened: list[kombu.Connection] = []

    def connect(kind: type[kombu.Connection] = Connection, **options: Any) -> kombu.Connection:
        opened.append(connection := kind(url, transport_options={**OPTIONS, **options}))
        return connection

    yield connect
    for connection in opened:
        connection.release()


def drained(connection: kombu.Connection, *queues: Queue | str, count: int, **options: Any) -> list[Any]:
    """Consume so many messages, acknowledge each, and return their payloads in order."""
    got: list[Any] = []

    def take(body: Any, message: kombu.Message) -> None:
        got.append(body)
        if not options.get("no_ack"):
            message.ack()

    named = [Queue(queue, routing_key=queue) if isinstance(queue, str) else queue for queue in queues]
    with Consumer(connection, named, callbacks=[take], **options):
        while len(got) < count:
            connection.drain_events(timeout=PATIENCE)
    return got


def send(connection: kombu.Connection, queue: str, *bodies: Any, **options: Any) -> None:
    """Publish to one queue."""
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, routing_key=queue, declare=[Queue(queue, routing_key=queue)], **options)


def test_kombu_still_has_the_parts_that_we_stand_in_for():
    """A release that moves them must fail here, in a sentence, and not lose messages in silence."""
    expected = {
        stock.Channel: "_brpop_start _brpop_read _get _q_for_pri _update_queue_cycle _flush_brpop_reauth "
        "_maybe_update_queues_expire conn_or_acquire basic_get active_queues default_priority "
        "_receive_one _get_message_priority",
        stock.QoS: "append restore_by_tag restore_visible visibility_timeout _remove_from_indices unacked_key",
        stock.MultiChannelPoller: "on_poll_start maybe_restore_messages maybe_check_brpop_health",
        stock.Transport: "_deliver connection_errors Channel",
        stock: "loads Empty SentinelTransport SentinelChannel",
        virtual.QoS: "append",
        kombu.Connection: "get_transport_cls _reraise_as_library_errors",
        AMQP.__mro__[1]: "Connection",
        pidbox.Node: "Consumer handle_message dispatch handle",
        pidbox.Mailbox: "node_cls reply_exchange",
        control.Control: "Mailbox",
        Celery: "control_cls Worker",
    }
    missing = [
        f"{getattr(owner, '__name__', owner)}.{name}"
        for owner, names in expected.items()
        for name in names.split()
        if not hasattr(owner, name)
    ]
    reads = {
        "sends BRPOP from _brpop_start on client.connection": (
            stock.Channel._brpop_start,
            ("send_command", "_in_poll", "_brpop_sent_at", "_queue_cycle.consume"),
        ),
        "reads the reply in _brpop_read": (
            stock.Channel._brpop_read,
            ("parse_response", "_queue_cycle.rotate", "_deliver", "_in_poll = None"),
        ),
        "calls _brpop_start from the poller": (stock.MultiChannelPoller._register_BRPOP, ("_brpop_start",)),
        "calls _brpop_read by its handlers": (stock.Channel.__init__, ("'BRPOP': self._brpop_read",)),
        "subtracts visibility_timeout from time()": (
            stock.QoS.restore_visible,
            ("time() - self.visibility_timeout", "restore_by_tag"),
        ),
        "records a message as [message, exchange, routing key]": (
            stock.QoS.append,
            ("dumps([message._raw, EX, RK])",),
        ),
        "gives back what is in that record": (stock.QoS.restore_by_tag, ("M, EX, RK = loads",)),
        "makes the node of remote control by node_cls": (pidbox.Mailbox.Node, ("self.node_cls(",)),
        "reads each order by handle_message": (Pidbox.on_message, ("node.handle_message(body, message)",)),
        "listens to orders by Consumer": (pidbox.Node.listen, ("self.Consumer(",)),
        "takes frame_handler": (amqp.Connection.__init__, ("frame_handler=",)),
        "passes options on to py-amqp": (
            pyamqp.Transport.establish_connection,
            ("conninfo.transport_options",),
        ),
        "reads each broadcast in _receive_one": (stock.Channel._receive, ("self._receive_one(",)),
        "restores by a timer of this name": (
            stock.Transport.register_with_event_loop,
            ("cycle._restore_messages_tref",),
        ),
        "appends each message before the callback": (
            virtual.Channel.basic_consume,
            ("qos.append(message, message.delivery_tag)",),
        ),
    }
    changed = [
        what
        for what, (part, words) in reads.items()
        if not all(word in inspect.getsource(part) for word in words)
    ]

    assert not missing + changed, (
        f"kombu {kombu.__version__} has changed parts that softbounce.worker.celery.transport stands in for: it no longer "
        f"has {missing}, it no longer {changed}. Read both, mend the transport, then this list."
    )


@pytest.mark.parametrize("prefix", ["", "prefix:"])
def test_messages_come_in_order_and_leave_nothing(connect: Open, plain: redis.Redis, prefix: str):
    """First in, first out; acknowledged, no record stays; also under a key prefix."""
    connection = connect(global_keyprefix=prefix)
    send(connection, "q", *range(20))

    assert drained(connection, "q", count=20) == list(range(20))
    assert plain.exists(f"{prefix}q", f"{prefix}unacked", f"{prefix}unacked_index") == 0


def test_higher_priorities_come_first(connect: Open):
    """Kombu's steps: 0 is looked at first, whatever the order of sending."""
    connection = connect()
    for priority in (9, 3, 0, 6):
        send(connection, "q", priority, priority=priority)

    assert drained(connection, "q", count=4) == [0, 3, 6, 9]


def test_queues_take_turns(connect: Open):
    """A full queue does not keep another one waiting."""
    connection = connect()
    send(connection, "a", *("a" * 6))
    send(connection, "b", *("b" * 3))

    assert sorted(drained(connection, "a", "b", count=6)) == ["a"] * 3 + ["b"] * 3


def test_a_message_is_recorded_when_it_is_in_hand(connect: Open, plain: redis.Redis):
    """Its record is gone after ack and reject, and its list holds it again after requeue."""
    connection = connect()
    send(connection, "q", 1, 2, 3)
    with closing(connection.SimpleQueue("q")) as queue:
        one, two, three = (queue.get(timeout=PATIENCE) for _ in range(3))
        assert plain.hlen("unacked") == plain.zcard("unacked_index") == 3
        one.ack()
        two.reject()
        assert plain.hkeys("unacked") == [three.delivery_tag.encode()]
        three.requeue()
        assert plain.exists("unacked", "unacked_index") == 0
        again = queue.get(timeout=PATIENCE)
        again.ack()

    assert (again.payload, again.headers["redelivered"]) == (3, True)
    assert plain.exists("q", "unacked") == 0


def test_prefetch_is_obeyed(connect: Open, plain: redis.Redis):
    """No more is taken than a consumer may hold."""
    connection = connect()
    send(connection, "q", *range(5))
    held: list[kombu.Message] = []
    with Consumer(connection, [Queue("q", routing_key="q")], on_message=held.append, prefetch_count=2):
        until(lambda: _quietly(connection) or len(held) == 2)
        _quietly(connection)

        assert (len(held), plain.hlen("unacked"), plain.llen("q")) == (2, 2, 3)


def _quietly(connection: kombu.Connection) -> None:
    try:
        connection.drain_events(timeout=0.3)
    except TimeoutError:
        return


def test_a_lost_consumers_message_comes_back(connect: Open, plain: redis.Redis):
    """After the visibility timeout another consumer has it, also without an event loop."""
    gone = connect()
    send(gone, "q", "m")
    message = gone.channel().basic_get("q")
    assert plain.llen("q") == 0

    assert drained(connect(), "q", count=1) == [message.payload]
    assert plain.exists("q", "unacked") == 0


@pytest.mark.parametrize("hours", [2, -2])
def test_a_wrong_clock_gives_nothing_back_too_early(
    connect: Open, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch, hours: int
):
    """A worker whose clock is hours off restores what is due by Redis' clock, and nothing else."""
    connection = connect(visibility_timeout=60)
    send(connection, "q", "fresh", "old")
    channel = connection.channel()
    fresh, old = channel.basic_get("q"), channel.basic_get("q")
    plain.zincrby("unacked_index", -61, old.delivery_tag)
    clock = stock.time
    for module in (stock, transport):
        monkeypatch.setattr(module, "time", lambda: clock() + hours * 3600)
    channel.qos.restore_visible(interval=1)

    assert plain.hkeys("unacked") == [fresh.delivery_tag.encode()]
    assert plain.llen("q") == 1


@pytest.mark.parametrize("item", JUNK, ids=range(len(JUNK)))
def test_what_is_no_message_is_kept_and_stops_nobody(connect: Open, plain: redis.Redis, item: bytes):
    """It lands beside its queue; the messages around it arrive."""
    connection = connect()
    send(connection, "q", "before")
    plain.lpush("q", item)
    send(connection, "q", "after")

    assert drained(connection, "q", count=2) == ["before", "after"]
    assert plain.lrange("q.unreadable", 0, -1) == [item]
    assert plain.exists("q", "unacked", "unacked_index") == 0


@pytest.mark.parametrize("item", [*JUNK, None], ids=range(len(JUNK) + 1))
def test_what_is_no_message_is_kept_after_a_kill_too(connect: Open, plain: redis.Redis, item: bytes | None):
    """Its reader died before setting it aside: restoring does it, and restores the others."""
    connection = connect()
    channel = connection.channel()
    send(connection, "q", "m")
    record = b"torn" if item is None else b"[" + item + b',"","q"]'
    plain.hset("unacked", "junk", record)
    plain.zadd("unacked_index", {"junk": 1})
    channel.basic_get("q")
    plain.zadd("unacked_index", dict.fromkeys(plain.zrange("unacked_index", 1, 1), 2))
    channel.qos.restore_visible(interval=1)

    assert plain.llen("q") == 1
    assert plain.exists("unacked", "unacked_index") == 0
    kept = plain.lrange("q.unreadable", 0, -1) + plain.lrange(".unreadable", 0, -1)
    assert kept == [record if item is None else item]


def test_what_is_too_large_is_no_message(connect: Open, plain: redis.Redis):
    """The option ``largest`` bounds an item in bytes and in values, before it is read; without it nothing is."""
    connection = connect(largest=4096)
    send(connection, "q", "m" * 8192)
    send(connection, "q", "m", headers={"x": [1] * 512})
    send(connection, "q", "small")

    assert drained(connection, "q", count=1) == ["small"]
    assert plain.llen("q.unreadable") == 2
    send(connection, "q", "m" * 8192)
    assert drained(connect(), "q", count=1) == ["m" * 8192]


def test_who_asks_for_what_is_unreadable_gets_it(connect: Open, plain: redis.Redis):
    """The option ``unreadable`` is called with the bytes; if it fails, the list keeps them."""
    got: list[bytes] = []

    def keep(item: bytes) -> None:
        got.append(item)
        if item == b"two":
            raise OSError

    connection = connect(unreadable=keep)
    plain.lpush("q", b"one", b"two")
    send(connection, "q", "m")

    assert drained(connection, "q", count=1) == ["m"]
    assert got == [b"one", b"two"]
    assert plain.lrange("q.unreadable", 0, -1) == [b"two"]


def test_a_consumer_that_acknowledges_nothing_leaves_no_record(connect: Open, plain: redis.Redis):
    """What it took must not come back to it."""
    connection = connect()
    send(connection, "q", 1, 2)
    taken = connection.channel().basic_get("q", no_ack=True)

    assert (taken.payload, drained(connection, "q", count=1, no_ack=True)) == (1, [2])
    assert plain.exists("q", "unacked", "unacked_index") == 0
    assert connection.channel().basic_get("q") is None


def test_two_channels_that_consume_one_queue_keep_their_records(connect: Open, plain: redis.Redis):
    """Kombu delivers what one channel read by the other's callback; the record stays until the ack."""
    connection = connect()
    send(connection, "q", *range(4))
    held: list[kombu.Message] = []
    queue = Queue("q", routing_key="q")
    with (
        Consumer(connection.channel(), [queue], on_message=held.append),
        Consumer(connection.channel(), [queue], on_message=held.append),
    ):
        while len(held) < 4:
            connection.drain_events(timeout=PATIENCE)

        assert plain.hlen("unacked") == 4
        for message in held:
            message.ack()
    assert plain.exists("q", "unacked") == 0


@pytest.mark.parametrize("kinds", [(kombu.Connection, Connection), (Connection, kombu.Connection)])
def test_stock_and_ours_share_queues(
    connect: Open, plain: redis.Redis, kinds: tuple[type[kombu.Connection], ...]
):
    """One sends, the other receives; what one held and lost, the other restores."""
    here, there = (connect(kind) for kind in kinds)
    send(here, "q", 1, 2)
    assert drained(there, "q", count=1) == [1]
    lost = here.channel().basic_get("q")
    plain.zadd("unacked_index", {lost.delivery_tag: 1})
    there.channel().qos.restore_visible(interval=1)

    assert drained(there, "q", count=1) == [2]
    assert plain.exists("q", "unacked") == 0


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel", "amqp", "memory"])
def test_any_url_of_kombu_names_ours_where_it_is_redis(scheme: str):
    """Also after a fail-over to an alternative, and in a clone; RabbitMQ stays as it is."""
    kinds = {
        "redis": transport.Transport,
        "rediss": transport.Transport,
        "sentinel": transport.SentinelTransport,
    }
    for connection in (one := Connection(f"{scheme}://h;{scheme}://other"), one.clone()):
        assert (connection.get_transport_cls() in LOSSLESS.values()) == (scheme in kinds)
        connection.switch(f"{scheme}://other")
        assert connection.get_transport_cls() is kinds.get(
            scheme, kombu.Connection(f"{scheme}://").get_transport_cls()
        )
    app = Celery(
        "pipeline",
        broker=f"{scheme}://h",
        amqp="softbounce.worker.celery.transport:AMQP",
        set_as_current=False,
    )
    assert type(app.connection_for_read()) is Connection


def test_no_emulation_of_acks_is_refused(connect: Open):
    """It would lose what a worker has in hand."""
    with pytest.raises(ValueError, match="ack_emulation"):
        connect(ack_emulation=False).channel()


def test_a_full_server_still_hands_out(client: redis.Redis, server: Embedded):
    """Reading must drain it: the script's first write frees memory."""
    with Connection(celery_url(server.url), transport_options=OPTIONS) as connection:
        send(connection, "q", *range(3))
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.lpush("q", "more")

        assert drained(connection, "q", count=3) == [0, 1, 2]


def test_a_server_that_refuses_is_a_lost_connection(client: redis.Redis, server: Embedded):
    """Celery connects again after one, where any other error would end its worker."""
    with Connection(celery_url(server.url), transport_options=OPTIONS) as connection:
        send(connection, "q", "m")
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(ConnectionError, match="hands out no messages"):
            drained(connection, "q", count=1)
        client.replicaof("NO", "ONE")

        assert drained(connection, "q", count=1) == ["m"]


def test_a_lost_reply_loses_no_message(client: redis.Redis, server: Embedded):
    """Cut between the script and its reply: the message is recorded, and comes back."""
    with Door(Path(server.url.removeprefix("unix://").partition("?")[0])) as door:
        with Connection(door.url, transport_options=OPTIONS) as connection:
            send(connection, "q", "m")
            door.lose_reply("RPOP")
            with pytest.raises(connection.connection_errors):
                drained(connection, "q", count=1)
            assert (client.llen("q"), client.hlen("unacked")) == (0, 1)

            assert drained(connection, "q", count=1) == ["m"]
        assert client.exists("q", "unacked") == 0


def test_stock_kombu_loses_the_message_of_a_lost_reply(client: redis.Redis, server: Embedded):
    """The control: the same cut, and nobody has the message."""
    with Door(Path(server.url.removeprefix("unix://").partition("?")[0])) as door:
        with kombu.Connection(door.url, transport_options=OPTIONS) as connection:
            send(connection, "q", "m")
            door.lose_reply("BRPOP")
            with pytest.raises(connection.connection_errors):
                drained(connection, "q", count=1)
        assert client.exists("q", "unacked") == 0


def test_our_worker_keeps_junk_as_dead_letters(
    start: Any, server: Embedded, store: Store, client: redis.Redis
):
    """The worker goes on; each item is a dead letter with its bytes."""
    worker = start()
    client.lpush("softbounce", b"junk", json.dumps([1]))
    app = Celery("producer", broker=celery_url(server.url), set_as_current=False)
    app.send_task("softbounce.report", args=[failed_now("m1")], queue="softbounce")

    assert until(lambda: store.counters() == {"dead_lettered": 2, "scheduled": 1})
    assert worker.process.poll() is None
    assert until(lambda: not client.exists("softbounce", "softbounce.unreadable", "unacked"))
    app.close()


def test_a_killed_workers_report_gets_its_outcome(
    start: Any, server: Embedded, store: Store, client: redis.Redis
):
    """Frozen, then killed with a report in its hand: another worker decides on it."""
    first = start()
    until(lambda: any(peer["cmd"] == "brpop" for peer in client.client_list()))  # it waits for reports
    os.kill(first.process.pid, signal.SIGSTOP)
    app = Celery("producer", broker=celery_url(server.url), set_as_current=False)
    for number in range(5):
        app.send_task("softbounce.report", args=[failed_now(f"m{number}")], queue="softbounce")
    first.kill()
    for tag in client.zrange("unacked_index", 0, -1):  # as if a minute had passed
        client.zadd("unacked_index", {tag: 1})
    start()

    assert until(lambda: store.counters() == {"scheduled": 5})
    app.close()
