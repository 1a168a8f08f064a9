"""The bench's guard and its mixes, without a measurement."""

import json
from collections import Counter

import pytest
from checks.bench import events, rows


@pytest.fixture
def floors(monkeypatch, tmp_path):
    """Recorded floors of two rows."""
    path = tmp_path / "floors.json"
    path.write_text(json.dumps({"speed": 10, "size": 400}), encoding="utf-8")
    monkeypatch.setattr(rows, "FLOORS", path)


def row(key, *found, less=False):
    """Return a row with its rounds."""
    return rows.Row(key=key, title=key, found=list(found), goal=20, floor=15, less=less)


@pytest.mark.usefixtures("floors")
def test_the_guard_names_a_median_that_is_worse_than_its_recorded_floor():
    """More is better, or less; a row without a recorded floor is never named."""
    found = [row("speed", 30, 9, 8), row("size", 500, less=True), row("new", 1)]

    assert [said.partition(":")[0] for said in rows.fallen(found)] == ["speed", "size"]
    assert rows.fallen([row("speed", 1, 10, 11), row("size", 400, less=True)]) == []


@pytest.mark.usefixtures("floors")
def test_what_is_recorded_holds_for_what_was_found():
    """The floor is the worst round less its margin, so the same measurement never falls."""
    found = [row("speed", 5, 6, 7), row("size", 900, 1000, less=True)]

    rows.record(found)

    assert rows.fallen(found) == []
    assert rows.fallen([row("speed", 2)])
    assert rows.fallen([row("size", 2100, less=True)])


@pytest.mark.parametrize(("found", "state"), [(20, "reached"), (19, "short"), (14, "BELOW THE FLOOR")])
def test_a_row_says_how_far_it_got(found, state):
    """The goal, the floor, or neither."""
    assert row("x", found).state == state


def test_the_mixes_have_the_shares_they_are_named_after():
    """70 % transient, 20 % permanent, 10 % message-level or malformed; and 97 % that arrive."""
    kinds = Counter(
        "transient" if kind in events.TRANSIENT else "permanent" if kind in events.PERMANENT else "message"
        for kind in (events.FAILURES[n * 7 % len(events.FAILURES)] for n in range(400))
    )
    raws = events.make(1000, kinds=events.DELIVERIES)

    assert kinds == {"transient": 280, "permanent": 80, "message": 40}
    assert sum(b'"MESSAGE_DELIVERED"' in raw for raw in raws) == 970
    assert len({json.loads(raw)["claim"]["communication"]["reference"] for raw in raws}) == 1000
