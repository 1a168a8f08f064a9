"""``softbounce doctor``: what is wrong, each finding in a line."""

from importlib.util import find_spec

from live import HOUR, START, failed

from softbounce.core.filters import parse_filter
from softbounce.settings import policy_text

from .desk import Desk, findings


def test_the_doctor_misses_a_worker(desk):
    """Without one nothing is taken in: a fault, exit code 1."""
    assert desk.run("doctor").exit_code == 1
    assert any("no worker runs" in text for text in findings(desk)["fault"])


def beat(desk: Desk, **workers: str) -> None:
    """Let workers live, each with its policy revision."""
    for name, revision in workers.items():
        desk.store.workers.beat(name, {"revision": revision}, now=desk.store.now())


def test_the_doctor_is_content_with_a_store_a_policy_and_a_worker(desk):
    """Warnings alone are exit code 0."""
    beat(desk, one=desk.policy.revision)
    found = findings(desk)

    assert desk.run("doctor").exit_code == 0
    assert any("1 of 1 workers" in text for text in found["ok"])
    assert any("taken from Redis in one step" in text for text in found["ok"])
    assert any("log alone" in text for text in found["warn"])


def test_the_doctor_names_the_variable_that_a_webhook_lacks(desk, monkeypatch, tmp_path):
    """A desk that cannot be signed to hears nothing: said before the first escalation, not after."""
    target = 'desk: {type: webhook, url: "https://desk.example", secret: {env: DESK_SECRET}}'
    text = policy_text()[0].replace("notify: [log]", "notify: [desk]")
    (tmp_path / "desk.yaml").write_text(text.replace("  targets:\n", f"  targets:\n    {target}\n"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(tmp_path / "desk.yaml"))
    beat(desk, one=desk.policy.revision)
    lacking = [text for text in findings(desk)["warn"] if "DESK_SECRET" in text]
    monkeypatch.setenv("DESK_SECRET", "whsec_" + "b2xkIGRlc2s" * 4)
    fit = [text for text in findings(desk)["warn"] if "DESK_SECRET" in text]

    assert len(lacking) == 1
    assert "target desk" in lacking[0]
    assert fit == []


def test_doctor_and_check_name_the_variable_that_an_apprise_target_lacks(desk, monkeypatch, tmp_path):
    """Whoever sets it up hears what is missing on this machine; the file itself is sound, so --strict passes."""
    text = policy_text()[0].replace("notify: [log]", "notify: [oncall]").replace("    log: {type: log}\n", "")
    target = "oncall: {type: apprise, url: {env: ONCALL_URL}}"
    (tmp_path / "oncall.yaml").write_text(text.replace("  targets:\n", f"  targets:\n    {target}\n"))
    monkeypatch.setenv("SOFTBOUNCE_POLICY", str(tmp_path / "oncall.yaml"))
    beat(desk, one=desk.policy.revision)
    lacking = [text for text in findings(desk)["warn"] if "target oncall" in text]
    check = desk.run("policy", "check", "--strict")
    monkeypatch.setenv("ONCALL_URL", "slack://a/b/c")

    missing = (
        "the variable ONCALL_URL is not set" if find_spec("apprise") else "pip install 'softbounce[apprise]'"
    )
    assert len(lacking) == 1
    assert missing in lacking[0]
    assert (check.exit_code, missing in check.stderr) == (0, True)
    if find_spec("apprise"):
        assert "target oncall" not in str(findings(desk)) + desk.run("policy", "check").stderr


def test_the_doctor_names_workers_that_run_another_policy(desk):
    """Which revision runs where."""
    beat(desk, one=desk.policy.revision, two="77aa0d12", three=desk.policy.revision)
    (drift,) = [text for text in findings(desk)["warn"] if "77aa0d12" in text]

    assert f"2 run {desk.policy.revision}, 1 runs 77aa0d12" in drift


def test_the_doctor_faults_a_file_that_is_the_beginning_of_what_runs(desk, monkeypatch, tmp_path):
    """Half a policy may be valid: workers do not take it, and a new one would hold every message."""
    whole = policy_text()[0]
    desk.store.policies.keep(desk.policy, text=whole, now=desk.store.now())
    (tmp_path / "half.yaml").write_text(whole[: whole.index("codes:")])
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "half.yaml")
    beat(desk, one=desk.policy.revision)
    faults = findings(desk)["fault"]

    assert (
        f"half.yaml is the mere beginning of policy {desk.policy.revision}, which runs: write it whole"
        in faults
    )


def test_the_doctor_faults_what_should_have_left_long_ago(desk):
    """Unless a person has switched hand-overs off."""
    desk.report(failed("a", "PROVIDER_ERROR"))
    desk.store.set_now(START + HOUR)
    beat(desk, one=desk.policy.revision)
    overdue = findings(desk)["fault"]
    desk.run("mode", "off", "--reason", "x")

    assert any("overdue 1" in text for text in overdue)
    assert "fault" not in findings(desk)


def test_the_doctor_faults_an_invalid_policy_and_a_broker_that_is_away(desk, monkeypatch, tmp_path):
    """Where the mistake is, which broker; no password."""
    (tmp_path / "bad.yaml").write_text("version: 1\nchanels: {}\n")
    monkeypatch.setenv("SOFTBOUNCE_POLICY", "bad.yaml")
    monkeypatch.setenv("SOFTBOUNCE_BROKER_URL", "amqp://me:geheim@localhost:1//")
    beat(desk, one=desk.policy.revision)
    faults = findings(desk)["fault"]

    assert any(text.startswith("bad.yaml:2:1: error") for text in faults)
    assert any("broker localhost:1 does not answer" in text for text in faults)
    assert "geheim" not in " ".join(faults)


def test_the_doctor_faults_a_quarantine(desk):
    """A weekend off, or an old backup: a person must look before anything leaves."""
    desk.report(failed("a"))
    desk.pump()
    desk.store.set_now(START + 30 * HOUR)
    desk.pump()
    beat(desk, one=desk.policy.revision)

    assert any("quarantine" in text for text in findings(desk)["fault"])


def test_a_source_whose_clock_may_be_behind_is_named(desk):
    """All of its reports come long after their dates; a source with one report in time is not."""
    for number in range(6):
        desk.report(failed(f"m{number}") | {"source": "SLOW", "date": "2026-11-22T09:40:00Z"})
        desk.report(failed(f"n{number}") | {"source": "FINE", "date": "2026-11-22T10:00:00Z"})
    said = desk.run("doctor").stdout

    assert "reports of source SLOW come 20 min or more after their dates" in said
    assert "source FINE" not in said


def test_the_doctor_counts_by_source_what_is_odd_about_reports(desk):
    """Zones that are none, dates that cannot be right, event ids that come again: the producer should mend what it sends."""
    desk.report(failed("a", timezone="Mars/Olympus"), failed("b", timezone="Europe/Berlin"))
    desk.report(failed("c") | {"source": "GATE", "date": "0001-01-01T00:00:00Z"})
    again = failed("d") | {"source": "GATE", "eventId": "one"}
    desk.report(again)
    again["claim"]["communication"]["error"]["reasonCode"] = "PROVIDER_ERROR"
    desk.report(again)
    said = "\n".join(findings(desk)["warn"])

    assert "named a timezone that is none" in said
    assert "1 event of source GATE had a date that cannot be right" in said
    assert "1 event of source GATE had the eventId of another event" in said


def test_the_doctor_faults_a_merchant_whose_arrivals_nobody_reports(desk):
    """One line for a merchant and channel, and no case: nobody can tell which of its messages arrived."""
    desk.report(failed("a"))
    desk.store.set_now(START + 5 * HOUR)
    desk.pump()
    desk.store.set_now(START + 30 * 24 * HOUR)
    desk.store.sweep(policy=desk.policy, count=1000)

    assert any(
        "had no answer, and no arrival was ever reported there" in text for text in findings(desk)["fault"]
    )
    assert list(desk.store.cases.select(parse_filter("", keys=()), now=desk.store.now())) == []
