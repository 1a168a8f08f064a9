"""A store of its own for each measurement: the packaged Valkey, AOF everysec, on an empty folder; and what it used."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from softbounce import embedded

TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def server(image: Path | None = None) -> Iterator[redis.Redis]:
    """Start it, on a copy of the data in ``image`` if that is given, and give a client of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as data:
        if image:
            shutil.copytree(image, data, ignore=shutil.ignore_patterns("*.sock", "lock"), dirs_exist_ok=True)
        with on(Path(data)) as client:
            yield client


@contextmanager
def on(data: Path) -> Iterator[redis.Redis]:
    """Start a server on a folder, which keeps the data, and give a client of it."""
    with embedded.start(data) as running, redis.Redis.from_url(running.url) as client:
        yield client


def url_of(client: redis.Redis) -> str:
    """Return the URL of the server."""
    return embedded.url_of(Path(socket_of(client)))


def socket_of(client: redis.Redis) -> str:
    """Return the path of the server's socket."""
    return client.connection_pool.connection_kwargs["path"]


def cpu(client: redis.Redis) -> float:
    """Return the CPU seconds that the server has used so far."""
    used = client.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def scripts(client: redis.Redis) -> float:
    """Return the seconds that the server has spent in scripts so far."""
    return client.info("commandstats").get("cmdstat_evalsha", {"usec": 0})["usec"] / 1e6


def memory(client: redis.Redis) -> int:
    """Return the bytes of what the server keeps, without the buffers of its AOF and its clients."""
    found = client.info("memory")
    return found["used_memory"] - found["mem_aof_buffer"] - found["mem_clients_normal"]


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far; 0 where the system has no /proc."""
    path = Path(f"/proc/{pid}")
    if not path.exists():
        return 0.0
    user, system = (path / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS + sum(map(cpu_of, _children(pid)))


def resident(pid: int) -> int:
    """Return the bytes of memory of a process and its children."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, _children(pid)))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
