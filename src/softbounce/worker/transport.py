"""The public address of our transport for Redis: ``Celery(amqp="softbounce.worker.transport:AMQP")``."""

from softbounce.worker.celery.transport import AMQP, Connection

__all__ = ["AMQP", "Connection"]
