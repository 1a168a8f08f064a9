"""Remote control: which messages of ``celery inspect`` and ``celery control`` a worker obeys."""

from typing import Any

from celery.app import control
from kombu import Consumer, Message, pidbox
from typing_extensions import override

from softbounce.core.strict_json import refuse
from softbounce.errors import InvalidEvent
from softbounce.telemetry import get_logger
from softbounce.worker.celery.envelope import leave_bytes, plain

log = get_logger()

SAFE = ("ping", "stats", "softbounce")  # they change nothing, and show no arguments


def order(body: object, *, worker: str | None, replies: str) -> dict[str, Any] | None:
    """Return method, arguments, ticket and where to reply; None where other workers are meant.

    ``replies`` is the one exchange that answers go to: with another the sender could publish anywhere with
    the worker's rights. A pattern is not followed, because a regular expression from outside may run for
    ever. Raises ``InvalidEvent`` with the part that is not as Celery's client writes it.
    """
    if not isinstance(body, dict):
        refuse("is no object", "body")
    method, ticket = body.get("method"), body.get("ticket")
    arguments, destination = body.get("arguments") or {}, body.get("destination") or []
    reply_to = body.get("reply_to") or {}
    is_reply_sound = isinstance(reply_to, dict) and (
        not reply_to
        or (reply_to.get("exchange") == replies and plain(reply_to.get("routing_key")) is not None)
    )
    sound = {
        "method": plain(method) is not None,
        "arguments": isinstance(arguments, dict),
        "destination": isinstance(destination, list),
        "pattern": not (body.get("pattern") or body.get("matcher")),
        "ticket": ticket is None or plain(ticket) is not None,
        "reply_to": is_reply_sound,
    }
    for part, is_sound in sound.items():
        if not is_sound:
            refuse("is not as Celery's client writes it, or names workers by a pattern", part)
    if destination and worker not in destination:
        return None
    return {"method": method, "arguments": arguments, "ticket": ticket, "reply_to": reply_to or None}


class Node(pidbox.Node):
    """The worker's end of remote control: obeys what is sound and allowed, and says why not to the rest."""

    mailbox: Any
    state: Any

    @override
    def Consumer(self, *args: Any, **options: Any) -> Consumer:
        """Return what listens; the body's bytes stay as they came, whatever codec a header names."""
        consumer = super().Consumer(*args, **options)
        leave_bytes(consumer.channel)
        return consumer

    @override
    def handle_message(self, body: object, message: Message | None = None) -> Any:
        """Obey one message. Its logical clock is ignored: a huge one would spoil each message of ours."""
        try:
            command = order(body, worker=self.hostname, replies=self.mailbox.reply_exchange.name)
        except InvalidEvent as error:
            log.warning("remote.refused", reason=str(error))
            return None
        return None if command is None else self.dispatch(**command)

    @override
    def handle(self, method: str, arguments: dict[str, Any] | None = None) -> Any:
        """Do what ``method`` says, or answer that it is not allowed."""
        if method not in SAFE and self.state.app.settings.remote_control != "all":
            log.warning("remote.refused", method=method, reason="not allowed")
            allowed = "this worker answers ping, stats and softbounce only"
            return {"error": f"{allowed}; SOFTBOUNCE_REMOTE_CONTROL=all allows the rest"}
        return super().handle(method, arguments)


class Mailbox(pidbox.Mailbox):
    """Celery's mailbox with our node."""

    node_cls = Node


class Control(control.Control):
    """Celery's remote control with our mailbox."""

    Mailbox = Mailbox
