"""Notices to a desk of one's own: signed, told again until taken, and never a word too many in the log."""

import json
import time
from base64 import b64encode
from datetime import UTC, datetime

import pytest
import strange
from live import failed, until
from standardwebhooks import Webhook, WebhookVerificationError
from strange import listening

from softbounce.errors import StoreUnreachable
from softbounce.worker.sinks.webhook import ToWebhook

OLD, NEW = (f"whsec_{b64encode(word * 4).decode()}" for word in (b"old desk", b"new desk"))
VARIABLE = "DESK_SECRET"
NOTICES = [
    ("id-1", {"type": "softbounce.escalated", "case": "c1"}),
    ("id-2", {"type": "softbounce.escalated"}),
]


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv(VARIABLE, OLD)


def sink(url, now=lambda: round(time.time() * 1000)):
    """Return the sink under test."""
    return ToWebhook(url, secret=VARIABLE, timeout=2, now=now)


def always():
    """Say that the lease is far from over."""
    return True


def test_a_notice_is_one_post_that_the_standard_library_verifies(desk):
    """Id, time and body are signed as Standard Webhooks 1.0 asks; another body, or another secret, is refused."""
    handed = sink(desk.url).deliver(NOTICES, always)
    headers, body = desk.got[0]

    assert (handed.count, handed.failure) == (2, "")
    assert desk.ids == ["id-1", "id-2"]
    assert Webhook(OLD).verify(body, headers) == NOTICES[0][1]
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(body.replace(b"c1", b"c2"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, headers)


def test_while_a_secret_is_replaced_both_verify(desk, monkeypatch):
    """Two secrets in the variable sign twice, so receivers may change theirs at any time between."""
    monkeypatch.setenv(VARIABLE, f"{NEW} {OLD}")
    sink(desk.url).deliver(NOTICES[:1], always)
    headers, body = desk.got[0]

    assert Webhook(OLD).verify(body, headers) == Webhook(NEW).verify(body, headers)


@pytest.mark.parametrize(
    ("status", "count", "failure"),
    [(200, 2, ""), (409, 2, ""), (302, 1, "answers 302"), (410, 1, "answers 410"), (500, 1, "answers 500")],
)
def test_only_success_and_a_known_id_have_taken_a_notice(desk, status, count, failure):
    """2xx and 409 took it; a redirect is not followed; what follows a refused notice waits in order."""
    desk.statuses = [204, status]
    handed = sink(desk.url).deliver(NOTICES, always)

    assert handed.count == count
    assert handed.failure.endswith(failure)
    assert len(desk.got) == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is not set"),
        ("whsec_", "holds no secret"),
        ("whsec_c2hvcnQ=", "holds no secret"),
        ("whsec_?", "holds no"),
    ],
)
def test_without_a_fit_secret_nothing_leaves_and_the_reason_names_the_variable(
    desk, monkeypatch, value, reason
):
    """An unsigned notice would teach receivers not to look; the secret itself is never in the words."""
    monkeypatch.setenv(VARIABLE, value)
    handed = sink(desk.url).deliver(NOTICES, always)

    assert (handed.count, desk.got) == (0, [])
    assert f"the variable {VARIABLE} {reason}" in handed.failure
    assert not value or value not in handed.failure.replace("whsec_ and", "")


def test_a_desk_that_is_away_is_named_by_its_host_alone():
    """The path of a hook is often its password: logs show the host."""
    handed = sink("http://127.0.0.1:9/hooks/token-of-the-path").deliver(NOTICES, always)

    assert handed.count == 0
    assert handed.failure.endswith("on the way to webhook:127.0.0.1")


def test_a_desk_that_drips_its_answer_is_given_up_and_the_reason_says_after_how_long():
    """The time-out is of the whole request; what follows it waits for the next try."""
    with listening(strange.drips_lines) as slow:
        handed = sink(f"http://127.0.0.1:{slow.port}/hooks/token-of-the-path").deliver(NOTICES, always)

        assert (handed.count, slow.callers) == (0, 1)
    assert handed.failure == "no answer within 2 s from webhook:127.0.0.1"


def test_nothing_leaves_once_the_lease_is_nearly_over(desk):
    """What another worker may tell by now is left to it."""
    turns = iter([True, False])
    handed = sink(desk.url).deliver(NOTICES, lambda: next(turns))

    assert (handed.count, handed.failure, desk.ids) == (1, "", ["id-1"])


def test_a_store_that_is_away_is_not_the_desks_fault(desk):
    """The time comes from the store; without it the worker waits as it always does."""

    def away():
        raise StoreUnreachable

    with pytest.raises(StoreUnreachable):
        sink(desk.url, now=away).deliver(NOTICES, always)


def test_an_escalation_reaches_the_desk_of_the_policy_and_comes_again_until_it_is_taken(
    desk, start, report, policy, store
):
    """A desk that fails first gets the same id again; one that has it is not asked a third time."""
    text = (
        policy.read_text()
        .replace("escalate_at: 3", "escalate_at: 1")
        .replace("group_wait: 5m", "group_wait: 0s")
    )
    text = text.replace("notify: [log]", "notify: [desk]").replace("    log: {type: log}\n", "")
    target = f'    desk: {{type: webhook, url: "{desk.url}", secret: {{env: {VARIABLE}}}}}\n'
    policy.write_text(text.replace("  targets:\n", f"  targets:\n{target}"))
    desk.statuses = [503]
    worker = start(lease="2s", handover_timeout="1s")
    report(failed("m1"))

    def is_told_again():
        store.set_now(store.now() + 500)  # leases of the notice end, until the desk has rested
        return len(desk.got) == 2

    until(is_told_again)
    headers, body = desk.got[1]
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)

    assert len(set(desk.ids)) == 1
    assert json.loads(body)["type"] == "softbounce.escalated"
    assert headers["webhook-signature"] == Webhook(OLD).sign(desk.ids[1], moment, body.decode())
    assert worker.logged("handover.failed")
    assert "token-of-the-path" not in worker.log
    assert OLD not in worker.log
