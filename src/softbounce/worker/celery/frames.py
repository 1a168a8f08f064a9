# ruff: noqa: ANN401 - py-amqp has no types here
"""Reads AMQP frames: properties that py-amqp cannot read cost their message, and never the worker."""

from collections.abc import Callable
from typing import Any

from amqp import Message, method_framing

from softbounce.telemetry import get_logger

log = get_logger()

Frame = tuple[int, int, Any]  # kind, channel, payload

HEADER = 2  # the kind of frame that holds a message's properties
SIZES = 12  # bytes of class, weight and body size, before the properties


def frame_handler(connection: Any, callback: Callable[..., object]) -> Callable[[Frame], bool]:
    """Return py-amqp's reader of frames, which goes on where a property cannot be read.

    RabbitMQ passes on a time after the year 9999, and tables in tables deeper than Python's stack. py-amqp
    raises on either, and the message would come again with each new connection. Without its properties it
    has no content type, and is a dead letter.
    """
    on_frame = method_framing.frame_handler(connection, callback)

    def read(frame: Frame) -> bool:
        kind, channel, payload = frame
        return bool(on_frame((kind, channel, _readable(payload)) if kind == HEADER else frame))

    return read


frame_handler.__json__ = lambda: "softbounce"  # type: ignore[attr-defined]  # or `celery inspect stats` fails


def _readable(payload: Any) -> Any:
    scratch: Any = Message()
    try:
        scratch.inbound_header(payload)
    except Exception as error:  # noqa: BLE001 - each type of a field has its own
        reason = f"the properties of a message cannot be read ({type(error).__name__}), and are left out"
        log.warning("amqp.properties", reason=reason)
        return bytes(payload[:SIZES]) + bytes(2)  # two bytes: no property follows
    return payload
