"""A message that the store knows under a policy: the decision on its last report, and what is against it."""

from dataclasses import replace

import pytest
from msgspec import convert

from softbounce.core.durations import HOUR
from softbounce.core.history import HistoryLine
from softbounce.explain.delivery import as_json as told
from softbounce.explain.delivery import as_text as lines
from softbounce.explain.delivery import last_report
from softbounce.explain.message import as_json, as_text, facts
from softbounce.store import Verdict

from .known import FAILED, NOW, ZONE, gate, situation
from .test_decision import POLICY

OFF = gate("off", field="*", mode="off", by="eva", reason="fire", at=FAILED)
LISTED = gate("recipient is suppressed", "suppressed", field="ABCDEFGHIJKL")
REFUSED = Verdict(allowed=False, recipient="r_ABCDEFGHIJKL", reason="MANUAL", until=NOW + HOUR)
ARRIVED = convert({"t": FAILED, "k": "delivered", "id": "e9"}, HistoryLine)


def test_the_decision_and_what_is_against_it_stand_beside_what_the_store_knows():
    """What is against it has the change that would help."""
    found = situation(gates=(OFF,))
    shown = as_json(found, POLICY, zone=ZONE)

    assert (shown["reference"], shown["disposition"], shown["state"]) == ("m1", "retry", "waiting")
    assert shown["whyNot"][-1] == {
        "what": "mode off since today 17:32 Berlin, by eva: fire",
        "change": "softbounce mode on --reason ...",
    }
    assert "  why not now" in "\n".join(as_text(found, POLICY, zone=ZONE))


@pytest.mark.parametrize(("rid", "count"), [("ABCDEFGHIJKL", 2), ("*BCDEFGHIJKL", None)])
def test_soft_bounces_are_counted_of_somebody_in_particular(rid, count):
    """Nobody in particular has none."""
    found = situation(id="abcdefghijkl" + rid, soft_bounces=(FAILED - 30 * HOUR, FAILED))

    assert as_json(found, POLICY, zone=ZONE)["escalate"]["count"] == count


def test_what_was_stopped_while_it_waited_has_no_next_try():
    """Its record says so only once it is due."""
    found = situation(gates=(LISTED,), verdict=REFUSED)
    shown = as_json(found, POLICY, zone=ZONE)

    assert (shown["state"], shown["outcome"], shown["nextTry"]) == ("waiting", "suppressed", None)
    assert shown["suppress"]["recipient"] == "r_ABCDEFGHIJKL"
    assert shown["suppress"]["until"] == "2026-11-20T19:32:23Z"


def test_a_try_that_was_observed_has_that_outcome():
    """It is out, but nothing left."""
    found = situation({"t": FAILED + HOUR, "k": "observed", "a": 1}, state="out")

    assert as_json(found, POLICY, zone=ZONE)["outcome"] == "observed"
    assert next(as_text(found, POLICY, zone=ZONE)).endswith("outcome: observed")


def test_a_message_without_a_report_is_told_as_the_store_knows_it():
    """It arrived, and no failure of it was ever reported."""
    found = situation(state="ended", outcome="delivered")
    found = replace(found, story=replace(found.story, history=(ARRIVED,)))

    assert as_json(found, POLICY, zone=ZONE) == told(found.story, reveal=False) | {
        "outcome": "delivered",
        "nextTry": None,
    }
    assert list(as_text(found, POLICY, zone=ZONE)) == lines(found, zone=ZONE)


def test_lines_of_another_revision_are_marked():
    """Today's file must not pass for the decision of another one."""
    *_, last = as_text(situation(), POLICY, zone=ZONE)

    assert last.startswith("  decided under policy r1; the lines are of config/policy.yaml")
    assert "decided under" not in "\n".join(as_text(situation(revision=POLICY.revision), POLICY, zone=ZONE))


def test_the_due_time_is_the_plan_s_where_the_store_has_the_same_second():
    """The store keeps seconds."""
    found = situation()
    planned = last_report(found.story, POLICY)
    due = planned.dues[0].at
    same = situation(due=due // 1000 * 1000)

    assert facts(same, planned, POLICY, zone=ZONE).due == due
    assert facts(found, planned, POLICY, zone=ZONE).due == found.story.delivery.due
