"""The real worker on a throw-away store, moved step by step with the world's clock.

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

from softbounce.core.durations import SECOND
from softbounce.core.filters import parse_filter
from softbounce.settings import packaged_policy
from softbounce.store import Store

STEP = 10 * 60 * SECOND
LEASE_OVER = 31 * SECOND
PATIENCE = 60.0  # s of real time that one step may take
LEASED = parse_filter("state:leased", keys=("state",))

Json = dict[str, Any]


class Stuck(Exception):  # noqa: N818 - a sentence for the person who runs the demo
    """The worker did not finish a step in time, or ended by itself."""


class Lockstep:
    """One worker process and its store, whose time we set."""

    def __init__(self, *, url: str, data: Path, log: Path) -> None:
        self.store = Store.open(url)
        self.kills = 0
        self.cut_short: Counter[str] = Counter()  # what killed workers had begun, by kind
        policy = data / "policy.yaml"  # the packaged one, whatever the caller's folder holds
        policy.write_text(packaged_policy(), encoding="utf-8")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SOFTBOUNCE_")},
            "SOFTBOUNCE_REDIS_URL": url,
            "SOFTBOUNCE_DATA": str(data),
            "SOFTBOUNCE_POLICY": str(policy),
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

    def operate(self, *words: str) -> list[Json]:
        """Run one ``softbounce`` command and return the records that it prints."""
        command = [sys.executable, "-m", "softbounce", *words, "-o", "ndjson"]
        ran = subprocess.run(command, env=self._environment, capture_output=True, check=False)  # noqa: S603
        return [json.loads(line) for line in ran.stdout.splitlines()]

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

    def advance(self, now: int, *, kill: bool = False) -> list[Json]:
        """Set the time and return the resend commands that left until nothing more is due.

        ``kill`` kills the worker while it hands over, if it is caught at that: see ``kills``.
        """
        may_kill = kill and not self._is_due_soon_after(now)
        self.store.set_now(now)
        moment = now
        if may_kill and self._kill(self._leased, unless=lambda: self.store.idle_at() >= now):
            self._idle(now)
            moment += LEASE_OVER  # then the leases of the killed worker are over
            self.store.set_now(moment)
        self._idle(moment)
        while self.store.sizes()["ready"]:  # retries that wait for the hand-over rate
            moment += SECOND
            self.store.set_now(moment)
            self._idle(moment)
        self._until(lambda: not self.store.sizes()["notices"], "notices wait")
        commands = self._new("resend", "command")
        return sorted(commands, key=lambda command: str(command["id"]))  # a kill changes the order

    def report(self, events: Sequence[Json], *, kill: bool = False) -> list[Json]:
        """Report events and return what softbounce says of each, in no order.

        ``kill`` kills the worker while it takes them in, if it is caught at that.
        """
        if not events:
            return []
        self._number += 1
        token = f"demo-{self._number}"
        wanted = Counter(str(event["eventId"]) for event in events)
        self.store.events.publish([json.dumps(event).encode() for event in events], reply=token)
        killed = kill and self._kill(self._read_and_open, unless=lambda: not any(self._lag()))
        answers: list[Json] = []

        def all_answered() -> bool:
            for answer in self.store.events.wait_replies(token, count=len(events), seconds=1):
                ident = str(answer.get("eventId"))
                if wanted[ident] > 0:  # a killed worker's batch may answer twice
                    wanted[ident] -= 1
                    answers.append(answer)
                if not wanted.total():
                    return True
            return False

        self._until(all_answered, "reports have no outcome")
        if not killed:  # what a killed worker had claimed comes with the next step
            self._until(lambda: not self.store.sizes()["notices"], "notices wait")
        return answers

    def notices(self) -> list[Json]:
        """Return the notices that left since the last call."""
        return self._new("notices", "notice")

    def _kill(self, begun: Callable[[], Counter[str]], *, unless: Callable[[], bool]) -> bool:
        """Kill the worker with ``kill -9`` once it has begun something, and start another.

        It is frozen again and again to be looked at. Returns false if its work was over first.
        """
        worker = self._worker
        assert worker is not None  # noqa: S101
        while not unless() and worker.poll() is None:
            worker.send_signal(signal.SIGSTOP)
            if begun():
                worker.kill()
                worker.wait()
                self.kills += 1
                self.cut_short += begun()
                self.start()
                return True
            worker.send_signal(signal.SIGCONT)
            self._pause.wait(0.0002)
        return False

    def _is_due_soon_after(self, now: int) -> bool:
        """Whether letting a lease run out would let others leave a step early, and so change the table."""
        waiting = self.store.retries.select(parse_filter("", keys=()), now=now)
        return any(now < retry.due <= now + 2 * LEASE_OVER for retry in waiting)

    def _leased(self) -> Counter[str]:
        leased = sum(1 for _ in self.store.retries.select(LEASED, now=self.store.now()))
        return Counter({"retries claimed and not confirmed": leased}) + Counter()

    def _read_and_open(self) -> Counter[str]:
        return Counter({"reports read and not acknowledged": self._lag()[1]}) + Counter()

    def _lag(self) -> tuple[int, int]:
        lag = self.store.events.lag()
        return lag.unread, lag.pending

    def _new(self, stream: str, field: str) -> list[Json]:
        found = self.store.stream(self.store.keys.stream(stream)).read(after=self._read[stream])
        if found:
            self._read[stream] = found[-1][0]
        return [json.loads(fields[field]) for _, fields in found]

    def _idle(self, now: int) -> None:
        self._until(lambda: self.store.idle_at() >= now, "a claim still finds something due")

    def _until(self, is_done: Callable[[], bool], what: str) -> None:
        end = monotonic() + PATIENCE
        while not is_done():
            worker = self._worker
            has_died = worker is None or worker.poll() is not None
            if has_died or monotonic() > end:
                why = "the worker ended" if has_died else f"after {PATIENCE:.0f} s {what}"
                lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                raise Stuck("\n".join([f"{why}. The end of its log:", *lines]))
            self._pause.wait(0.001)
