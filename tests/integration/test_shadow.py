"""``softbounce shadow``: a policy that is observed beside a system that resends; every number counted by hand."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
from live import HOUR, MINUTE, START
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core.decide import decide
from softbounce.core.policy import file as policy_file
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.testing import delivered, failed

RULES = """
version: 1
name: observed
channels:
  sms: {quiet_hours: {from: "20:00", to: "08:00", spread: 0s}}
codes:
  SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [2h], jitter: 0%, settle: 0s}}
  INVALID_MOBILE_NUMBER: {do: suppress, fault: recipient}
"""
POLICY = policy_file.load(RULES, file="policy.yaml")
NUMBER, DEAD = "+4915112345678", "+4915100000001"  # START is 11:00 where they are

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def store(valkey, monkeypatch, tmp_path):
    """A store that observes all but merchant 9."""
    namespace = f"shadow-{secrets.token_hex(4)}"
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(RULES, encoding="utf-8")
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.setenv("SOFTBOUNCE_NAMESPACE", namespace)
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "policy.yaml")
    store = Store.open(valkey, namespace=namespace)
    store.set_now(START)
    store.modes.set("observe", by=By("me", "cut-over"), now=START)
    store.set_now(START + 1)
    store.modes.set("on", merchant="9", by=By("me", "first"), now=START + 1)
    yield store
    store.close()


def report(store, at, event):
    """Let the store accept an event dated ``at``; what is due leaves every hour until then."""
    for moment in range(store.now(), at + 1, HOUR):
        store.set_now(moment)
        store.ledger.claim(policy=POLICY, limit=9, lease=MINUTE)
    store.set_now(at)
    raw = event | {
        "date": datetime.fromtimestamp(at / 1000, UTC).isoformat(),
        "eventId": secrets.token_hex(8),
    }
    store.ledger.accept([decide(json.dumps(raw).encode(), policy=POLICY, now=at)], policy=POLICY)


def shadow(*words):
    """Run the command."""
    return CliRunner().invoke(app, ["shadow", *words])


def test_each_number_of_what_was_observed_is_the_one_counted_by_hand(store):
    """m1 fails by day and in the night and arrives; m2 is sent again to a dead number; m9 is not observed."""
    report(store, START + HOUR, failed("m1", to=NUMBER, claim=1))
    report(store, START + HOUR, failed("m2", "INVALID_MOBILE_NUMBER", to=DEAD, claim=2))
    report(store, START + HOUR, failed("m9", to="+4915100000009", claim=9, merchant=9))
    report(store, START + 2 * HOUR, failed("m2", "INVALID_MOBILE_NUMBER", to=DEAD, claim=2))
    report(store, START + 10 * HOUR, failed("m1", to=NUMBER, claim=1))
    report(store, START + 10 * HOUR + MINUTE, failed("m1", to=NUMBER, claim=1))  # may be of the same send
    report(store, START + 23 * HOUR, delivered("m1", channel="sms", to=NUMBER, claim=1))

    found = shadow("--since", "2d", "--json")

    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout)
    assert (facts["messages"], facts["observed"]) == (2, 1)
    ends = {
        row["name"]: (
            tuple(row["ours"].values()),
            row["theirs"] and tuple(row["theirs"].values()),
            row["label"],
        )
        for row in facts["rows"]
    }
    assert ends == {
        "suppressed": ((1, 1), None, "exact"),
        "escalated": ((0, 0), None, "exact"),
        "delivered": ((0, 1), (1, 1), "estimated"),
        "resends": ((1, 1), (2, 4), "estimated"),
        "nights": ((0, 0), (1, 2), "estimated"),
        "given_up": ((1, 1), None, "estimated"),  # by an answer that nobody gave
        "refused": ((0, 0), (1, 1), "exact"),
    }


def test_the_table_says_what_reports_do_not_tell_with_a_dash(store):
    """Whom the system in place suppressed is in none of its reports."""
    report(store, START + HOUR, failed("m2", "INVALID_MOBILE_NUMBER", to=DEAD, claim=2))

    first, _, suppressed, *_ = shadow().stdout.splitlines()

    assert first == "1 messages observed within 7d   0 tries would have left by now (exact)"
    assert suppressed.split()[2:] == ["1", "-", "exact"]


def test_a_message_of_a_merchant_that_was_switched_on_stays_if_it_was_observed_before(store):
    """What would have left under observe did not; what left since is no shadow."""
    report(store, START + HOUR, failed("m1", to=NUMBER, claim=1))
    report(store, START + 4 * HOUR, failed("m2", to=DEAD, claim=2))
    store.modes.set("on", by=By("me", "all"), now=store.now())

    assert json.loads(shadow("--json").stdout)["messages"] == 1


def test_where_nothing_was_observed_a_sentence_says_how_to_begin(store):
    """Exit code 1: the answer is no."""
    report(store, START + HOUR, failed("m9", to=NUMBER, claim=9, merchant=9))

    found = shadow()

    assert found.exit_code == 1
    assert "softbounce mode observe --reason" in found.output
