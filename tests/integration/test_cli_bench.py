"""``softbounce bench`` on a real store: it measures, and leaves the store as it was."""

import json

import pytest
import redis
from typer.testing import CliRunner

from softbounce.cli.main import app

OTHERS = {
    "{sb:default}:meta": "production's",
    "softbounce:events": "theirs",
    "{sb:bench-trial2}:meta": "another's",
}


@pytest.fixture
def client(valkey, monkeypatch):
    """A client of the store that the commands use; others keep something there."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    with redis.Redis.from_url(valkey, decode_responses=True) as client:
        client.flushdb()
        client.mset(OTHERS)
        yield client
        client.flushdb()


def bench(*words):
    """Run it."""
    return CliRunner().invoke(app, ["bench", "--events", "500", *words])


def test_it_measures_and_leaves_nothing_behind(client):
    """Each figure is a rate of something that was done, and what others keep there is not touched."""
    result = bench("-o", "json")

    assert result.exit_code == 0, result.output
    assert {row["what"] for row in json.loads(result.stdout) if row["perSecond"] > 0} == {
        "reported in blocks", "taken in", "handed over to a stream", "may_send_many", "may_send", "bare round trips",
    }  # fmt: skip
    assert {key: client.get(key) for key in client.scan_iter()} == OTHERS


def test_it_refuses_a_namespace_that_holds_state_and_removes_it_when_asked(client):
    """A bench that was killed leaves something; nothing is measured on top of it."""
    client.hset("{sb:bench-trial}:meta", "now", 1)

    refused = bench()
    removed = bench("--remove")

    assert (refused.exit_code, removed.exit_code) == (1, 0)
    assert "softbounce bench --remove" in refused.stderr
    assert {key: client.get(key) for key in client.scan_iter()} == OTHERS
