"""What resolving and acknowledging a case does."""

import pytest

from softbounce.errors import NotFound
from softbounce.store.audit import By

from .store_driver import HOUR


def _resolve(driver, case, how, **options):
    return driver.store.cases.resolve(
        case.id, how=how, by=By("me", "looked"), policy=driver.policy, first=driver.now, step=1, **options
    )


def test_a_case_decides_about_its_own_deliveries_only(driver):
    """Resolving a case of soft bounces does not end what another case holds for a fix."""
    for n in range(3):
        driver.fail(f"m{n}")
        driver.wait(25 * HOUR)
    driver.fail("m2", code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    soft, held = (next(c for c in driver.cases() if c.kind == kind) for kind in ("soft_bounces", "held"))

    _resolve(driver, soft, "fixed")

    assert driver.story("m2").delivery.state == "held"
    assert _resolve(driver, held, "release").released == 1


def test_a_resolved_case_is_not_reopened_by_an_acknowledgement(driver):
    """Only an open case can be acknowledged."""
    driver.fail(code="SMS_BLOCKED")
    (case,) = driver.cases()
    _resolve(driver, case, "drop")

    with pytest.raises(NotFound, match="no open case"):
        driver.store.cases.ack(case.id, by=By("me", "late"))
    (case,) = driver.cases()
    assert case.state == "resolved"
