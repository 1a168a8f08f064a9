"""The worst Celery messages that we know, as data: each with what must come of it."""

import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from live import failed

TAKEN = ""  # in place of a reason: the report gets its outcome
JSON = "application/json"
ELSEWHERE = "elsewhere"  # a queue that nothing may be published to
PUBLISHING = {"task": "pipeline.pay", "args": [1], "kwargs": {}, "options": {"queue": ELSEWHERE}}


@dataclass(kw_only=True)
class Worst:
    """One message, and why it is a dead letter; ``TAKEN`` if it is none."""

    reason: str = TAKEN
    headers: dict[str, Any] = field(default_factory=dict)
    body: Any = None  # bytes, or a value to write as JSON; None is a sound call with one event
    content_type: Any = JSON
    content_encoding: Any = "utf-8"
    properties: dict[str, Any] = field(default_factory=dict)
    without_task: bool = False
    redis_only: bool = False  # AMQP has no way to say it

    def written(self, number: int) -> bytes:
        """Return the body's bytes; the event of a sound call is number's own."""
        if isinstance(self.body, bytes):
            return self.body
        body = [[failed(f"bad{number}")], {}, {}] if self.body is None else self.body
        return json.dumps(body).replace("EVENT", f"event-of-{number}").encode()

    def all_headers(self, number: int) -> dict[str, Any]:
        """Return the headers with those that make it a call of our task."""
        named = {"id": f"id-{number}", "lang": "py"} | (
            {} if self.without_task else {"task": "softbounce.report"}
        )
        return named | self.headers


ODD: list[Any] = [{}, [], {"a": 1}, [1], 5, -1, 0.5, True, "x", "", "\ud800", "\x00", "x" * 4000]
NAMES = [
    *["id", "root_id", "parent_id", "group", "group_index", "lang", "meth", "shadow", "eta", "expires"],
    *["retries", "timelimit", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting"],
    *["stamped_headers", "stamps", "reply_to", "correlation_id", "properties", "delivery_info", "hostname"],
    *["redelivered", "utc", "callbacks", "errbacks", "chain", "chord", "link", "args", "kwargs", "clock"],
]
NOT_OURS = "headers.task: is not softbounce.report"
NO_CALL = "body: is no call of a Celery task"
NOT_JSON = "body: cannot be read as JSON"
NOT_JSON_TYPE = "content-type: is not application/json"
NOT_INFLATED = "headers.compression: the body does not inflate so"
EVENT = failed("EVENT")

WORST = [
    *(Worst(headers={name: odd}) for name in NAMES for odd in ({}, [1], 5, "x", None)),
    Worst(headers=dict.fromkeys(NAMES, "\x00")),
    Worst(headers={"id": "x" * 4000}),
    Worst(headers={"id": json.loads("[" * 400 + "]" * 400)}),
    *(Worst(headers={"eta": at}) for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
    Worst(headers={"eta": "2036-01-01T00:00:00Z"}),  # time passes in the store
    Worst(headers={"expires": "2001-01-01T00:00:00Z"}),  # a late report is a report
    Worst(headers={"eta": datetime(2036, 1, 1, tzinfo=UTC).isoformat(), "retries": 2**40}),
    Worst(headers={"compression": None}),
    *(Worst(headers={"compression": odd}, redis_only=True) for odd in ({}, [], "", 0)),
    *(
        Worst(headers={"task": odd}, reason=NOT_OURS)
        for odd in ({}, [], None, 5, "", "softbounce.other", "x" * 4000)
    ),
    *(
        Worst(headers={"task": f"celery.{name}"}, reason=NOT_OURS)
        for name in (
            "chord_unlock",
            "accumulate",
            "backend_cleanup",
            "chain",
            "group",
            "map",
            "starmap",
            "chunks",
        )
    ),
    *(
        Worst(headers={"compression": odd}, reason=NOT_INFLATED)
        for odd in ("gzip", "x-unknown", 5, {"a": 1}, [1])
    ),
    Worst(headers={"compression": "gzip"}, body=zlib.compress(bytes(17 << 20)), reason=NOT_INFLATED),
    *(
        Worst(content_type=odd, reason=NOT_JSON_TYPE)
        for odd in ("", "text/plain", "application/x-python-serialize")
    ),
    *(Worst(content_type=odd, reason=NOT_JSON_TYPE, redis_only=True) for odd in (None, {}, [JSON], 5, True)),
    *(
        Worst(content_encoding=odd)
        for odd in ("", "x", "zlib_codec", "rot13", "utf-16", "punycode", "idna", "hex")
    ),
    *(Worst(content_encoding=odd, redis_only=True) for odd in (None, {}, ["utf-8"], 5, True)),
    *(
        Worst(properties={name: odd}, redis_only=True)
        for name in ("reply_to", "correlation_id")
        for odd in ODD
    ),
    *(Worst(properties={"priority": odd}, redis_only=True) for odd in ({}, [], "x", None, 1e308, -5, 2**70)),
    Worst(properties={"reply_to": ELSEWHERE, "correlation_id": "x", "priority": 9, "expiration": 10**6}),
    # what stands beside the event publishes nothing
    Worst(body=[[EVENT], {}, {"callbacks": [PUBLISHING], "errbacks": [PUBLISHING], "chain": [PUBLISHING]}]),
    Worst(body=[[EVENT], {}, {"chord": PUBLISHING, "chain": 5, "callbacks": "x"}], headers={"group": "g"}),
    *(Worst(body=[[EVENT], {}, odd]) for odd in (None, 5, [], "x", [[]], True)),
    *(Worst(body=[[EVENT], odd, {}]) for odd in (None, [], "", 0)),
    Worst(body=[[EVENT], {}, {}, 5]),
    Worst(body=[[EVENT], {"event": 1}, {}], reason="kwargs: softbounce.report has no named arguments"),
    *(
        Worst(body=[[EVENT], odd, {}], reason="kwargs: softbounce.report has no named")
        for odd in (5, "x", [1], True)
    ),
    *(
        Worst(body=[args, {}, {}], reason="args: must be one event, or one list of events")
        for args in ([], [EVENT, EVENT], {}, 5, "x", None, True)
    ),
    *(Worst(body=odd, reason=NO_CALL) for odd in (5, "args", True, [], [[EVENT]], ["args"])),
    *(Worst(body=odd, reason="args: must be") for odd in ({}, {"args": {}}, ["args", {}], [5, {}, {}])),
    *(
        Worst(body=raw, reason=NOT_JSON)
        for raw in (b"{torn", b"\xff\xfe", b"[" * 99_999, b"[" + b"9" * 9999 + b"]")
    ),
    Worst(body=b"", reason=NOT_JSON),
    *(
        Worst(body=[[{"__type__": kind, "__value__": odd}], {}, {}], reason=NOT_JSON)
        for kind in ("bytes", "uuid", "datetime", "x", [])
        for odd in (5, {"a": 1})
    ),
    Worst(
        body=[[[{"number": number} for number in range(200_000)]], {}, {}],
        reason="args[0]: has more than 10,000",
    ),
    Worst(body=b'[[{"pad": "' + b"x" * (16 << 20) + b'"}], {}, {}]', reason="body: is larger than 16 MiB"),
    Worst(body=b"[[[" + b"[]," * 2**20 + b"[]]], {}, {}]", reason="body: holds more than 1,048,576 values"),
    Worst(
        body=b"[[" + (b"[" * 500 + b"]" * 500 + b",") * 9999 + b"1], {}]",
        reason="body: holds more than 1,048,576",
    ),
    # message protocol 1: the task stands in the body
    Worst(
        without_task=True,
        body={"task": "softbounce.report", "id": [], "args": [EVENT], "kwargs": {}, "eta": 5},
    ),
    Worst(
        without_task=True,
        body={"task": "softbounce.report", "args": [EVENT], "taskset": {}, "chord": PUBLISHING},
    ),
    *(
        Worst(without_task=True, body={"task": odd, "args": [EVENT]}, reason="task: is not softbounce.report")
        for odd in ("celery.chain", {}, None, 5, [])
    ),
    Worst(without_task=True, reason="task: is not softbounce.report"),
]

ITEMS = [  # what no client of Celery puts on a Redis list, each a dead letter with all its bytes
    b"junk",
    b"[" * 99_999,
    b"\xff",
    b'{"body": 1, "properties": {}}',
    b'{"body": "x", "headers": 5, "properties": {"delivery_info": {}}}',
    b'{"body": "x", "headers": {}, "properties": {"delivery_info": {}, "body_encoding": [1]}}',
    b'{"body": "x", "headers": {}, "properties": {"delivery_info": {}, "body_encoding": "base64"}}',
    b'{"body": "x", "headers": {}, "properties": {"delivery_info": {}, "priority": Infinity}}',
    b'{"body": "x", "headers": {}, "properties": {"delivery_info": {}, "priority": 1e999}}',
    b'{"body": "x", "headers": {}, "properties": {"delivery_info": [], "priority": 0}}',
    b'{"body": "x", "headers": {"x": [' + b"1," * 2**21 + b'1]}, "properties": {"delivery_info": {}}}',
]

ORDERS: list[Any] = [  # broken messages of remote control
    *ODD,
    None,
    *({"method": odd} for odd in ODD),
    {"method": "ping", "arguments": 5},
    {"method": "ping", "arguments": {"state": 1, "self": 2}},
    {"method": "ping", "destination": 5},
    {"method": "ping", "destination": [{}]},
    {"method": "ping", "pattern": "(.+)+$!", "matcher": "pcre"},
    {"method": "ping", "pattern": 5, "matcher": {}},
    *({"method": "ping", "reply_to": odd, "ticket": "t"} for odd in ODD),
    *(
        {"method": "ping", "ticket": "t", "reply_to": {"exchange": exchange, "routing_key": key}}
        for exchange in ("", "reply.celery.pidbox", "celery.pidbox", ELSEWHERE, 5)
        for key in (ELSEWHERE, "x" * 4000, 5, {}, "")
    ),
    *(
        {"method": "ping", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "k"}, "ticket": t}
        for t in ODD
    ),
]
