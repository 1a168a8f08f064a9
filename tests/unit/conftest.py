"""What unit tests of commands share."""

import logging

import pytest
import structlog


@pytest.fixture
def logging_as_before():
    """The command sets up the logs of its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
