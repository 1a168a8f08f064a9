"""Workers as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers import PATIENCE, end

from .canaries import until


@dataclass
class Worker:
    """One worker process."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def peak(self) -> int:
        """Return the most memory it has held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start a worker with settings, and wait until it lives; ``may_fail`` waits for its end as well."""
    started: list[Worker] = []

    def begin(*, level: str = "INFO", may_fail: bool = False, **settings: str) -> Worker:
        log = tmp_path / f"worker-{len(started)}.log"
        words = ["worker", "-l", level, "-n", f"w{len(started)}@test"]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "celery", "-A", "softbounce", *words],
                env={
                    **os.environ,
                    **{f"SOFTBOUNCE_{name.upper()}": value for name, value in settings.items()},
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        started.append(running := Worker(process, log))
        if not may_fail:
            until(lambda: process.poll() is not None or "worker.started" in log.read_text())
            assert process.poll() is None, log.read_text()
        return running

    yield begin
    for running in started:
        running.process.terminate()
    for running in started:
        end(running.process)
