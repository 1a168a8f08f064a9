"""``softbounce run`` survives ``kill -9`` of the worker, of its Valkey and of both: nothing lost, nothing twice."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from live import HOUR, MINUTE, START, failed, until
from tests.servers import PATIENCE

from softbounce import embedded
from softbounce.embedded import url_of
from softbounce.errors import StoreUnreachable
from softbounce.store import Store

T = TypeVar("T")
COUNT = 1000  # deliveries; some seconds of work with two kills in it


class Service:
    """``softbounce run`` on one data folder, ended and started again by the test."""

    def __init__(self, folder: Path, policy: Path) -> None:
        self.data = folder / "data"
        self.log = folder / "run.log"
        self._policy = policy
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis.from_url(url_of(embedded.socket_path(self.data.resolve())))
        self.store = Store.open(url_of(embedded.socket_path(self.data.resolve())))

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        before = self.said("ready in")
        words = ["run", "--data", str(self.data), "--policy", str(self._policy)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "softbounce", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.data.parent,
            )
        until(lambda: self.said("ready in") > before or self._ended())
        assert not self._ended(), self.log.read_text()

    def said(self, words: str) -> int:
        """Return how often it has said something."""
        return self.log.read_text().count(words) if self.log.exists() else 0

    def kill(self, victim: str) -> None:
        """Kill the worker, its Valkey, or both at once, and start again what does not come back by itself."""
        assert self._process is not None
        valkey = int(self.client.info("server")["process_id"])
        if victim in {"store", "both"}:
            os.kill(valkey, signal.SIGKILL)
        if victim in {"worker", "both"}:
            self._process.kill()
            self._process.wait()
            self.start()
        assert self.ask(lambda: self.client.info("server")["process_id"]) != valkey

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        until(lambda: not embedded.running(self.data))
        self.client.close()
        self.store.close()

    def ask(self, question: Callable[[], T]) -> T:
        """Ask the store until it answers."""
        answers: list[T] = []

        def answered() -> bool:
            with suppress(StoreUnreachable, redis.ConnectionError, redis.BusyLoadingError):
                answers.append(question())
            return bool(answers)

        until(answered)
        return answers[0]

    def outcomes(self) -> dict[str, int]:
        """Return how many events had each outcome."""
        return self.ask(self.store.counters)

    def move(self, *moments: int) -> None:
        """Set the virtual time, and again, each time until nothing more is to be done at it."""
        for moment in moments:
            self.ask(lambda moment=moment: self.store.set_now(moment))
            until(lambda moment=moment: self.ask(self.store.idle_at) == moment)

    def commands(self) -> list[dict[str, object]]:
        """Return the resend commands that have left."""
        entries = self.ask(lambda: self.client.xrange("softbounce:resend"))
        return [json.loads(fields[b"command"]) for _, fields in entries]

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


@pytest.fixture
def service(tmp_path: Path, policy: Path) -> Iterator[Service]:
    """The service on a data folder of its own, in virtual time."""
    running = Service(tmp_path, policy)
    try:
        running.start()
        running.ask(lambda: running.store.set_now(START))
        yield running
    finally:
        running.end()


@pytest.fixture
def producer(service: Service) -> Iterator[threading.Thread]:
    """A producer that reports through all of it, and again whatever it got no receipt for."""
    raws = [json.dumps(failed(f"m{n}")).encode() for n in range(COUNT)]

    def report() -> None:
        with closing(Store.open(url_of(embedded.socket_path(service.data.resolve())))) as store:
            for first in range(0, COUNT, 20):
                service.ask(lambda first=first: store.events.publish(raws[first : first + 20]))

    thread = threading.Thread(target=report)
    yield thread
    thread.join(60)


def settled(service: Service) -> bool:
    """Whether every report has been read and acknowledged."""
    lag = service.ask(service.store.events.lag)
    return lag.unread + lag.pending == 0


@pytest.mark.parametrize("victim", ["worker", "store", "both"])
def test_a_kill_loses_nothing_and_doubles_nothing(service: Service, producer: threading.Thread, victim: str):
    """Killed while reports come in and again while retries leave; each retry leaves under one id."""
    producer.start()
    until(lambda: 0 < service.outcomes().get("scheduled", 0) < COUNT)
    service.kill(victim)
    producer.join(60)
    until(lambda: settled(service))
    scheduled = service.outcomes()["scheduled"]
    service.move(START + 80 * MINUTE)
    early = service.commands()
    service.ask(lambda: service.store.set_now(START + 3 * HOUR))
    until(service.commands)
    service.kill(victim)
    service.move(START + 3 * HOUR, START + 3 * HOUR + MINUTE)  # leases of the dead run out
    for second in range(
        1, 120
    ):  # what met the kill waits a second, and the hand-over rate lets 50 leave in one
        if service.outcomes()["handed_over"] == COUNT:
            break
        service.move(START + 3 * HOUR + MINUTE + second * 1000)
    sent = {(command["reference"], command["attempt"], command["id"]) for command in service.commands()}

    assert not producer.is_alive()
    assert scheduled == COUNT
    assert early == []
    assert {(reference, attempt) for reference, attempt, _ in sent} == {(f"m{n}", 1) for n in range(COUNT)}
    assert len(sent) == COUNT
    assert service.ask(service.store.sizes)["scheduled"] == 0
    assert "Traceback" not in service.log.read_text()


def test_it_goes_on_where_it_was(service: Service):
    """Schedule, suppressions, cases, dead letters and history are the same after both were killed."""
    reports = [failed("m1"), failed("m2", "INVALID_MOBILE_NUMBER"), failed("m3", "PLACEHOLDER_ERROR")]
    service.store.events.publish([*(json.dumps(event).encode() for event in reports), b"{torn"])
    until(lambda: sum(service.outcomes().values()) == 4)
    before = service.store.sizes() | service.outcomes()
    history = service.store.retries.find("m1")
    service.kill("both")
    after = service.ask(service.store.sizes) | service.outcomes()

    assert {**after, "notices": 0} == {**before, "notices": 0}
    assert service.store.retries.find("m1") == history
    assert not service.store.suppressions.check(
        failed("m2")["claim"]["communication"]["recipients"][0], "sms"
    )
    assert service.store.retries.find("m3")[0].delivery.state == "held"


def test_it_ends_in_order_and_leaves_no_process(service: Service):
    """SIGTERM drains and exits 0; the Valkey has ended with it, and the folder is free."""
    pid = int(service.client.info("server")["process_id"])

    assert service.stop() == 0
    assert embedded.running(service.data) is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    embedded.start(service.data).stop()


def test_a_second_one_on_the_same_folder_is_refused_in_a_sentence(service: Service, policy: Path):
    """One owner a folder; the first goes on."""
    second = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "softbounce", "run", "--data", service.data, "--policy", policy],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=service.data.parent,
    )

    assert second.returncode != 0
    assert "one owner a folder" in second.stderr
    assert "Traceback" not in second.stderr
    assert embedded.running(service.data) is not None
