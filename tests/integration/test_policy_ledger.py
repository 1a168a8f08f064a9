"""``policy simulate --since`` and what ``policy plan`` says of the last days: the store's own history."""

import json
import random
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
from live import HOUR, MINUTE, START
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.policy import file as policy_file
from softbounce.settings import packaged_policy
from softbounce.store import Store
from softbounce.testing import delivered, failed

DAY = 24 * HOUR
SLOWER = packaged_policy().replace(
    "delays: [90m, 4h, 12h, 24h, 36h, 48h], max_attempts: 6", "delays: [6h, 24h], max_attempts: 4"
)
STRICT = """
version: 1
name: strict
defaults: {soft_bounce: {escalate_at: 2, apart: 1h}}
codes:
  SMS_EXPIRED: {do: drop, fault: recipient}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
"""


@pytest.fixture
def store(valkey, monkeypatch, tmp_path):
    """A store where the shipped policy is in force, and a slower one in slower.yaml."""
    namespace = f"past-{secrets.token_hex(4)}"
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    Path("shipped.yaml").write_text(packaged_policy(), encoding="utf-8")
    Path("slower.yaml").write_text(SLOWER, encoding="utf-8")
    store = Store.open(valkey, namespace=namespace)
    store.set_now(START)
    store.policies.keep(SHIPPED, text=packaged_policy(), now=START)
    store.workers.beat("w1", {"revision": SHIPPED.revision}, now=START + 2 * DAY)
    yield store
    store.close()


pytestmark = pytest.mark.usefixtures("logging_as_before")
SHIPPED = policy_file.load(packaged_policy(), file="config/policy.yaml")


def run(*words):
    """Run a policy command."""
    return CliRunner().invoke(app, ["policy", *words])


def days(seed=1):
    """Return reports of two days with the time of each (ms), in the order of their times."""
    rng = random.Random(seed)
    found = []
    for number in range(120):
        phone = rng.choice((f"+49151{number:07}", f"+336{number:08}", f"+9198{number:08}"))
        address = rng.choice((phone, f"Who{number}@Example.com"))
        code, bounce = rng.choice(
            [
                ("SMS_EXPIRED", "BOUNCE_TRANSIENT_GENERAL"),
                ("INVALID_MOBILE_NUMBER", "BOUNCE_PERMANENT_NO_EMAIL"),
            ]
        )
        at = START + rng.randrange(DAY)
        code = bounce if "@" in address else code
        found.append((at, failed(f"m{number}", code, to=address, claim=number)))
        if rng.random() < 0.4:
            found.append(
                (at + rng.randrange(MINUTE, DAY), failed(f"m{number}", code, to=address, claim=number))
            )
        if rng.random() < 0.5:
            channel = "email" if "@" in address else "sms"
            late = at + rng.randrange(DAY, 2 * DAY)
            found.append((late, delivered(f"m{number}", channel=channel, to=address, claim=number)))
    return sorted(found, key=lambda one: one[0])


def dated(at, event):
    """Return an event of this moment."""
    moment = datetime.fromtimestamp(at // 1000, UTC).isoformat()
    return event | {"date": moment, "receivedAt": moment, "eventId": secrets.token_hex(8)}


def reported(store, events):
    """Let the store accept each event at its time, and return them as recorded; nothing leaves."""
    events = [(at // 1000 * 1000, dated(at, event)) for at, event in events]
    for at, event in events:
        store.set_now(at)
        store.ledger.accept([decide(json.dumps(event).encode(), policy=SHIPPED, now=at)], policy=SHIPPED)
    store.set_now(START + 2 * DAY)
    return [event for _, event in events]


def rows(found):
    """Return each row of a simulation by its name."""
    assert found.exit_code == 0, found.output
    return {row["name"]: row for row in json.loads(found.stdout)["rows"]}


def test_the_ledger_gives_the_figures_that_a_file_of_the_same_reports_gives(store):
    """Addresses are gone, identity, country, zone and times are kept: each row is the same."""
    events = reported(store, days())
    Path("log.ndjson").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    policies = ("-a", "shipped.yaml", "-b", "slower.yaml", "--json")

    of_file = rows(run("simulate", "--events", "log.ndjson", *policies))
    of_store = rows(run("simulate", "--since", "3d", *policies))

    assert of_store == of_file
    assert of_file["resends"]["a"] != of_file["resends"]["b"]


def test_messages_first_reported_before_since_are_left_out(store):
    """One of two days ago, one of yesterday; where none is left a sentence says so."""
    code, mail = "BOUNCE_PERMANENT_NO_EMAIL", "who@example.com"
    reported(
        store, [(START, failed("old", code, to=mail)), (START + 30 * HOUR, failed("new", code, to=mail))]
    )
    command = ("simulate", "-b", "slower.yaml", "--json", "--since")

    assert json.loads(run(*command, "1d").stdout)["events"] == 1
    assert json.loads(run(*command, "3d").stdout)["events"] == 2
    assert "no message first reported within 1h" in run(*command, "1h").output


def test_a_case_that_a_forgotten_receipt_could_have_prevented_is_estimated(store):
    """The store forgets what arrived at once, a file does not; a final verdict is exact in both."""
    Path("strict.yaml").write_text(STRICT, encoding="utf-8")
    events = [(START + n * 2 * HOUR, failed(f"m{n}", to="+4915112345678")) for n in range(2)]
    gone = [failed(f"g{n}", "INVALID_MOBILE_NUMBER", to="+4915100000001") for n in range(2)]
    events = reported(
        store, sorted([*events, *((START + HOUR, one) for one in gone)], key=lambda one: one[0])
    )
    Path("log.ndjson").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    policies = ("-a", "strict.yaml", "-b", "strict.yaml", "--json")

    of_file = rows(run("simulate", "--events", "log.ndjson", *policies))
    of_store = rows(run("simulate", "--since", "3d", *policies))

    assert of_file["escalated"]["a"] == of_store["escalated"]["a"] == {"low": 1, "high": 1}
    assert of_file["escalated"]["exact"]
    assert not of_store["escalated"]["exact"]
    assert of_file["suppressed"] == of_store["suppressed"]
    assert of_store["suppressed"]["exact"]


def test_one_source_of_reports_is_named(store):  # noqa: ARG001 - the settings name it
    """A file or the store: neither and both are refused with the way out."""
    for words in ((), ("--since", "3d", "--events", "log.ndjson")):
        found = run("simulate", "-b", "slower.yaml", *words)
        assert found.exit_code == 2
        assert "--since 30d" in found.output


def test_a_plan_says_what_it_would_have_changed_in_the_last_days(store):
    """Figures that differ, with their labels; the rest of the plan is as it was. 0s leaves it out."""
    reported(store, days())

    plan = run("plan", "slower.yaml", "--since", "3d", "-o", "plan.json")
    past = json.loads(Path("plan.json").read_text())["past"]

    assert plan.exit_code == 3, plan.output
    (said,) = (line for line in plan.output.splitlines() if line.startswith("In the last 72h"))
    assert "resends -" in said
    assert "(estimated)" in said
    assert said.endswith("120 messages simulated.")
    assert past["messages"] == past["looked_at"] == past["remembered"] == 120
    assert [row["name"] for row in past["rows"]][:2] == ["suppressed", "escalated"]
    assert "In the last" not in run("plan", "slower.yaml", "--since", "0s").output
