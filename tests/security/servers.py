"""A Redis of a test's own, with the shipped ACL or TLS."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import program
from tests.servers import end

from .canaries import until

ACL = Path(__file__).parents[2] / "config" / "redis.acl"
PASSWORD = "canary-Pa55word"  # noqa: S105 - of a test
ADMIN = f"user admin on >{PASSWORD} ~* &* +@all\n"


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """Run ``redis-server`` on a free port of loopback and return it; ``{port}`` in options names it."""
    binary = program("redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(port=port) for word in options]
    if not any("port" in word for word in words):
        words += ["--port", str(port)]
    common = ["--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--maxmemory-policy", "noeviction"]
    log = folder / "redis.log"
    process = subprocess.Popen([binary, *common, "--logfile", str(log), *words])  # noqa: S603 - our own words
    try:
        until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        end(process)


@contextmanager
def guarded(folder: Path, *options: str) -> Iterator[int]:
    """Run ``redis-server`` under the shipped ACL, each user with ``PASSWORD``, and an admin for the tests."""
    lines = ACL.read_text(encoding="utf-8").splitlines()
    users = [line.replace(" on ", f" on >{PASSWORD} ") for line in lines if line.startswith("user ")]
    (folder / "redis.acl").write_text("\n".join(users) + "\n" + ADMIN, encoding="utf-8")
    with redis_server(
        folder, "--aclfile", str(folder / "redis.acl"), "--enable-debug-command", "yes", *options
    ) as port:
        yield port


def url_for(user: str, port: int) -> str:
    """Return the URL of the first database for one of the users."""
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{port}/0"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
