"""How one delivery stands, in a sentence, as lines and as JSON, from what a store knows. No store is asked."""

import pytest

from softbounce.core.durations import DAY, HOUR
from softbounce.explain.delivery import (
    as_json,
    as_text,
    becomes,
    case_of,
    headline,
    history_json,
    is_observed,
    masked,
)
from softbounce.store import Verdict

from .known import FAILED, NOW, ZONE, delivery, gate, situation

LEFT = {"t": FAILED + HOUR, "k": "resent", "a": 1, "n": "stream:x"}
NOTED = {"t": FAILED + HOUR, "k": "observed", "a": 1}
HELD = {"t": FAILED, "at": FAILED // 1000, "k": "failed", "o": "held", "code": "X", "c": "C7"}
REFUSED = Verdict(allowed=False, recipient="r_ABCDEFGHIJKL", until=NOW + 20 * DAY)
STOPPED = gate("cancelled", "cancelled", field="reference:abcdefghijkl", by="eva", reason="paid", a=NOW)
LISTED = gate("recipient is suppressed", "suppressed", field="ABCDEFGHIJKL")


@pytest.mark.parametrize(
    ("found", "became", "sentence"),
    [
        (situation(), "waiting", "Phone unreachable. Next try today 18:32 Berlin, 1 of 4."),
        (situation(state="leased"), "leased", "Phone unreachable. Try 1 is being handed over."),
        (
            situation(LEFT, state="out"),
            "out",
            "Phone unreachable. Try 1 of 4 is out since today 18:32 Berlin; no answer yet.",
        ),
        (
            situation(NOTED, state="out"),
            "out",
            "Phone unreachable. Try 1 of 4 was observed today 18:32 Berlin, not sent: the mode was observe.",
        ),
        (
            situation(gates=(STOPPED,)),
            "cancelled",
            "Stopped by eva today 19:32 Berlin: paid. Nothing more is sent.",
        ),
        (situation(state="ended", outcome="cancelled"), "cancelled", "Stopped. Nothing more is sent."),
        (
            situation(gates=(LISTED,), verdict=REFUSED),
            "suppressed",
            "Phone unreachable. Not tried again; sends to this recipient are refused until Thu 10 Dec.",
        ),
        (
            situation(state="ended", outcome="suppressed"),
            "suppressed",
            "Phone unreachable. Not tried again; sends to this recipient are allowed again.",
        ),
        (
            situation(HELD, state="held"),
            "held",
            "Phone unreachable. Waits for a person, case C7. Nothing is sent until released; deadline Mon 23 Nov 17:32 Berlin.",
        ),
        (situation(state="ended", outcome="coalesced"), "coalesced", "Phone unreachable. Ended: coalesced."),
    ],
)
def test_how_a_delivery_stands(found, became, sentence):
    """What waits and has been stopped counts as ended."""
    assert becomes(found) == became
    assert headline(found, zone=ZONE) == sentence


def test_only_the_newest_step_says_that_a_try_was_observed():
    """A try that left before is told by its own step."""
    assert is_observed(situation(LEFT, NOTED, state="out").story)
    assert not is_observed(situation(NOTED, LEFT, state="out").story)
    assert not is_observed(situation(NOTED).story)


def test_the_lines_are_the_sentence_whose_it_is_and_what_happened():
    """An address in full only where it is asked for; what still waits has its end."""
    head, whose, *steps = as_text(situation(LEFT), zone=ZONE)

    assert head.endswith("1 of 4.   m1")
    assert whose.startswith("  SMS_EXPIRED   sms   claim 54321   merchant 42   +49•••")
    assert [line.split("  ")[1:3] for line in steps][-1] == ["Mon 23 Nov 17:32", "gives up"]
    assert "+491701234567" in as_text(situation(), zone=ZONE, reveal=True)[1]
    assert len(as_text(situation(state="ended", outcome="delivered"), zone=ZONE)) == 3


def test_the_json_has_stable_names_and_every_step():
    """The case is the one that the delivery came into last."""
    story = situation(HELD, LEFT).story
    told = as_json(story, reveal=False)

    assert (told["case"], case_of(story)) == ("C7", "C7")
    assert told["nextTry"] == "2026-11-20T17:32:23Z"
    assert [step["what"] for step in told["history"]] == ["failed", "failed", "resent"]
    assert history_json(story)[-1].keys() == {"at", "what", "attempt", "commandId", "note"}


@pytest.mark.parametrize(
    ("recipients", "shown"),
    [((), ""), (("+491701234567",), "+49•••67"), (("+491701234567", "x", "y"), "+49•••67 and 2 more")],
)
def test_an_address_is_masked(recipients, shown):
    """The first, and how many more."""
    assert masked(delivery(recipients=recipients)) == shown
