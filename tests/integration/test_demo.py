"""The demo on the real worker: small, with and without kills."""

import pytest

from softbounce import demo


@pytest.fixture(scope="module")
def table():
    """The table of one small demo, without kills."""
    return _run(seed=3)


def _run(**options):
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = demo.run(days=2, recipients=400, fast=True, **options)
    text = out.getvalue()
    return code, text, text[text.index("no retry") : text.index("1. Resends")]


def test_every_claim_holds(table):
    """The demo exits 0 and prints its three zeros."""
    code, text, _ = table

    assert code == 0
    for claim in ("DELIVERED was known: 0", "Same retry twice: 0", "suppressed recipient: 0"):
        assert claim in text


def test_killing_the_worker_three_times_changes_nothing(table):
    """A kill -9 while it hands over and while it takes in: still zeros, and the same table."""
    code, text, same = _run(seed=3, chaos=True)

    assert code == 0
    assert "kill -9: 3 times" in text
    assert same == table[2]


def test_another_seed_is_another_world(table):
    """The table follows from the seed."""
    assert _run(seed=4)[2] != table[2]
