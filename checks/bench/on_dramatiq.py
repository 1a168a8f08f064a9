"""The job as Dramatiq actors, an actor's call for each event, Dramatiq's own delay: ``dramatiq checks.bench.on_dramatiq``."""

import dramatiq
from checks.bench import job
from dramatiq.brokers.redis import RedisBroker

EVENTS, RESENDS = "events", "resends"

broker = RedisBroker(client=job.store)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=RESENDS)
def resend(raw: str, rid: str, attempt: int) -> None:
    """Hand over one retry that is due."""
    job.hand_over(raw, rid, attempt)


@dramatiq.actor(queue_name=EVENTS)
def handle(raw: str) -> None:
    """Take in one report."""
    job.take(raw, later)


def later(raw: str, rid: str, attempt: int, seconds: float) -> None:
    """Let Dramatiq wait."""
    resend.send_with_options(args=(raw, rid, attempt), delay=int(seconds * 1000))
