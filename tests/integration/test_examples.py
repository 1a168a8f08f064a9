"""The examples run as they are, beside a real worker."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from live import HOUR, WorkerProcess, empty, until
from tests.servers import PATIENCE, end

from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
QUEUES = ("softbounce", "messaging")
OFF_AT_FIRST, OFF, NO_NUMBER, REACHED = (f"+491511234567{digit}" for digit in "1230")

Start = Callable[..., WorkerProcess]


def run(script: str, *words: str, **variables: str) -> str:
    """Run an example to its end and return what it says."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, EXAMPLES / script, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_event_is_reported_by_xadd(start: Start, store: Store, server: Embedded):
    """Without our package: one entry of the stream."""
    start()
    entry = run("report_xadd.py", str(EXAMPLES / "event.json"), SOFTBOUNCE_REDIS_URL=server.url)

    assert "-" in entry
    assert until(store.counters) == {"scheduled": 1}


@pytest.fixture(params=["store", "amqp"])
def broker(request: pytest.FixtureRequest, server: Embedded) -> str:
    """The URL of a broker with empty queues."""
    if request.param == "store":
        return celery_url(server.url)
    url = request.getfixturevalue("amqp_url")
    empty(url, *QUEUES)
    return url


def test_an_event_is_reported_by_celery(start: Start, store: Store, broker: str):
    """Without our package: one task on the queue of the worker."""
    start(broker_url=broker)
    run("report_celery.py", str(EXAMPLES / "event.json"), SOFTBOUNCE_BROKER_URL=broker)

    assert until(store.counters) == {"scheduled": 1}


def test_resends_are_taken_from_the_stream(server: Embedded, store: Store, client: Any, tmp_path: Path):
    """Each id once, each entry acknowledged, also what another receiver left behind."""
    rows = [
        (name, "command", json.dumps({"id": name, "reference": f"m-{name}", "attempt": 1}))
        for name in ("a", "b", "a")
    ]
    store.stream("softbounce:resend").add("command", [(ident, body) for ident, _, body in rows])
    said = tmp_path / "said"
    with said.open("wb") as output:
        receiver = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, EXAMPLES / "receive_stream.py"],
            env={**os.environ, "SOFTBOUNCE_REDIS_URL": server.url},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: client.exists("softbounce:resend") and client.xinfo_groups("softbounce:resend"))
        until(lambda: client.xinfo_groups("softbounce:resend")[0]["entries-read"] == 3)
        until(lambda: client.xpending("softbounce:resend", "pipeline")["pending"] == 0)
    finally:
        end(receiver)

    assert said.read_text().splitlines() == ["resend m-a try 1", "resend m-b try 1"]


@pytest.fixture
def pipeline(
    start: Start, store: Store, server: Embedded, policy: Path, broker: str
) -> Iterator[tuple[WorkerProcess, Celery]]:
    """The example pipeline and softbounce side by side, and an app to call its tasks; no quiet hours."""
    text = policy.read_text()
    policy.write_text(text.replace("quiet_hours: {from", "#{from"))
    assert policy.read_text() != text
    store.set_now(time.time_ns() // 1_000_000)  # the pipeline dates its events by its own clock
    start(broker_url=broker, resend_to="celery:messaging.resend@messaging")
    path = policy.with_name("pipeline.log")
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "pipeline", "worker", "-Q", "messaging", "-l", "INFO"],
            env={
                **os.environ,
                "SOFTBOUNCE_REDIS_URL": server.url,
                "SOFTBOUNCE_BROKER_URL": broker,
                "PIPELINE_DB": str(policy.with_name("pipeline.db")),
            },
            cwd=EXAMPLES / "pipeline",
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    worker = WorkerProcess(process, path)
    app = Celery("producer", broker=broker, set_as_current=False)
    try:
        until(lambda: " ready." in worker.log or process.poll() is not None)
        assert process.poll() is None, worker.log
        yield worker, app
    finally:
        end(process)
        app.close()


def test_the_pipeline_and_softbounce_bring_a_message_back(
    pipeline: tuple[WorkerProcess, Celery], store: Store
):
    """Send, fail, wait, resend, arrive; a dead number is refused from then on; a paid claim is left alone."""
    worker, app = pipeline
    for claim, number in enumerate((OFF_AT_FIRST, OFF, NO_NUMBER, REACHED), start=1):
        app.send_task("messaging.send", args=[claim, number], queue="messaging", task_id=f"m{claim}")
    until(lambda: store.counters().get("scheduled") == 2 and store.counters().get("suppressed") == 1)
    app.send_task("messaging.paid", args=[2], queue="messaging")
    app.send_task("messaging.send", args=[5, NO_NUMBER], queue="messaging", task_id="m5")
    until(lambda: any(entry["action"] == "cancel" for entry in store.audit.entries()))
    until(lambda: "nothing sent for claim 5: INVALID_MOBILE_NUMBER" in worker.log)
    store.set_now(store.now() + 4 * HOUR)

    until(lambda: "resend 1 of m1: acted" in worker.log)
    until(lambda: "softbounce.recovered of m1" in worker.log)
    assert store.sizes()["scheduled"] == 0
    assert "m1 try 1: delivered" in worker.log
    assert "m2 try 1" not in worker.log
    assert "softbounce.suppressed of m3" in worker.log
    assert REACHED not in worker.log


def test_the_pipeline_acts_once_for_each_id(pipeline: tuple[WorkerProcess, Celery], store: Store):
    """A command that is handed over twice is sent once."""
    worker, app = pipeline
    app.send_task("messaging.send", args=[1, OFF], queue="messaging", task_id="m1")
    until(lambda: store.counters().get("scheduled") == 1)
    command = {"id": "c1", "reference": "m1", "attempt": 1}
    for _ in range(3):
        app.send_task("messaging.resend", kwargs={"command": command}, queue="messaging")
    until(lambda: worker.log.count("resend 1 of m1: seen") == 2)

    assert worker.log.count("m1 try 1: SMS_EXPIRED") == 1
