"""Starts real worker processes in milliseconds: one process imports everything once and forks the rest.

    with Nursery(folder) as nursery:
        child = nursery.start(env={"SOFTBOUNCE_REDIS_URL": url})  # our worker
        child = nursery.start("package.module:function", 1, two=2)  # or any function; its result is the exit code
        child.kill()

A child has a process group of its own, which ``kill`` ends as a whole, and dies with its nursery. What a
module reads from the environment while it is imported, it reads in the nursery.
"""

import ctypes
import gc
import importlib
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
WORKER = "checks.chaos.nursery:worker"
PRELOAD = (  # what a Celery worker imports while it starts
    "softbounce.worker.celery.app",
    "celery.apps.worker",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.backends.base",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.loaders.default",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.loops",
    "celery.worker.strategy",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "kombu.utils.eventio",
)


class Child:
    """One process, and the file of what it has said."""

    def __init__(self, pid: int, path: Path) -> None:
        self.pid, self.path = pid, path
        self.code: int | None = None  # its exit code once it has ended, -9 after a kill
        self._ended = threading.Event()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; a frozen one does."""
        return not self._ended.is_set()

    @property
    def log(self) -> str:
        """Return all it has said so far."""
        return self.path.read_text(errors="replace")

    def logged(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON log lines of one event name."""
        lines = (
            json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line[-1] == "}"
        )
        return [line for line in lines if line.get("event") == name]

    def wait(self, seconds: float = 30) -> int:
        """Return its exit code; raise ``TimeoutError`` if it has not ended by then."""
        if not self._ended.wait(seconds):
            msg = f"process {self.pid} has not ended within {seconds} s: {self.path}"
            raise TimeoutError(msg)
        assert self.code is not None
        return self.code

    def stop(self, seconds: float = 30) -> int:
        """End it by SIGTERM and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it and its children by SIGKILL."""
        self.send(signal.SIGKILL, group=True)
        self.wait(10)

    def freeze(self) -> None:
        """Stop it and its children where they are, by SIGSTOP."""
        self.send(signal.SIGSTOP, group=True)

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self.send(signal.SIGCONT, group=True)

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessLookupError):  # it has just ended
            if self.is_alive:
                (os.killpg if group else os.kill)(self.pid, number)

    def ended(self, code: int) -> None:
        """Note its end; for the nursery."""
        self.code = code
        self._ended.set()


class Nursery:
    """Starts children; logs are files in ``folder``. Every thread may use it."""

    def __init__(
        self, folder: Path, *, env: Mapping[str, str] | None = None, preload: Sequence[str] = PRELOAD
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.children: dict[int, Child] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, *preload],
            env={**os.environ, **(env or {}), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._started: dict[int, list[Any]] = {}  # number of the call -> its log, the word, the child
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self, target: str = WORKER, *args: Any, env: Mapping[str, str] | None = None, **named: Any
    ) -> Child:
        """Fork a process that calls ``target`` with JSON arguments; return at once, before it is ready.

        Its exit code is what the call returns, or 0; 1 after an exception, which is in its log.
        """
        number = next(self._numbers)
        path = self.folder / f"{number:04}.log"
        path.touch()
        word = threading.Event()
        self._started[number] = [path, word, None]
        call = {"number": number, "target": target, "args": args, "named": named, "env": dict(env or {})}
        line = json.dumps({**call, "log": str(path)}).encode() + b"\n"
        assert self._process.stdin
        with self._lock:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        if not word.wait(30):
            msg = f"the nursery started no process within 30 s; its exit code: {self._process.poll()}"
            raise TimeoutError(msg)
        return self._started.pop(number)[2]

    def close(self) -> None:
        """End all that still runs, by SIGKILL, then the nursery."""
        for child in list(self.children.values()):
            child.kill()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            if "number" in said:
                entry = self._started[said["number"]]
                entry[2] = self.children[said["pid"]] = Child(said["pid"], entry[0])
                entry[1].set()
            else:
                self.children.pop(said["pid"]).ended(said["code"])


def worker(**settings: Any) -> int:
    """Run one worker of ours, as ``softbounce worker`` does; ``hostname`` names it for Celery."""
    from softbounce.settings import Settings
    from softbounce.worker.celery.app import run_worker

    hostname = settings.pop("hostname", None)
    return run_worker(Settings.load(**settings), hostname=hostname)


def _serve(preload: Sequence[str]) -> None:
    """Fork what standard input asks for, line by line, until it ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # nobody's print may end up among the answers
    for name in preload:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    wake_read, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the one who asks
    signal.set_wakeup_fd(wake)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        rest = b""
        while True:
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                if key.fd == wake_read:
                    for pid, code in _ended():
                        _say(answers, pid=pid, code=code)
                    continue
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    call = json.loads(line)
                    pid = os.fork() or _become(call)
                    with suppress(OSError):  # the child does it too: whoever comes first
                        os.setpgid(pid, pid)
                    _say(answers, number=call["number"], pid=pid)


def _say(answers: int, **said: int) -> None:
    os.write(answers, json.dumps(said).encode() + b"\n")  # short enough to be written whole


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _become(call: dict[str, Any]) -> Any:
    """Be the child; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(call["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 64)  # the nursery's own
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        os.environ.update(call["env"])
        time.tzset()
        module, _, name = call["target"].partition(":")
        code = getattr(importlib.import_module(module), name)(*call["args"], **call["named"]) or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else bool(ended.code)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - the child's own edge
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


if __name__ == "__main__":
    _serve(sys.argv[1:])
