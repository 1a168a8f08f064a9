"""Ends a process of which a loop is deaf: it neither got an answer, nor was told that there is none."""

import os
import threading

from softbounce.telemetry import get_logger

log = get_logger()

TICK = 1.0  # s between two looks
LOG_TIME = 5.0  # s for the last line of the log; it may be the log that hangs


class Watch:
    """Ends the process once a loop was silent for ``limit`` looks, a second apart.

    It counts its own looks and reads no clock: in a frozen process, or on a machine that slept, it slept too.
    """

    def __init__(self, *, limit: int, worker: str, stopping: threading.Event) -> None:
        self._limit, self._worker, self._stopping = limit, worker, stopping
        self._heard: set[str] = set()

    def heard(self, loop: str) -> None:
        """Note that ``loop`` has an answer, or an error that says why there is none."""
        self._heard.add(loop)

    def keep(self, loops: tuple[str, ...]) -> None:
        """Look at ``loops`` until the word to stop."""
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
