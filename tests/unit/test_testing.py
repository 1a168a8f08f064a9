"""``softbounce.testing``: the real rules, in memory, in virtual time."""

import re
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from softbounce import StoreUnreachable, handle_once
from softbounce.testing import EMAIL, PHONE, START, Sandbox, delivered, failed, opted_in

CONTRACT = Path(__file__).parents[2] / "docs" / "introduction" / "pipeline-contract.md"


@pytest.fixture
def box() -> Sandbox:
    """A softbounce of its own for each test."""
    return Sandbox()


def test_a_failure_comes_back_when_it_is_due(box):
    """One command, at its time and not before."""
    outcome = box.report(failed("m1"))
    early = box.advance("1h")
    (command,) = box.advance("2h")

    assert (outcome, early) == ("scheduled", [])
    assert (command["reference"], command["attempt"], command["recipients"]) == ("m1", 1, [PHONE])
    assert box.now == START + timedelta(hours=3)


def test_an_opt_in_lifts_an_opt_out(box):
    """Each call is another event, of the same merchant and recipient as a failure by default."""
    assert box.report(failed("m1", "OPT_OUT")) == "suppressed"
    assert not box.client.may_send(PHONE, channel="sms", merchant=1)

    assert [box.report(opted_in()) for _ in range(2)] == ["opted_in", "opted_in"]
    assert box.client.may_send(PHONE, channel="sms", merchant=1)
    assert box.report(opted_in(EMAIL, channel="email", at=START, merchant=None)) == "opted_in"


def test_days_pass_without_a_quarantine(box):
    """However long a step is, what waits leaves at its time."""
    box.report(failed("m1", "BOUNCE_TRANSIENT_MBX_FULL"))
    commands = box.advance(timedelta(days=3))

    assert [command["recipients"] for command in commands] == [[EMAIL]]
    assert box.advance("30d") == []


def test_more_than_the_rate_allows_leaves_later(box):
    """The shipped policy hands over 50 a second, and all of them in the end."""
    for n in range(120):
        box.report(failed(f"m{n}", "PROVIDER_ERROR", to=f"+49151123450{n:02}", claim=n))
    commands = box.advance("1h")

    assert {command["reference"] for command in commands} == {f"m{n}" for n in range(120)}


def test_what_code_under_test_reports_by_the_client_counts(box):
    """The client and the sandbox share one store."""
    box.client.report(failed("m1", "INVALID_MOBILE_NUMBER"))
    box.settle()

    assert not box.client.may_send(PHONE, channel="sms")


def test_a_pipeline_that_answers_ends_the_story():
    """The callback gets each command as it leaves, and its report counts from then on."""
    box = Sandbox(pipeline=lambda command: box.client.report(delivered(command["reference"])))
    box.report(failed("m1"))
    box.advance("3d")

    assert len(box.commands) == 1
    assert [notice["type"] for notice in box.notices] == ["softbounce.recovered"]


def test_a_pipeline_that_never_succeeds_uses_up_its_tries():
    """Each try answers with its own id; at the end a notice says so."""
    box = Sandbox(
        pipeline=lambda command: box.client.report(failed(command["reference"], resendId=command["id"]))
    )
    box.report(failed("m1"))
    box.advance("5d")
    attempts = [command["attempt"] for command in box.commands]

    assert attempts == list(range(1, len(attempts) + 1))
    assert len(attempts) > 1
    assert box.notices[-1]["type"] == "softbounce.given_up"


def test_each_event_is_another_one_unless_it_is_reported_twice(box):
    """A builder's call makes an event; the same event again is a duplicate."""
    event = failed("m1")

    assert [box.report(event), box.report(event), box.report(failed("m1"))] == [
        "scheduled",
        "duplicate",
        "coalesced",
    ]


def test_what_cannot_be_read_is_a_dead_letter(box):
    """As at the worker."""
    assert box.report(b"{torn") == "dead_lettered"


def test_a_cancelled_claim_is_left_alone(box):
    """A payment ends the wait."""
    box.report(failed("m1", claim=7))
    box.client.cancel(claim=7, reason="paid")

    assert box.advance("3d") == []


def test_a_policy_of_ones_own_is_obeyed(tmp_path):
    """Tests may run under the file that production runs under."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nname: mine\ncodes:\n  SMS_EXPIRED: {do: drop, fault: recipient}\n")

    assert Sandbox(policy=path).report(failed("m1")) == "given_up"


def test_a_missing_fakeredis_is_named(monkeypatch):
    """It is no dependency of ours; the error says what to install."""
    monkeypatch.setitem(sys.modules, "fakeredis", None)

    with pytest.raises(ImportError, match=r"pip install 'fakeredis\[lua\]'"):
        Sandbox()


def test_the_example_of_the_contract_runs_as_written():
    """What docs/introduction/pipeline-contract.md tells users to paste is true."""
    run_example("from softbounce.testing")


def run_example(beginning: str, **given: object) -> dict[str, Any]:
    """Run the Python block of the contract that begins so, and return its names."""
    (example,) = re.findall(rf"```python\n({re.escape(beginning)}.*?)```", CONTRACT.read_text(), re.DOTALL)
    names: dict[str, Any] = dict(given)
    exec(compile(example, str(CONTRACT), "exec"), names)  # noqa: S102 - our own page
    return names


def test_one_report_is_made_of_the_receipts_of_a_text_of_several_parts():
    """The block has its own assertions."""
    run_example("def report_of")


@pytest.fixture
def task(box, monkeypatch):
    """The names of the contract's block with its task ``resend``, on the sandbox's store."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", "redis://127.0.0.1:1")  # only the sandbox is asked
    app = SimpleNamespace(task=lambda **_: lambda function: function)
    names = run_example("from softbounce import Softbounce", app=app)
    names |= {"sb": box.client, "handle_once": partial(handle_once, store=box.store)}
    return names


def test_a_command_that_always_fails_ends_with_a_person_and_not_in_a_loop(box, task):
    """Each failed act is one report, each try one command: then the tries are used up."""
    task["send_again"] = lambda command: {}[command["id"]]
    box.report(failed("m1"))
    calls = 0
    for _ in range(72):
        for command in box.advance("1h"):
            calls += 1
            with pytest.raises(KeyError):
                task["resend"](command)

    assert 1 < calls <= 12
    assert box.notices[-1]["type"] == "softbounce.given_up"


def test_a_command_that_only_has_to_wait_is_not_reported_as_failed(box, task):
    """The store was away: Celery calls the task again, and softbounce hears nothing."""

    def away(command):
        raise StoreUnreachable(command["id"])

    task["send_again"] = away
    box.report(failed("m1"))
    (command,) = box.advance("5h")
    with pytest.raises(StoreUnreachable):
        task["resend"](command)

    assert box.client.report(delivered("m1"))
    assert box.advance("3d") == []
