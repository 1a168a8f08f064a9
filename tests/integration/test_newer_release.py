"""What a worker does with reports that only a later release can take."""

import json

import pytest
import redis
from celery.exceptions import Reject
from live import failed_now

from softbounce.settings import Settings
from softbounce.worker.celery.app import make_app


def test_a_task_about_a_newer_release_s_record_goes_back_to_the_broker_at_once(valkey, monkeypatch):
    """To wait a minute for what this worker can never take would stop its consumer."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", "newer")
    app = make_app(Settings.load())
    runtime = app.runtime
    raw = json.dumps(failed_now("m1")).encode()
    runtime.intake.take([raw])
    client, key = redis.Redis.from_url(valkey), runtime.store.keys.fixed("deliveries")
    ((ident, record),) = client.hgetall(key).items()
    client.hset(key, ident, record.replace(b"{", b'{"v":2,', 1))
    runtime.stopping.set()  # nobody waits a second here

    with pytest.raises(Reject, match="a later release") as caught:
        app.tasks["softbounce.report"]([json.dumps(failed_now("m1")).encode()])

    assert caught.value.requeue
    client.flushdb()
