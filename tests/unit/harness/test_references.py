"""A rule that nothing breaks proves nothing: each bug, planted in a copy of the scripts, leaves a reference that leads nowhere."""

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import fakeredis
import pytest
from tests.contract.store_driver import DAY, START, StoreDriver
from tests.model.ledger import RULES, policy_text
from tests.references import broken

from softbounce.core.policy.file import load
from softbounce.errors import NotFound
from softbounce.store import Store, scripts
from softbounce.store.audit import By

POLICY = policy_text(RULES[0])
LUA = Path(__file__).parents[3] / "src" / "softbounce" / "store" / "lua"


@dataclass(frozen=True)
class Bug:
    """A change of one script: what stands there once, what then stands there, and how the sentence of it begins."""

    name: str
    file: str
    before: str
    after: str
    said: str


BUGS = (
    Bug(
        "a case that is not written",
        "shared/case.lua",
        "hset(cases, case, cjson.encode(facts))",
        "",
        "open_cases: ",
    ),
    Bug(
        "a group that stays open",
        "resolve.lua",
        "hdel(open_cases, case.group)",
        "",
        "open_cases: ",
    ),
    Bug(
        "a group that is closed before its case",
        "shared/case.lua",
        "hset(open_cases, group, case)",
        "",
        "cases: ",
    ),
    Bug(
        "a record with another group than its case",
        "accept/outcomes.lua",
        'notify("held", id, event.i,',
        'record.g = record.g .. "\\nother"\n  notify("held", id, event.i,',
        "members: ",
    ),
    Bug(
        "a delivery that stays a member when it arrives",
        "accept/outcomes.lua",
        'zrem(members, record.g .. "\\n\\n" .. id)',
        "",
        "members: ",
    ),
    Bug(
        "a delivery that never becomes a member",
        "shared/case.lua",
        'zadd(members, 0, group .. "\\n\\n" .. id)',
        "",
        "deliveries: ",
    ),
    Bug(
        "members that outlive their delivery",
        "sweep.lua",
        "if record.z and record.z <= now then",
        "if record.z and record.z <= now and not record.g then",
        "members: ",
    ),
    Bug(
        "a retry without a place in the schedule",
        "accept/outcomes.lua",
        "zadd(schedule, due, id)",
        "",
        "deliveries: ",
    ),
    Bug(
        "a place in the schedule of what has ended",
        "accept/outcomes.lua",
        "  zrem(schedule, id)\n  if record.g then",
        "  if record.g then",
        "schedule: ",
    ),
    Bug(
        "a line without a turn",
        "claim/queue.lua",
        'redis.call("ZADD", turns, "NX", unpack(starts))',
        "",
        "ready: ",
    ),
    Bug(
        "a notice whose body stays",
        "notices_finish.lua",
        'redis.call("HDEL", notice_bodies, unpack(options.done))',
        "",
        "notice_bodies: ",
    ),
    Bug(
        "a history without its delivery",
        "shared/history.lua",
        "hdel(history, reference)",
        "",
        "history: ",
    ),
    Bug(
        "a deadline before 1970 of what waits",
        "accept/outcomes.lua",
        "  record.d = math.floor(due / 1000)\n",
        "  record.d, record.x = math.floor(due / 1000), -1\n",
        "deliveries: ",
    ),
    Bug(
        "a time without an end",
        "shared/notice.lua",
        "zadd(notices, now, id)",
        'zadd(notices, "+inf", id)',
        "notices: ",
    ),
)


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Plant bugs in a copy of the scripts; afterwards the true ones are back."""

    def plant(bug):
        copy = shutil.copytree(LUA, tmp_path / "lua")
        text = (copy / bug.file).read_text(encoding="utf-8")
        (copy / bug.file).write_text(text.replace(bug.before, bug.after), encoding="utf-8")
        monkeypatch.setattr(scripts, "_LUA", copy)
        scripts._bindings.cache_clear()  # noqa: SLF001 - the loader keeps what it has read

    yield plant
    monkeypatch.undo()
    scripts._bindings.cache_clear()  # noqa: SLF001


def lived():
    """Let something of each kind happen to a store; return what is broken after the first step that breaks something."""
    client = fakeredis.FakeRedis()
    store = Store(client)
    store.set_now(START)
    driver = StoreDriver(store, load(POLICY, file="policy.yaml"), client=client)
    for step in (_holds, _waits, _exhausts, _suppresses, _tells, _stands_in_line, _forgets):
        step(driver)
        if said := broken(client):
            return said
    return []


def _holds(driver):
    """Two are held by a case, one of them arrives; another case is resolved."""
    driver.fail("held", "PLACEHOLDER_ERROR")
    driver.fail("arrived", "PLACEHOLDER_ERROR")
    driver.deliver("arrived")
    case = driver.fail("resolved", "PLACEHOLDER_ERROR", merchant=2).case
    terms = {"policy": driver.policy, "first": driver.now, "step": 1}
    with suppress(NotFound):  # a bug has lost it
        driver.store.cases.resolve(case, how="drop", by=By("x", "x"), **terms)


def _waits(driver):
    """One is scheduled."""
    driver.fail("exhausted", "PROVIDER_ERROR")


def _exhausts(driver):
    """And uses up its tries."""
    for _ in range(2):
        driver.resend("exhausted")
        driver.fail("exhausted", "PROVIDER_ERROR")


def _suppresses(driver):
    """One waits, and its recipient is suppressed."""
    to = ["+4915112345679"]
    driver.fail("suppressed", to=to)
    driver.fail("suppressed", "INVALID_MOBILE_NUMBER", to=to)


def _tells(driver):
    """All notices so far are told."""
    driver.store.notices.finish(driver.store.notices.claim(limit=100, lease=1000))


def _stands_in_line(driver):
    """More is due than may leave."""
    driver = StoreDriver(
        driver.store, load(POLICY.replace("9000/s", "1/s"), file="slow.yaml"), client=driver.client
    )
    for number in range(5):
        driver.fail(f"line{number}", to=[f"+49151123456{number:02}"])
    driver.wait(DAY)
    driver.claim()


def _forgets(driver):
    """Let a year go by."""
    driver.wait(400 * DAY)
    while driver.store.sweep(policy=driver.policy, count=1000):
        pass


def test_a_store_in_which_all_went_well_is_whole():
    """Nothing that it names is missing, at any step."""
    assert lived() == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_planted_bug_is_said(bug, planted):
    """In a sentence that begins with the key in which it shows."""
    assert (LUA / bug.file).read_text(encoding="utf-8").count(bug.before) == 1, "its place has moved"
    planted(bug)

    assert [one for one in lived() if one.startswith(bug.said)]


def test_what_cannot_be_read_is_said_and_hides_nothing_else():
    """Bytes that are no record, a record of a newer release beside them, an entry that is no JSON, a key of another type."""
    client = fakeredis.FakeRedis()
    newer = json.dumps({"v": 2, "s": {"new": 1}}).encode() + b"\nanything"
    client.hset("{sb:default}:deliveries", mapping={"torn": b"\xff{", "flat": "{}", "newer": newer})
    client.hset("{sb:default}:cases", "k_1", "[]")
    client.set("{sb:default}:brakes", "x")
    client.zadd("{sb:default}:schedule", {"torn": 1, "gone": float("inf"), "newer": 1})

    places = [one.partition(":")[0] for one in broken(client)]
    assert sorted(places) == ["cases", "cases", "deliveries", "deliveries", "schedule", "schedule", "{sb"]
