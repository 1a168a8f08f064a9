"""What resolving and acknowledging a case does."""

import pytest

from softbounce.errors import NotFound
from softbounce.store.audit import By

from .book import HOUR


def _resolve(book, case, how, **options):
    return book.store.cases.resolve(
        case.id, how=how, by=By("me", "looked"), policy=book.policy, first=book.now, step=1, **options
    )


def test_a_case_decides_about_its_own_deliveries_only(book):
    """Resolving a case of soft bounces does not end what another case holds for a fix."""
    for n in range(3):
        book.fail(f"m{n}")
        book.wait(25 * HOUR)
    book.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    soft, held = (next(c for c in book.cases() if c.kind == kind) for kind in ("soft_bounces", "held"))

    _resolve(book, soft, "fixed")

    assert book.story("m2").delivery.state == "held"
    assert _resolve(book, held, "release").released == 1


def test_a_resolved_case_is_not_reopened_by_an_acknowledgement(book):
    """Only an open case can be acknowledged."""
    book.fail(code="SMS_BLOCKED")
    (case,) = book.cases()
    _resolve(book, case, "drop")

    with pytest.raises(NotFound, match="no open case"):
        book.store.cases.ack(case.id, by=By("me", "late"))
    (case,) = book.cases()
    assert case.state == "resolved"
