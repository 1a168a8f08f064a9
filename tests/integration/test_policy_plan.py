"""Plan, apply and rollback of a policy on a store with waiting retries."""

import json
import secrets
from pathlib import Path

import pytest
from live import START, failed
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.policy import file as policy_file
from softbounce.settings import packaged_policy
from softbounce.store import Store


@pytest.fixture
def store(valkey, monkeypatch, tmp_path):
    """A store where one worker runs the shipped policy, and a later one in new.yaml."""
    namespace = f"plan-{secrets.token_hex(4)}"
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    text = packaged_policy()
    Path("new.yaml").write_text(
        text.replace(
            "delays: [90m, 4h, 12h, 24h, 36h, 48h], max_attempts: 6", "delays: [3h, 6h, 24h], max_attempts: 4"
        )
    )
    store = Store.open(valkey, namespace=namespace)
    store.set_now(START)
    policy = policy_file.load(text, file="config/policy.yaml")
    store.policies.keep(policy, text=text, now=START)
    store.workers.beat("w1", {"revision": policy.revision}, now=START)
    raw = json.dumps(failed("m1")).encode()
    store.ledger.accept([decide(raw, policy=policy, now=START)], policy=policy)
    yield store
    store.close()


def run(*words):
    """Run a policy command."""
    return CliRunner().invoke(app, ["policy", *words])


def test_a_plan_shows_the_change_and_is_refused_once_it_is_stale(store):
    """Exit code 3 with changes; applied once, moved later, and no second time against another revision."""
    plan = run("plan", "new.yaml", "-o", "plan.json")
    (before,) = store.retries.find("m1")
    applied = run("apply", "plan.json", "--reschedule", "--reason", "calmer")
    (after,) = store.retries.find("m1")

    assert plan.exit_code == 3, plan.output
    assert "codes.SMS_EXPIRED.retry.delays" in plan.output
    assert "1 later" in plan.output
    assert applied.exit_code == 0, applied.output
    assert after.delivery.due > before.delivery.due
    assert after.delivery.attempt == before.delivery.attempt
    assert after.delivery.revision == store.policies.applied().revision
    assert "3h 6h 24h" in CliRunner().invoke(app, ["explain", "m1"]).output  # not what the file here says
    assert run("plan", "new.yaml").exit_code == 0
    assert run("apply", "plan.json", "--reason", "again").exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    rate: 50/s\n", "    rate: 20/s\n", "providers.*.rate"),
        ("probe: 5", "probe: 9", "providers.*.breaker.probe"),
        ("more_than: 50", "more_than: 80", "defaults.suppression.brake.more_than"),
        ("group_wait: 5m", "group_wait: 9m", "escalation.group_wait"),
        ("handover_rate: 50/s", "handover_rate: 9/s", "limits.handover_rate"),
        ("audit: 400d", "audit: 40d", "retention.audit"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_plan_names_what_changes_beside_the_rules(old, new, said):
    """A key that a plan passes over in silence would be applied unseen."""
    text = packaged_policy()
    assert old in text
    Path("new.yaml").write_text(text.replace(old, new))
    plan = run("plan", "new.yaml")

    assert plan.exit_code == 3
    assert said in plan.output


def test_a_rollback_applies_the_revision_before(store):
    """Without a revision it is the one that ran before; the word ``file`` releases all workers."""
    run("apply", "new.yaml", "--reason", "calmer")
    before = store.policies.applied().previous

    assert run("rollback", "--reason", "worse").exit_code == 0
    assert store.policies.applied().revision == before
    assert run("rollback", "file", "--reason", "done").exit_code == 0
    assert store.policies.applied() is None
    audit = CliRunner().invoke(app, ["audit", "list", "--output", "json"])
    said = json.loads(audit.output)
    assert [(one["action"], one["before"], one["after"]) for one in said] == [
        ("policy rollback", before, ""),
        ("policy rollback", said[2]["after"], before),
        ("policy apply", "", said[2]["after"]),
    ]
