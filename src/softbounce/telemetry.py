"""Logs: one chain for our events and those of libraries, which masks addresses and passwords."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from softbounce.core.recipients import scrub
from softbounce.urls import mask_url


def configure(*, stream: TextIO | None = None, json: bool | None = None, level: str = "INFO") -> None:
    """Send all logs of this process to ``stream`` (default stdout), as JSON unless it is a terminal.

    Takes over the root logger, so that Celery, kombu and redis log by the same chain. May be called again.
    """
    stream = stream or sys.stdout
    terminal = stream.isatty()
    render: Processor = structlog.dev.ConsoleRenderer(
        colors=terminal and "NO_COLOR" not in os.environ, timestamp_key="ts", sort_keys=False
    )
    if json if json is not None else not terminal:
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                render,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for library in ("apprise", "urllib3"):  # they log the paths of URLs, which often are passwords
        logging.getLogger(library).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def get_logger() -> FilteringBoundLogger:
    """Return a logger: ``log.info("retry.scheduled", attempt=2)``; events are named ``noun.verb``."""
    return cast("FilteringBoundLogger", structlog.get_logger("softbounce"))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask addresses and URL passwords in every field, however deep; a library's message is a field."""
    return {key: value if key in {"level", "ts"} else _redacted(value) for key, value in event.items()}


def _redacted(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return scrub(mask_url(value))
        case Mapping():
            return {_redacted(key): _redacted(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(inner) for inner in value]
        case bytes():
            return _redacted(value.decode(errors="replace"))
        case _:
            return _redacted(str(value))
