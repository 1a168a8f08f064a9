"""Two stores: a plain one on which a state is made, and one under callgrind, whose scripts are counted one by one.

callgrind counts what the program executes: the same figure on a busy machine and on an idle one.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from msgspec import Struct
from tests.servers import LAUNCHER

from softbounce import embedded

PATIENCE = 600  # s; a script takes about fifty times as long under callgrind
_MAIN_THREAD = re.compile(r"^events-1: (\d+)$", re.MULTILINE)
_RESIDENT, _PEAK = re.compile(r"VmRSS:\s+(\d+)"), re.compile(r"VmHWM:\s+(\d+)")
_CHUNK = 4 * 2**20  # bytes of one command when a state is copied


class Spent(Struct, frozen=True, kw_only=True):
    """What one script took: the store's time in microseconds, or its instructions."""

    script: str  # its sha
    amount: int


class Metered(redis.Redis):
    """A client that notes what each script takes."""

    process = 0  # of the server
    is_counted = False

    def meter(self) -> None:
        """Begin anew; from now on ``spent`` has an entry for each script."""
        self.process = self.process or int(self.info("server")["process_id"])
        self.spent = list[Spent]()

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run one script."""
        before = self._read()
        answer = super().evalsha(sha, numkeys, *keys_and_args)
        self.spent.append(Spent(script=sha, amount=self._read() - before))
        return answer

    def _read(self) -> int:
        return instructions(self.process) if self.is_counted else self._microseconds()

    def _microseconds(self) -> int:
        """Return the time of the processor that the server has had: a busy machine takes it away from nobody."""
        try:
            return int(Path(f"/proc/{self.process}/schedstat").read_text().split()[0]) // 1000
        except FileNotFoundError:  # no Linux
            stats = self.info("commandstats")
            return int(stats.get("cmdstat_evalsha", {"usec": 0})["usec"])


def instructions(pid: int) -> int:
    """Return how many instructions the main thread of a server under callgrind has executed."""
    said = subprocess.run(
        ["vgdb", "--max-invoke-ms=1", f"--pid={pid}", "status", "internal"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = _MAIN_THREAD.search(said.stdout + said.stderr)
    if found is None:
        msg = f"callgrind does not say how far it is: {said.stdout[-500:]}{said.stderr[-500:]}"
        raise RuntimeError(msg)
    return int(found[1])


@contextmanager
def server(*, counted: bool) -> Iterator[Metered]:
    """Start the packaged Valkey without a disk, under callgrind if ``counted``; give a client that meters it."""
    with tempfile.TemporaryDirectory(prefix="cost-") as folder, _on(Path(folder), counted=counted) as client:
        yield client


@contextmanager
def _on(folder: Path, *, counted: bool) -> Iterator[Metered]:
    socket = folder / "socket"
    options = f"--port 0 --unixsocket {socket} --appendonly no --dir {folder} --hz 1 --busy-reply-threshold 0"
    command = [embedded.binary(), *options.split(), "--save", ""]
    if counted:
        callgrind = ["--tool=callgrind", f"--callgrind-out-file={folder / 'out'}"]
        command = [shutil.which("valgrind") or "", *callgrind, *command]
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]  # it ends with us
    with (
        Path(folder, "log").open("w", encoding="utf-8") as log,
        subprocess.Popen([*launcher, *command], stdout=log, stderr=log) as process,
    ):
        try:
            client = Metered(unix_socket_path=str(socket), socket_timeout=PATIENCE)
            while not _answers(client):
                if process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()[-2000:])
                time.sleep(0.1)
            client.process, client.is_counted = process.pid, counted
            client.meter()
            yield client
            client.close()
        finally:
            process.kill()


def copy(source: redis.Redis, target: redis.Redis) -> None:
    """Give ``target`` the hashes and sorted sets of ``source``, and nothing else."""
    target.flushall()
    for key in source.scan_iter():
        match source.type(key):
            case b"hash":
                _send(target, ("HSET", key), [part for pair in source.hgetall(key).items() for part in pair])
            case b"zset":
                pairs = source.zrange(key, 0, -1, withscores=True)
                _send(
                    target,
                    ("ZADD", key),
                    [part for member, score in pairs for part in (repr(score).encode(), member)],
                )


def _send(target: redis.Redis, command: tuple[Any, ...], parts: list[bytes]) -> None:
    some: list[bytes] = []
    size = 0
    for first in range(0, len(parts), 2):
        some += parts[first : first + 2]
        size += sum(map(len, parts[first : first + 2]))
        if size > _CHUNK or len(some) > 2000 or first + 2 >= len(parts):
            target.execute_command(*command, *some)
            some, size = [], 0


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def grown_by(pid: int, run: Callable[[], object]) -> int:
    """Return by how many bytes a process was larger than before, at most, while ``run`` ran."""
    status = Path(f"/proc/{pid}/status")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    before = int(_RESIDENT.findall(status.read_text())[0])
    run()
    return 1024 * (int(_PEAK.findall(status.read_text())[0]) - before)


def is_possible() -> bool:
    """Return whether callgrind is installed."""
    return bool(shutil.which("valgrind") and shutil.which("vgdb"))
