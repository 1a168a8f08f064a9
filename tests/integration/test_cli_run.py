"""``softbounce run``, ``worker`` and ``events report --wait``: real processes, as an operator starts them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from live import failed_now, until
from tests.servers import PATIENCE, end

from softbounce import embedded

EVENTS = Path(__file__).parents[1] / "data/events.ndjson"


@dataclass
class Operator:
    """A terminal in a folder of its own."""

    folder: Path
    started: list["subprocess.Popen[bytes]"]

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a command that keeps going; its stdout and stderr go to one file each."""
        number = len(self.started)
        with (
            (self.folder / f"{number}.out").open("wb") as out,
            (self.folder / f"{number}.err").open("wb") as err,
        ):
            process = subprocess.Popen(  # noqa: S603 - our own words
                self._command(words), cwd=self.folder, env=_env(settings), stdout=out, stderr=err
            )
        self.started.append(process)
        return process

    def ready(self, number: int = 0) -> str:
        """Wait for a started command's banner and return it."""
        banner = self.folder / f"{number}.err"
        until(lambda: "ready in" in banner.read_text() or self.started[number].poll() is not None)
        return banner.read_text()

    def run(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(  # noqa: S603 - our own words
            self._command(words),
            cwd=self.folder,
            env=_env(settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @staticmethod
    def _command(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "softbounce", *words]


def _env(settings: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **{f"SOFTBOUNCE_{name.upper()}": value for name, value in settings.items()}}


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """Whatever was started is ended in order."""
    person = Operator(folder=tmp_path, started=[])
    yield person
    for process in reversed(person.started):
        end(process)


def test_run_is_the_whole_service(operator):
    """Store, worker, banner; one outcome a line; SIGTERM ends it with exit code 0 and nothing running."""
    process = operator.start("run")
    banner = operator.ready()
    reported = operator.run("events", "report", str(EVENTS), "--wait", "20s", "-o", "ndjson")
    outcomes = [json.loads(line) for line in reported.stdout.splitlines()]
    events = [re.search(r'"eventId": "([^"]*)"', line) for line in EVENTS.read_text().splitlines()]
    doctor = operator.run("doctor")
    process.terminate()

    assert "store embedded Valkey" in banner
    assert "./data/valkey.sock" in banner
    assert (reported.returncode, len(outcomes)) == (0, len(events))
    assert [one["eventId"] for one in outcomes if "eventId" in one] == [
        found[1] for found, one in zip(events, outcomes, strict=True) if "eventId" in one
    ]
    assert all("outcome" in one for one in outcomes)
    assert doctor.returncode == 0, doctor.stdout
    assert process.wait(PATIENCE) == 0
    assert embedded.running(operator.folder / "data") is None


def test_what_was_accepted_outlives_a_kill_of_everything(operator):
    """``kill -9`` of the worker takes Valkey along; the next run goes on where it was."""
    (operator.folder / "event.json").write_text(json.dumps(failed_now("a")))
    first = operator.start("run")
    operator.ready()
    assert operator.run("events", "report", "event.json", "--wait", "20s").returncode == 0
    first.send_signal(signal.SIGKILL)
    first.wait()
    operator.start("run")
    operator.ready(1)
    again = operator.run("events", "report", "event.json", "--wait", "20s", "-o", "ndjson")

    assert json.loads(again.stdout)["outcome"] == "duplicate"
    assert [json.loads(operator.run("retries", "list", "-o", "ndjson").stdout)["reference"]] == ["a"]


def test_a_killed_store_is_started_again(operator):
    """The worker goes on by itself, and so do the commands."""
    operator.start("run")
    operator.ready()
    socket = f"unix://{operator.folder}/data/valkey.sock"
    with redis.Redis.from_url(socket) as client:
        os.kill(client.info()["process_id"], signal.SIGKILL)
    until(lambda: operator.run("mode").returncode == 0)
    (operator.folder / "event.json").write_text(json.dumps(failed_now("a")))

    assert operator.run("events", "report", "event.json", "--wait", "20s").returncode == 0


def test_several_workers_share_one_store_and_answers_keep_their_order(operator):
    """A second worker finds the store by itself; the outcomes come in the order of the file."""
    operator.start("run")
    operator.ready()
    operator.start("worker", "--name", "second")
    operator.ready(1)
    lines = [json.dumps(failed_now(f"m{number}")) for number in range(3000)]
    (operator.folder / "many.ndjson").write_text("\n".join(lines))
    reported = operator.run("events", "report", "many.ndjson", "--wait", "30s", "-o", "ndjson")

    assert [json.loads(line)["reference"] for line in reported.stdout.splitlines()] == [
        f"m{n}" for n in range(3000)
    ]
    until(lambda: "2 of 2 workers" in operator.run("doctor").stdout)


def test_without_a_worker_the_wait_ends_in_part(operator, valkey):
    """Exit code 5 and a line of JSON for each: they are reported, but not decided."""
    (operator.folder / "event.json").write_text(json.dumps(failed_now("a")))
    settings = {"redis_url": valkey, "namespace": "nobody-works-here"}
    result = operator.run("events", "report", "event.json", "--wait", "1s", "-o", "ndjson", **settings)
    *talk, counted = result.stderr.splitlines()

    assert (result.returncode, result.stdout) == (5, "")
    assert json.loads(talk[-1])["eventId"] == failed_now("a")["eventId"]
    assert counted == "1 of 1 failed"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--policy", "bad.yaml"), 1, "bad.yaml:1:1: error"),
        (("run", "--resend-to", "https://pipeline.example"), 2, "later release"),
        (("run", "--log-level", "loud"), 2, "no log level"),
        (("worker", "--data", "empty"), 4, "softbounce run"),
    ],
)
def test_what_cannot_run_says_why(operator, words, code, said):
    """A sentence and an exit code, before anything is started."""
    (operator.folder / "bad.yaml").write_text("policies: {}\n")
    result = operator.run(*words)

    assert (result.returncode, "Traceback" in result.stderr) == (code, False)
    assert said in result.stderr
    assert embedded.running(operator.folder / "data") is None


def test_a_folder_has_one_owner(operator):
    """A second service on the same folder refuses, and says who owns it."""
    operator.start("run")
    operator.ready()
    second = operator.run("run")

    assert second.returncode == 4
    assert "one owner a folder" in second.stderr
