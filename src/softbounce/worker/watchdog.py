"""Watchdog: kills the process when a loop has had neither a reply nor an error for ``limit`` seconds."""

import os
import threading

from softbounce.telemetry import get_logger

log = get_logger()

TICK = 1.0  # s between two checks
LOG_TIME = 5.0  # s for the last line of the log, because the log itself may hang


class Watchdog:
    """Ends the process once a loop was silent for ``limit`` checks, a second apart.

    It counts checks and reads no clock, because a frozen process or a sleeping machine checks nothing.
    """

    def __init__(self, *, limit: int, worker: str, stopping: threading.Event) -> None:
        self._limit, self._worker, self._stopping = limit, worker, stopping
        self._heard: set[str] = set()

    def heard(self, loop: str) -> None:
        """Note that ``loop`` has a reply or an error."""
        self._heard.add(loop)

    def keep(self, loops: tuple[str, ...]) -> None:
        """Check ``loops`` until the worker is to stop."""
        silent = dict.fromkeys(loops, 0)
        while not self._stopping.wait(TICK):
            heard, self._heard = self._heard, set()
            for loop in loops:
                silent[loop] = 0 if loop in heard else silent[loop] + 1
                if silent[loop] >= self._limit:
                    self._end(loop)

    def _end(self, loop: str) -> None:
        threading.Timer(LOG_TIME, os._exit, [1]).start()
        log.critical("worker.deaf", worker=self._worker, loop=loop, silent_s=self._limit * TICK)
        os._exit(1)
