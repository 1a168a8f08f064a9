"""The job as Celery tasks, a task for each event, Celery's own countdown: ``celery -A checks.bench.on_celery worker``."""

import os

from celery import Celery
from checks.bench import job

EVENTS, RESENDS = "softbounce-bench-events", "softbounce-bench-resends"

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "memory://"), set_as_current=False)
app.conf.update(
    task_default_queue=EVENTS,
    task_acks_late=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=100,  # measured: less is slower, more is not faster
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.resend")
def resend(raw: str, rid: str, attempt: int) -> None:
    """Hand over one retry that is due."""
    job.hand_over(raw, rid, attempt)


@app.task(name="bench.handle")
def handle(raw: str) -> None:
    """Take in one report."""
    job.take(raw, later)


def later(raw: str, rid: str, attempt: int, seconds: float) -> None:
    """Let Celery wait."""
    resend.apply_async((raw, rid, attempt), countdown=seconds, queue=RESENDS)
