"""The composition root: a Celery app is a function of the settings; ``celery -A softbounce`` takes it."""

import logging
import os
import random
import socket
from collections.abc import Callable
from functools import cache, cached_property
from typing import cast

from celery import Celery, signals
from celery.exceptions import Reject
from typing_extensions import override

from softbounce.errors import InvalidSettings, NewerRecord, RefuseToStart
from softbounce.settings import Settings
from softbounce.stores import require_url
from softbounce.telemetry import configure
from softbounce.urls import split_hosts
from softbounce.worker.celery.bootsteps import Loops, ReportConsumer, Worker
from softbounce.worker.celery.broker import celery_url, verified
from softbounce.worker.celery.decompression import bound, excess
from softbounce.worker.celery.envelope import ENVELOPE, TASK
from softbounce.worker.celery.frames import frame_handler
from softbounce.worker.crash_points import reached
from softbounce.worker.intake import Intake
from softbounce.worker.retrying import retrier
from softbounce.worker.runtime import Runtime

HOLD = 60.0  # s that a report waits here for the store before the broker gets it back; RabbitMQ allows 30 min

CONFIG: dict[str, object] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure": True,  # by then the report is a dead letter, or was given back
    "task_acks_on_timeout": False,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_pool": "threads",
    "worker_concurrency": 4,  # a report is one call of the store: more threads would only wait for each other
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_soft_shutdown_timeout": 10,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_consumer": ReportConsumer,
    "control_queue_exclusive": False,  # RabbitMQ frees an exclusive one too late for a quick restart
    "control_queue_durable": True,  # newer releases refuse one that is neither; it ends 10 s after its worker
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,  # an error such as a full broker ends no worker
}
ON_REDIS: dict[str, object] = {  # seconds
    "visibility_timeout": 60,  # kombu's default is an hour
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,  # intervals; with kombu's two it takes 100 s
    "unacked_mutex_expire": 10,  # a worker that dies while restoring blocks it for so long; kombu has 5 min
    "socket_timeout": 10,  # above kombu's blocking read of 1 s
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
ON_AMQP: dict[str, object] = {"confirm_publish": True, "frame_handler": frame_handler}


class App(Celery):
    """A Celery app that carries the worker's own parts, and loses no message of a broker on Redis."""

    amqp_cls = "softbounce.worker.celery.transport:AMQP"
    control_cls = "softbounce.worker.celery.remote_control:Control"
    settings: Settings
    store_url: str

    @cached_property
    @override
    def Worker(self) -> type[Worker]:
        """What ``celery -A softbounce worker`` and ``softbounce worker`` run."""
        return cast("type[Worker]", self.subclass_with_self(Worker))

    @cached_property
    def runtime(self) -> Runtime:
        """The worker's parts, connected at first use."""
        return Runtime(self.settings, url=self.store_url, app=self, rng=random.Random())


def make_app(settings: Settings) -> App:
    """Return the Celery app for ``settings``; it connects to nothing yet."""
    store_url = require_url(settings)
    broker = settings.broker_url.get_secret_value() if settings.broker_url else celery_url(store_url)
    broker, use_ssl = verified(broker)
    bound()
    app = App("softbounce", broker=broker, set_as_current=False)
    app.settings, app.store_url = settings, store_url
    is_amqp = "amqp" in broker.partition(":")[0]

    def keep_unreadable(item: bytes) -> None:
        """Keep an item of the broker's list that kombu cannot read."""
        app.runtime.intake.keep_unreadable(item, excess(item, limit=ENVELOPE) or "no Celery message")

    keep_unreadable.__json__ = lambda: "a dead letter"  # type: ignore[attr-defined]  # or `celery inspect stats` fails
    options = ON_AMQP if is_amqp else {**ON_REDIS, "unreadable": keep_unreadable, "largest": ENVELOPE}
    if broker.startswith("sentinel:"):
        kind, _, path, _ = split_hosts(store_url)
        if kind != "sentinel":
            msg = "SOFTBOUNCE_BROKER_URL: a broker behind Sentinel takes its master's name from the store's"
            raise InvalidSettings(msg)
        options = {**options, "master_name": path[0]}
    app.conf.update(
        CONFIG, task_default_queue=settings.queue, broker_transport_options=options, broker_use_ssl=use_ssl
    )
    app.steps["worker"].add(Loops)
    signals.setup_logging.connect(_logging, dispatch_uid="softbounce")

    @app.task(name=TASK, typing=False)
    def report(raws: list[bytes]) -> None:
        """Take in the reports that the consumer has read out of a message."""
        runtime = app.runtime
        reached("celery.received")
        patiently = retrier(runtime.stopping, errors=Exception, limit=HOLD)
        try:
            newer = patiently(_take, runtime.intake, raws)
        except Exception as error:
            raise Reject(str(error), requeue=True) from error
        if newer is not None:
            runtime.stopping.wait(1)  # s; the broker delivers it again at once
            raise Reject(str(newer), requeue=True)
        reached("celery.accepted")

    return app


def _take(intake: Intake, raws: list[bytes]) -> NewerRecord | None:
    """Take reports in; return ``NewerRecord`` where it is raised, because waiting would not help."""
    try:
        intake.take(raws)
    except NewerRecord as newer:
        return newer
    return None


def run_worker(
    settings: Settings,
    *,
    hostname: str | None = None,
    loglevel: str = "INFO",
    keep: Callable[[], object] | None = None,
) -> int:
    """Run one worker in this process until SIGTERM and return its exit code, 1 where an error ended it.

    ``hostname`` is its name for Celery, which no two may share; by default it holds the process id.
    ``keep`` is called about once a second, also while the store is away (to start it again). Raises
    ``RefuseToStart`` and ``StoreUnreachable``.
    """
    app = make_app(settings)
    app.runtime.keep = keep
    name = hostname or f"softbounce-{os.getpid()}@{socket.gethostname()}"
    worker = app.Worker(hostname=name, loglevel=loglevel, quiet=True)
    worker.start()
    app.runtime.store.close()
    return worker.exitcode or 0


def _logging(loglevel: int = logging.INFO, **_: object) -> None:
    configure(level=logging.getLevelName(loglevel))
    for name in ("celery.worker.strategy", "celery.app.trace"):  # two lines per report without its facts
        logging.getLogger(name).setLevel(max(loglevel, logging.WARNING))


@cache
def _app() -> App:
    try:
        return make_app(Settings.load())
    except RefuseToStart as error:  # `celery -A softbounce` shows this sentence, not a traceback
        msg = f"softbounce: {error}"
        raise SystemExit(msg) from None


def __getattr__(name: str) -> App:
    if name == "app":
        return _app()
    raise AttributeError(name)
