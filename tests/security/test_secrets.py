"""A password is seen nowhere: not in logs, commands, errors, inspection, nor in what ``ps`` shows."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from softbounce import Softbounce
from softbounce.cli.main import app
from softbounce.errors import StoreUnreachable
from softbounce.settings import Settings

from .canaries import failed, until
from .conftest import Worker
from .servers import redis_server

PASSWORD = "canary/Pa55@w:rd"  # noqa: S105 - of a test
KEY = "canary-key-0123456789"
CANARIES = (PASSWORD, quote(PASSWORD, safe=""), KEY, "Pa55")


def found_in(text: str) -> list[str]:
    """Return which canaries a text holds."""
    return [canary for canary in CANARIES if canary in text]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis that wants the password."""
    with redis_server(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD) as at:
        yield at


def url(port: int, password: str = PASSWORD) -> str:
    """Return the URL with a password in it."""
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_a_running_worker_shows_no_secret(
    port: int, worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, level: str
):
    """In its log at any level, its arguments, doctor, nor to who inspects it."""
    given = {"redis_url": url(port), "broker_url": url(port), "pii_key": KEY, "remote_control": "all"}
    running = worker(level=level, **given)
    env = {**os.environ, **{f"SOFTBOUNCE_{name.upper()}": value for name, value in given.items()}}
    monkeypatch.setenv("SOFTBOUNCE_PII_KEY", KEY)
    producer = Softbounce(url(port))
    producer.report(failed("m1", ["+4915112345678"]))
    producer.close()
    until(lambda: "retry.scheduled" in running.log.read_text() or "duplicate" in running.log.read_text())
    seen = Path(f"/proc/{running.process.pid}/cmdline").read_text(encoding="utf-8")
    for what in ("conf", "report", "stats") if level == "DEBUG" else ():
        done = subprocess.run(  # noqa: S603 - our own words
            [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "softbounce",
                "inspect",
                what,
                "-d",
                "w0@test",
                "--timeout",
                "10",
            ],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "1 node online" in done.stdout, done
        seen += done.stdout + done.stderr
    seen += CliRunner().invoke(app, ["doctor"], env=env).output
    running.stop()

    assert found_in(seen + running.log.read_text()) == []


@pytest.mark.parametrize("what", ["wrong password", "nobody there"])
@pytest.mark.parametrize("of", ["redis_url", "broker_url"])
def test_a_worker_that_is_refused_shows_no_secret(
    port: int, worker: Callable[..., Worker], what: str, of: str
):
    """A wrong password or no server, of store or broker, at DEBUG: the log says it without the password."""
    wrong = url(port, PASSWORD + "x") if what == "wrong password" else url(1)
    running = worker(level="DEBUG", may_fail=True, **({"redis_url": url(port), "pii_key": KEY} | {of: wrong}))
    wanted = "store.unreachable" if of == "redis_url" else "annot connect"
    until(lambda: running.process.poll() is not None or wanted in running.log.read_text())
    said = running.log.read_text()

    assert wanted in said or running.process.poll() is not None
    assert found_in(said) == []


@pytest.mark.parametrize("what", ["wrong password", "nobody there"])
def test_an_error_shows_no_secret(port: int, what: str):
    """Neither its sentence nor its traceback, for a command as for a producer."""
    wrong = url(port, PASSWORD + "x") if what == "wrong password" else url(1)
    done = CliRunner().invoke(app, ["mode"], env={"SOFTBOUNCE_REDIS_URL": wrong, "SOFTBOUNCE_PII_KEY": KEY})
    program = f"from softbounce import Softbounce; Softbounce({wrong!r}).report({failed('m', ['+4915112345678'])!r})"
    ended = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.exit_code == 4
    assert StoreUnreachable.__name__ in ended.stderr
    assert found_in(done.output + ended.stderr.replace(program, "")) == []


@pytest.mark.parametrize("name", ["redis_url", "broker_url", "resend_to"])
def test_settings_show_no_secret(name: str):
    """Neither as they are nor in what is wrong with them."""
    known = Settings(redis_url=url(1), broker_url=url(1), pii_key=KEY)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever is wrong with it
        Settings.load(
            **{name: url(1).replace("redis:", "ldap:").replace("127.0.0.1", "x.example")}, pii_key="Pa55"
        )

    assert found_in(repr(known) + str(known) + repr(known.model_dump())) == []
    assert found_in(str(caught.value)) == []
