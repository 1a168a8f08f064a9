"""Reads a Celery message before Celery acts on it. The body alone is the report.

Three headers and properties can make it a dead letter, because they say that the body is something else: the
content type, ``task``, and ``compression`` (kombu has inflated the body by now). All others are ignored: ids,
times, limits, stamps, links, groups; so are the callbacks, the chain and the chord beside the arguments.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from kombu import Message
from kombu.utils import json as kombu_json

from softbounce.core.strict_json import refuse
from softbounce.worker.celery.decompression import LIMIT, excess

TASK = "softbounce.report"  # one name for ever; the version is in the payload
EVENTS = 10_000  # events of one task, which the store takes in some seconds
ENVELOPE = 2 * LIMIT  # bytes of a message as it lies on Redis, the body in base64
_PLAIN = re.compile(r"[\x21-\x7e]{1,255}")  # characters that AMQP, logs and monitors all can show


def refusal(headers: Mapping[str, object], *, content_type: object, body: bytes) -> str | None:
    """Return why a message is no report, its header or part first; None where only its body can tell.

    ``body`` is inflated, and not read yet. Never raises, whatever the headers hold.
    """
    if content_type != "application/json":  # another one names a codec, and some inflate without bound
        return "content-type: is not application/json"
    if "task" in headers and headers["task"] != TASK:
        return f"headers.task: is not {TASK}"
    return f"body: {too_much}" if (too_much := excess(body, limit=LIMIT)) else None


def body_of(message: Message) -> bytes:
    """Return the body's bytes, inflated where that went well. Never raises."""
    body = message.body or b""
    return body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)


def reports(body: bytes, headers: Mapping[str, object]) -> list[bytes]:
    """Return each report as a stream entry would hold it. Raises ``InvalidEvent``.

    ``[args, kwargs, ...]``, or an object with ``args`` and ``kwargs`` (Celery's message protocol 1); the only
    argument is an event or a list of them. kombu reads bytes, times and lone surrogates out of JSON.
    """
    try:
        call = kombu_json.loads(body)
    except Exception as error:  # noqa: BLE001 - kombu raises what its types raise
        refuse(f"cannot be read as JSON ({type(error).__name__})", "body")
    match call:
        case [args, named, *_]:
            task = headers.get("task")
        case {}:
            args, named, task = call.get("args"), call.get("kwargs"), headers.get("task", call.get("task"))
        case _:
            refuse("is no call of a Celery task", "body")
    if task != TASK:
        refuse(f"is not {TASK}", "task")
    if named:
        refuse(f"{TASK} has no named arguments", "kwargs")
    if not isinstance(args, list) or len(args) != 1:
        refuse("must be one event, or one list of events", "args")
    events = args[0] if isinstance(args[0], list) else [args[0]]
    if len(events) > EVENTS:
        refuse(f"has more than {EVENTS:,} events", "args[0]")
    try:
        return [_raw(event) for event in events]
    except (ValueError, RecursionError):
        refuse("is too deep, or no text", "args[0]")


def own(message: Message, raws: list[bytes]) -> Message:
    """Return what Celery gets in place of a message: headers of our own, and ``raws`` as the argument.

    To acknowledge it, or to give it back, acts on the message that came.
    """
    ident = plain((message.headers or {}).get("id")) or f"tag-{message.delivery_tag}"
    call: Any = ((raws,), {}, None)  # it is read already: without a content type Celery takes it as it is
    return Message(
        body=call,
        content_encoding="binary",
        # the last two are constant, or logs and monitors show addresses
        headers={"id": ident, "task": TASK, "argsrepr": "()", "kwargsrepr": "{}"},
        delivery_tag=message.delivery_tag,
        channel=message.channel,
    )


def leave_bytes(channel: Any) -> None:  # noqa: ANN401 - of either broker
    """Let a body come as it was sent: AMQP's channel would decode it by any codec that a header names."""
    channel.auto_decode = False


def plain(value: object) -> str | None:
    """Return a text of up to 255 visible ASCII characters, and None for any other value."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else None


def _raw(event: object) -> bytes:
    if isinstance(event, bytes):
        return event
    text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False, default=_written)
    return text.encode(errors="surrogatepass")


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)
