"""Notices to people as lines of the worker's own log."""

from collections.abc import Sequence

from softbounce.telemetry import get_logger
from softbounce.worker.sinks.sink import Handed, MayBegin, Message

log = get_logger()

NAMES = {  # type of a notice -> event name in the log
    "softbounce.escalated": "recipient.escalated",
    "softbounce.incident": "incident.opened",
    "softbounce.case_resolved": "case.resolved",
}


class ToLog:
    """Writes notices to the worker's own log."""

    name = "log"

    def deliver(self, messages: Sequence[Message], _may_begin: MayBegin) -> Handed:
        """Write one line per message."""
        for _, body in messages:
            facts = {name: value for name, value in body.items() if name != "type"}
            log.warning(NAMES[str(body["type"])], **facts)
        return Handed(count=len(messages))
