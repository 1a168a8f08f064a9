"""Every service of the compose file runs as it is written, as local processes: there is no Docker engine here."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from live import HOUR, WorkerProcess, empty, until
from ruamel.yaml import YAML
from tests.servers import PATIENCE, end

from softbounce import embedded
from softbounce.core.filters import parse_filter
from softbounce.store import Store

ROOT = Path(__file__).parents[2]
SERVICES = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())["services"]
SHELL_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
OFF_AT_FIRST = "+4915112345671"  # the example's carrier reaches this number at the second send
REDIS_CLI = """#!{python}
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as server:
    server.sendall(" ".join(sys.argv[1:]).encode() + b"\\r\\n")
    sys.stdout.write(server.recv(4096).decode())
"""


@dataclass
class Compose:
    """What ``docker compose`` would do with the file, on this machine: one network, one file system."""

    folder: Path
    port: int
    variables: dict[str, str]
    processes: list[WorkerProcess] = field(default_factory=list)

    def up(self, service: str) -> WorkerProcess:
        """Start one container of a service."""
        path = self.folder / f"{service}-{len(self.processes)}.log"
        with path.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the file's words
                self._words(service, SERVICES[service]["command"]),
                **self._place(service),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(worker := WorkerProcess(process, path))
        return worker

    def is_healthy(self, service: str) -> bool:
        """Run a service's health check once."""
        kind, *test = SERVICES[service]["healthcheck"]["test"]
        words = self._words(service, ["sh", "-c", *test] if kind == "CMD-SHELL" else test)
        done = subprocess.run(  # noqa: S603 - the file's words
            words, **self._place(service), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        (self.folder / f"{service}.health").write_text(done.stdout + done.stderr)
        return done.returncode == 0

    def wait_for(self, service: str) -> None:
        """Wait until a service is healthy, as ``depends_on`` does."""
        until(lambda: self.is_healthy(service))

    def down(self) -> None:
        """End every process, the newest first."""
        for worker in reversed(self.processes):
            end(worker.process)

    def _words(self, service: str, words: list[str]) -> list[str]:
        if service == "redis" and words[0] == "redis-server":
            words = [*words, "--port", str(self.port), "--dir", str(self.folder)]
        return [self._here(word) for word in words]

    def _place(self, service: str) -> dict[str, Any]:
        given = SERVICES[service].get("environment", {})
        environment = {name: self._here(value) for name, value in given.items()}
        tools = f"{self.folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            "cwd": self._here(SERVICES[service].get("working_dir", "/app")),
            "env": {**os.environ, "TMPDIR": str(self.folder), **environment, "PATH": tools},
        }

    def _here(self, text: str) -> str:
        """Replace variables, host names and the image's folder."""
        text = SHELL_VARIABLE.sub(lambda found: self.variables.get(found[1], found[2] or ""), text)
        text = text.replace("redis://redis:6379", f"redis://127.0.0.1:{self.port}").replace("$$", "$")
        return f"{ROOT}{text.removeprefix('/app')}" if re.match(r"/app(/|$)", text) else text


def leased(store: Store) -> bool:
    """Whether some worker still has a retry in hand; its lease must not run out while time jumps."""
    waiting = store.retries.select(parse_filter("", keys=()), now=store.now())
    return any(retry.state == "leased" for retry in waiting)


@pytest.fixture(params=["redis", "rabbitmq"])
def compose(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Compose]:
    """The services on free ports; with RabbitMQ as the broker where one is named."""
    variables = {}
    if request.param == "rabbitmq":
        variables["SOFTBOUNCE_BROKER_URL"] = url = request.getfixturevalue("amqp_url")
        empty(url, "softbounce", "messaging")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    if not shutil.which("redis-server"):
        (tmp_path / "redis-server").symlink_to(embedded.binary())
    client = tmp_path / "redis-cli"
    client.write_text(REDIS_CLI.format(python=sys.executable, port=port))
    client.chmod(0o755)
    services = Compose(tmp_path, port, variables)
    try:
        yield services
    finally:
        services.down()


@pytest.fixture
def producer(compose: Compose) -> Iterator[Callable[..., object]]:
    """Call a task of the example pipeline by the broker that the file names."""
    broker = compose._place("pipeline")["env"]["SOFTBOUNCE_BROKER_URL"]  # noqa: SLF001 - defined above
    with closing(Celery("producer", broker=broker, set_as_current=False)) as app:
        yield lambda name, *args, **options: app.send_task(name, args=args, queue="messaging", **options)


def test_the_services_bring_one_message_back(compose: Compose, producer: Callable[..., object]):
    """Redis, two workers and the pipeline get healthy in the order of ``depends_on``; one resend arrives."""
    compose.up("redis")
    compose.wait_for("redis")
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store.open(f"redis://127.0.0.1:{compose.port}/0")))
        store.set_now(time.time_ns() // 1_000_000)  # the pipeline dates its reports by its own clock
        for _ in range(2):
            compose.up("worker")
        pipeline = compose.up("pipeline")
        compose.wait_for("worker")
        compose.wait_for("pipeline")
        until(lambda: len(store.workers.all(now=store.now())) == 2)
        producer("messaging.send", 1, OFF_AT_FIRST, task_id="m1")
        until(lambda: store.counters().get("scheduled") == 1)
        for _ in range(36):  # hours; at night none is sent
            moment = store.now() + HOUR
            store.set_now(moment)
            until(lambda moment=moment: store.idle_at() == moment and not leased(store))
            if store.counters().get("handed_over"):
                break
        until(lambda: "resend 1 of m1: acted" in pipeline.log)
        until(lambda: "softbounce.recovered of m1" in pipeline.log)

        assert "m1 try 1: delivered" in pipeline.log
        assert pipeline.log.count("resend 1 of m1") == 1
        assert store.sizes()["scheduled"] == 0
        assert store.facts().faults == ()
        assert {name for name in SERVICES if not SERVICES[name].get("profiles")} == {
            worker.path.name.partition("-")[0] for worker in compose.processes
        }
        assert [worker.stop() for worker in reversed(compose.processes)] == [0, 0, 0, 0]


@pytest.mark.parametrize("compose", ["redis"], indirect=True)
def test_a_service_that_is_away_is_not_healthy(compose: Compose):
    """A check that is always content, or takes another's answer for its own, would start a pipeline on nothing."""
    alone = [name for name in ("redis", "worker", "pipeline") if compose.is_healthy(name)]
    compose.up("redis")
    compose.wait_for("redis")
    compose.up("worker")
    compose.wait_for("worker")

    assert alone == []
    assert not compose.is_healthy("pipeline")
