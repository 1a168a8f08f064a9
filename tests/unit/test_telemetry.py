"""Logs say what happened and never to whom in clear."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from tests.conftest import plain_logs

from softbounce import telemetry

CANARIES = ("+491701234567", "jane.doe@example.com", "canary-pass")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Leave the root logger as the test runner has set it up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    plain_logs()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the log's lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_line_is_one_json_object_unless_on_a_terminal():
    """Machines read what does not go to a person's screen."""
    stream = io.StringIO()
    telemetry.configure(stream=stream)
    telemetry.get_logger().info("retry.scheduled", reference="a6590eb9", attempt=2)

    [line] = lines(stream)
    assert line["ts"].endswith("Z")
    assert (line["level"], line["event"]) == ("info", "retry.scheduled")
    assert (line["reference"], line["attempt"]) == ("a6590eb9", 2)


def test_a_terminal_gets_text():
    """People read columns, not braces."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    telemetry.configure(stream=stream)
    telemetry.get_logger().info("worker.started", reference="a6590eb9")

    assert "worker.started" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_addresses_and_passwords_leave_in_no_field():
    """The last step of the chain looks into every field: nested, bytes, objects, keys."""
    phone, mail, password = CANARIES
    stream = io.StringIO()
    telemetry.configure(stream=stream)
    telemetry.get_logger().info(
        "handover.failed",
        text=f"550 <{mail}> unknown",
        nested={"to": [phone, {mail: 1}]},
        raw=f'{{"recipients": ["{phone}"]}}'.encode(),
        error=ValueError(f"no route to redis://me:{password}@cache:6379/0 for {phone}"),
        url=f"redis://cache:6379/0?password={password}",
    )

    assert [canary for canary in CANARIES if canary in stream.getvalue()] == []
    assert "cache:6379/0" in stream.getvalue()


def test_libraries_speak_through_the_same_chain():
    """A message of kombu or redis is masked like our own, and so is a traceback."""
    phone, mail, password = CANARIES
    stream = io.StringIO()
    telemetry.configure(stream=stream)
    error = ConnectionError(f"amqp://me:{password}@broker// refused {mail}")
    logging.getLogger("kombu.connection").error("cannot send %s", phone, exc_info=error)

    [line] = lines(stream)
    assert (line["logger"], line["level"]) == ("kombu.connection", "error")
    assert "ConnectionError" in line["exception"]
    assert [canary for canary in CANARIES if canary in stream.getvalue()] == []


def test_what_is_no_address_stays_readable():
    """Ids, times, numbers and policy lines are what an operator searches for."""
    facts = {
        "event_id": "Zk3vQ1x9LmN0aBcD",
        "reference": "a6590eb9-497a-4a7f-b5df-0c2f6f1f7d10",
        "rule_at": "config/policy.yaml:39",
        "due_at": "2026-11-21T07:12:40Z",
        "delay_s": 5400.5,
        "last": True,
        "until": None,
    }
    stream = io.StringIO()
    telemetry.configure(stream=stream)
    telemetry.get_logger().info("retry.deferred", **facts)

    assert lines(stream)[0].items() >= facts.items()


def test_what_is_below_the_level_is_not_written():
    """Debug lines cost nothing unless asked for."""
    stream = io.StringIO()
    telemetry.configure(stream=stream, level="WARNING")
    telemetry.get_logger().info("event.accepted")
    logging.getLogger("redis").info("connected")

    assert stream.getvalue() == ""
