"""The sizing tables of docs/operations/scaling.md say what follows from the costs in it."""

from checks.bench import sizing

TEXT = sizing.DOCUMENT.read_text(encoding="utf-8")


def test_the_sizing_tables_follow_from_the_costs():
    """Whoever renews the costs renews the tables: python -m checks.bench.sizing --write."""
    for shape in sizing.SHAPES:
        assert sizing.table(TEXT, shape) in TEXT


def test_a_load_adds_up():
    """Every event is a failure, the answer to its resend, or the delivery of what never failed."""
    for events, failing in ((1_000, None), (1_000, 0.03), (7, 1)):
        found = sizing.load(events, failing)

        assert abs(2 * found.failed + found.delivered - events) < 1e-9
