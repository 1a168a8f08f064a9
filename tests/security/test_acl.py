"""The shipped ACL: everything works under it, and what nobody needs is refused with a sentence."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu import Connection
from redis.exceptions import NoPermissionError
from tests.servers import PATIENCE
from typer.testing import CliRunner, Result

from softbounce import Softbounce, WrongKey
from softbounce.cli.main import app

from .canaries import failed, until
from .conftest import Worker
from .servers import ACL, ADMIN, PASSWORD, guarded, redis_server, url_for

NUMBER = "+4915112345678"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis under the shipped ACL; the worker's user may also reach the pipeline's queue."""
    with guarded(tmp_path_factory.mktemp("acl"), "--appendonly", "yes") as at:
        with redis.Redis.from_url(url_for("admin", at)) as admin:
            admin.execute_command("ACL", "SETUSER", "softbounce-worker", "~messaging", "~messaging?*")
        yield at


@pytest.fixture
def admin(port: int) -> Iterator[redis.Redis]:
    """The only one who may empty it."""
    with redis.Redis.from_url(url_for("admin", port), decode_responses=True) as client:
        client.flushall()
        client.acl_log_reset()
        yield client


def command(port: int, user: str, *words: str) -> Result:
    """Run one command of ours as one of the users."""
    env = {"SOFTBOUNCE_REDIS_URL": url_for(user, port), "SOFTBOUNCE_POLICY": str(POLICY)}
    return CliRunner().invoke(app, words, env=env)


POLICY = ACL.parent / "policy.yaml"


@pytest.fixture
def start(port: int, worker: Callable[..., Worker]) -> Callable[..., Path]:
    """Start a worker as the worker's user and return the path of its log."""

    def begin(**settings: str) -> Path:
        return worker(redis_url=url_for("softbounce-worker", port), policy=str(POLICY), **settings).log

    return begin


def denied(admin: redis.Redis) -> list[str]:
    """Return whom the server has refused what."""
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in admin.acl_log()]


@pytest.mark.parametrize("sink", ["stream:softbounce:resend", "celery:messaging.resend@messaging"])
def test_the_whole_way_works_as_the_workers_user(
    port: int, admin: redis.Redis, start: Callable[..., Path], sink: str
):
    """Reports by stream and by Celery, hand-over by either, notices, inspect: the server refuses nothing."""
    worker, producer = url_for("softbounce-worker", port), url_for("softbounce-producer", port)
    log = start(resend_to=sink)
    with closing(Softbounce(producer)) as client:
        client.report(failed("streamed", [NUMBER]))
        client.report(
            failed("blocked", [NUMBER[:-1] + "9"], code="INVALID_MOBILE_NUMBER", type="CONTACT_ERROR")
        )
        with Celery("producer", broker=worker, set_as_current=False) as sender:
            sender.send_task("softbounce.report", args=[failed("tasked", [NUMBER])], queue="softbounce")
        until(lambda: admin.hgetall("{sb:default}:counters") == {"scheduled": "2", "suppressed": "1"})
        assert client.may_send(NUMBER, channel="sms")
        assert not client.may_send(NUMBER[:-1] + "9", channel="sms")
        client.cancel(claim="claim-tasked", reason="paid")
    done = command(port, "softbounce-worker", "retries", "run-now", "-reference:tasked", "--reason", "test")
    assert done.exit_code == 0, done.stderr

    if sink.startswith("celery"):
        with Connection(worker) as connection, closing(connection.SimpleQueue("messaging")) as waiting:
            messages = [waiting.get(timeout=PATIENCE) for _ in range(2)]  # the notice and the command
            for message in messages:
                message.ack()
        assert {message.headers["task"] for message in messages} == {"messaging.resend", "messaging.notice"}
    else:
        (entry,) = until(lambda: admin.xrange("softbounce:resend"))
        assert json.loads(entry[1]["command"])["reference"] == "streamed"
    inspected = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "softbounce", "inspect", "softbounce", "--json"],
        env={**os.environ, "SOFTBOUNCE_REDIS_URL": worker},
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"scheduled": 2' in inspected.stdout, inspected.stderr
    assert denied(admin) == [], log.read_text()
    assert "NOPERM" not in log.read_text()


def test_every_persons_command_works_as_the_workers_user(
    port: int, admin: redis.Redis, start: Callable[..., Path]
):
    """Suppress, forget, pause, cancel, mode, cases, dead letters, audit, doctor."""
    start()
    for words in (
        ("suppressions", "add", NUMBER, "--reason", "asked"),
        ("suppressions", "list"),
        ("recipients", "forget", NUMBER, "--reason", "request 77"),
        ("suppressions", "remove", NUMBER, "--reason", "asked"),
        ("retries", "pause", "channel:sms", "--reason", "test"),
        ("retries", "resume", "channel:sms", "--reason", "test"),
        ("retries", "cancel", "claim:1", "--reason", "test"),
        ("mode", "observe", "--reason", "test"),
        ("mode", "on", "--reason", "test"),
        ("cases", "list"),
        ("dead-letters", "list"),
        ("audit", "list"),
        ("doctor",),
    ):
        done = command(port, "softbounce-worker", *words)
        assert (done.exit_code, denied(admin)) == (0, []), (words, done.stdout, done.stderr)


def test_the_user_for_operations_reads_everything_and_changes_nothing(
    port: int, admin: redis.Redis, start: Callable[..., Path]
):
    """What shows works; what changes is refused with a sentence that names the command, and exit code 4."""
    start()
    with closing(Softbounce(url_for("softbounce-producer", port))) as client:
        client.report(failed("m1", [NUMBER]))
    until(lambda: admin.hgetall("{sb:default}:counters"))
    for words in (
        ("explain", "m1"),
        ("explain", NUMBER),
        ("retries", "list"),
        ("retries", "show", "m1"),
        ("suppressions", "list"),
        ("suppressions", "check", NUMBER),
        ("cases", "list"),
        ("dead-letters", "list"),
        ("audit", "list"),
        ("mode",),
        ("doctor",),
        ("recipients", "forget", NUMBER, "--reason", "request 77", "--dry-run"),
    ):
        done = command(port, "softbounce-ops", *words)
        assert done.exit_code == 0, (words, done.stdout, done.stderr, denied(admin))
    for words in (
        ("suppressions", "add", NUMBER, "--reason", "asked"),
        ("retries", "cancel", "claim:1", "--reason", "test"),
        ("recipients", "forget", NUMBER, "--reason", "test"),
        ("mode", "off", "--reason", "test"),
        ("retries", "list", "--reveal"),
    ):
        done = command(port, "softbounce-ops", *words)
        assert done.exit_code == 4, (words, done.stdout, done.stderr)
        assert re.search(r"ACL forbids .*'evalsha' command", done.stderr), done.stderr
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stderr


FORBIDDEN = ("FLUSHALL", "FLUSHDB", "CONFIG GET *", "KEYS *", "DEBUG SLEEP 0", "SCRIPT FLUSH", "ACL LIST", "MONITOR",
             "SHUTDOWN", "REPLICAOF NO ONE", "SAVE", "BGREWRITEAOF", "FUNCTION LIST", "CLIENT LIST",
             "MODULE LIST", "GET other", "SET other 1")  # fmt: skip


@pytest.mark.parametrize("user", ["softbounce-worker", "softbounce-producer", "softbounce-ops"])
@pytest.mark.parametrize("words", FORBIDDEN)
def test_nobody_may_do_what_nobody_needs(port: int, user: str, words: str):
    """Nothing of @admin or @dangerous but INFO, no key that is not ours."""
    with redis.Redis.from_url(url_for(user, port)) as client, pytest.raises(NoPermissionError):
        client.execute_command(*words.split())


@pytest.mark.parametrize("words", ["XRANGE softbounce:events - +", "HGETALL {sb:default}:suppressions", "DEL softbounce:events",
                                   "XADD softbounce:resend * id 1", "HSET {sb:default}:suppressions a b"])  # fmt: skip
def test_a_producer_reads_no_list_and_sends_nothing(port: int, words: str):
    """It reports, asks of one recipient, cancels, and no more."""
    with (
        redis.Redis.from_url(url_for("softbounce-producer", port)) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*words.split())


def test_a_producer_makes_no_key_for_a_store_that_lost_its_own(port: int, admin: redis.Redis):
    """It may ask whether hashes are there, and reads none: a lost key is refused, an empty store has a first one."""
    with closing(Softbounce(url_for("softbounce-producer", port))) as first:
        assert first.may_send(NUMBER, channel="sms")
    admin.hset("{sb:default}:deliveries", "d", "secret")
    admin.hdel("{sb:default}:meta", "key")
    with closing(Softbounce(url_for("softbounce-producer", port))) as client, pytest.raises(WrongKey):
        client.may_send(NUMBER, channel="sms")
    assert denied(admin) == []
    with redis.Redis.from_url(url_for("softbounce-producer", port)) as client:
        for words in ("HGET {sb:default}:deliveries d", "HGET {sb:default}:standing d"):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words.split())


def test_nobody_can_log_in_before_a_password_is_set(tmp_path: Path):
    """The file as it ships holds no password, not even an empty one."""
    users = [line for line in ACL.read_text().splitlines() if line.startswith("user ")]
    (tmp_path / "redis.acl").write_text("\n".join([*users, ADMIN]))
    with redis_server(tmp_path, "--aclfile", str(tmp_path / "redis.acl")) as at:
        for user in ("default", "softbounce-worker", "softbounce-producer", "softbounce-ops"):
            with (
                redis.Redis(port=at, username=user, password="x", retry=None) as client,  # noqa: S106
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()


@pytest.mark.parametrize("user", ["softbounce-producer", "softbounce-ops"])
def test_a_script_of_ones_own_is_the_workers_alone(port: int, user: str):
    """The broker's transport sends its script whole; it may do no more than its user."""
    with redis.Redis.from_url(url_for(user, port)) as client, pytest.raises(NoPermissionError):
        client.eval("return 0", 0)
    with (
        redis.Redis.from_url(url_for("softbounce-worker", port)) as client,
        pytest.raises(redis.ResponseError, match=r"ACL failure|can't run this command"),
    ):
        client.eval("return redis.call('FLUSHALL')", 0)
