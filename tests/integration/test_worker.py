"""The worker on a real store: reports in, retries out, through kills, outages, stops and reloads."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from live import HOUR, MINUTE, START, WorkerProcess, failed, failed_now, until
from tests.servers import PATIENCE
from typer.testing import CliRunner

from softbounce import embedded
from softbounce.cli.main import app
from softbounce.core.filters import parse_filter
from softbounce.core.policy import file as policy_file
from softbounce.embedded import Embedded
from softbounce.store import Store
from softbounce.store.audit import By

Start = Callable[..., WorkerProcess]
Report = Callable[..., list[dict[str, Any]]]
Commands = Callable[[], list[dict[str, Any]]]

RUN = """
import sys
from pathlib import Path
from softbounce import embedded
from softbounce.settings import Settings
from softbounce.worker.celery.app import run_worker
with embedded.start(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    code = run_worker(Settings.load(data=sys.argv[1]), loglevel="WARNING", keep=server.ensure)
sys.exit(code)
"""


def move(store: Store, moment: int) -> None:
    """Set the virtual time and wait until a pump has found nothing more to do at it."""
    store.set_now(moment)
    until(lambda: store.idle_at() == moment)


def test_a_failure_comes_back_as_a_resend_command_when_it_is_due(
    start: Start, store: Store, report: Report, commands: Commands
):
    """One report becomes one command, not before it is due, with reference and recipients as reported."""
    start()
    (answer,) = report(failed("m1"))
    move(store, START + 80 * MINUTE)
    early = commands()
    move(store, START + 3 * HOUR)
    (command,) = commands()

    assert answer["outcome"] == "scheduled"
    assert early == []
    assert command["dueAt"] == answer["nextTry"]
    assert command["reference"] == "m1"
    assert command["recipients"] == failed("m1")["claim"]["communication"]["recipients"]
    assert (command["attempt"], command["reason"]["reasonCode"]) == (1, "SMS_EXPIRED")


def test_a_retry_leaves_once_under_the_same_id(
    start: Start, store: Store, report: Report, client: redis.Redis
):
    """The stream entry carries the command's id as a field of its own, and time alone sends nothing twice."""
    start()
    report(failed("m1"))
    move(store, START + 3 * HOUR)
    move(store, START + 9 * HOUR)
    ((_, fields),) = client.xrange("softbounce:resend")

    assert fields["id"] == json.loads(fields["command"])["id"]


def test_what_was_reported_before_the_first_worker_counts_too(
    start: Start, store: Store, client: redis.Redis
):
    """The consumer group starts at 0, and a plain XADD is a report."""
    client.xadd("softbounce:events", {"event": json.dumps(failed("m1"))})
    start()

    assert until(lambda: store.counters().get("scheduled") == 1)


def test_a_stream_that_was_lost_is_made_again(start: Start, report: Report, client: redis.Redis):
    """A worker whose consumer group is gone makes it again, from 0, and goes on."""
    start()
    client.delete("softbounce:events")

    assert report(failed("m1"))[0]["outcome"] == "scheduled"


def test_unreadable_input_is_kept_and_stops_nothing(start: Start, report: Report, client: redis.Redis):
    """A dead letter has a reason, its neighbours have their outcomes, nothing stays in the stream."""
    start()
    answers = report(b"{torn", failed("m1"), b"\xff\x00")
    client.xadd("softbounce:events", {"other": "field"})
    until(lambda: client.xlen("softbounce:events") == 0)

    assert [answer["outcome"] for answer in answers] == ["dead_lettered", "scheduled", "dead_lettered"]
    assert all(answer["reason"] for answer in answers if answer["outcome"] == "dead_lettered")
    assert client.hlen("{sb:default}:dead_letters") == 3


def test_one_event_twice_has_one_outcome(start: Start, report: Report):
    """The second report of an eventId is a duplicate and says what the first became."""
    start()
    first, again = report(failed("m1"), failed("m1"))

    assert first["outcome"] == "scheduled"
    assert (again["outcome"], again["first"]) == ("duplicate", "scheduled")


def test_two_workers_share_the_work_and_double_nothing(start: Start, store: Store, commands: Commands):
    """Each of 2,000 reports has one outcome and each retry leaves once, whichever worker took it."""
    for _ in range(2):
        start()
    store.events.publish([json.dumps(failed(f"m{n}")).encode() for n in range(2000)])
    until(lambda: store.counters().get("scheduled") == 2000)
    move(store, START + 3 * HOUR)
    until(lambda: len(commands()) >= 2000)

    assert until(lambda: len(store.workers.all(now=store.now())) == 2)
    assert sorted(command["reference"] for command in commands()) == sorted(f"m{n}" for n in range(2000))
    assert store.counters() == {"scheduled": 2000, "handed_over": 2000}


def test_what_a_dead_worker_has_read_is_taken_over(start: Start, store: Store):
    """Entries that were read and never acknowledged get their outcome from another worker."""
    store.events.make_group()
    store.events.publish([json.dumps(failed(f"m{n}")).encode() for n in range(3)])
    store.events.read("dead", count=2, block_ms=0)
    start()

    assert until(lambda: store.counters().get("scheduled") == 3)
    assert until(lambda: store.events.lag().pending == 0)


def test_an_entry_that_killed_three_workers_is_buried(start: Start, store: Store, client: redis.Redis):
    """Three deliveries without an acknowledgement make a dead letter and a case; the neighbour is accepted."""
    store.events.make_group()
    poison, _ = store.events.publish([json.dumps(failed(name)).encode() for name in ("poison", "m1")])
    store.events.read("dead", count=2, block_ms=0)
    client.xclaim("softbounce:events", "softbounce", "dead", 0, [poison], retrycount=3)
    start()
    until(lambda: store.events.lag().pending == 0)

    assert store.counters() == {"dead_lettered": 1, "scheduled": 1}
    (case,), (letter,) = (
        store.cases.select(parse_filter("", keys=()), now=START),
        store.dead_letters.select(parse_filter("", keys=()), now=START),
    )
    assert (case.kind, case.entry["letter"]) == ("crash_loop", letter.id)


def test_a_killed_worker_loses_nothing(start: Start, store: Store, commands: Commands):
    """After kill -9 in full work another worker ends it: every report has its outcome, no attempt two ids."""
    store.events.publish([json.dumps(failed(f"m{n}")).encode() for n in range(3000)])
    worker = start()
    until(lambda: store.counters().get("scheduled", 0) > 0)
    worker.kill()
    start()
    until(lambda: store.events.lag().pending + store.events.lag().unread == 0)
    store.set_now(START + 3 * HOUR)
    until(lambda: len(commands()) > 0)
    move(store, START + 4 * HOUR)  # what a lease held is due again
    until(lambda: len({command["id"] for command in commands()}) == 3000)

    assert store.counters()["scheduled"] == 3000
    assert len({command["reference"] for command in commands()}) == 3000


def test_a_worker_ends_in_order(start: Start, report: Report):
    """SIGTERM drains: exit code 0, within 25 seconds, and the log says so."""
    worker = start()
    report(failed("m1"))

    assert worker.stop() == 0
    assert [entry["unfinished"] for entry in worker.logged("worker.drained")] == [[]]


def test_nothing_leaves_in_quiet_hours_even_if_it_is_late(
    start: Start, store: Store, report: Report, commands: Commands
):
    """A retry that was due by day and comes up at night waits for the morning, and keeps its attempt."""
    worker = start()
    report(failed("m1"))
    worker.stop()
    store.set_now(START + 12 * HOUR)  # 23:00 in Berlin
    worker = start()
    move(store, START + 12 * HOUR)
    in_the_night = commands()
    store.modes.set("on", by=By("test", "the night is no incident"), now=store.now())
    move(store, START + 12 * HOUR + MINUTE)
    in_the_night += commands()
    for hour in range(13, 23):
        move(store, START + hour * HOUR)
    (command,) = commands()

    assert in_the_night == []
    assert command["attempt"] == 1
    assert worker.logged("retry.deferred")[0]["deferred_by"] == "quiet hours"


def test_a_cancelled_retry_does_not_leave(start: Start, store: Store, report: Report, commands: Commands):
    """A payment that comes while a retry waits stops it."""
    worker = start()
    report(failed("m1"), failed("m2"))
    store.cancels.add("claim", "claim-m1", by=By("test", "paid"), now=store.now())
    move(store, START + 3 * HOUR)

    assert [command["reference"] for command in commands()] == ["m2"]
    assert until(lambda: worker.logged("retry.cancelled"))[0]["outcome"] == "cancelled"


def test_a_notice_tells_the_pipeline_of_a_suppression(start: Start, report: Report, client: redis.Redis):
    """What is suppressed reaches the stream of notices, once, with an id."""
    start()
    report(failed("m1", "INVALID_MOBILE_NUMBER"))
    ((_, fields),) = until(lambda: client.xrange("softbounce:notices"))
    notice = json.loads(fields["notice"])

    assert notice["type"] == "softbounce.suppressed"
    assert (notice["id"], notice["reference"]) == (fields["id"], "m1")
    assert until(lambda: client.zcard("{sb:default}:notices") == 0)


def test_the_worker_outlives_its_store(
    start: Start, server: Embedded, store: Store, report: Report, commands: Commands
):
    """A store that was killed and comes back is used again: nothing lost, said once each way."""
    worker = start()
    report(failed("m1"))
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: worker.logged("store.unreachable"))
    server.ensure()
    until(lambda: worker.logged("store.back"))
    report(failed("m2"))
    move(store, START + 3 * HOUR)

    assert sorted(command["reference"] for command in commands()) == ["m1", "m2"]
    assert worker.process.poll() is None


def test_a_changed_policy_is_taken_and_a_wrong_one_is_not(start: Start, report: Report, policy: Path):
    """SIGHUP reads the file again: a valid one decides from then on, an invalid one changes nothing."""
    worker = start()
    text = policy.read_text()
    policy.write_text(text.replace("unknown_code: hold", "unknown_code: drop"))
    worker.process.send_signal(signal.SIGHUP)
    until(lambda: worker.logged("policy.loaded"))
    (dropped,) = report(failed("m1", "NOBODY_KNOWS"))
    policy.write_text(text.replace("unknown_code: hold", "unknown_cod: drop"))
    worker.process.send_signal(signal.SIGHUP)
    problems = until(lambda: worker.logged("policy.reload_failed"))[0]["problems"]
    (still_dropped,) = report(failed("m2", "NOBODY_KNOWS"))

    assert (dropped["outcome"], still_dropped["outcome"]) == ("given_up", "given_up")
    assert f"{policy.name}:" in problems[0]


def test_broken_files_under_load_leave_every_worker_on_the_applied_policy(  # noqa: PLR0917 - fixtures
    start: Start,
    report: Report,
    policy: Path,
    store: Store,
    server: Embedded,
    monkeypatch: pytest.MonkeyPatch,
):
    """Workers converge on what was applied; a torn, broken or empty file moves none of them, and doctor says it."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", server.url)
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(policy))
    text = policy.read_text()
    before = policy_file.load(text, file=str(policy)).revision
    workers = [start(), start()]

    def revisions() -> set[str]:
        return {entry["revision"] for entry in store.workers.all(now=store.now()).values()}

    def doctor() -> Any:
        return CliRunner().invoke(app, ["doctor"])

    assert until(revisions) == {before}
    dropping = policy.with_name("new.yaml")
    dropping.write_text(text.replace("unknown_code: hold", "unknown_code: drop"))
    applied = CliRunner().invoke(app, ["policy", "apply", str(dropping), "--reason", "calmer"])
    assert applied.exit_code == 0, applied.output
    wanted = policy_file.load(dropping.read_text(), file=str(dropping)).revision
    until(lambda: revisions() == {wanted})
    assert f"policy {wanted} on 2 of 2 workers" in doctor().output

    for number, broken in enumerate(
        [text[: text.index("{") + 1], text.replace("defaults:", "defualts:"), "", "a: [1"]
    ):
        policy.write_text(broken)
        for worker in workers:
            worker.process.send_signal(signal.SIGHUP)
        answers = report(*(failed(f"{number}-{n}", "NOBODY_KNOWS") for n in range(50)))
        found = doctor()

        assert {answer["outcome"] for answer in answers} == {"given_up"}
        assert found.exit_code == 1
        assert f"fault {policy}:" in found.output
        assert f"policy {wanted} on 2 of 2 workers" in found.output
    said = [
        json.loads(line) for worker in workers for line in re.findall(r"^\{.*\}$", worker.log, re.MULTILINE)
    ]
    assert {line["policy_revision"] for line in said if line["event"] == "policy.loaded"} == {wanted}
    assert {story.delivery.revision for n in range(4) for story in store.retries.find(f"{n}-7")} == {wanted}

    policy.write_text(dropping.read_text())
    assert f"policy {wanted} on 2 of 2 workers" in doctor().output
    assert "fault" not in doctor().output


def test_a_store_that_may_evict_is_refused(start: Start, client: redis.Redis):
    """A worker does not start on a store that may delete the schedule, and says in a sentence why."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    worker = start(may_refuse=True)

    assert worker.process.wait(PATIENCE) == 1
    assert "maxmemory-policy is allkeys-lru" in worker.log
    assert "Traceback" not in worker.log


def test_a_worker_without_a_store_says_what_to_do(tmp_path: Path):
    """Celery's own command ends with a sentence that names the setting, not with a traceback."""
    command = [sys.executable, "-m", "celery", "-A", "softbounce", "worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S603

    assert done.returncode == 1
    assert "SOFTBOUNCE_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_invalid_policy_is_refused_at_the_start(start: Start, policy: Path):
    """A worker does not start on a policy with mistakes, and names them."""
    policy.write_text("version: 1\nnam: default\n")
    worker = start(may_refuse=True)

    assert worker.process.wait(PATIENCE) == 1
    assert "policy.yaml:2" in worker.log
    assert "Traceback" not in worker.log


def test_one_process_keeps_its_store_alive(tmp_path: Path):
    """``softbounce run`` in essence: the worker brings a killed Valkey back, with what it had."""
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own words
        try:
            assert process.stdout
            pid = int(process.stdout.readline())
            store = Store.open(embedded.running(tmp_path) or "")
            store.events.publish([json.dumps(failed_now("m1")).encode()])
            until(lambda: store.counters() == {"scheduled": 1})
            os.kill(pid, signal.SIGKILL)
            until(lambda: not embedded.running(tmp_path))
            until(lambda: embedded.running(tmp_path))
            store.events.publish([json.dumps(failed_now("m2")).encode()])
            until(lambda: store.counters()["scheduled"] == 2)
            process.terminate()
            code = process.wait(PATIENCE)
        finally:
            process.kill()

    assert code == 0
    assert embedded.running(tmp_path) is None


@pytest.mark.parametrize("module", ["redis", "celery", "pydantic", "phonenumbers", "structlog"])
def test_importing_softbounce_loads_nothing_heavy(module: str):
    """A producer pays for what it uses."""
    code = f"import sys, softbounce; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own words


KEY = "{sb:default}:meta", "key"


@pytest.fixture
def binary(server: Embedded) -> Iterator[redis.Redis]:
    """A client that takes a hash key for what it is."""
    with redis.Redis.from_url(server.url) as client:
        yield client


def test_a_running_worker_gives_a_lost_hash_key_back(
    start: Start, store: Store, binary: redis.Redis, report: Report
):
    """The blocks stay true; it says so, because somebody deletes what nobody may delete."""
    worker = start()
    report(failed("m1"))
    key = binary.hget(*KEY)
    binary.hdel(*KEY)

    until(lambda: worker.logged("store.key_lost"))
    assert binary.hget(*KEY) == key == store.key
    assert worker.process.poll() is None


def test_a_running_worker_ends_where_the_store_has_another_hash_key(
    start: Start, binary: redis.Redis, report: Report
):
    """What it would go on to write nobody would find; the exit code says that it did not end by the word."""
    worker = start()
    report(failed("m1"))
    binary.hset(*KEY, b"another key of a restored store")

    assert worker.process.wait(PATIENCE) == 1
    (said,) = worker.logged("worker.refused")
    assert "another hash key" in said["reason"]


def test_a_worker_does_not_start_on_blocks_without_their_hash_key(
    start: Start, store: Store, server: Embedded, binary: redis.Redis
):
    """It makes no new key, and says what to do; nor does doctor."""
    store.suppressions.add("+4915112345678", "sms", by=By("test", "asked"), now=START)
    binary.hdel(*KEY)
    worker = start(may_refuse=True)
    checked = CliRunner().invoke(app, ["doctor"], env={"SOFTBOUNCE_REDIS_URL": server.url})

    assert worker.process.wait(PATIENCE) != 0
    assert "the hash key of this store is gone" in worker.log
    assert binary.hget(*KEY) is None
    assert checked.exit_code == 1
    assert "fault the hash key of this store is gone" in checked.stdout
