"""The numbers that Python and a script both use are the same: the script has its own copy."""

import math
import re

import pytest

from softbounce.core.durations import SECOND
from softbounce.store import limits
from softbounce.store.scripts import assemble


def number_in(script: str, name: str) -> int:
    """Return what ``local NAME = ...`` says in a script, or ``local FIRST, NAME = ...``."""
    lines = re.findall(r"^(?:local )?([A-Z_, ]+) = ([\d *,]+)(?: --.*)?$", assemble(script), re.MULTILINE)
    (found,) = (
        values.split(",")[names.split(", ").index(name)]
        for names, values in lines
        if name in names.split(", ")
    )
    return math.prod(map(int, found.split("*")))


@pytest.mark.parametrize(
    ("script", "name", "ours"),
    [
        ("claim", "GAP", limits.QUARANTINE_AFTER),
        ("claim", "STRIKES", limits.STRIKES),
        ("claim", "STRIKES_WITHIN", limits.STRIKES_WITHIN // SECOND),
        ("claim", "FEW", limits.STRUCK_BATCH),
        ("claim", "WORK", limits.HANDOVER_BATCH),
        ("claim", "A_DAY", limits.BREAKER_KEPT),
        ("claim", "HISTORY_BYTES", limits.HISTORY_BYTES),
        ("accept", "A_DAY", limits.BREAKER_KEPT),
        ("accept", "LATE", limits.LATE),
        ("accept", "HISTORY_BYTES", limits.HISTORY_BYTES),
    ],
)
def test_a_script_and_python_have_one_number(script, name, ours):
    """Whoever changes one changes both."""
    assert number_in(script, name) == ours


def test_virtual_time_moves_by_less_than_what_ends_in_quarantine():
    """Else a replay, the demo and a user's test would stop at a long step."""
    assert limits.LONGEST_STEP < limits.QUARANTINE_AFTER
