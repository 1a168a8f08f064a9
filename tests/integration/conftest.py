"""A store of its own for each test, in virtual time, and real Celery worker processes beside it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from live import START, Desk, WorkerProcess, until
from tests.servers import PATIENCE, end

from softbounce import embedded
from softbounce.embedded import Embedded
from softbounce.settings import policy_text
from softbounce.store import Store
from softbounce.store.keys import FIXED


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A packaged Valkey of this test alone."""
    with embedded.start(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def client(server: Embedded) -> Iterator[redis.Redis]:
    """A plain client, for what producers and pipelines do without us."""
    with redis.Redis.from_url(server.url, decode_responses=True) as plain:
        yield plain


@pytest.fixture
def store(server: Embedded, client: redis.Redis) -> Iterator[Store]:
    """The store, in virtual time; afterwards each of our keys has an end or is a known permanent one."""
    opened = Store.open(server.url)
    opened.set_now(START)
    yield opened
    permanent = {opened.keys.fixed(name) for name in FIXED}
    opened.close()

    assert [key for key in client.scan_iter("{sb:*") if key not in permanent and client.ttl(key) < 0] == []


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The shipped policy without its hand-over rate, in a file that a test may change."""
    path = tmp_path / "policy.yaml"
    text = policy_text()[0]
    path.write_text(text.replace("rate: 50/s", "rate: 5000/s"))

    assert path.read_text() != text
    return path


@pytest.fixture
def start(
    server: Embedded,
    store: Store,  # noqa: ARG001 - it sets the virtual time that workers start in
    policy: Path,
    tmp_path: Path,
) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a worker with more settings and wait until it lives; what still runs then is ended."""
    started: list[WorkerProcess] = []

    def begin(*, may_refuse: bool = False, **settings: str) -> WorkerProcess:
        settings = {"redis_url": server.url, "policy": str(policy), **settings}
        number = len(started)
        path = tmp_path / f"worker-{number}.log"
        with path.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    "softbounce",
                    "worker",
                    "-l",
                    "INFO",
                    "-n",
                    f"w{number}@test",
                ],
                env={
                    **os.environ,
                    **{f"SOFTBOUNCE_{name.upper()}": value for name, value in settings.items()},
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        started.append(worker := WorkerProcess(process, path))
        until(lambda: process.poll() is not None or worker.logged("worker.started"))
        assert may_refuse or process.poll() is None, worker.log
        return worker

    yield begin
    for worker in started:
        worker.process.terminate()  # in order: a report unacknowledged would reach the next test
    for worker in started:
        end(worker.process)


@pytest.fixture
def report(store: Store) -> Callable[..., list[dict[str, Any]]]:
    """Report events by the stream and return the worker's answer to each, in order."""

    def publish(*events: dict[str, Any] | bytes) -> list[dict[str, Any]]:
        raws = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        token = f"t{time.monotonic_ns()}"
        store.events.publish(raws, reply=token)
        answers = list(store.events.wait_replies(token, count=len(raws), seconds=PATIENCE))
        assert len(answers) == len(raws)
        return answers

    return publish


@pytest.fixture
def commands(client: redis.Redis) -> Callable[[], list[dict[str, Any]]]:
    """Return the resend commands that have left by the stream so far."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(fields["command"]) for _, fields in client.xrange("softbounce:resend")]

    return read


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Start a desk and stop it."""
    desk = Desk()
    yield desk
    desk.server.shutdown()
    desk.server.server_close()
