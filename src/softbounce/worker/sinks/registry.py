"""Which sink serves which target. A new kind of target is a module here and a case in ``open_sink``."""

from softbounce import settings
from softbounce.core.policy.model import Target
from softbounce.worker.sinks.apprise import ToApprise
from softbounce.worker.sinks.log import ToLog
from softbounce.worker.sinks.sink import Context, Sink
from softbounce.worker.sinks.stream import ToStream
from softbounce.worker.sinks.task import ToTask
from softbounce.worker.sinks.webhook import ToWebhook


def open_sink(target: settings.Sink | Target, context: Context) -> Sink:
    """Return the sink for one target of the settings or of the policy."""
    limit = context.timeout / 1000  # s
    match target:
        case settings.StreamSink(key=key):
            return ToStream(context.store, key, field=context.field)
        case settings.CelerySink(task=task, queue=queue):
            return ToTask(context.app, task, queue, argument=context.field, timeout=limit)
        case Target(type="webhook", url=str(url), secret=str(secret)):
            return ToWebhook(url, secret=secret, timeout=limit, now=context.store.now)
        case Target(type="apprise", secret=str(variable)):
            return ToApprise(variable)
        case Target(type="log"):
            return ToLog()
        case _:
            message = f"no sink serves a target of type {target.type}"
            raise TypeError(message)
