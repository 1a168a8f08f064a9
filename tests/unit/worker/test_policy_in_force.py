"""When a changed policy file comes into force, and when it is taken for half written."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from softbounce.settings import packaged_policy
from softbounce.worker.policy_in_force import PolicyInForce

WHOLE = packaged_policy()
CHANGED = WHOLE.replace("unknown_code: hold", "unknown_code: drop")
HALF = CHANGED[: CHANGED.index("codes:")]  # valid, and it knows no code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(WHOLE)
    return path


def test_a_change_comes_into_force_once_two_looks_found_the_same(file: Path):
    """What is read once may be half written: the second look that finds the same text puts it in force."""
    policies = PolicyInForce(file)
    before = policies.current.revision

    file.write_text(HALF)
    policies.refresh()
    file.write_text(CHANGED)
    policies.refresh()
    assert policies.current.revision == before
    policies.refresh()

    assert policies.text == CHANGED
    assert policies.current.revision != before


def test_who_asks_waits_for_no_second_look(file: Path):
    """SIGHUP comes after the writing: what is read then is in force at once."""
    policies = PolicyInForce(file)
    file.write_text(CHANGED)

    policies.refresh(asked=True)

    assert policies.text == CHANGED


@pytest.mark.parametrize("asked", [False, True])
def test_the_beginning_of_the_policy_in_force_is_refused_and_said_once(file: Path, *, asked: bool):
    """A disk that fills leaves the front of a file: it may be valid, would hold every message, and changes nothing."""
    policies = PolicyInForce(file)
    before = policies.current
    file.write_text(WHOLE[: WHOLE.index("codes:")])

    with capture_logs() as logs:
        policies.refresh(asked=asked)
        for _ in range(3):
            policies.refresh()

    assert policies.current is before
    assert [line["event"] for line in logs] == ["policy.reload_failed"]
    assert "softbounce policy apply" in logs[0]["problems"][0]


def test_a_policy_that_comes_back_as_it_was_is_in_force_without_a_word_of_failure(file: Path):
    """A file restored after a torn write is read again, and is what was in force all along."""
    policies = PolicyInForce(file)
    file.write_text(WHOLE[: WHOLE.index("codes:")])
    policies.refresh(asked=True)
    file.write_text(WHOLE)

    with capture_logs() as logs:
        policies.refresh()
        policies.refresh()

    assert [line["event"] for line in logs] == ["policy.loaded"]
