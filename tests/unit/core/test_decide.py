"""What policy wants for one failure: the vetoes of the event, the dates it may count by, and its deadline."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from softbounce.core.decide import confirmation, plan
from softbounce.core.durations import DAY, HOUR, SECOND
from softbounce.core.events import parse
from softbounce.core.policy.file import load
from softbounce.core.timestamps import iso

CUT_OVER = 1_795_132_800_000  # 2026-11-20T00:00:00Z
NOW = CUT_OVER + 12 * HOUR
POLICY = load(
    "version: 1\nignore_failures_before: 2026-11-20\n"
    "channels: {letter: {retry: off}}\n"
    "defaults: {several_recipients: hold, retry: {give_up_after: 2d}}\n"
    "codes:\n"
    "  FULL: {do: retry, fault: recipient}\n"
    "  GONE: {do: suppress, fault: recipient}\n"
    "  TWICE: {do: suppress, fault: recipient, confirm: {reports: 2, within: 30d, apart: 12h, meanwhile: retry}}\n"
    "  DOWN: {do: retry, fault: provider}\n",
    file="policy.yaml",
)


def failure(code="FULL", *, kind="SEND_ERROR", people=1, at=None, not_after=None, channel="EMAIL"):
    """Return a report with so many recipients and no culprit; times in ms."""
    sent = {
        "channel": channel,
        "reference": "m-1",
        "recipients": [f"p{n}@web.de" for n in range(people)],
        "error": {"type": kind, "reasonCode": code},
        "notAfter": iso(not_after),
    }
    return parse(
        json.dumps({"type": "MESSAGE_NOT_DELIVERED", "date": iso(at), "claim": {"communication": sent}})
    )


dates = st.none() | st.integers(-2 * DAY, 2 * DAY).map(lambda ms: NOW + ms // SECOND * SECOND)


@given(dates, st.none() | st.integers(0, 5 * DAY).map(lambda ms: NOW + ms // SECOND * SECOND))
@example(NOW + HOUR, None)
@example(NOW, NOW + 5 * DAY)
def test_a_producers_date_counts_up_to_now_and_its_deadline_only_shortens(at, not_after):
    """A failure is as old as it says, never younger than its receipt; notAfter ends no later than give_up_after."""
    decision = plan(failure(at=at, not_after=not_after), policy=POLICY, now=NOW)
    since = min(NOW if at is None else at, NOW)

    assert decision.at == since
    assert decision.deadline == min(since + 2 * DAY, since + 2 * DAY if not_after is None else not_after)


@pytest.mark.parametrize(("late", "do"), [(-SECOND, "ignore"), (0, "retry"), (SECOND, "retry")])
def test_what_failed_before_the_cut_over_is_ignored_and_nothing_else(late, do):
    """The moment of ignore_failures_before itself counts."""
    assert plan(failure(at=CUT_OVER + late), policy=POLICY, now=NOW).do == do


@given(
    st.sampled_from(["FULL", "GONE", "TWICE", "DOWN"]),
    st.sampled_from(["SEND_ERROR", "CONTACT_ERROR", "RENDER_ERROR", "CONFIGURATION_ERROR"]),
    st.integers(1, 3),
)
def test_only_a_recipient_who_is_named_and_at_fault_is_convicted_or_counted(code, kind, people):
    """An error of rendering or set-up suppresses and counts nobody, nor does a report of several without a culprit."""
    decision = plan(failure(code, kind=kind, people=people), policy=POLICY, now=NOW)
    is_theirs = kind not in ("RENDER_ERROR", "CONFIGURATION_ERROR") and people == 1

    assert (decision.do == "suppress") == (code in ("GONE", "TWICE") and is_theirs)
    assert decision.counts == (code in ("FULL", "TWICE") and is_theirs)
    assert (decision.do == "retry") == (code in ("FULL", "DOWN") and people == 1)
    assert decision.do in ("suppress", "retry", "hold")


def test_where_retries_are_off_the_first_report_that_may_convict_is_held():
    """Nothing is tried again on that channel, so the report waits for a person instead of being given up."""
    assert confirmation(POLICY.rule_for(code="TWICE", channel="letter", merchant=None)).meanwhile == "hold"
    assert confirmation(POLICY.rule_for(code="TWICE", channel="email", merchant=None)).meanwhile == "retry"
