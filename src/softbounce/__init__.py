"""softbounce brings back messages that bounced for a passing reason, and tells which will never arrive."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softbounce.client import Softbounce
    from softbounce.core.recipients import normalise
    from softbounce.errors import (
        InvalidEvent,
        InvalidRecipient,
        Overloaded,
        StoreUnreachable,
        TryAgain,
        WrongKey,
    )
    from softbounce.receiver import handle_once

__all__ = [
    "InvalidEvent",
    "InvalidRecipient",
    "Overloaded",
    "Softbounce",
    "StoreUnreachable",
    "TryAgain",
    "WrongKey",
    "handle_once",
    "normalise",
]

_HOME = {  # loaded at first use: a producer never loads Celery, `import softbounce` loads nothing
    "Softbounce": "softbounce.client",
    "handle_once": "softbounce.receiver",
    "normalise": "softbounce.core.recipients",
    **dict.fromkeys(
        ("InvalidEvent", "InvalidRecipient", "Overloaded", "StoreUnreachable", "TryAgain", "WrongKey"),
        "softbounce.errors",
    ),
    "app": "softbounce.worker.celery.app",  # celery -A softbounce worker
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        msg = f"module 'softbounce' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOME[name]), name)
