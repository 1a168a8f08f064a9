"""What all tests share: a packaged Valkey, the servers that variables name, and the payload samples."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from softbounce import embedded

# A rule about values is no rule about speed: a first draw imports half a library on a busy machine.
settings.register_profile("softbounce", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("softbounce")


def named(variable: str, what: str) -> str:
    """Return the variable's value, or skip the test and say what is missing."""
    if not (value := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set: {what}")
    return value


def needs_redis_server() -> None:
    """Skip the test where Sentinel and Cluster have no server program, and say so."""
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server on PATH: nothing runs behind Sentinel or on a Cluster here")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """The developer's own settings reach no test, and no process that a test starts."""
    for name in list(os.environ):
        if name.startswith("SOFTBOUNCE_") and not name.startswith("SOFTBOUNCE_TEST_"):
            del os.environ[name]


@pytest.fixture
def logging_as_before():
    """The command sets up the logs of its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a packaged Valkey that lives as long as the test session; its tests share it."""
    with tempfile.TemporaryDirectory(prefix="softbounce-") as data, embedded.start(Path(data)) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> str:
    """The URL of an external Redis database that tests may empty; parallel test workers have one each."""
    url = named("SOFTBOUNCE_TEST_REDIS_URL", "redis://HOST:PORT/DB of a database that tests may empty")
    server, _, database = url.rpartition("/")
    return url if worker_id == "master" else f"{server}/{int(database) + int(worker_id.removeprefix('gw'))}"


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """The URL of an external RabbitMQ."""
    return named("SOFTBOUNCE_TEST_AMQP_URL", "amqp://USER:PASSWORD@HOST:PORT// of a RabbitMQ")


@pytest.fixture(scope="session")
def payloads() -> Path:
    """The folder of recorded provider payloads."""
    return Path(named("SOFTBOUNCE_TEST_PAYLOADS", "the folder of recorded provider payloads"))
