"""What tests need and a machine lacks: skipped in a line a reason, and refused where nobody would read it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SUITE = """
import pytest
from tests.conftest import needs_redis_server, program

@pytest.mark.parametrize("n", range(3))
def test_redis(redis_url, n): ...
@pytest.mark.parametrize("n", range(2))
def test_rabbitmq(amqp_url, n): ...
def test_sentinel(): needs_redis_server()
def test_tls(): program("openssl")
def test_payloads(payloads): ...
def test_two_lines(): pytest.skip("of another kind")
def test_more_lines(): pytest.skip("of another kind")
"""
LACKING = {
    "[3] SOFTBOUNCE_TEST_REDIS_URL is not set: redis://HOST:PORT/DB of a database that tests may empty",
    "[2] SOFTBOUNCE_TEST_AMQP_URL is not set: amqp://USER:PASSWORD@HOST:PORT// of a RabbitMQ",
    "[1] redis-server is not on PATH",
    "[1] openssl is not on PATH",
}
MAY_LACK = {
    "[1] SOFTBOUNCE_TEST_PAYLOADS is not set: the folder of recorded provider payloads",
    "[2] of another kind",
}


@pytest.mark.parametrize(
    ("ci", "workers", "skipped", "failed"),
    [({}, 2, LACKING | MAY_LACK, 0), ({"CI": "true"}, 0, MAY_LACK, 7)],
    ids=["a machine", "CI"],
)
def test_what_is_missing_skips_tests_in_one_line_a_reason_and_fails_them_in_ci(
    tmp_path, ci, workers, skipped, failed
):
    """One line a reason, the tests counted; under CI=true a server or program that is missing is a failure."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    words = f"-m pytest -q -c {ROOT / 'pyproject.toml'} --rootdir {tmp_path} -n {workers} -p no:cacheprovider"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, *words.split(), tmp_path],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)} | ci,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()

    assert done.returncode == (1 if failed else 0), done.stdout + done.stderr
    assert sorted(line.removeprefix("SKIPPED ") for line in lines if line.startswith("SKIPPED")) == sorted(
        skipped
    )
    assert sum(line.startswith(("FAILED", "ERROR")) for line in lines) == failed
