"""The parts of one worker around one store, and the threads that keep them going."""

import os
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, time_ns

import tenacity
from celery import Celery

from softbounce.errors import Overloaded, StoreUnreachable, TryAgain, WrongKey
from softbounce.settings import Settings
from softbounce.store.limits import CONSUMER_KEPT
from softbounce.stores import open_store
from softbounce.telemetry import get_logger
from softbounce.worker.crash_points import reached
from softbounce.worker.handover import Pump
from softbounce.worker.intake import Intake
from softbounce.worker.notices import Notices
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.retrying import retrier
from softbounce.worker.sinks.registry import open_sink
from softbounce.worker.sinks.sink import Context
from softbounce.worker.watchdog import Watchdog

log = get_logger()

LOOP_SILENCE = 30  # s without a reply or an error in one loop, after which the watchdog kills the worker
DRAIN = 25.0  # s that begun work has to end once the worker is to stop
IDLE = 0.05  # s between two looks at a store with nothing to do: 99 % leave within 0.1 s of their time
IDLE_VIRTUAL = 0.002  # s; in virtual time a test or the demo waits for the worker


class Runtime:
    """One worker's parts. Celery starts, closes and stops it as a boot step; others may do so too."""

    def __init__(self, settings: Settings, *, url: str, app: Celery, rng: random.Random) -> None:
        """Connect. Raises ``RefuseToStart`` or ``StoreUnreachable``."""
        self.worker = f"{socket.gethostname()}/{os.getpid()}"
        self.stopping = threading.Event()
        self.is_drained = False  # stopped, and all that had begun is finished
        self.keep: Callable[[], object] | None = None
        self.store = open_store(settings, url)
        self.store.require_safe()
        self.store.events.make_group()
        self.policies = PolicyInForce(settings.policy)
        self.policies.refresh(self.store.policies.applied())
        context = Context(store=self.store, app=app, field="command", timeout=settings.handover_timeout)
        sink = open_sink(settings.sink, context)
        self._watchdog = Watchdog(  # one hand-over may take half a lease, and is tried again for a quarter
            limit=max(LOOP_SILENCE, settings.lease // 1000), worker=self.worker, stopping=self.stopping
        )
        self.intake = Intake(
            self.store,
            self.policies,
            worker=self.worker,
            lease=settings.lease,
            stopping=self.stopping,
            heard=partial(self._watchdog.heard, "intake"),
        )
        self.pump = Pump(
            self.store,
            self.policies,
            sink,
            worker=self.worker,
            lease=settings.lease,
            rng=rng,
            stopping=self.stopping,
            heard=partial(self._watchdog.heard, "pump"),
        )
        self.notices = Notices(
            self.store, self.policies, config=settings, app=app, rng=rng, stopping=self.stopping
        )
        self._virtual = self.store.clock()[1]
        self._reload_asked = threading.Event()
        self._every_second, self._every_5_seconds, self._every_minute = Every(1), Every(5), Every(60)
        self._every_sweep = Every(1)
        self._away: set[str] = set()  # loops for which the store is unreachable or full
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads: intake, pump, notices, chores and the watchdog."""
        loops = {
            "intake": self.intake.turn,
            "pump": self.pump.turn,
            "notices": self.notices.turn,
            "chores": self._chores,
        }
        for name, turn in loops.items():
            thread = threading.Thread(target=self._keep_going, args=(name, turn), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        threading.Thread(target=self._watchdog.keep, args=(tuple(loops),), name="watch", daemon=True).start()
        log.info("worker.started", worker=self.worker, policy_revision=self.policies.current.revision)

    def close(self) -> None:
        """Let nothing more begin."""
        self.stopping.set()

    def stop(self) -> None:
        """Wait for what has begun, at most 25 s; what takes longer is safe by its lease."""
        self.stopping.set()
        reached("stop.begun")
        end = monotonic() + DRAIN
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))
        for settle in (self.intake.settle, self.pump.settle, partial(self.notices.settle, until=end)):
            with suppress(TryAgain):  # another worker takes over what is unacknowledged or leased
                settle()
        late = [thread.name for thread in self._threads if thread.is_alive()]
        self.is_drained = not late
        reached("stop.drained")
        log.info("worker.drained", worker=self.worker, unfinished=late)

    terminate = stop

    def reload(self) -> None:
        """Read the policy again soon; safe to call from a signal handler."""
        self._reload_asked.set()

    def figures(self) -> dict[str, object]:
        """Return what ``celery inspect softbounce`` shows of this worker and its store."""
        lag, sizes = self.store.events.lag(), self.store.sizes()
        return {
            "worker": self.worker,
            "intake": {"taken": dict(self.intake.taken), "unread": lag.unread, "pending": lag.pending},
            "due": sizes["due"] + sizes["ready"],
            "scheduled": sizes["scheduled"],
            "leased": self.pump.leased,
            "handed_over": self.pump.handed_over,
            "policy": self.policies.current.revision,
            "mode": self.pump.mode,
        }

    def _chores(self) -> bool:
        """Do the periodic work that is due; return false, so that the loop pauses."""
        if self._every_second.is_due():
            if self.keep is not None:
                self.keep()
            self._virtual = self.store.clock()[1]
        if self._reload_asked.is_set():
            self._reload_asked.clear()
            self.policies.refresh(self.store.policies.applied(), asked=True)
        if self._every_5_seconds.is_due():
            self._keep_key()
            self.policies.refresh(self.store.policies.applied())
            facts = {"revision": self.policies.current.revision, "clock": time_ns() // 1_000_000}
            self.store.workers.beat(self.worker, facts, now=self.store.now())
        if self._every_minute.is_due():
            policy = self.policies.current
            now = self.store.now()
            self.store.policies.keep(policy, text=self.policies.text, now=now)
            before = 0 if self._virtual else now - policy.retention.dedupe  # longer than any retry may take
            self.pump.trim(before=before)
            self.notices.trim(before=before)
            self.store.events.forget_consumers(idle_ms=CONSUMER_KEPT)
        if self._every_sweep.is_due():
            self.store.sweep(policy=self.policies.current)
            reached("chores.swept")
        return False

    def _keep_key(self) -> None:
        """Give the store its hash key back where it is gone; end the process where it has another.

        Nobody would find what we write by our key; a restarted worker reads the other one.
        """
        try:
            if self.store.keep_key():
                reason = "the store's hash key was gone and is restored. Find out who deletes fields of meta"
                log.critical("store.key_lost", worker=self.worker, reason=reason)
        except WrongKey as error:
            log.critical("worker.refused", worker=self.worker, reason=str(error))
            os._exit(1)

    def _keep_going(self, name: str, turn: Callable[[], bool]) -> None:
        """Take turns until the worker is to stop: at once after a busy one, else after a pause.

        A loop never dies. Any error is logged, and the turn taken again after 0.1 s doubling to 5 s: what it
        had read is not acknowledged, what it had claimed comes back by its lease.
        """

        def failed(state: tenacity.RetryCallState) -> None:
            self._watchdog.heard(name)
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, StoreUnreachable | Overloaded):
                log.error("loop.failed", loop=name, worker=self.worker, exc_info=error)
            elif name not in self._away:
                is_news = not self._away
                self._away.add(name)
                if not is_news:
                    return
                what = "store.full" if isinstance(error, Overloaded) else "store.unreachable"
                log.error(what, worker=self.worker, reason=str(error))

        patiently = retrier(self.stopping, errors=Exception, on_failure=failed)
        while not self.stopping.is_set():
            try:
                busy = patiently(turn)
            except Exception:  # noqa: BLE001 - the worker's edge; `failed` has logged it, and the worker is to stop
                return
            self._watchdog.heard(name)
            if name in self._away:
                self._away.remove(name)
                if not self._away:
                    log.info("store.back", worker=self.worker)
            if not busy:
                self.stopping.wait(IDLE_VIRTUAL if self._virtual else IDLE)


class Every:
    """A timer: due at once, and then once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def is_due(self) -> bool:
        """Whether it is due; if so, not again before the time has passed."""
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
