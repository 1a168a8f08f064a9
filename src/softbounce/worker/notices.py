"""What the pipeline and people are told: each notice to the pipeline, groups of escalations to people."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from celery import Celery

from softbounce import settings
from softbounce.core.policy import Target
from softbounce.settings import Settings
from softbounce.store import Notice, Store
from softbounce.telemetry import get_logger
from softbounce.worker.apprise import ToApprise
from softbounce.worker.faults import reached
from softbounce.worker.reload import PolicyInForce
from softbounce.worker.sinks import LAST_START, Handed, MayBegin, Message, Rest, Sink, open_sink, trim
from softbounce.worker.webhook import ToWebhook

log = get_logger()

BATCH = 500
NAMES = {
    "softbounce.escalated": "recipient.escalated",
    "softbounce.incident": "incident.opened",
    "softbounce.case_resolved": "case.resolved",
}  # in the log


@dataclass(slots=True, kw_only=True)
class Receiver:
    """One place that notices go to; it rests after a failure, and is not told again what it knows."""

    sink: Sink
    rest: Rest
    told: set[str] = field(default_factory=set)  # ids that wait for other receivers still


class Notices:
    """Tells what is to be told, each notice under one id; what a receiver does not take waits. One thread."""

    def __init__(
        self,
        store: Store,
        policies: PolicyInForce,
        *,
        config: Settings,
        app: Celery,
        rng: random.Random,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """``heard`` is called before each notice leaves."""
        self._store, self._policies, self._config, self._app, self._rng = store, policies, config, app, rng
        self._heard = heard
        self._last_start = 0.0  # no notice of a batch leaves later: others hold it then
        self._receivers: dict[settings.Sink | Target, Receiver] = {}

    def turn(self) -> bool:
        """Claim a batch and tell it; false if it was not full, or the pipeline's sink rests.

        What comes meanwhile is told together: a turn for each few took a tenth of the worker's time.
        """
        pipeline = self._receiver(notice_sink(self._config.sink, stream=self._store.keys.stream("notices")))
        if not pipeline.rest.is_over:
            return False
        self._last_start = monotonic() + LAST_START * self._config.lease / 1000
        notices = self._store.notices.claim(limit=BATCH, lease=self._config.lease)
        if notices:
            reached("notices.claimed")
        policy = self._policies.current
        missed = self._tell(pipeline, [notice for notice in notices if not notice.told])
        for target in policy.notify:
            missed |= self._tell(
                self._receiver(_place(target)), [notice for notice in notices if notice.told]
            )
        done = [notice for notice in notices if notice.id not in missed]
        if done:
            reached("notices.told")
            self._store.notices.finish(done, people=policy.grouping if policy.notify else None)
            reached("notices.finished")
        for receiver in self._receivers.values():
            receiver.told.difference_update(notice.id for notice in done)
        return len(notices) >= BATCH

    def trim(self, *, before: int) -> None:
        """Let go of notices that every reader has acknowledged, or that are older than ``before`` (ms)."""
        for receiver in tuple(self._receivers.values()):
            trim(receiver.sink, before=before)

    def _tell(self, receiver: Receiver, notices: list[Notice]) -> set[str]:
        """Return the ids that ``receiver`` has not taken."""
        news = [notice for notice in notices if notice.id not in receiver.told]
        if not news or not receiver.rest.is_over:
            return {notice.id for notice in news}
        handed = receiver.sink.deliver([(notice.id, notice.body) for notice in news], self._may_begin)
        receiver.told.update(notice.id for notice in news[: handed.count])
        if handed.failure:
            delay = receiver.rest.failed()
            log.error(
                "handover.failed",
                sink=receiver.sink.name,
                reason=handed.failure,
                delay_s=delay / 1000,
                count=len(news),
            )
        else:
            receiver.rest.succeeded()
        return {notice.id for notice in news[handed.count :]}

    def _may_begin(self) -> bool:
        self._heard()
        return monotonic() < self._last_start

    def _receiver(self, target: settings.Sink | Target) -> Receiver:
        if target not in self._receivers:
            self._receivers[target] = Receiver(sink=self._sink(target), rest=Rest(self._rng))
        return self._receivers[target]

    def _sink(self, target: settings.Sink | Target) -> Sink:
        timeout = self._config.handover_timeout
        if not isinstance(target, Target):
            return open_sink(target, store=self._store, app=self._app, field="notice", timeout=timeout)
        if target.type == "webhook":
            now = self._store.now
            return ToWebhook(target.url or "", secret=target.secret or "", timeout=timeout / 1000, now=now)
        return ToApprise(target.secret or "", timeout=timeout / 1000) if target.type == "apprise" else ToLog()


class ToLog:
    """Lines of the worker's own log."""

    name = "log"

    def deliver(self, messages: Sequence[Message], _may_begin: MayBegin) -> Handed:
        """Write a line a message."""
        for _, body in messages:
            facts = {name: value for name, value in body.items() if name != "type"}
            log.warning(NAMES[str(body["type"])], **facts)
        return Handed(count=len(messages))


def _place(target: Target) -> settings.Sink | Target:
    """Return what one receiver is known by: a stream or a task is the same one under any target's name."""
    if target.stream:
        return settings.StreamSink(key=target.stream)
    if target.task:
        return settings.CelerySink(task=target.task, queue=target.queue or "celery")
    return target


def notice_sink(resend: settings.Sink, *, stream: str) -> settings.Sink:
    """Return where the pipeline hears of notices: ``stream``, or task ``x.notice`` beside ``x.resend``."""
    match resend:
        case settings.StreamSink():
            return settings.StreamSink(key=stream)
        case settings.CelerySink(task=task, queue=queue):
            module, dot, _ = task.rpartition(".")
            return settings.CelerySink(task=f"{module}{dot}notice", queue=queue)
