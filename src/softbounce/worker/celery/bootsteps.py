"""What we add to Celery's worker: our threads, a dead letter for what it cannot read, an inspect command."""

import gc
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import celery.apps.worker
import kombu
import tenacity
from celery.bootsteps import StartStopStep
from celery.exceptions import Reject
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from celery.worker.control import inspect_command
from kombu import Message
from typing_extensions import override

from softbounce.errors import InvalidEvent, SoftbounceError, StoreUnreachable, TryAgain
from softbounce.store.limits import STRIKES
from softbounce.telemetry import get_logger
from softbounce.worker.celery.decompression import LIMIT
from softbounce.worker.celery.envelope import TASK, body_of, leave_bytes, own, plain, refusal, reports
from softbounce.worker.crash_points import reached
from softbounce.worker.intake import CRASHED
from softbounce.worker.retrying import retrier
from softbounce.worker.runtime import Runtime

log = get_logger()


class Loops(StartStopStep):
    """Runs the stream intake, the pump and the notices beside Celery's consumer; stops before its pool."""

    requires = ("celery.worker.components:Pool",)

    @override
    def create(self, worker: WorkController) -> Runtime:  # type: ignore[override]  # the stubs know no result
        """Connect, waiting up to half a minute for the store; what refuses to start ends the process."""
        patiently = retrier(threading.Event(), errors=StoreUnreachable, limit=30, on_failure=_say_once)
        try:
            return patiently(_runtime, worker.app)
        except SoftbounceError as error:
            msg = f"softbounce: {error}"
            raise SystemExit(msg) from None

    @override
    def start(self, worker: WorkController) -> None:
        """Start the threads; from now on SIGHUP reads the policy again (Celery would restart the process)."""
        runtime = _runtime(worker.app)
        gc.freeze()  # never collects what is loaded; later objects live briefly, and in no cycles
        gc.set_threshold(50_000, 20, 20)
        sys.setswitchinterval(0.001)  # s; with 5 ms a reply waits for the thread that decides
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, lambda *_: runtime.reload())
        super().start(worker)


class Worker(celery.apps.worker.Worker):
    """Celery's worker; its exit code is 0 only where somebody asked it to stop."""

    @override
    def start(self) -> None:
        """Work until a signal to stop, or until an error that ends the worker."""
        super().start()
        was_asked = {state.should_stop, state.should_terminate} != {None}
        if was_asked and _runtime(self.app).is_drained:
            self.exitcode = EX_OK  # Celery counts a Ctrl-C as a failure
        elif self.exitcode is None:
            self.exitcode = EX_FAILURE  # it ended by itself, for example without a free file descriptor


class ReportConsumer(Consumer):
    """Celery's consumer; hands Celery sound reports only, and is ready a second sooner."""

    task_consumer: kombu.Consumer  # Celery sets it, and the errors below
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Celery's own
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})

    @override
    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Return what takes a message: a report goes on to Celery, anything else is a dead letter.

        A message that is delivered again gets a strike before its body is read, and is taken alone.
        """
        leave_bytes(self.task_consumer.channel)
        handle = super().create_task_handler(*args, **options)
        passing = (*self.connection_errors, *self.channel_errors)  # Celery connects again

        def received(message: Message) -> None:
            try:
                self._receive(message, handle)
            except passing:
                raise
            except Exception:  # the worker's edge: a mistake of ours must neither end it nor lose a report
                log.exception("event.crashed", worker=_runtime(self.app).worker)
                self._keep(message, CRASHED)

        return received

    def _receive(self, message: Message, handle: Callable[[Message], None]) -> None:
        body, headers = body_of(message), message.headers or {}
        reason = refusal(headers, content_type=message.content_type, body=body)
        if reason is not None:
            self._keep(message, reason)
            return
        # The id counts too: three copies of a report that are in hand at one crash are no crash loop.
        whole = f"{plain(headers.get('id'))}\n".encode() + body
        is_again = bool((message.delivery_info or {}).get("redelivered"))
        strikes = self._strike(whole) if is_again else None
        if strikes is not None and strikes >= STRIKES:
            reason = f"crash loop: delivered {strikes + 1} times, and never acknowledged"
            self._keep(message, reason, is_poison=True)
            return
        try:
            raws = reports(body, headers)
        except InvalidEvent as error:
            self._keep(message, str(error))
            return
        if strikes is None:
            handle(own(message, raws))
        else:
            self._take_alone(message, raws, whole=whole)

    def _strike(self, whole: bytes) -> int | None:
        """Count a report that may have killed a worker, and return its strikes; None: the store is away."""
        try:
            return _runtime(self.app).store.events.strike(whole)
        except TryAgain:  # the report then waits for the store like any other
            return None

    def _take_alone(self, message: Message, raws: list[bytes], *, whole: bytes) -> None:
        """Take in reports in this thread: if they kill the worker, no other message gets a strike."""
        try:
            self.app.tasks[TASK](raws)
        except Reject:  # the store was away for long, and no worker died
            with suppress(TryAgain):
                _runtime(self.app).store.events.pardon(whole)
            message.requeue()
        else:
            message.ack()

    @override
    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Keep a report that cannot be decompressed; a remote-control message is only logged."""
        if message.channel is not self.task_consumer.channel:
            log.warning("remote.refused", reason=f"the message cannot be read: {type(exc).__name__}")
            return
        if (message.headers or {}).get("compression"):
            limit = f"gzip, bzip2 and lzma do, up to {LIMIT // 1024 // 1024} MiB"
            reason = f"headers.compression: the body does not inflate so ({type(exc).__name__}); {limit}"
        else:
            reason = f"body: is no text ({type(exc).__name__})"
        self._keep(message, reason)

    def _keep(self, message: Message, reason: str, *, is_poison: bool = False) -> None:
        runtime = _runtime(self.app)
        try:
            runtime.intake.keep_unreadable(body_of(message), reason, is_poison=is_poison)
        except Exception as error:  # the worker's edge: the broker keeps it, and delivers it again at once
            if not isinstance(error, TryAgain):
                log.exception("event.crashed", worker=runtime.worker)
            runtime.stopping.wait(1)  # s
            message.requeue()
        else:
            reached("celery.buried")
            message.ack()


@inspect_command(name="softbounce")
def inspect(panel: Any, **_: object) -> dict[str, object]:  # noqa: ANN401 - Celery's own, without a type
    """Show intake, due, leased and handed over, the policy and the mode."""
    return _runtime(panel.app).figures()


def _say_once(call: tenacity.RetryCallState) -> None:
    if call.attempt_number == 1 and call.outcome:
        log.error("store.unreachable", reason=str(call.outcome.exception()))


def _runtime(app: Any) -> Runtime:  # noqa: ANN401 - the App of worker.celery.app, which imports this module
    return cast("Runtime", app.runtime)
