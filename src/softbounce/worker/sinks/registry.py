"""Which sink opens which target. A new kind of target is a module here and a line in ``SINKS``."""

from collections.abc import Callable, Mapping
from typing import Any

from softbounce import settings
from softbounce.core.policy.model import Target
from softbounce.worker.sinks.apprise import ToApprise
from softbounce.worker.sinks.log import ToLog
from softbounce.worker.sinks.sink import Context, Sink
from softbounce.worker.sinks.stream import ToStream
from softbounce.worker.sinks.task import ToTask
from softbounce.worker.sinks.webhook import ToWebhook

SINKS: Mapping[str, Callable[[Any, Context], Sink]] = {
    "stream": ToStream.open,
    "celery": ToTask.open,
    "webhook": ToWebhook.open,
    "apprise": ToApprise.open,
    "log": ToLog.open,
}


def open_sink(target: settings.Sink | Target, context: Context) -> Sink:
    """Return the sink for one target of the settings or of the policy."""
    return SINKS[target.type](target, context)
