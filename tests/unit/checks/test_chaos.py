"""A checker that cannot fail proves nothing: each kind of fault is seen in a history of a few lines."""

import re
from pathlib import Path

import pytest
from checks.chaos import control
from checks.chaos.checker import judge
from checks.chaos.workers import BY_CELERY, ZOMBIES

from softbounce.worker.crash_points import POINTS

SOURCE = Path(__file__).parents[3] / "src" / "softbounce" / "worker"
FATE = {"k": "fate", "t": 0, "ref": "m1", "to": "+49", "sends": 1, "ends": "delivered"}
ASK, TOLD = {"k": "ask", "t": 1, "n": 1, "ref": "m1"}, {"k": "told", "t": 1, "n": 1}
GOT = {"k": "got", "t": 2, "id": "i1", "ref": "m1", "attempt": 1, "to": ["+49"], "due": None}
END = {
    "k": "end",
    "t": 9,
    "ref": "m1",
    "state": "ended",
    "outcome": "delivered",
    "attempt": 1,
    "group": "",
    "failed": ["e1"],
}
LEFT = {"k": "left", "t": 9, "schedule": 0, "ready": 0, "notices": 0, "unread": 0, "pending": 0, "keys": []}
CLEAN = [FATE, ASK, TOLD, GOT, END, LEFT]


def test_a_whole_story_is_clean():
    """Told, handed over once, ended as it should."""
    assert judge(CLEAN).problems == []


def test_a_report_that_the_store_forgot_is_lost():
    """The producer was told, and the store knows nothing."""
    assert judge([FATE, ASK, TOLD, LEFT]).lost != []


def test_a_report_that_nobody_was_told_of_may_be_missing():
    """An unknown answer may mean there or not; the producer reports it again."""
    assert judge([FATE, ASK, LEFT]).problems == []


def test_a_resend_that_never_came_is_lost():
    """The store may say what it likes: the pipeline has nothing."""
    assert judge([FATE, ASK, TOLD, END, LEFT]).lost != []


def test_the_same_try_under_two_ids_is_a_doubled_effect_under_one_a_raw_double():
    """A receiver that dedupes on the id acts once in the second case only."""
    assert judge([*CLEAN, GOT | {"id": "i2"}]).doubled != []
    assert (judge([*CLEAN, GOT]).problems, judge([*CLEAN, GOT]).raw_doubles) == ([], 1)


def test_one_report_with_two_outcomes_is_doubled():
    """Its history names it twice."""
    assert judge([FATE, ASK, TOLD, GOT, END | {"failed": ["e1", "e1"]}, LEFT]).doubled != []


def test_a_try_too_many_and_an_unknown_message_are_unexpected():
    """Nobody asked for them."""
    assert judge([*CLEAN, GOT | {"id": "i2", "attempt": 2}]).unexpected != []
    assert judge([*CLEAN, GOT | {"ref": "m9"}]).unexpected != []


def test_a_hand_over_after_a_persons_word_is_forbidden():
    """A lease may still be under way for 0.8 of its time, and no longer."""
    said = {"k": "said", "t": 2, "what": "person", "ref": "m1"}
    late = [
        FATE | {"ends": "person"},
        ASK,
        TOLD,
        said,
        GOT | {"t": 7.9},
        END | {"outcome": "suppressed"},
        LEFT,
    ]
    assert judge(late).forbidden != []


def test_a_hand_over_in_a_silence_is_forbidden():
    """An old backup, and nobody's word."""
    assert judge([*CLEAN, {"k": "silence", "t": 3, "since": 1, "until": 3, "why": "x"}]).forbidden != []


def test_an_innocent_message_held_as_a_crash_loop_is_named():
    """A kill must not convict what happened to be in hand."""
    assert judge([FATE, ASK, TOLD, GOT, END | {"state": "held", "group": "crash_loop"}, LEFT]).innocent != []


def test_a_power_cut_excuses_its_window_only():
    """What was acknowledged within it may be lost; never doubled."""
    window = {"k": "window", "t": 3, "since": 0.5, "until": 1.5}
    assert judge([FATE, ASK, TOLD, LEFT, window]).problems == []
    assert judge([FATE, ASK, TOLD, LEFT, window | {"since": 1.2}]).lost != []
    assert judge([*CLEAN, GOT | {"id": "i2"}, window]).doubled != []


def test_what_is_left_over_is_named():
    """A schedule that never empties, a key without an end, a run without an export."""
    assert judge([*CLEAN[:-1], LEFT | {"schedule": 2, "keys": ["k"]}]).left == [
        "2 in schedule",
        "key k has no end",
    ]
    assert judge(CLEAN[:-1]).left != []


def test_a_hand_over_without_an_end_is_named():
    """I11: after its deadline and the grace it is unanswered, whatever else was to become of it."""
    silent = judge([FATE | {"ends": "any"}, ASK, TOLD, GOT, END | {"state": "out", "outcome": None}, LEFT])

    assert silent.silent == ["m1: try 1 has no end"]
    assert (
        judge([FATE | {"ends": "unanswered"}, ASK, TOLD, GOT, END | {"outcome": "unanswered"}, LEFT]).problems
        == []
    )


def test_a_bad_input_without_an_outcome_is_lost_and_one_with_any_outcome_is_not():
    """Accepted or a dead letter: each entry is told; what became of its message is nobody's affair."""
    bad = {"k": "bad", "t": 1, "name": "a year of 0", "entry": "1-0"}
    fate = FATE | {"ref": "bad1", "ends": "any"}
    told = {"k": "answered", "t": 2, "entry": "1-0", "outcome": "dead_lettered"}
    letter = {"k": "dead", "t": 9, "raw": "junk", "reason": "x"}
    assert judge([*CLEAN, fate, bad]).lost != []
    assert judge([*CLEAN, fate, bad, told, letter, GOT | {"ref": "bad1", "attempt": 9}]).problems == []
    assert judge([*CLEAN, fate, bad, told, letter | {"raw": '{"reference": "m1"}'}]).innocent != []


def test_a_record_that_is_none_and_stands_in_the_way_is_left_over():
    """It is to be set aside; a newer release's is to be left where it is."""
    planted = {"k": "planted", "t": 9, "name": "zeros", "wanted": False, "scheduled": True}
    assert judge([*CLEAN, planted]).left != []
    assert judge([*CLEAN, planted | {"wanted": True, "scheduled": False}]).left != []
    assert judge([*CLEAN, planted | {"wanted": True}]).problems == []


def test_an_ordinary_message_that_leaves_after_the_bound_is_late():
    """Where the run has one; a bad input may take its time."""
    bound = {"k": "bound", "t": 0, "seconds": 6}
    slow = [FATE, ASK, TOLD, GOT | {"t": 8}, END, LEFT]
    assert judge([*slow, bound]).late != []
    assert judge(slow).problems == []
    assert judge([*CLEAN, bound]).problems == []


def test_a_reference_that_leads_nowhere_is_said():
    """In the words that the store's own check has for it."""
    assert judge([*CLEAN, {"k": "broken", "t": 9, "said": "x"}]).problems == ["broken: x"]


def test_every_named_point_is_reached_in_one_place_and_struck_by_the_suite():
    """A point without a place, or a place without a name, fails here."""
    found = re.findall(r'reached\("([\w.]+)"\)', "".join(path.read_text() for path in SOURCE.rglob("*.py")))

    assert sorted(found) == sorted(POINTS)
    assert {*BY_CELERY, *ZOMBIES} <= set(POINTS)


@pytest.mark.parametrize("bug", control.BUGS, ids=lambda bug: bug.name)
def test_each_bug_to_be_planted_finds_its_place_once(bug: control.Bug):
    """A change of our code that moves a planted bug's place fails here, not in the control run half an hour later."""
    for name, before, _ in bug.changes:
        assert (control.ROOT / "src/softbounce" / name).read_text(encoding="utf-8").count(before) == 1, name
