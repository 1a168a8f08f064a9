"""The real worker on a throw-away store, in lockstep with the world's clock.

A step: set the time, wait until the worker has handed over what is due, take it; then report what the
carriers said since the step before, and wait for the outcomes. So what was known when a retry left never
depends on how fast a process was, and the same seed gives the same table.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from softbounce.core.durations import HOUR, SECOND
from softbounce.store import Store

STEP = 10 * 60 * SECOND
LONGEST_STEP = 5 * HOUR  # after six hours without a look the worker would go into quarantine
LEASE_OVER = 31 * SECOND
PATIENCE = 60.0  # s of real time that one step may take

Json = dict[str, Any]


class Stuck(Exception):  # noqa: N818 - a sentence for the person who runs the demo
    """The worker did not finish a step in time."""


class Lockstep:
    """One worker process and its store, moved by hand."""

    def __init__(self, *, url: str, data: Path, log: Path) -> None:
        self.store = Store.open(url)
        self.kills = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SOFTBOUNCE_")},
            "SOFTBOUNCE_REDIS_URL": url,
            "SOFTBOUNCE_DATA": str(data),
        }
        self._log = log
        self._worker: subprocess.Popen[bytes] | None = None
        self._read = {"resend": "0", "notices": "0"}
        self._number = 0
        self._pause = Event()

    def start(self) -> None:
        """Start the worker."""
        command = [sys.executable, "-m", "celery", "-A", "softbounce", "worker", "--loglevel", "WARNING"]
        with self._log.open("ab") as log:
            self._worker = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)  # noqa: S603

    def stop(self) -> None:
        """Let the worker drain and end."""
        if self._worker is not None:
            self._worker.terminate()
            try:
                self._worker.wait(30)
            except subprocess.TimeoutExpired:
                self._worker.kill()
                self._worker.wait()
        self.store.close()

    def kill(self) -> None:
        """Kill the worker as it is, with ``kill -9``, and start another."""
        assert self._worker is not None  # noqa: S101
        self._worker.send_signal(signal.SIGKILL)
        self._worker.wait()
        self.kills += 1
        self.start()

    def advance(self, now: int, *, meanwhile: Callable[[], None] | None = None) -> list[Json]:
        """Set the time and return the resend commands that left until nothing more is due."""
        kills = self.kills
        self.store.set_now(now)
        if meanwhile is not None:
            meanwhile()
        self._idle(now)
        moment = now
        if self.kills > kills:  # what the killed worker held comes back when its lease is over
            moment += LEASE_OVER
            self.store.set_now(moment)
            self._idle(moment)
        while self.store.sizes()["ready"]:  # stands in line for the hand-over rate
            moment += SECOND
            self.store.set_now(moment)
            self._idle(moment)
        return self._new("resend", "command")

    def report(self, events: Sequence[Json], *, meanwhile: Callable[[], None] | None = None) -> list[Json]:
        """Report events and return what softbounce says of each, in no order."""
        if not events:
            return []
        self._number += 1
        token = f"demo-{self._number}"
        wanted = Counter(str(event["eventId"]) for event in events)
        self.store.events.publish([json.dumps(event).encode() for event in events], reply=token)
        if meanwhile is not None:
            meanwhile()
        answers: list[Json] = []
        end = monotonic() + PATIENCE
        while wanted:
            if monotonic() > end:
                message = f"{wanted.total()} reports have no outcome after {PATIENCE:.0f} s"
                raise Stuck(message)
            for answer in self.store.events.wait_replies(token, count=len(events), seconds=1):
                ident = str(answer.get("eventId"))
                if wanted[ident] > 0:  # a killed worker's batch may answer twice
                    wanted[ident] -= 1
                    answers.append(answer)
                wanted += Counter()
                if not wanted:
                    break
        return answers

    def notices(self) -> list[Json]:
        """Return the notices that were told since the last call, once all are."""
        self._idle(0)
        return self._new("notices", "notice")

    def _new(self, stream: str, field: str) -> list[Json]:
        found = self.store.stream(self.store.keys.stream(stream)).read(after=self._read[stream])
        if found:
            self._read[stream] = found[-1][0]
        return [json.loads(fields[field]) for _, fields in found]

    def _idle(self, now: int) -> None:
        """Wait until a claim at this time found nothing due, and every notice was told."""
        end = monotonic() + PATIENCE
        while self.store.idle_at() < now or self.store.sizes()["notices"]:
            if monotonic() > end:
                message = f"the worker is not idle after {PATIENCE:.0f} s; its log is {self._log}"
                raise Stuck(message)
            self._pause.wait(0.001)
