"""Notices to many receivers: each is told by a thread of its own, so that none waits for another."""

import os
import random
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
import strange
from celery import Celery
from live import HOUR, Desk, until
from strange import listening
from tests.contract.store_driver import StoreDriver

from softbounce.settings import Settings
from softbounce.store import Notice, Store
from softbounce.worker import runtime as worker
from softbounce.worker.notices import LEFT_BEHIND, WAITING, Notices, Receiver
from softbounce.worker.policy_in_force import PolicyInForce
from softbounce.worker.runtime import Runtime
from softbounce.worker.sinks.sink import Backoff, Handed

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # by apprise
VARIABLE = "DESK_SECRET"
ADDRESS = "ONCALL_URL"
LEASE, TIMEOUT = 60, 25  # s
AT_ONCE = 12.0  # s: less than one hand-over may take, and generous for a busy machine
WEBHOOKS = [
    ("http", strange.never_answers),
    ("http", strange.drips_bytes),
    ("http", strange.drips_lines),
    ("http", strange.pours_lines),
    ("https", strange.drips_tls),
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv(VARIABLE, f"whsec_{b64encode(b'a secret desk' * 3).decode()}")


@dataclass
class Scene:
    """A store, the policy file of a worker, and a desk that is quick."""

    store: Store
    client: redis.Redis
    policy: Path
    desk: Desk
    stopping: threading.Event

    def people(self, *, wait="0s", **targets):
        """Write a policy that tells people of each escalation after ``wait``, at these targets in turn."""
        lines = [f"    {name}: {{{target}}}\n" for name, target in targets.items()]
        text = self.policy.read_text().replace("escalate_at: 3", "escalate_at: 1")
        text = text.replace("group_wait: 5m", f"group_wait: {wait}").replace("    log: {type: log}\n", "")
        text = text.replace("notify: [log]", f"notify: [{', '.join(targets)}]")
        self.policy.write_text(text.replace("  targets:\n", "  targets:\n" + "".join(lines)))

    def notices(self, *, broker="memory://", rng=None, **more):
        """Return the part under test, for a worker with such settings."""
        config = Settings(lease=f"{LEASE}s", handover_timeout=f"{TIMEOUT}s", **more)
        return Notices(
            self.store,
            PolicyInForce(self.policy),
            config=config,
            app=Celery(broker=broker, set_as_current=False),
            rng=rng or random.Random(1),
            stopping=self.stopping,
        )

    def escalate(self, merchant):
        """Escalate a recipient of one merchant: a notice to the pipeline, then a group to people."""
        driver = StoreDriver(self.store, PolicyInForce(self.policy).current, client=self.client)
        driver.fail(f"m{merchant}", merchant=merchant, to=[f"+491511234{merchant:04}"])

    def let_leases_end(self):
        """Let a lease pass in the store."""
        self.store.set_now(self.store.now() + LEASE * 1000 + 1)

    @property
    def groups_out(self):
        """The groups that are claimed, and not finished."""
        self.let_leases_end()
        return [notice for notice in self.store.notices.claim(limit=10, lease=1) if notice.told]

    @property
    def told_pipeline(self):
        """How many notices the pipeline has."""
        return self.client.xlen("softbounce:notices")


@pytest.fixture
def scene(store, client, policy, desk):
    """The scene; at its end comes the word to stop."""
    stopping = threading.Event()
    yield Scene(store, client, policy, desk, stopping)
    stopping.set()


class Rests(random.Random):
    """Makes every rest last so many times as long."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def uniform(self, _low, _high):
        """Return that number."""
        return self.times


def webhook(url):
    """Return a target of the policy."""
    return f'type: webhook, url: "{url}", secret: {{env: {VARIABLE}}}'


def turns_until(notices, claim):
    """Take turns until ``claim`` holds; return how long the longest took, in seconds."""
    longest = 0.0

    def took_a_turn():
        nonlocal longest
        began = time.monotonic()
        notices.turn()
        longest = max(longest, time.monotonic() - began)
        return claim()

    until(took_a_turn, seconds=4 * TIMEOUT)
    return longest


@pytest.mark.parametrize(("scheme", "behaviour"), WEBHOOKS)
def test_a_slow_webhook_holds_neither_the_pipeline_nor_another_target(scene, scheme, behaviour):
    """What comes while one receiver is at it reaches the others at once, and no turn waits for it."""
    with listening(behaviour) as slow:
        scene.people(slow=webhook(f"{scheme}://127.0.0.1:{slow.port}/"), desk=webhook(scene.desk.url))
        telling = scene.notices()
        scene.escalate(1)
        longest = turns_until(telling, lambda: slow.callers and len(scene.desk.got) == 1)
        scene.escalate(2)
        longest = max(longest, turns_until(telling, lambda: len(scene.desk.got) == 2))

        assert scene.told_pipeline == 2
        assert longest < AT_ONCE


def test_a_slow_apprise_service_holds_nobody(scene, monkeypatch):
    """A plugin's time-out is for each read: its thread may be lost for long, and is lost alone."""
    pytest.importorskip("apprise", reason="the extra softbounce[apprise] is not installed")
    with listening(strange.drips_bytes) as slow:
        monkeypatch.setenv(ADDRESS, f"json://127.0.0.1:{slow.port}/")
        scene.people(slow=f"type: apprise, url: {{env: {ADDRESS}}}", desk=webhook(scene.desk.url))
        telling = scene.notices()
        scene.escalate(1)
        longest = turns_until(telling, lambda: slow.callers and len(scene.desk.got) == 1)
        scene.escalate(2)
        longest = max(longest, turns_until(telling, lambda: len(scene.desk.got) == 2))

        assert scene.told_pipeline == 2
        assert longest < AT_ONCE


def test_a_slow_sink_of_the_pipeline_does_not_hold_people(scene):
    """A broker that takes connections and says nothing: people hear what they are to hear."""
    scene.people(desk=webhook(scene.desk.url))
    scene.escalate(1)
    scene.escalate(2)
    turns_until(scene.notices(), lambda: scene.told_pipeline == 2 and not scene.store.sizes()["notices"])
    with listening(strange.never_answers) as broker:
        telling = scene.notices(broker=f"redis://127.0.0.1:{broker.port}/0", resend_to="celery:p.resend@p")
        scene.escalate(3)
        longest = turns_until(telling, lambda: broker.callers and len(scene.desk.got) == 2)

    assert longest < AT_ONCE


def test_a_pipeline_that_refuses_and_a_target_that_takes_get_each_notice_once(scene):
    """The refusal costs the target nothing, and the target's word does not count for the pipeline."""
    scene.people(desk=webhook(scene.desk.url))
    telling = scene.notices()
    scene.escalate(1)
    turns_until(telling, lambda: scene.told_pipeline == 1 and not scene.store.sizes()["notices"])
    scene.client.rename("softbounce:notices", "kept")
    scene.client.set("softbounce:notices", "no stream")
    scene.escalate(2)
    turns_until(telling, lambda: len(scene.desk.got) == 1)
    assert scene.store.sizes()["notices"] == 1
    scene.client.delete("softbounce:notices")
    turns_until(telling, lambda: len(scene.desk.got) == 2)
    for _ in range(3):
        scene.let_leases_end()
        telling.turn()

    assert scene.told_pipeline == 1
    assert len(scene.desk.got) == len(set(scene.desk.ids)) == 2
    assert scene.store.sizes()["notices"] == 0


def test_people_hear_what_gets_due_while_the_sink_of_the_pipeline_rests(scene):
    """A pipeline that is away for an hour does not keep people from what it had heard before."""
    scene.people(wait="1h", desk=webhook(scene.desk.url))
    telling = scene.notices(rng=Rests(1000))
    scene.escalate(1)
    turns_until(telling, lambda: scene.told_pipeline == 1 and not scene.store.sizes()["notices"])
    scene.client.rename("softbounce:notices", "kept")
    scene.client.set("softbounce:notices", "no stream")
    scene.escalate(2)
    turns_until(telling, lambda: not telling.pipeline.is_free)
    scene.store.set_now(scene.store.now() + HOUR)
    turns_until(telling, lambda: scene.desk.got)

    assert scene.store.sizes()["notices"] == 1


def test_what_one_target_refuses_waits_for_it_alone(scene):
    """It is not finished before all have it, and comes again to the one that has it not."""
    other = Desk()
    try:
        scene.people(other=webhook(other.url), desk=webhook(scene.desk.url))
        scene.desk.statuses = [503]
        telling = scene.notices()
        scene.escalate(1)
        turns_until(telling, lambda: scene.desk.got and other.got)
        telling.settle(until=time.monotonic() + 60)
        assert len(scene.groups_out) == 1
        turns_until(telling, lambda: not scene.groups_out)
    finally:
        other.server.shutdown()
        other.server.server_close()

    assert scene.desk.ids == other.ids * 2
    assert len(other.ids) == 1


@dataclass
class Late:
    """Answers 204 once it may."""

    may_answer: threading.Event = field(default_factory=threading.Event)

    def __call__(self, caller, _over):
        """Behave so to one caller."""
        caller.recv(65536)
        self.may_answer.wait(strange.PATIENCE)
        caller.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_who_has_a_notice_is_not_told_again_while_another_is_at_it(scene):
    """Its lease ends in the store again and again; when the slow one has it too, it is finished."""
    with listening(late := Late()) as slow:
        scene.people(slow=webhook(f"http://127.0.0.1:{slow.port}/"), desk=webhook(scene.desk.url))
        telling = scene.notices()
        scene.escalate(1)
        turns_until(telling, lambda: slow.callers and scene.desk.got)
        for _ in range(3):
            scene.let_leases_end()
            telling.turn()
        late.may_answer.set()
        turns_until(telling, lambda: not scene.groups_out)

        assert (slow.callers, len(scene.desk.got)) == (1, 1)


def test_at_the_word_to_stop_what_has_begun_is_finished(scene):
    """An answer that comes within the time to drain counts."""
    with listening(late := Late()) as slow:
        scene.people(slow=webhook(f"http://127.0.0.1:{slow.port}/"))
        telling = scene.notices()
        scene.escalate(1)
        turns_until(telling, lambda: slow.callers)
        scene.stopping.set()
        late.may_answer.set()
        telling.settle(until=time.monotonic() + 60)

        assert scene.groups_out == []


def test_at_the_word_to_stop_a_slow_receiver_is_left_to_its_lease(scene):
    """The wait has an end, and what was not taken comes again."""
    with listening(strange.never_answers) as slow:
        scene.people(slow=webhook(f"http://127.0.0.1:{slow.port}/"))
        telling = scene.notices()
        scene.escalate(1)
        turns_until(telling, lambda: slow.callers)
        scene.stopping.set()
        began = time.monotonic()
        telling.settle(until=began + 1)

        assert time.monotonic() - began < AT_ONCE
        assert len(scene.groups_out) == 1


def test_the_watchdog_does_not_end_a_worker_whose_target_hangs(server, scene, monkeypatch):
    """The loop of notices is heard of for longer than the watchdog waits, and the target is tried again."""
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)  # what the watchdog does
    monkeypatch.setattr(worker, "LOOP_SILENCE", 5)
    with listening(strange.never_answers) as broker:
        scene.people(pager="type: celery, task: pager.page, queue: pager", desk=webhook(scene.desk.url))
        config = Settings(lease="5s", handover_timeout="2s", redis_url=server.url, policy=scene.policy)
        app = Celery(broker=f"redis://127.0.0.1:{broker.port}/0", set_as_current=False)
        running = Runtime(config, url=server.url, app=app, rng=random.Random(1))
        running.start()
        scene.escalate(1)
        until(lambda: broker.callers == 1 and len(scene.desk.got) == 1)

        def is_tried_again():  # two leases later
            scene.store.set_now(scene.store.now() + 500)
            return broker.callers == 2

        began = time.monotonic()
        until(is_tried_again)
        took = time.monotonic() - began
        scene.escalate(2)
        until(lambda: len(scene.desk.got) == 2)
        began = time.monotonic()
        running.stop()

    assert took > worker.LOOP_SILENCE
    assert time.monotonic() - began < worker.DRAIN
    assert scene.told_pipeline == 2
    assert ended == []


class Stuck:
    """A sink that does not return before the test lets it, and keeps what it was given."""

    name = "stuck"

    def __init__(self):
        self.may_return = threading.Event()
        self.got = []

    def deliver(self, messages, may_begin):
        """Take the first message late; ask then whether the next may begin."""
        self.got.append([ident for ident, _ in messages])
        self.may_return.wait(strange.PATIENCE)
        return Handed(count=len(messages) if may_begin() else 1)


def receiver(sink, *, patience=60.0, stopping=None):
    """Return the receiver under test."""
    return Receiver(sink, Backoff(Rests(0)), patience=patience, stopping=stopping or threading.Event())


def notice(ident):
    """Return one notice."""
    return Notice(key=ident, id=ident, type="escalated", body={"type": "softbounce.escalated"})


def test_what_does_not_return_counts_as_failed_and_few_of_them_are_left_behind():
    """A call that hung once is tried anew; where all hang, no more threads are started."""
    sink = Stuck()
    told = receiver(sink, patience=0.0)
    told.add(notice("a"), last_start=time.monotonic() + 60)
    for _ in range(LEFT_BEHIND + 5):
        told.begin()
        told.collect(until=0.0)
    calls = len(sink.got)
    sink.may_return.set()

    assert calls == LEFT_BEHIND + 1
    assert [one.id for one in told.collect(until=time.monotonic() + 60)] == ["a"]


def test_no_notice_begins_late_in_its_lease():
    """One that is too late is not told at all; one that gets late meanwhile is left to the next lease."""
    sink = Stuck()
    sink.may_return.set()
    told = receiver(sink)
    told.add(notice("late"), last_start=time.monotonic())
    told.begin()
    assert (sink.got, told.waiting) == ([], {})

    sink.may_return.clear()
    last_start = time.monotonic() + 2
    told.add(notice("first"), last_start=last_start)
    told.add(notice("second"), last_start=last_start + 60)
    told.begin()
    until(lambda: time.monotonic() > last_start)
    sink.may_return.set()

    assert [one.id for one in told.collect(until=time.monotonic() + 60)] == ["first"]
    assert list(told.waiting) == ["second"]


def test_nothing_begins_after_the_word_to_stop():
    """A batch in hand ends with what has begun of it."""
    sink, stopping = Stuck(), threading.Event()
    told = receiver(sink, stopping=stopping)
    for ident in "ab":
        told.add(notice(ident), last_start=time.monotonic() + 60)
    told.begin()
    stopping.set()
    sink.may_return.set()

    assert [one.id for one in told.collect(until=time.monotonic() + 60)] == ["a"]


def test_a_receiver_holds_no_more_than_two_batches():
    """What is too many for it comes again after its lease, so that a slow one costs no memory without end."""
    told = receiver(Stuck())
    for number in range(WAITING + 10):
        told.add(notice(f"n{number}"), last_start=time.monotonic() + 60)

    assert len(told.waiting) == WAITING
