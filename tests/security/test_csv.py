"""A list as CSV: no cell is a formula to a spreadsheet, and every value comes back as it was."""

import csv
import io
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from softbounce.core.table_files import read_rows, write_rows
from softbounce.store.suppression_entries import COLUMNS

STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are their full-width forms
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
CELLS = st.one_of(
    TEXT,
    st.builds(str.__add__, st.text(" \u00a0\ufeff'\"" + STARTS, max_size=4), TEXT),
    st.builds("+{}".format, st.integers(10**7, 10**15)),
    st.just('=HYPERLINK("https://x.example","y")'),
)


def written(value: str) -> str:
    """Return an export with ``value`` in each column."""
    file = io.StringIO(newline="")
    row: dict[str, Any] = dict.fromkeys(COLUMNS, value)
    write_rows([row | {"evidence": [], "also": []}], file, form="csv", columns=COLUMNS)
    return file.getvalue()


@given(CELLS)
@example("+4915112345678")
@example("'+4915112345678")
@example(" =1+1")
@example("\ufeff\r")
@example("''=1")
def test_no_cell_starts_a_formula(value: str):
    """Whatever stands in a code, an origin or a reason; blanks before it do not hide it either.

    A number computes nothing, and a program that reads the file takes it for what it is.
    """
    _, cells = csv.reader(io.StringIO(written(value), newline=""))

    for cell in cells:
        if re.fullmatch(r"[+-]?[0-9]+", cell):
            assert cell == value
            continue
        assert not cell.lstrip(" \u00a0\ufeff").startswith(tuple(STARTS)), cell
        assert not cell.startswith(tuple(STARTS)), cell


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)))
@example(["two words"])
@example(["[1"])
@example(["=1+1", "[]"])
def test_evidence_comes_back_as_it_was(evidence: list[str]):
    """The id of an event is any text, also with blanks."""
    file = io.StringIO(newline="")
    write_rows([{"evidence": evidence}], file, form="csv", columns=["evidence", "key"])
    file.seek(0)

    assert [row["evidence"] for row in read_rows(file, form="csv")] == [evidence]


@given(CELLS)
@example("'+4915112345678")
@example("''")
@example("'=1")
def test_every_value_comes_back_as_it_was(value: str):
    """An export imports again, numbers with their plus and apostrophes that were there before."""
    (row,) = read_rows(io.StringIO(written(value), newline=""), form="csv")

    lists = ("evidence", "also")
    assert {name: cell for name, cell in row.items() if name not in lists} == dict.fromkeys(
        [name for name in COLUMNS if name not in lists], value
    )
