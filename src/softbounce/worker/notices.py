"""Sends notices: each one to the pipeline, and escalations in groups to people."""

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from celery import Celery

from softbounce import settings
from softbounce.core.policy.model import Target
from softbounce.errors import TryAgain
from softbounce.settings import Settings
from softbounce.store import Notice, Store
from softbounce.store.limits import HANDOVER_BATCH
from softbounce.telemetry import get_logger
from softbounce.worker.crash_points import reached
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.sinks.registry import open_sink
from softbounce.worker.sinks.sink import LAST_START, Backoff, Context, Handed, Sink
from softbounce.worker.sinks.stream import trim

log = get_logger()

WAITING = 2 * HANDOVER_BATCH  # notices that may wait for one receiver: a batch on its way, and the next
FEW = 10  # notices that a claim takes while the pipeline is busy; groups for people come with each claim
QUICK = 0.25  # s that a turn waits for the receivers that it has started
LEFT_BEHIND = 3  # hanging threads of one receiver; with so many, a further one is waited for


@dataclass(slots=True, kw_only=True)
class HandOver:
    """One batch on its way to one receiver, in a thread of its own."""

    batch: list[Notice]
    last_start: float  # by `monotonic()`; after that another worker may hold the lease
    began: float = field(default_factory=monotonic)
    handed: Handed | None = None  # set when it has ended


class Receiver:
    """One target of notices. It gets one batch at a time, and rests after a failure."""

    def __init__(self, sink: Sink, backoff: Backoff, *, patience: float, stopping: threading.Event) -> None:
        """Count a hand-over as failed that has not returned after ``patience`` seconds."""
        self.sink = sink
        self.taken: set[str] = set()  # ids that it has taken and another receiver has not
        self.waiting: dict[str, tuple[Notice, float]] = {}  # a leased notice, and the latest time to begin
        self._backoff, self._patience, self._stopping = backoff, patience, stopping
        self._hand_over: HandOver | None = None
        self._thread = threading.Thread()
        self._left_behind: list[threading.Thread] = []

    @property
    def is_free(self) -> bool:
        """Whether a hand-over may begin now."""
        return self._hand_over is None and self._backoff.is_over

    def add(self, notice: Notice, *, last_start: float) -> None:
        """Let ``notice`` wait, unless it is taken, or too many wait: it then comes again after its lease."""
        if notice.id not in self.taken and (notice.id in self.waiting or len(self.waiting) < WAITING):
            self.waiting[notice.id] = notice, last_start

    def begin(self) -> None:
        """Begin to hand over what waits, if it is free."""
        now = monotonic()
        self.waiting = {ident: one for ident, one in self.waiting.items() if now < one[1]}
        if self.waiting and self.is_free:
            batch, last_starts = zip(*islice(self.waiting.values(), HANDOVER_BATCH), strict=True)
            self._hand_over = HandOver(batch=list(batch), last_start=min(last_starts))
            self._thread = threading.Thread(  # a daemon, so that a hanging one does not block the exit
                target=self._deliver, args=(self._hand_over,), name=self.sink.name, daemon=True
            )
            self._thread.start()

    def collect(self, *, until: float) -> list[Notice]:
        """Return what it has taken since the last call; wait until ``until`` (``monotonic()``) for it."""
        if (hand_over := self._hand_over) is None:
            return []
        self._thread.join(max(0.0, until - monotonic()))
        if (handed := hand_over.handed) is None and (handed := self._give_up(hand_over)) is None:
            return []
        self._hand_over = None
        taken = hand_over.batch[: handed.count]
        for notice in taken:
            self.taken.add(notice.id)
            self.waiting.pop(notice.id, None)
        if handed.failure:
            delay = self._backoff.failed()
            log.error(
                "handover.failed",
                sink=self.sink.name,
                reason=handed.failure,
                delay_s=delay / 1000,
                count=len(hand_over.batch),
            )
        elif taken:
            self._backoff.succeeded()
        return taken

    def _give_up(self, hand_over: HandOver) -> Handed | None:
        """Abandon a thread that ignores its limit, unless ``LEFT_BEHIND`` others hang already."""
        if monotonic() < hand_over.began + self._patience:
            return None
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if len(self._left_behind) >= LEFT_BEHIND:
            return None
        self._left_behind.append(self._thread)
        return Handed(count=0, failure=f"it has not returned for {self._patience:g} s")

    def _deliver(self, hand_over: HandOver) -> None:
        def may_begin() -> bool:
            return monotonic() < hand_over.last_start and not self._stopping.is_set()

        try:
            messages = [(notice.id, notice.body) for notice in hand_over.batch]
            hand_over.handed = self.sink.deliver(messages, may_begin)
        except TryAgain:  # the store is away, and the receiver has not failed
            hand_over.handed = Handed(count=0)
        except Exception as error:  # noqa: BLE001 - costs this receiver alone; the error's words may hold an address
            reason = f"{type(error).__name__} on the way to {self.sink.name}"
            hand_over.handed = Handed(count=0, failure=reason)


class Notices:
    """Sends each notice under its one id; a notice that a receiver does not take is sent again.

    One thread takes turns. Each receiver has a thread of its own, so that none waits for another.
    """

    def __init__(
        self,
        store: Store,
        policies: PolicyInForce,
        *,
        config: Settings,
        app: Celery,
        rng: random.Random,
        stopping: threading.Event,
    ) -> None:
        """After ``stopping`` no notice leaves."""
        self._store, self._policies, self._config, self._app, self._rng = store, policies, config, app, rng
        self._stopping = stopping
        self._receivers: dict[settings.Sink | Target, Receiver] = {}

    def turn(self) -> bool:
        """Claim a batch, start the receivers that are free, finish what all have; false if it was not full.

        A turn waits ``QUICK`` for quick receivers, because a turn for each few notices took a tenth of the
        worker's time. What the slow ones have not taken yet stays leased.
        """
        taken = self._collect()
        pipeline, people = self.pipeline, self._people()
        limit = HANDOVER_BATCH if pipeline.is_free else FEW
        last_start = monotonic() + LAST_START * self._config.lease / 1000
        claimed = self._store.notices.claim(limit=limit, lease=self._config.lease)
        if claimed:
            reached("notices.claimed")
        for notice in claimed:
            for receiver in people if notice.told else [pipeline]:
                receiver.add(notice, last_start=last_start)
        begun = [receiver for receiver in (pipeline, *people) if receiver.is_free]
        for receiver in begun:
            receiver.begin()
        self._finish(claimed + taken + self._collect(*begun, until=monotonic() + QUICK))
        return len(claimed) >= HANDOVER_BATCH

    def settle(self, *, until: float) -> None:
        """Finish what is taken; wait for the rest until ``until`` (``monotonic()``), at most one time-out."""
        until = min(until, monotonic() + self._config.handover_timeout / 1000)
        self._finish(self._collect(*self._receivers.values(), until=until))

    def trim(self, *, before: int) -> None:
        """Delete notices that every reader has acknowledged, or that are older than ``before`` (ms)."""
        for receiver in tuple(self._receivers.values()):
            trim(receiver.sink, before=before)

    def _collect(self, *waited_for: Receiver, until: float = 0.0) -> list[Notice]:
        taken = [notice for receiver in waited_for for notice in receiver.collect(until=until)]
        return taken + [notice for one in self._receivers.values() for notice in one.collect(until=0.0)]

    def _finish(self, notices: Iterable[Notice]) -> None:
        """Finish those of ``notices`` that each of their receivers has taken."""
        policy, pipeline, people = self._policies.current, self.pipeline, self._people()
        done = {
            notice.id: notice
            for notice in notices
            if all(notice.id in receiver.taken for receiver in (people if notice.told else [pipeline]))
        }
        if done:
            reached("notices.told")
            self._store.notices.finish(list(done.values()), people=policy.grouping if policy.notify else None)
            reached("notices.finished")
        for receiver in self._receivers.values():
            receiver.taken.difference_update(done)

    @property
    def pipeline(self) -> Receiver:
        """The pipeline's own receiver."""
        return self._receiver(notice_sink(self._config.sink, stream=self._store.keys.stream("notices")))

    def _people(self) -> list[Receiver]:
        return [self._receiver(_receiver_key(target)) for target in self._policies.current.notify]

    def _receiver(self, target: settings.Sink | Target) -> Receiver:
        if target not in self._receivers:
            patience = 2 * self._config.lease / 1000  # a notice begins within 0.8 of a lease, and takes 0.5
            self._receivers[target] = Receiver(
                self._sink(target), Backoff(self._rng), patience=patience, stopping=self._stopping
            )
        return self._receivers[target]

    def _sink(self, target: settings.Sink | Target) -> Sink:
        timeout = self._config.handover_timeout
        return open_sink(target, Context(store=self._store, app=self._app, field="notice", timeout=timeout))


def _receiver_key(target: Target) -> settings.Sink | Target:
    """Return the key of a target's receiver: targets of one stream or one task share a receiver."""
    if target.stream:
        return settings.StreamSink(key=target.stream)
    if target.task:
        return settings.CelerySink(task=target.task, queue=target.queue or "celery")
    return target


def notice_sink(resend: settings.Sink, *, stream: str) -> settings.Sink:
    """Return where notices to the pipeline go: ``stream``, or task ``x.notice`` beside ``x.resend``."""
    match resend:
        case settings.StreamSink():
            return settings.StreamSink(key=stream)
        case settings.CelerySink(task=task, queue=queue):
            module, dot, _ = task.rpartition(".")
            return settings.CelerySink(task=f"{module}{dot}notice", queue=queue)
