"""Notices by apprise: the text of a group to one address, told again until taken, the address in no log."""

import io
import json
import logging
import sys

import pytest
import strange
from live import Desk, failed, until
from strange import listening

from softbounce.telemetry import configure
from softbounce.worker.sinks.apprise import ToApprise

pytest.importorskip("apprise", reason="the extra softbounce[apprise] is not installed")
pytestmark = pytest.mark.filterwarnings(
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)  # apprise imports it
VARIABLE = "ONCALL_URL"
NOTICES = [
    (f"id-{n}", {"type": "softbounce.escalated", "count": n, "text": f"{n} recipients failed <again>."})
    for n in (1, 2)
]


@pytest.fixture(autouse=True)
def _address(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, desk.url.replace("http://", "json://"))


def deliver(may_begin=lambda: True):
    """Send two notices; returns what the sink says."""
    return ToApprise(VARIABLE).deliver(NOTICES, may_begin)


def test_a_notice_is_one_message_with_its_text_and_its_id(desk: Desk):
    """Whoever gets it twice sees that by the id; the text arrives as it was written."""
    handed = deliver()
    (first, _) = (json.loads(body) for _, body in desk.got)

    assert (handed.count, handed.failure) == (2, "")
    assert (first["title"], first["type"]) == ("softbounce: 1 escalated", "warning")
    assert first["message"] == "1 recipients failed <again>.\nid-1"


@pytest.mark.parametrize("status", [307, 410, 500])
def test_what_is_refused_waits_with_all_that_follows(desk: Desk, status: int):
    """A redirect is a refusal too: it could carry the notice to anybody."""
    desk.statuses = [204, status]
    handed = deliver()

    assert (handed.count, handed.failure) == (1, f"apprise:{VARIABLE} did not take it")
    assert len(desk.got) == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", f"the variable {VARIABLE} is not set"),
        ("nonsense", f"the variable {VARIABLE} holds not one address"),
        (
            "json://127.0.0.1:9/token-a json://127.0.0.1:9/token-b",
            f"the variable {VARIABLE} holds not one address",
        ),
        ("json://127.0.0.1:9/token-a", "did not take it"),
    ],
)
def test_an_address_that_will_not_do_is_named_by_its_variable(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, value: str, reason: str
):
    """Not set, not understood, more than one, nobody there: the reason never holds the address."""
    monkeypatch.setenv(VARIABLE, value)
    handed = deliver()

    assert (handed.count, desk.got) == (0, [])
    assert reason in handed.failure
    assert "token" not in handed.failure


def test_without_the_extra_the_reason_is_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """Nothing else of a worker needs apprise, so it starts without, and says what is missing."""
    monkeypatch.setitem(sys.modules, "apprise", None)

    assert deliver().failure == "a target of type apprise needs: pip install 'softbounce[apprise]'"


def test_the_address_is_in_no_log_at_any_level(desk: Desk):
    """The path of an address is its password: neither apprise nor what it calls gets to write it."""
    log = io.StringIO()
    configure(stream=log, level="DEBUG")
    logging.getLogger("somebody").debug("is heard")
    desk.statuses = [500]
    deliver()
    deliver()
    configure()

    assert "is heard" in log.getvalue()
    assert "token-of-the-path" not in log.getvalue()


def test_nothing_leaves_once_the_lease_is_nearly_over(desk: Desk):
    """What another worker may tell by now is left to it."""
    turns = iter([True, False])
    handed = deliver(lambda: next(turns))

    assert (handed.count, handed.failure, len(desk.got)) == (1, "", 1)


def test_a_group_reaches_people_in_one_message_although_a_worker_was_killed_and_the_desk_refused(
    desk: Desk, start, report, policy, store
):
    """What a killed worker had collected is in the store: the next one tells it, under one id, until it is taken."""
    _tell_on_call(policy, at_once=False)
    desk.statuses = [503]
    worker = start(lease="2s", handover_timeout="1s")
    for n in range(7):
        report(failed(f"m{n}"))
    until(lambda: store.sizes()["scheduled"] == 7 and store.sizes()["notices"] == 0)
    worker.kill()
    second = start(lease="2s", handover_timeout="1s")

    def is_told_again():
        store.set_now(store.now() + 10_000)  # the wait ends, then leases, until the desk has rested
        return len(desk.got) == 2

    until(is_told_again)
    first, again = (json.loads(body) for _, body in desk.got)

    assert again == first
    assert again["title"] == "softbounce: 7 escalated"
    assert "softbounce cases list kind:soft_bounces" in again["message"]
    assert "+4917" not in again["message"]
    assert second.logged("handover.failed")
    assert [line["count"] for line in second.logged("recipient.escalated")] == [
        7
    ]  # the log has taken it at once
    assert "token-of-the-path" not in worker.log + second.log


def test_a_service_that_hangs_does_not_hold_the_exit_of_a_worker(start, report, policy, monkeypatch):
    """It drips for longer than any time-out; the word to stop is obeyed all the same."""
    _tell_on_call(policy, at_once=True)
    with listening(strange.drips_bytes) as slow:
        monkeypatch.setenv(VARIABLE, f"json://127.0.0.1:{slow.port}/")
        worker = start(lease="2s", handover_timeout="1s")
        report(failed("m1"))
        until(lambda: slow.callers)

        assert worker.stop() == 0
        assert worker.logged("worker.drained")[0]["unfinished"] == []


def _tell_on_call(policy, *, at_once):
    """Let the policy tell the log and the address of each escalation."""
    text = policy.read_text().replace("escalate_at: 3", "escalate_at: 1")
    text = text.replace("group_wait: 5m", "group_wait: 0s") if at_once else text
    target = f"    oncall: {{type: apprise, url: {{env: {VARIABLE}}}}}\n"
    text = text.replace("notify: [log]", "notify: [log, oncall]")
    policy.write_text(text.replace("  targets:\n", f"  targets:\n{target}"))
