"""What a pipeline, a payment and a bad network do to a running worker, and what must be true afterwards."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from live import HOUR, MINUTE, START, WorkerProcess, empty, failed, until
from proxy import Door
from tests.servers import PATIENCE

from softbounce import embedded
from softbounce.core.filters import parse_filter
from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.scripts import assemble
from softbounce.worker.celery.broker import celery_url

Start = Callable[..., WorkerProcess]
Report = Callable[..., list[dict[str, Any]]]
Commands = Callable[[], list[dict[str, Any]]]

DATA = Path(__file__).parents[1] / "data"
PII_KEY = "a key that two stores share"
OUTCOMES = {
    "scheduled", "suppressed", "held", "given_up", "delivered", "cancelled", "duplicate", "coalesced", "superseded",
    "ended", "opted_in", "ignored", "dead_lettered",
}  # fmt: skip
MALFORMED = {
    "no JSON": b"{torn",
    "nothing": b"",
    "no object": b'["MESSAGE_NOT_DELIVERED"]',
    "no UTF-8": b'{"type": "MESSAGE_NOT_DELIVERED", "eventId": "\xff\x00"}',
    "a lone surrogate": b'{"type": "MESSAGE_NOT_DELIVERED", "eventId": "\\ud800"}',
    "a key twice": b'{"type": "MESSAGE_NOT_DELIVERED", "type": "MESSAGE_DELIVERED"}',
    "not a number": b'{"type": "MESSAGE_NOT_DELIVERED", "eventId": NaN}',
    "too deep": b"[" * 5000 + b"]" * 5000,
    "too large": json.dumps(failed("large", text="x" * 300_000)).encode(),
    "an empty reference": json.dumps(failed("")).encode(),
    "a reference that is no text": json.dumps(failed("m0")).replace('"m0"', "7").encode(),
    "101 recipients": json.dumps(failed("m0", recipients=["+4915112345678"] * 101)).encode(),
    "an unreadable deadline": json.dumps(failed("m0", notAfter="soon")).encode(),
}


REMEMBERED = {  # of raw_reports(), by number of the message: what a run left, looked over once; whatever moves it must be meant
    "counters": {
        "scheduled": 22, "given_up": 2, "suppressed": 11, "held": 14, "delivered": 1, "ignored": 1, "duplicate": 6,
        "dead_lettered": 5 + len(MALFORMED), "handed_over": 20,
    },
    "handed over": "01 01 06 07 08 09 10 10 12 12 23 23 36 36 37 42 43 43 nameless",
    "waits": "02 39",
    "suppressed": {
        "BOUNCE_PERMANENT_GENERAL": 2, "BOUNCE_PERMANENT_NO_EMAIL": 1, "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST": 1,
        "INVALID_EMAIL_ADDRESS": 1, "INVALID_MOBILE_NUMBER": 2, "INVALID_POSTAL_ADDRESS": 2, "COMPLAINT": 1, "OPT_OUT": 1,
    },
    "cases": {
        "held": "16 17 18 19 20 21 24 25 40 41", "ambiguous_recipient": "32 34", "unknown_code": "28", "unclassified": "31",
    },
    "notices": 27,
}  # fmt: skip


def move(store: Store, *moments: int) -> None:
    """Set the virtual time, and again, each time waiting until a pump has found nothing more to do."""
    for moment in moments:
        store.set_now(moment)
        until(lambda moment=moment: store.idle_at() == moment)


def dated(moment: int) -> str:
    """Return a time as events are dated."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")


def failed_again(reference: str, moment: int, **fields: Any) -> dict[str, Any]:
    """Return a later report about ``reference``, with an eventId of its own."""
    event = failed(reference, **fields)
    return event | {"date": dated(moment), "eventId": f"event-{reference}-{moment}-{sorted(fields)}"}


def arrived(reference: str, moment: int) -> dict[str, Any]:
    """Return the report that ``reference`` has arrived."""
    event = failed_again(reference, moment)
    del event["claim"]["communication"]["error"]
    return event | {"type": "MESSAGE_DELIVERED", "eventId": f"arrived-{reference}"}


def call(script: str) -> str:
    """Return how a call of one script is known on the wire."""
    return hashlib.sha1(assemble(script).encode(), usedforsecurity=False).hexdigest()


def tries(commands: list[dict[str, Any]]) -> dict[tuple[str, int], set[str]]:
    """Return the ids under which each try of each message was handed over."""
    ids: dict[tuple[str, int], set[str]] = {}
    for command in commands:
        ids.setdefault((command["reference"], command["attempt"]), set()).add(command["id"])
    return ids


@pytest.fixture(params=["store", "amqp"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """A broker with nothing in our queue: a Valkey, the RabbitMQ that is named, or none."""
    if request.param is None:
        yield None
        return
    if request.param == "store":
        with embedded.start(tmp_path_factory.mktemp("broker")) as running:
            yield celery_url(running.url)
            return
    url = request.getfixturevalue("amqp_url")
    empty(url, "softbounce")
    yield url


@pytest.fixture
def door(server: Embedded, client: redis.Redis) -> Iterator[Door]:
    """A door between a worker and its store; the test itself goes around it."""
    for script in ("accept", "claim", "finish"):  # else the first call of each would only fetch its script
        client.script_load(assemble(script))
    with Door(server.socket) as between:
        yield between


@pytest.mark.parametrize("echo", ["resendId", ""], ids=["with resendId", "by its date"])
def test_a_pipeline_that_fails_before_finish_has_run_gets_its_next_try(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, door: Door, report: Report, commands: Commands, echo: str
):
    """The answer may outrun the worker's own confirmation: the next try exists, the late finish is stale."""
    start(redis_url=door.url)
    report(failed("m1"))
    door.keep_call(call("finish"))
    store.set_now(START + 3 * HOUR)
    assert door.stopped.wait(PATIENCE)
    (first,) = commands()
    resend = {echo: first["id"]} if echo else {}
    (answer,) = report(failed_again("m1", START + 3 * HOUR, **resend))
    door.open()
    until(lambda: store.idle_at() == START + 3 * HOUR)
    move(store, START + 8 * HOUR)

    assert (answer["outcome"], answer["attempt"]) == ("scheduled", 2)
    assert [command["attempt"] for command in commands()] == [1, 2]
    assert commands()[1]["dueAt"] == answer["nextTry"]


def test_a_worker_that_dies_before_finish_costs_no_try(
    start: Start, store: Store, door: Door, report: Report, commands: Commands
):
    """Handed over, not finished, killed: the pipeline's failure makes the next try, and nothing comes twice."""
    worker = start(redis_url=door.url)
    report(failed("m1"))
    door.keep_call(call("finish"))
    store.set_now(START + 3 * HOUR)
    assert door.stopped.wait(PATIENCE)
    worker.kill()
    start()
    (answer,) = report(failed_again("m1", START + 3 * HOUR))
    move(store, START + 3 * HOUR + MINUTE, START + 8 * HOUR)

    assert (answer["outcome"], answer["attempt"]) == ("scheduled", 2)
    assert [command["attempt"] for command in commands()] == [1, 2]


def test_a_worker_that_dies_in_the_hand_over_repeats_the_same_id(
    start: Start, store: Store, door: Door, report: Report, commands: Commands
):
    """Nobody answered yet: when the lease has run out the same command goes out again, under the same id."""
    worker = start(redis_url=door.url)
    report(failed("m1"))
    door.keep_call(call("finish"))
    store.set_now(START + 3 * HOUR)
    assert door.stopped.wait(PATIENCE)
    worker.kill()
    start()
    move(store, START + 3 * HOUR + MINUTE)

    assert {key: len(ids) for key, ids in tries(commands()).items()} == {("m1", 1): 1}
    assert [command["attempt"] for command in commands()] == [1, 1]
    assert store.counters()["handed_over"] == 1


@pytest.mark.parametrize("step", ["accept", "XACK", "claim", "XADD", "finish"])
def test_a_lost_reply_loses_and_doubles_nothing(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, door: Door, report: Report, commands: Commands, step: str
):
    """Whichever call the network cuts off after it was done, its repetition changes nothing."""
    start(redis_url=door.url)
    words = step if step.isupper() else call(step)
    if step in {"accept", "XACK"}:
        door.lose_reply(words)
        store.events.publish([json.dumps(failed("m1")).encode()])
    else:
        report(failed("m1"))
        door.lose_reply(words)
        store.set_now(START + 3 * HOUR)
    assert door.stopped.wait(PATIENCE)
    until(lambda: store.events.lag().pending + store.events.lag().unread == 0)
    move(store, START + 3 * HOUR, START + 3 * HOUR + MINUTE)  # a lease that nobody knows of runs out
    (answer,) = report(failed_again("m1", START + 3 * HOUR, resendId=commands()[0]["id"]))
    move(store, START + 8 * HOUR)

    assert answer["attempt"] == 2
    assert {key: len(ids) for key, ids in tries(commands()).items()} == {("m1", 1): 1, ("m1", 2): 1}
    assert store.counters()["handed_over"] == 2
    assert store.counters()["scheduled"] == 2


def test_a_late_report_of_an_earlier_send_changes_no_attempt(
    start: Start, store: Store, report: Report, commands: Commands
):
    """Known by its resendId or by its date, it starts nothing; the answer to the newest send still counts."""
    start()
    report(failed("m1"))
    move(store, START + 3 * HOUR)
    first = commands()[0]["id"]
    report(failed_again("m1", START + 3 * HOUR, resendId=first))
    move(store, START + 8 * HOUR)
    by_id, by_date = report(
        failed_again("m1", START + 8 * HOUR, resendId=first), failed_again("m1", START + 4 * HOUR)
    )
    move(store, *(START + hour * HOUR for hour in range(12, 40, 4)))
    sent_so_far = len(commands())
    answer = report(failed_again("m1", START + 36 * HOUR, resendId=commands()[1]["id"]))[0]

    assert (by_id["outcome"], by_date["outcome"]) == ("superseded", "superseded")
    assert sent_so_far == 2
    assert (answer["outcome"], answer["attempt"]) == ("scheduled", 3)


def test_a_late_receipt_of_an_earlier_send_ends_what_waits(
    start: Start, store: Store, report: Report, commands: Commands
):
    """EXPIRED first and DELIVERED an hour later: no second text, and a failure after that starts nothing."""
    start()
    report(failed("m1"))
    move(store, START + HOUR)
    receipt, late = report(arrived("m1", START + HOUR), failed_again("m1", START + HOUR))
    move(store, START + 3 * HOUR)

    assert (receipt["outcome"], late["outcome"]) == ("delivered", "ended")
    assert commands() == []


@pytest.mark.parametrize(
    ("kind", "value"), [("claim", "claim-m1"), ("reference", "m1"), ("customer", "C-1"), ("merchant", 1)]
)
def test_a_payment_while_a_retry_waits_ends_it(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, report: Report, commands: Commands, kind: str, value: object
):
    """Whatever the cancellation names, what waits does not leave, and its late failure starts nothing."""
    start()
    report(failed("m1"))
    store.cancels.add(kind, value, by=By("test", "paid"), now=store.now())
    move(store, START + 3 * HOUR)
    (late,) = report(failed_again("m1", START + 3 * HOUR))
    move(store, START + 8 * HOUR)

    assert late["outcome"] == "ended"
    assert commands() == []


@pytest.mark.parametrize(("kind", "value"), [("claim", "claim-m1"), ("reference", "m1")])
def test_a_payment_before_the_late_failure_arrives_starts_nothing(  # noqa: PLR0917 - fixtures
    start: Start, store: Store, report: Report, commands: Commands, kind: str, value: object
):
    """The worst error of a claims pipeline is a reminder after payment."""
    start()
    store.cancels.add(kind, value, by=By("test", "paid"), now=store.now())
    paid, owed = report(failed("m1"), failed("m2"))
    move(store, START + 3 * HOUR)

    assert (paid["outcome"], owed["outcome"]) == ("cancelled", "scheduled")
    assert [command["reference"] for command in commands()] == ["m2"]


def test_a_payment_while_a_resend_is_in_the_air_ends_the_tries(
    start: Start, store: Store, report: Report, commands: Commands
):
    """The resend that had left may fail; there is no next one."""
    start()
    report(failed("m1"))
    move(store, START + 3 * HOUR)
    store.cancels.add("claim", "claim-m1", by=By("test", "paid"), now=store.now())
    (answer,) = report(failed_again("m1", START + 3 * HOUR, resendId=commands()[0]["id"]))
    move(store, START + 8 * HOUR)

    assert answer["outcome"] == "cancelled"
    assert len(commands()) == 1


def test_a_payment_during_a_hand_over_ends_the_tries(
    start: Start, store: Store, door: Door, report: Report, commands: Commands
):
    """A worker holds the lease and dies: the retry was cancelled meanwhile and does not come again."""
    worker = start(redis_url=door.url)
    report(failed("m1"))
    door.keep_call(call("add"))  # the hand-over; other scripts have the word XADD, too
    store.set_now(START + 3 * HOUR)
    assert door.stopped.wait(PATIENCE)
    store.cancels.add("claim", "claim-m1", by=By("test", "paid"), now=store.now())
    worker.kill()
    start()
    move(store, START + 3 * HOUR + MINUTE)

    assert commands() == []
    assert store.counters()["claim_cancelled"] == 1


def test_an_entry_accepted_but_not_acknowledged_is_a_duplicate_for_the_next_worker(
    start: Start, store: Store, door: Door, commands: Commands
):
    """A worker dies between accept and acknowledgement: redelivered, counted as seen, one retry."""
    worker = start(redis_url=door.url)
    door.keep_call("XACK")
    store.events.publish([json.dumps(failed("m1")).encode()])
    assert door.stopped.wait(PATIENCE)
    worker.kill()
    start()
    until(lambda: store.counters() == {"scheduled": 1, "duplicate": 1})
    until(lambda: store.events.lag().pending == 0)
    move(store, START + 3 * HOUR)

    assert len(commands()) == 1


def test_an_event_three_times_in_one_batch_and_again_later_has_one_outcome(
    start: Start, store: Store, report: Report, commands: Commands
):
    """Repeats say what the first became, before and after its retry has left."""
    start()
    early = report(failed("m1"), failed("m1"), failed("m1"))
    move(store, START + 3 * HOUR)
    late = report(failed("m1"))
    move(store, START + 8 * HOUR)

    assert [answer["outcome"] for answer in early + late] == ["scheduled", *["duplicate"] * 3]
    assert {answer["first"] for answer in [*early[1:], *late]} == {"scheduled"}
    assert len(commands()) == 1


def test_three_workers_give_each_event_one_outcome_and_each_retry_one_id(
    start: Start, store: Store, commands: Commands
):
    """Every event comes twice, every resend fails, one worker is killed at work: no loss, no second id."""
    count = 1500
    references = [f"m{n}" for n in range(count)]
    doomed, *_ = [start() for _ in range(3)]
    store.events.publish([json.dumps(failed(name)).encode() for name in references for _ in range(2)])
    until(lambda: store.counters().get("scheduled", 0) > 0)
    doomed.kill()
    until(lambda: store.events.lag().pending + store.events.lag().unread == 0)
    first_outcomes = Counter(store.counters())
    start()
    move(store, START + 3 * HOUR, START + 3 * HOUR + MINUTE)
    until(lambda: len(tries(commands())) == count)
    answers = [
        json.dumps(failed_again(command["reference"], START + 3 * HOUR, resendId=command["id"])).encode()
        for command in commands()
        for _ in range(2)
    ]
    store.events.publish(answers)
    until(lambda: store.counters()["scheduled"] == 2 * count)
    until(lambda: store.events.lag().pending + store.events.lag().unread == 0)
    move(store, START + 8 * HOUR, START + 8 * HOUR + MINUTE)
    until(lambda: store.counters()["handed_over"] == 2 * count)
    handed_over = tries(commands())

    assert first_outcomes["scheduled"] == count
    assert first_outcomes["duplicate"] >= count
    assert set(handed_over) == {(name, attempt) for name in references for attempt in (1, 2)}
    assert [key for key, ids in handed_over.items() if len(ids) != 1] == []
    assert len(set.union(*handed_over.values())) == 2 * count


def raw_reports() -> list[bytes]:
    """Return reports of every kind, readable and not, some of them twice."""
    lines = (DATA / "events.ndjson").read_bytes().splitlines()
    nameless = json.dumps({**failed("nameless"), "eventId": None}).encode()
    return [*lines, *lines[:5], nameless, nameless, *MALFORMED.values()]


def state(store: Store, client: redis.Redis) -> dict[str, Any]:
    """Return all that a store remembers of reports and retries, and what has left it."""
    prefix = store.keys.fixed("")
    kept: dict[str, Any] = {}
    for key in client.scan_iter(prefix + "*"):
        match name := key.removeprefix(prefix), client.type(key):
            case (("meta" | "claims" | "workers" | "policies"), _):  # of the worker's life, not of any report
                continue
            case _, "hash":
                kept[name] = client.hgetall(key)
            case _, "zset":
                kept[name] = client.zrange(key, 0, -1, withscores=True)
            case _, "stream":
                kept[name] = [fields for _, fields in client.xrange(key)]
            case _:
                kept[name] = client.get(key)
    kept["resends"] = sorted(fields["id"] for _, fields in client.xrange("softbounce:resend"))
    kept["told"] = sorted(fields["id"] for _, fields in client.xrange("softbounce:notices"))
    return kept


def remembered(kept: dict[str, Any]) -> dict[str, Any]:
    """Return of ``state`` what ``REMEMBERED`` says of it."""
    records = [
        [json.loads(part) for part in record.split("\n")[:2]] for record in kept["deliveries"].values()
    ]
    cases = [json.loads(case) for case in kept["cases"].values()]

    def numbers(references: Iterable[str]) -> str:
        return " ".join(sorted(reference.removeprefix("msg-00") for reference in references))

    return {
        "counters": {name: int(count) for name, count in kept["counters"].items()},
        "handed over": numbers(said[0] for head, said in records if head.get("s") == "out"),
        "waits": numbers(said[0] for head, said in records if "s" not in head),
        "suppressed": Counter(
            json.loads(entry)["code"]
            for field, entry in kept["suppressions"].items()
            if not field.endswith("@")  # which mirrors the consents of all merchants
        ),
        "cases": {
            kind: numbers(case["sample"] for case in cases if case["kind"] == kind)
            for kind in {case["kind"] for case in cases}
        },
        "notices": len(kept["told"]),
    }


@dataclass
class Way:
    """One way in: a store of its own, and how a report gets to the worker in front of it."""

    store: Store
    client: redis.Redis
    send: Callable[[bytes], object]

    def report(self, raws: list[bytes]) -> None:
        """Report one after the other, each when the one before it has its outcome."""
        before = self._outcomes()
        for count, raw in enumerate(raws, 1):
            self.send(raw)
            until(lambda count=count: self._outcomes() == before + count)

    def _outcomes(self) -> int:
        return sum(count for name, count in self.store.counters().items() if name in OUTCOMES)

    def live(self) -> dict[str, Any]:
        """Report all there is, let time pass, answer every resend, and return what is remembered."""
        self.report(raw_reports())
        move(self.store, START + 3 * HOUR)
        sent = [json.loads(fields["command"]) for _, fields in self.client.xrange("softbounce:resend")]
        answers = [failed_again(one["reference"], START, resendId=one["id"]) for one in sent]
        self.report([json.dumps(answer).encode() for answer in answers])
        move(self.store, START + 8 * HOUR)
        until(lambda: self.store.sizes()["notices"] == 0)
        return state(self.store, self.client)


@pytest.fixture
def way_in(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Way]]:
    """Open a way in by the stream or, with a broker, by Celery; the hash key is the same everywhere."""
    with ExitStack() as stack:

        def open_way(broker: str | None = None) -> Way:
            server = stack.enter_context(embedded.start(tmp_path_factory.mktemp("way")))
            store = stack.enter_context(closing(Store.open(server.url, pii_key=PII_KEY.encode())))
            client = stack.enter_context(
                redis.Redis.from_url(server.url, decode_responses=True, encoding_errors="surrogateescape")
            )
            store.set_now(START)
            start(redis_url=server.url, pii_key=PII_KEY, **({"broker_url": broker} if broker else {}))
            if broker is None:
                return Way(store, client, lambda raw: store.events.publish([raw]))
            app = Celery("producer", broker=broker, set_as_current=False)
            stack.callback(app.close)
            return Way(store, client, partial(send_task, app))

        yield open_way


def send_task(app: Celery, raw: bytes) -> None:
    """Report the same bytes by Celery: as text, or as they are where they are no text."""
    try:
        event: str | bytes = raw.decode()
    except UnicodeDecodeError:
        event = raw
    app.send_task("softbounce.report", args=[event], queue="softbounce")


def test_the_same_bytes_leave_the_same_state_by_every_way_in(way_in: Callable[..., Way], broker: str):
    """Outcomes, schedule, history, suppressions, cases, dead letters, resends and notices: the same, and as they must be."""
    by_stream = way_in().live()
    by_celery = way_in(broker).live()

    assert by_stream.keys() == by_celery.keys()
    assert {name: value for name, value in by_celery.items() if value != by_stream[name]} == {}
    assert remembered(by_stream) == REMEMBERED
    assert len(by_stream["resends"]) == REMEMBERED["counters"]["handed_over"]


@pytest.mark.parametrize("broker", [None, "store", "amqp"], indirect=True, ids=["stream", "store", "amqp"])
def test_malformed_input_by_every_way_in_is_kept_and_can_be_replayed(
    way_in: Callable[..., Way], broker: str | None
):
    """Each has its bytes, up to 64 KiB, and a reason; the worker goes on, and a replay changes nothing."""
    way = way_in(broker)
    way.report([*MALFORMED.values(), json.dumps(failed("m1")).encode()])
    letters = list(way.store.dead_letters.select(parse_filter("", keys=()), now=START))
    way.store.events.publish([letter.raw for letter in letters if letter.is_whole])
    until(lambda: way.store.events.lag().pending + way.store.events.lag().unread == 0)

    assert sorted(letter.raw for letter in letters) == sorted(raw[:65536] for raw in MALFORMED.values())
    assert [letter for letter in letters if not letter.reason] == []
    assert way.store.sizes()["dead_letters"] == len(MALFORMED)
    assert way.store.counters()["scheduled"] == 1


def test_an_object_by_celery_is_the_same_report_as_its_bytes(way_in: Callable[..., Way], broker: str):
    """Without an eventId the content tells, whatever its spacing; Python's own times are written as ISO."""
    way = way_in(broker)
    event = failed("nameless") | {"eventId": None}
    way.store.events.publish([json.dumps(event, indent=2).encode()])
    until(lambda: way.store.counters() == {"scheduled": 1})
    with closing(Celery("producer", broker=broker, set_as_current=False)) as app:
        for argument in (event, json.dumps(event), [event]):
            app.send_task("softbounce.report", args=[argument], queue="softbounce")
        until(lambda: way.store.counters() == {"scheduled": 1, "duplicate": 3})
        with_time = failed("m1") | {"date": datetime.fromtimestamp(START / 1000, UTC)}
        app.send_task("softbounce.report", args=[with_time], queue="softbounce")

    assert until(lambda: way.store.counters() == {"scheduled": 2, "duplicate": 3})


@pytest.mark.parametrize("broker", ["amqp"], indirect=True)
def test_a_task_accepted_but_not_acknowledged_is_a_duplicate_for_the_next_worker(
    start: Start, store: Store, door: Door, broker: str, commands: Commands
):
    """RabbitMQ delivers again what a killed worker had in hand: seen before, one retry."""
    worker = start(redis_url=door.url, broker_url=broker)
    door.keep_reply(call("accept"))
    with closing(Celery("producer", broker=broker, set_as_current=False)) as app:
        app.send_task("softbounce.report", args=[failed("m1")], queue="softbounce")
    assert door.stopped.wait(PATIENCE)
    worker.kill()
    start(broker_url=broker)
    until(lambda: store.counters() == {"scheduled": 1, "duplicate": 1})
    move(store, START + 3 * HOUR)

    assert len(commands()) == 1


@pytest.mark.parametrize("broker", ["store"], indirect=True)
def test_one_task_may_hold_any_number_of_reports(way_in: Callable[..., Way], broker: str):
    """A list is taken in by batches, in order; what cannot be read among them stops none."""
    way = way_in(broker)
    events: list[object] = [failed(f"m{n}") for n in range(1200)]
    with closing(Celery("producer", broker=broker, set_as_current=False)) as app:
        app.send_task("softbounce.report", args=[[*events, "{torn", *events]], queue="softbounce")
    until(lambda: sum(way.store.counters().values()) == 2401)

    assert way.store.counters() == {"scheduled": 1200, "duplicate": 1200, "dead_lettered": 1}
