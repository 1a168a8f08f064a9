"""What the harness must find: the losses of stock Celery on Redis, and thirteen bugs planted in a copy of our code."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .celery_lane import run
from .celery_on_redis import lane
from .checker import judge
from .history import History, load

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bug:
    """A change of our code: (file, what stands there once, what then stands there), and where it must show."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    words: tuple[str, ...]  # of ``python -m checks.chaos``


LUA = "store/lua/"
BUGS = (
    Bug(
        "finish without a look at the token",
        (
            (LUA + "finish.lua", "if not record or record.t ~= token then", "if not record then"),
            (LUA + "finish.lua", 'elseif record.s ~= "leased" then', "elseif false then"),
        ),
        ("--only", "zombies", "--points", "handover.out"),
    ),
    Bug(
        "acknowledged before accept",
        (
            (
                "worker/intake.py",
                '        reached("intake.decided")\n',
                '        self._store.events.ack(entries)\n        reached("intake.decided")\n',
            ),
        ),
        ("--only", "kill_at_points", "--points", "intake.decided"),
    ),
    Bug(
        "claim in two calls: taken, then leased",
        (
            (
                LUA + "claim.lua",
                "zadd(schedule, moment, retry.id)",
                'if retry.record.s == "leased" then zrem(schedule, retry.id) else zadd(schedule, moment, retry.id) end',
            ),
            (
                "store/ledger.py",
                "    def finish(self,",
                "    def lease(self, leases):\n"
                "        ends = {lease.delivery.id: lease.ends for lease in leases}\n"
                '        self._client.zadd(self._keys.fixed("schedule"), ends)\n\n'
                "    def finish(self,",
            ),
            (
                "worker/handover.py",
                '            reached("pump.claimed")\n',
                '            reached("pump.claimed")\n            self._store.ledger.lease(claimed.leases)\n',
            ),
        ),
        ("--only", "kill_at_points", "--points", "pump.claimed"),
    ),
    Bug(
        "a pending delivery that expires",
        (
            (
                LUA + "accept/outcomes.lua",
                "  zadd(schedule, due, id)\n",
                "  record.z = now + 500\n  zadd(schedule, due, id)\n",
            ),
        ),
        ("--only", "kill_group", "--scale", "0.5"),
    ),
    Bug(
        "the worker's clock in a due time",
        (
            (
                "worker/intake.py",
                "return [decide(raw, policy=policy, now=now) for raw in raws]",
                'return [decide(raw, policy=policy, now=int(__import__("time").time() * 1000)) for raw in raws]',
            ),
        ),
        ("--only", "worker_clocks"),
    ),
    Bug(
        "a newer release's record discarded",
        (
            (
                LUA + "claim/read.lua",
                'redis.call("ZADD", schedule, now + 60000, id)',
                'redis.call("ZREM", schedule, id)',
            ),
        ),
        ("--only", "newer_records"),
    ),
    Bug(
        "an event marked as seen before its effects",
        (
            (
                LUA + "shared/changes.lua",
                "  local leave = {}\n",
                "  local leave = {}\n"
                "  if new_fields[written_last] then\n"
                "    write_hash(written_last)\n"
                "  end\n"
                "  for _, new in ipairs(new_entries) do\n"
                '    redis.call("XADD", new[1], "*", "entry", new[2])\n'
                "  end\n",
            ),
        ),
        ("--only", "half_done"),
    ),
    Bug(
        "claim without a look at suppressions",
        (
            (
                LUA + "shared/gates.lua",
                "if suppressed[n] and is_standing(suppressed[n]) and not is_provisional(suppressed[n]) then",
                "if false then",
            ),
        ),
        ("--only", "a_persons_word", "--scale", "0.3"),
    ),
    Bug(
        "an id that changes with the token",
        (
            (
                "core/records.py",
                '"id": command_id(delivery.id, delivery.attempt),',
                '"id": command_id(f"{delivery.id}{delivery.token}", delivery.attempt),',
            ),
        ),
        ("--only", "kill_at_points", "--points", "handover.out"),
    ),
    Bug(
        "a window that ends at the event in hand",
        ((LUA + "accept/evidence.lua", "local newest = list[#list][2]", "local newest = at"),),
        ("--only", "repeats"),
    ),
    Bug(
        "a case that is not written",
        ((LUA + "shared/case.lua", "    hset(cases, case, cjson.encode(facts))\n", ""),),
        ("--only", "kill_group", "--scale", "0.2"),
    ),
    Bug(
        "a resend without an answer that stays out",
        ((LUA + "sweep.lua", "if end_in_silence(id, record, payload) then", "if false then"),),
        ("--only", "kill_group", "--scale", "0.2"),
    ),
    Bug(
        "an entry that must have its field",
        (
            (
                "store/inbox.py",
                'raw, letter = fields[b"event"] if b"event" in fields else _as_json(fields), None',
                'raw, letter = fields[b"event"], None',
            ),
        ),
        ("--only", "worst_inputs", "--scale", "0.4"),
    ),
)


def control(*, seed: int) -> int:
    """Print what was found; 0 if stock Celery lost a task and every planted bug was caught."""
    print("stock Celery task, Redis broker, acks late: 20 kills and 5 cuts ...", flush=True)
    history = History()
    outcome = run(seed, kills=20, cuts=5, safe=False, seconds=30)
    lane(history, outcome)
    found = judge(history.lines)
    print(
        f"  {found.messages} tasks, {len(found.lost)} lost, {found.raw_doubles} run again: {outcome['seconds']:.0f} s"
    )
    missed = [] if found.lost else ["the losses of stock Celery"]
    print(f"{len(BUGS)} bugs, each planted in a copy of src/softbounce:")
    for bug in BUGS:
        problems = plant(bug, seed=seed)
        said = problems[0] if problems else "NOT CAUGHT"
        print(f"  {bug.name:42} {len(problems):4} problems  {said[:90]}", flush=True)
        if not problems:
            missed.append(bug.name)
    print(f"caught {len(BUGS) - sum(bug.name in missed for bug in BUGS)} of {len(BUGS)} bugs")
    if missed:
        print(f"the harness is too gentle: it missed {', '.join(missed)}")
    return int(bool(missed))


def plant(bug: Bug, *, seed: int) -> list[str]:
    """Run one fault on a copy of our code with the bug in it; return what the checker says."""
    with tempfile.TemporaryDirectory(prefix="softbounce-planted-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "config", Path(folder) / "config")
        for name, before, after in bug.changes:
            path = source / "softbounce" / name
            path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
        report = Path(folder) / "report.json"
        words = [
            sys.executable,
            "-m",
            "checks.chaos",
            "--seed",
            str(seed),
            "--report",
            str(report),
            *bug.words,
        ]
        env = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{ROOT}"}
        ran = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"{bug.name}: the harness itself broke\n{ran.stdout}\n{ran.stderr}")
        entry = load(report)["runs"][0]
        if entry["skipped"]:
            return [f"skipped: {entry['skipped']}"]
        problems = judge(entry["lines"]).problems
        return [said for said in problems if "no export of the state" not in said]
