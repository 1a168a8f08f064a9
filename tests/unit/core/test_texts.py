"""Labels and times in plain words: cause, what happens next, when."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softbounce.core import texts
from softbounce.core.durations import DAY, HOUR, MINUTE
from softbounce.core.texts import LANGUAGES, clock, count, date, label, place, span, stamp, when, word

NOW = 1_795_192_463_000  # 2026-11-20T16:34:23Z, a Friday
BERLIN = "Europe/Berlin"
OUTCOMES = (
    "scheduled", "suppressed", "held", "escalated", "given_up", "delivered", "cancelled", "duplicate",
    "coalesced", "superseded", "ended", "opted_in", "ignored", "dead_lettered",
)  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "facts", "expected"),
    [
        (
            "scheduled",
            {"cause": "Phone unreachable", "time": "tomorrow 08:12 Berlin", "n": 2, "m": 4},
            "Phone unreachable. Next try tomorrow 08:12 Berlin, 2 of 4.",
        ),
        (
            "scheduled",
            {"cause": "Phone unreachable", "waits_for": "the rate limit", "until": "08:12"},
            "Phone unreachable. Ready, waits for the rate limit until 08:12; this costs no try.",
        ),
        (
            "suppressed",
            {"cause": "Number does not exist", "date": "Tue 12 Jan"},
            "Number does not exist. Not tried again; sends to this recipient are refused until Tue 12 Jan.",
        ),
        (
            "suppressed",
            {"cause": "Marked as spam", "date": None},
            "Marked as spam. Not tried again; sends to this recipient are refused.",
        ),
        (
            "held",
            {"cause": "Broken", "fix": "the data", "case": "k_1", "deadline": "9:00"},
            "Broken. Waits for a fix in the data, case k_1. Nothing is sent until released; deadline 9:00.",
        ),
        (
            "held",
            {"cause": "Unknown reason X"},
            "Unknown reason X. Waits for a person. Nothing is sent until released.",
        ),
        (
            "escalated",
            {"n": 3, "days": 30, "case": "k_23", "pause_until": "Fri 4 Dec"},
            "3 messages failed within 30 days. Case k_23. Sends pause until Fri 4 Dec.",
        ),
        (
            "given_up",
            {"cause": "Mailbox full", "n": 5, "hours": 72, "case": "k_2"},
            "Mailbox full. 5 tries in 72 h did not help. No further try. Case k_2.",
        ),
        (
            "given_up",
            {"cause": "Mailbox full", "n": 1, "hours": 4},
            "Mailbox full. 1 try in 4 h did not help. No further try.",
        ),
        (
            "delivered",
            {"time": "today 09:00 Berlin", "n": 2, "hours": 17},
            "Arrived today 09:00 Berlin, on try 2, 17 h after the first failure.",
        ),
        (
            "cancelled",
            {"who": "ann", "time": "today 09:00 Berlin", "reason": "paid"},
            "Stopped by ann today 09:00 Berlin: paid. Nothing more is sent.",
        ),
        ("duplicate", {}, "Seen before, nothing new."),
        ("coalesced", {"time": "today 09:00 Berlin"}, "A try is waiting already: today 09:00 Berlin."),
        ("superseded", {"n": 2, "time": "09:00"}, "Speaks of an earlier send; try 2 is out since 09:00."),
        ("ended", {"outcome": "delivered", "time": "09:00"}, "This message had ended: delivered, 09:00."),
        ("ignored", {"why": "type X"}, "Not a failure for us (type X). Nothing happens."),
        (
            "dead_lettered",
            {"reason": "not JSON", "command": "softbounce dead-letters replay d_1"},
            "Could not be read: not JSON. Kept; replay it after a fix: softbounce dead-letters replay d_1.",
        ),
    ],
)
def test_a_label_is_cause_next_step_and_time(outcome, facts, expected):
    """Each outcome reads as the glossary says, less what is not known."""
    assert label(outcome, **facts) == expected


@pytest.mark.parametrize("language", LANGUAGES.values())
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_has_a_label_in_every_language(monkeypatch, language, outcome):
    """No outcome is shown by its internal name, and a label without facts is no broken sentence."""
    monkeypatch.setattr(texts, "SPOKEN", language)
    said = label(outcome, cause="Mailbox full")

    assert said.endswith(".") or outcome == "escalated"
    assert "{" not in said


@pytest.mark.parametrize("language", LANGUAGES.values())
def test_languages_say_the_same_things(language):
    """A translation has every label, word and plural of the English one."""
    english = texts.ENGLISH

    assert language.labels.keys() == english.labels.keys()
    assert language.words.keys() == english.words.keys()
    assert language.plurals.keys() == english.plurals.keys()


def test_a_second_language_is_a_second_entry(monkeypatch):
    """German speaks once its catalogue is in the table."""
    german = replace(texts.ENGLISH, labels={"duplicate": (("Schon gesehen, nichts Neues.",),)})
    monkeypatch.setattr(texts, "SPOKEN", german)

    assert label("duplicate") == "Schon gesehen, nichts Neues."


def test_words_that_nobody_translated_stand_as_they_are():
    """A new state shows its name rather than nothing."""
    assert word("state", "quiet") == "quiet hours"
    assert word("state", "moonlight") == "moonlight"


def test_counts_agree_with_their_noun():
    """One try, four tries, no tries, and thousands with their comma."""
    assert [count(n, "tries") for n in (0, 1, 4, 12_480)] == ["0 tries", "1 try", "4 tries", "12,480 tries"]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW, "today 17:34 Berlin"),
        (NOW + 6 * HOUR + 25 * MINUTE, "today 23:59 Berlin"),
        (NOW + 6 * HOUR + 26 * MINUTE, "tomorrow 00:00 Berlin"),
        (NOW - DAY, "yesterday 17:34 Berlin"),
        (NOW + 2 * DAY, "Sun 22 Nov 17:34 Berlin"),
        (NOW + 365 * DAY, "Sat 20 Nov 2027 17:34 Berlin"),
    ],
)
def test_near_days_have_names_and_far_ones_a_year(moment, expected):
    """Today and tomorrow are the reader's own days; a year appears only where it is in doubt."""
    assert when(moment, BERLIN, NOW) == expected


def test_without_a_now_no_day_is_relative():
    """A table that is printed and kept says the date."""
    assert when(NOW, BERLIN) == "Fri 20 Nov 17:34 Berlin"
    assert stamp(NOW, BERLIN) == "Fri 20 Nov 17:34"
    assert date(NOW + 40 * DAY, BERLIN, NOW) == "Wed 30 Dec"
    assert clock(NOW, "Asia/Kolkata") == "22:04"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("Europe/Berlin", "Berlin"), ("America/Argentina/Buenos_Aires", "Buenos Aires"), ("UTC", "UTC")],
)
def test_a_zone_is_named_by_its_city(zone, expected):
    """People know Berlin, not Europe/Berlin."""
    assert place(zone) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, "0 s"), (-5, "0 s"), (90_000, "90 s"), (40 * MINUTE, "40 min"), (119 * MINUTE, "119 min"),
     (2 * HOUR, "2 h"), (47 * HOUR, "47 h"), (2 * DAY, "2 d"), (400 * DAY, "400 d")],
)  # fmt: skip
def test_an_age_is_told_in_one_unit(length, expected):
    """An age needs no more precision than the reader's next decision."""
    assert span(length) == expected


@given(st.integers(-(2**53), 2**53), st.sampled_from(("UTC", "Pacific/Apia", "America/New_York")))
def test_no_time_is_too_far_to_be_shown(moment, zone):
    """A broken date in an event must not break the screen that shows it."""
    assert when(moment, zone, NOW)
