"""A bare report (a failure without an error) and its enriched form."""

import json
from pathlib import Path

from .store_driver import HOUR

SHIPPED = (Path(__file__).parents[2] / "config" / "policy.yaml").read_text(encoding="utf-8")


def _bare(driver, event, *, recipients=True, **options):
    report = json.loads(driver.failed(event=event, **options))
    del report["claim"]["communication"]["error"]
    if not recipients:
        del report["claim"]["communication"]["recipients"]
    return json.dumps(report).encode()


def test_the_number_of_the_try_survives_a_bare_report_and_its_enriched_form(driver):
    """The attempt number only grows, also where the answer to a resend came bare first, enriched later."""
    driver.fail()
    driver.resend()
    driver.wait(HOUR)

    assert driver.accept(_bare(driver, "e9")) == ["held"]
    answer = driver.accept_all(driver.failed(event="e9"))[0]

    assert (answer.outcome, answer.attempt) == ("scheduled", 2)


def test_an_enriched_form_leaves_the_waiting_try_its_number(driver):
    """A bare report that held a waiting retry gives way, and the try that never went out keeps its number."""
    driver.fail()

    assert driver.accept(_bare(driver, "e9")) == ["held"]
    answer = driver.accept_all(driver.failed(event="e9"))[0]

    assert (answer.outcome, answer.attempt) == ("scheduled", 1)
    assert len(driver.waiting()) == 1
    assert [case.count for case in driver.cases()] == [0]


def test_an_enriched_form_frees_nothing_that_another_report_holds(driver):
    """A delivery that is held for a fix stays held when some bare report of it is enriched."""
    driver.fail(code="PLACEHOLDER_ERROR", type="RENDER_ERROR")
    driver.accept(_bare(driver, "e9"))

    assert driver.accept(driver.failed(event="e9")) == ["held"]
    assert [case.count for case in driver.cases()] == [1]


def test_a_delivery_takes_the_bare_report_out_of_its_case(driver):
    """What was delivered is no member of a case any more, also where the bare report named nobody."""
    driver.accept(_bare(driver, "e1", recipients=False))
    driver.deliver()

    assert [case.count for case in driver.cases()] == [0]


def test_an_ignored_enriched_form_changes_nothing(driver):
    """do: ignore. The enriched form leaves what the bare report held where a person finds it."""
    ignoring = driver.with_policy(
        SHIPPED.replace("{do: drop, fault: message}", "{do: ignore, fault: message}")
    )
    ignoring.accept(_bare(driver, "e1"))

    assert ignoring.accept(driver.failed(event="e1", code="DEADLINE_EXCEEDED")) == ["ignored"]
    assert ignoring.story().delivery.state == "held"
    assert [case.count for case in ignoring.cases()] == [1]


def test_the_enriched_form_counts_the_try_once(driver):
    """A try answered bare and then enriched is one answered try of its rule."""
    driver.fail()
    driver.resend()
    driver.wait(HOUR)
    driver.accept(_bare(driver, "e9"))
    driver.accept(driver.failed(event="e9"))

    assert driver.story().delivery.head["o"] == 1
