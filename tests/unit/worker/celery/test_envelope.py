"""What a Celery message may say, whatever its headers hold: pure, without a broker."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu import Message

from softbounce.errors import InvalidEvent
from softbounce.worker.celery.decompression import LIMIT
from softbounce.worker.celery.envelope import EVENTS, TASK, body_of, own, plain, refusal, reports
from softbounce.worker.celery.remote_control import order

EVENT = {"type": "MESSAGE_NOT_DELIVERED", "claim": {"id": 1}}
SOUND = {"content_type": "application/json", "body": b"{}"}
HEADERS = [  # every one that celery 5.7 and kombu 5.7 read of a task's message
    "argsrepr",
    "callbacks",
    "chain",
    "chord",
    "compression",
    "errbacks",
    "eta",
    "expires",
    "group",
    "group_index",
    "id",
    "ignore_result",
    "kwargsrepr",
    "lang",
    "meth",
    "origin",
    "parent_id",
    "properties",
    "redelivered",
    "replaced_task_nesting",
    "reply_to",
    "retries",
    "root_id",
    "shadow",
    "stamped_headers",
    "stamps",
    "timelimit",
    "utc",
    "clock",
    "hostname",
    "delivery_info",
    "correlation_id",
    "taskset",
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.sampled_from(HEADERS) | st.text(), anything, max_size=8)


def message(found: dict[str, Any], **options: Any) -> Message:
    """Return a message as a transport makes it."""
    body = json.dumps([[EVENT], {}, {}]).encode()
    return Message(body=body, headers=found, delivery_tag=7, content_type="application/json", **options)


@given(headers, anything)
def test_a_header_that_is_decoration_costs_no_report(found: dict[str, Any], encoding: Any):
    """Whatever any header but ``task`` and ``compression`` holds, the body is taken in."""
    came = message({**found, "task": TASK, "compression": None}, content_encoding=encoding)

    assert refusal(came.headers, content_type=came.content_type, body=came.body) is None
    assert [json.loads(raw) for raw in reports(body_of(came), came.headers)] == [EVENT]


@given(headers, anything, anything)
def test_celery_gets_headers_of_our_own(found: dict[str, Any], properties: Any, info: Any):
    """Four plain texts, no property, no embed: nothing that Celery could act on or publish."""
    came = message(
        found, properties={"reply_to": properties, "priority": properties}, delivery_info={"x": info}
    )
    handed = own(came, [b"{}"])

    assert handed.headers.keys() == {"id", "task", "argsrepr", "kwargsrepr"}
    assert all(plain(value) for value in handed.headers.values())
    assert (handed.headers["task"], handed.properties, handed.content_type) == (TASK, {}, None)
    assert handed.payload == (([b"{}"],), {}, None)
    assert (handed.channel, handed.delivery_tag) == (came.channel, came.delivery_tag)


@given(anything.filter(lambda value: value != TASK))
def test_only_our_task_is_called(task: Any):
    """Another name, or what is no name, is refused with the header named; so in a message of protocol 1."""
    assert refusal({"task": task}, **SOUND) == f"headers.task: is not {TASK}"
    with pytest.raises(InvalidEvent, match=f"^task: is not {TASK}"):
        reports(json.dumps({"task": task, "args": [EVENT]}, default=str).encode(), {})


@given(anything.filter(lambda value: value != "application/json"))
def test_only_json_is_read(kind: Any):
    """Any other content type is refused, also one that is no text."""
    assert refusal({"task": TASK}, content_type=kind, body=b"") == "content-type: is not application/json"


def at_fault(read: Callable[[], Any]) -> tuple[str, Any]:
    """Return the part that was refused, or nothing and what was read; any other error fails the test."""
    try:
        return "", read()
    except InvalidEvent as error:
        return error.path, None


calls = (
    anything
    | st.lists(anything, min_size=2, max_size=4)
    | st.tuples(st.lists(anything, max_size=2), st.just({}))
)


@given(st.binary() | calls.map(lambda value: json.dumps(value, default=str).encode()))
def test_any_body_is_reports_or_refused_with_its_part(body: bytes):
    """No other error than ``InvalidEvent`` comes out of a body, and it says where."""
    part, raws = at_fault(lambda: reports(body, {"task": TASK}))

    assert part in {"", "body", "args", "args[0]", "kwargs"}
    assert part or all(isinstance(raw, bytes) for raw in raws)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ([[[EVENT] * (EVENTS + 1)], {}, {}], "args[0]: has more than 10,000 events"),
        ([[EVENT], {"event": EVENT}, {}], f"kwargs: {TASK} has no named arguments"),
        ([[EVENT, EVENT], {}, {}], "args: must be one event, or one list of events"),
        ([[], {}, {}], "args: must be one event, or one list of events"),
        ([{"a": 1}, {}, {}], "args: must be one event, or one list of events"),
        ([[EVENT]], "body: is no call of a Celery task"),
        (5, "body: is no call of a Celery task"),
        ("text", "body: is no call of a Celery task"),
        ([[{"__type__": "uuid", "__value__": 5}], {}, {}], "body: cannot be read as JSON (TypeError)"),
    ],
)
def test_a_call_that_is_odd_says_where(call: Any, reason: str):
    """The field at fault stands first."""
    with pytest.raises(InvalidEvent) as caught:
        reports(json.dumps(call).encode(), {"task": TASK})

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"x" * LIMIT, None),
        (b"x" * LIMIT + b"x", "body: is larger than 16 MiB"),
        (b"," * 2**20, None),
        (b",[{" * 2**18, None),
        (b"," * 2**20 + b"[", "body: holds more than 1,048,576 values"),
        (b"[{" * 2**20, "body: holds more than 1,048,576 values"),
    ],
    ids=range(6),
)
def test_a_body_is_bounded_in_bytes_and_in_values(body: bytes, reason: str | None):
    """The bounds are exact: 16 MiB, and a value for each 16 bytes of that."""
    assert refusal({"task": TASK}, content_type="application/json", body=body) == reason


def test_ten_thousand_events_pass():
    """As many as the bound says; another test sends one more."""
    assert len(reports(json.dumps([[[{}] * EVENTS], {}]).encode(), {"task": TASK})) == EVENTS


@pytest.mark.parametrize("embed", [{}, None, 5, {"callbacks": [{"task": "x"}], "chain": 5, "chord": []}])
@pytest.mark.parametrize("named", [{}, None, []])
def test_what_stands_beside_the_event_is_left_out(embed: Any, named: Any):
    """Embeds of any form; and protocol 1 with its task in the body, or in a header."""
    whole = json.dumps(EVENT, ensure_ascii=False).encode()
    first = {"task": TASK, "id": {}, "args": [EVENT], "kwargs": named, "callbacks": embed, "expires": "x"}

    assert reports(json.dumps([[EVENT], named, embed]).encode(), {"task": TASK}) == [whole]
    assert reports(json.dumps(first).encode(), {}) == [whole]
    assert reports(json.dumps(first).encode(), {"task": TASK}) == [whole]


parts = st.fixed_dictionaries(
    {},
    optional={
        "method": anything | st.just("ping"),
        "arguments": anything,
        "destination": anything | st.just(["w@here"]),
        "pattern": anything,
        "matcher": anything,
        "ticket": anything | st.just("ticket"),
        "reply_to": anything
        | st.fixed_dictionaries(
            {"exchange": anything | st.just("replies"), "routing_key": anything | st.just("key")}
        ),
    },
)


@example({"method": "ping", "reply_to": {"exchange": "", "routing_key": "elsewhere"}})
@example({"method": "ping", "pattern": "(.+)+$!", "matcher": "pcre"})
@given(anything | parts)
def test_an_order_is_sound_or_refused_with_its_part(body: Any):
    """No other error than ``InvalidEvent``; an answer goes to the exchange for answers and nowhere else."""
    part, told = at_fault(lambda: order(body, worker="w@here", replies="replies"))

    assert part in {"", "body", "method", "arguments", "destination", "pattern", "ticket", "reply_to"}
    assert not (part == "" and isinstance(body, dict) and body.get("pattern"))
    if told is not None:
        assert told.keys() == {"method", "arguments", "ticket", "reply_to"}
        assert plain(told["method"])
        assert isinstance(told["arguments"], dict)
        assert told["ticket"] is None or plain(told["ticket"])
        if told["reply_to"] is not None:
            assert told["reply_to"]["exchange"] == "replies"
            assert plain(told["reply_to"]["routing_key"])
