"""How properties are tried: bounded in time, shown before they are made smaller, made smaller without a limit."""

import signal
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test, rule
from tests.properties import hold

MANY = 500


class Endless(RuleBasedStateMachine):
    """It breaks nothing."""

    @rule(value=st.integers())
    def take(self, value):
        """Take it."""


@pytest.mark.parametrize("is_machine", [False, True], ids=["function", "machine"])
def test_no_example_begins_after_the_time(is_machine):
    """A property is tried on as many examples as there is time for, and passes.

    A machine draws while it runs: one that is stopped before its first draw is called flaky.
    """
    tried = []
    given_so = settings(max_examples=MANY, database=None)

    @given_so
    @given(st.integers())
    def prop(value):
        tried.append(value)

    reads = count()

    def now():
        return next(reads)

    hold(get_state_machine_test(Endless, settings=given_so) if is_machine else prop, seconds=10, now=now)

    assert next(reads) <= 11
    assert is_machine or 0 < len(tried) <= 10


class Machine(RuleBasedStateMachine):
    """It breaks where the sum is large."""

    def __init__(self):
        super().__init__()
        self.sum = 0

    @rule(value=st.integers(0, 10_000))
    def add(self, value):
        """Add it."""
        self.sum += value
        assert self.sum < 1000


def plain(value):
    """Break from a thousand on."""
    assert value < 1000


@pytest.mark.parametrize(
    "more",
    [{"database": None}, {"database": InMemoryExampleDatabase()}, {"database": None, "derandomize": True}],
    ids=["random", "kept", "CI"],
)
@pytest.mark.parametrize("is_machine", [False, True], ids=["function", "machine"])
def test_what_fails_is_shown_first_and_made_smaller_without_a_limit(is_machine, more):
    """The example as found, while the limit still runs; then the smallest one, without it; the test fails."""
    shown = []

    def show(text):
        shown.append((text, signal.getitimer(signal.ITIMER_REAL)[0] > 0))

    signal.setitimer(signal.ITIMER_REAL, 100)
    given_so = settings(max_examples=MANY, **more)
    function = given_so(given(value=st.integers(0, 10_000))(plain))
    test = get_state_machine_test(Machine, settings=given_so) if is_machine else function
    with pytest.raises(AssertionError) as failed:
        hold(test, show=show)
    (first, is_limited), smallest = shown[0], "".join(failed.value.__notes__)

    assert is_limited
    assert "add(value=" in first if is_machine else "value=" in first
    assert smallest.count("add(value=1000)" if is_machine else "value=1000") == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
