"""What is known of a recipient, as JSON and as lines; verdicts in words. No store is asked."""

from dataclasses import replace

import pytest
from msgspec import structs

from softbounce.core.durations import DAY, HOUR
from softbounce.core.policy.model import SoftBounce
from softbounce.core.recipients import Channel
from softbounce.explain.recipient import (
    Known,
    as_json,
    as_text,
    counted,
    lifting,
    until_of,
    verdict_json,
    verdict_text,
)
from softbounce.store import Verdict
from softbounce.store.pauses import Pause
from softbounce.store.retries import Waiting

from .known import DUE, FAILED, NOW, ZONE, delivery

ALLOWED = Verdict(allowed=True, recipient="r_ABCDEFGHIJKL")
LISTED = Verdict(
    allowed=False, recipient="r_ABCDEFGHIJKL", reason="MANUAL", because="eva: asked", until=NOW + 20 * DAY
)
LIMIT = SoftBounce(
    count="messages",
    escalate_at=3,
    within=30 * DAY,
    apart=24 * HOUR,
    reset_on="delivered",
    then="notify",
    hold_for=0,
)
NOTHING = {"soft_bounces": [], "reports": {}, "escalated": None}
UNKNOWN = Known(
    rid="ABCDEFGHIJKL",
    channel=Channel.SMS,
    now=NOW,
    verdict=ALLOWED,
    entries=(),
    counts=NOTHING,
    pause=None,
    waiting=(),
)


def test_a_recipient_of_whom_nothing_is_known():
    """May be sent to."""
    assert as_text(UNKNOWN, zone=ZONE) == [
        "Sends are allowed.   r_ABCDEFGHIJKL   sms",
        "  nothing is known of it: no report, no entry, no pause",
    ]
    assert as_json(UNKNOWN) == verdict_json(ALLOWED) | {
        "channel": "sms",
        "suppressions": [],
        "change": None,
        "pause": None,
        "softBounces": [],
        "escalatedAt": None,
        "reports": {},
        "waiting": [],
    }


def test_evidence_pause_and_what_waits_stand_below_the_verdict():
    """Each a line; the address is masked."""
    counts = {
        "soft_bounces": [["m1", FAILED], ["m2", FAILED + HOUR]],
        "reports": {"SMS_NOT_DELIVERED": [["e1", FAILED]]},
        "escalated": FAILED,
    }
    pause = Pause(until=NOW + HOUR, by="eva", reason="holiday")
    waiting = (Waiting(delivery=delivery(), due=DUE, state="paused"),)
    known = replace(UNKNOWN, counts=counts, pause=pause, waiting=waiting)
    head, *lines = as_text(known, zone=ZONE)

    assert head.startswith("Sends are allowed.   +49•••")
    assert lines == [
        "  soft bounces  2 messages, the newest Fri 20 Nov 18:32",
        "  escalated     Fri 20 Nov 17:32",
        "  reports       SMS_NOT_DELIVERED, 1, the newest Fri 20 Nov 17:32",
        "  paused        until today 20:32 Berlin, by eva",
        "  waits         m1, next try Fri 20 Nov 18:32 (paused)",
    ]
    assert as_json(known)["pause"] == {"until": "2026-11-20T19:32:23Z", "by": "eva", "reason": "holiday"}
    assert as_json(known)["waiting"] == [
        {"reference": "m1", "nextTry": "2026-11-20T17:32:23Z", "state": "paused"}
    ]


def test_a_verdict_in_words():
    """A person's entry by the person's words; a report's by its cause; a pause by its end."""
    no_address = Verdict(allowed=False, recipient="", reason="too short", because="not an address")
    paused = structs.replace(LISTED, reason="paused")

    assert verdict_text(ALLOWED, zone=ZONE, now=NOW) == "Sends are allowed."
    assert verdict_text(LISTED, zone=ZONE, now=NOW) == (
        "Listed by eva: asked. Sends are refused until Thu 10 Dec."
    )
    assert verdict_text(paused, zone=ZONE, now=NOW) == "asked. Sends pause until Thu 10 Dec."
    assert verdict_text(no_address, zone=ZONE, now=NOW) == "not an address: too short"
    assert until_of(None, zone=ZONE, now=NOW) == "for ever"
    assert until_of(LISTED.until, zone=ZONE, now=NOW) == "until Thu 10 Dec"


@pytest.mark.parametrize(
    ("code", "incidents", "command"),
    [
        ("INVALID_MOBILE_NUMBER", [], "softbounce suppressions remove r_x --reason ..."),
        ("INVALID_MOBILE_NUMBER", ["C7"], "softbounce suppressions undo incident:C7 --reason ..."),
        ("paused", [], "softbounce retries resume recipient:r_x --reason ..."),
        ("OPT_OUT", [], ""),
    ],
)
def test_the_command_that_takes_a_block_away(code, incidents, command):
    """None where the recipients themselves asked for it."""
    assert lifting("r_x", code, incidents) == command


@pytest.mark.parametrize(
    ("hours", "count"),
    [((), 0), ((0,), 1), ((0, 23), 1), ((0, 24), 2), ((0, 23, 25, 48), 2), ((0, 24 * 30 + 1), 1)],
)
def test_soft_bounces_count_within_the_window_and_far_enough_apart(hours, count):
    """As accept.lua counts them: within 30 days of the newest, 24 h apart."""
    assert counted([FAILED + hour * HOUR for hour in hours], LIMIT) == count
