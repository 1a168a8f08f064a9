"""What we add to Celery's worker: our threads, a dead letter for what it cannot read, an inspect command."""

import gc
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import tenacity
from celery.bootsteps import StartStopStep
from celery.exceptions import Reject
from celery.worker import WorkController
from celery.worker.consumer import Consumer
from celery.worker.control import inspect_command
from kombu import Message
from typing_extensions import override

from softbounce.errors import SoftbounceError, StoreUnreachable, TryAgain
from softbounce.telemetry import get_logger
from softbounce.worker.faults import reached
from softbounce.worker.intake import STRIKES
from softbounce.worker.patience import patience
from softbounce.worker.runtime import Runtime

log = get_logger()


class Loops(StartStopStep):
    """Runs the stream intake, the pump and the notices beside Celery's consumer; stops before its pool."""

    requires = ("celery.worker.components:Pool",)

    @override
    def create(self, worker: WorkController) -> Runtime:  # type: ignore[override]  # the stubs know no result
        """Connect, waiting up to half a minute for the store; what refuses to start ends the process."""
        patiently = patience(threading.Event(), errors=StoreUnreachable, limit=30, say=_say_once)
        try:
            return patiently(_runtime, worker.app)
        except SoftbounceError as error:
            msg = f"softbounce: {error}"
            raise SystemExit(msg) from None

    @override
    def start(self, worker: WorkController) -> None:
        """Start the threads; from now on SIGHUP reads the policy again (Celery would restart the process)."""
        runtime = _runtime(worker.app)
        gc.freeze()  # what is loaded stays; what we make from here on dies young, and in no cycles
        gc.set_threshold(50_000, 20, 20)
        sys.setswitchinterval(0.001)  # s; an answer need not wait 5 ms for the thread that decides
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, lambda *_: runtime.reload())
        super().start(worker)


class ReportConsumer(Consumer):
    """Celery's consumer; keeps as a dead letter what Celery would drop, and is ready a second sooner."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Celery's own
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})

    @override
    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Return what takes a message: JSON alone, and what is delivered again alone and with a strike.

        Other content types name a codec, and some inflate without bound.
        """
        handle = super().create_task_handler(*args, **options)

        def received(message: Message) -> None:
            if message.content_type != "application/json":
                self._keep(message, "the body of a Celery message: no JSON")
            elif not ((message.delivery_info or {}).get("redelivered") and self._took_alone(message)):
                handle(message)

        return received

    def _took_alone(self, message: Message) -> bool:
        """Take a report that may have killed a worker; false where Celery's own way is to see to it.

        In this thread, one after the other: a strike is written before its bytes are read, and those that
        were in hand when the worker died get none for their neighbour.
        """
        body, events = message.body or b"", _runtime(self.app).store.events
        # With its id: producers repeat a report, and three copies in hand at one crash are no loop.
        whole = f"{(message.headers or {}).get('id')}\n".encode() + (
            body.encode() if isinstance(body, str) else bytes(body)
        )
        try:
            strikes = events.strike(whole)
        except TryAgain:  # nobody counts while the store is away; the report then waits for it as any other
            return False
        if strikes >= STRIKES:
            reason = f"crash loop: delivered {strikes + 1} times, and never acknowledged"
            self._keep(message, reason, is_poison=True)
            return True
        try:
            task = self.app.tasks[message.headers["task"]]
            args, named, _ = message.decode()
        except Exception:  # noqa: BLE001 - Celery finds the same, and we keep it as a dead letter
            return False
        try:
            task(*args, **named)
        except Reject:  # the store was away for long: nobody died of it
            with suppress(TryAgain):
                events.pardon(whole)
            message.requeue()
        else:
            message.ack()
        return True

    @override
    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Keep what is no JSON."""
        self._keep(message, f"the body of a Celery message: {type(exc).__name__}")

    @override
    def on_unknown_message(self, body: object, message: Message) -> None:
        """Keep what is no Celery message."""
        self._keep(message, "no Celery message")

    @override
    def on_unknown_task(self, body: object, message: Message, exc: Exception) -> None:
        """Keep what calls a task that is not ours."""
        self._keep(message, "a call of another task than softbounce.report")

    @override
    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:
        """Keep a call that Celery cannot read."""
        self._keep(message, f"an invalid Celery message: {type(exc).__name__}")

    def _keep(self, message: Message, reason: str, *, is_poison: bool = False) -> None:
        body = message.body or b""
        raw = body.encode() if isinstance(body, str) else bytes(body)
        try:
            _runtime(self.app).intake.bury(raw, reason, is_poison=is_poison)
        except TryAgain:
            _runtime(self.app).stopping.wait(1)  # s; the broker delivers it again at once
            message.requeue()
        else:
            reached("celery.buried")
            message.ack()


@inspect_command(name="softbounce")
def inspect(state: Any, **_: object) -> dict[str, object]:  # noqa: ANN401 - Celery's own, without a type
    """Show intake, due, leased and handed over, the policy and the mode."""
    return _runtime(state.app).figures()


def _say_once(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome:
        log.error("store.unreachable", reason=str(state.outcome.exception()))


def _runtime(app: Any) -> Runtime:  # noqa: ANN401 - the App of worker.app, which imports this module
    return cast("Runtime", app.runtime)
