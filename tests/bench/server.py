"""A store of its own for each measurement: the packaged Valkey, AOF everysec, on an empty folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from softbounce import embedded


@contextmanager
def server() -> Iterator[str]:
    """Start it and give its URL."""
    with tempfile.TemporaryDirectory(prefix="bench-") as data, embedded.start(Path(data)) as running:
        yield running.url


def cpu(client: redis.Redis) -> float:
    """Return the CPU seconds that the server has used so far."""
    used = client.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]
