"""What all tests share: a packaged Valkey, the servers that variables name, and the payload samples."""

import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from amqp.exceptions import ResourceLocked
from hypothesis import HealthCheck, is_hypothesis_test, settings
from kombu import Connection
from tests import properties

from softbounce import embedded

# A rule about values is no rule about speed: a first draw imports half a library on a busy machine.
settings.register_profile("softbounce", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("softbounce")


def plain_logs() -> None:
    """Log as structlog does by itself, without its pictures of every local: they take a second each for a batch."""
    structlog.reset_defaults()
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


plain_logs()


def missing(what: str) -> NoReturn:
    """Skip the test, which cannot run here; under ``CI=true`` it fails, for nobody reads what was skipped there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI has all that tests need: {what}", pytrace=False)
    pytest.skip(what)


def named(variable: str, what: str) -> str:
    """Return the variable's value; without one the server that it names is missing."""
    return os.environ.get(variable) or missing(f"{variable} is not set: {what}")


def program(name: str) -> str:
    """Return the path of a program that a test runs."""
    return shutil.which(name) or missing(f"{name} is not on PATH")


def needs_redis_server() -> None:
    """Look for the one program that is Sentinel and a node of a Cluster as well."""
    program("redis-server")


QUICK = 2.0  # s for new examples of one property in `make test`
PACKAGED = {
    "fakeredis",
    "valkey",
}  # stores that need nothing installed; the other servers are for `make test-all`
LOOP = ("unit", "contract", "integration/cli", "fuzz/test_core.py", "fuzz/test_records.py")  # of `make test`


def _is_quick(config: pytest.Config) -> bool:
    return config.getoption("markexpr") == "not slow"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make test-all` what starts workers, brokers and servers, and what tries for minutes."""
    loop = tuple(str(Path(__file__).parent / path) for path in LOOP)
    for item in items:
        params = getattr(item, "callspec", None)
        store = params.params.get("client", "fakeredis") if params else "fakeredis"
        if store not in PACKAGED or not str(item.path).startswith(loop):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each reason for which tests were skipped once, with their number."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"SKIPPED [{number}] {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Try a property for a bounded time, and show what fails before it is made smaller."""
    if not is_hypothesis_test(pyfuncitem.obj):
        return None
    capture = pyfuncitem.config.pluginmanager.getplugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\n{pyfuncitem.nodeid}\n{text}")

    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own call does
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    seconds = QUICK if _is_quick(pyfuncitem.config) else properties.SECONDS
    properties.hold(pyfuncitem.obj, arguments, show=show, seconds=seconds)
    return True


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
    plain_logs()


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


@pytest.fixture
def amqp_url() -> Iterator[str]:
    """The URL of an external RabbitMQ, which has one queue of our name: this test alone has it, in all processes."""
    url = named("SOFTBOUNCE_TEST_AMQP_URL", "amqp://USER:PASSWORD@HOST:PORT// of a RabbitMQ")
    with Connection(url) as connection:
        while True:  # the timeout of the test ends it
            try:
                connection.channel().queue_declare("softbounce-tests", exclusive=True)
                break
            except ResourceLocked:
                time.sleep(0.1)
        yield url


@pytest.fixture(scope="session")
def payloads() -> Path:
    """The folder of recorded provider payloads."""
    if not (
        folder := os.environ.get("SOFTBOUNCE_TEST_PAYLOADS")
    ):  # they are in no checkout: CI may lack them
        pytest.skip("SOFTBOUNCE_TEST_PAYLOADS is not set: the folder of recorded provider payloads")
    return Path(folder)
