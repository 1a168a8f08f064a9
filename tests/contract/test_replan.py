"""Another policy's times for what waits already: exactly what ``plan`` says, and nothing that changed meanwhile."""

import pytest

from contract.store_driver import DAY, HOUR, LEASE, MINUTE, NUMBER, SECOND, START
from softbounce.core.replan import Effect, Move, replanned
from softbounce.core.timestamps import iso
from softbounce.store.audit import By
from softbounce.store.policies import Revision

SHIPPED = "SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [4h, 6h], jitter: 0%}}"
HEAD = "version: 1\nname: test\ndefaults: {retry: {give_up_after: 3d, settle: 0s}}\ncodes:\n  "


@pytest.fixture
def old(driver):
    """The driver under a policy whose first try comes after four hours."""
    return driver.with_policy(HEAD + SHIPPED)


def replan(old, rule, *, meanwhile=lambda: None):
    """Return what another rule does to m1, and how many retries it moved."""
    new = old.with_policy(HEAD + rule).policy
    delivery = old.story().delivery
    (failure,) = old.store.retries.scheduled_by([delivery])
    found = replanned(delivery, failure, policy=new, now=old.now)
    meanwhile()
    moves = [found] if isinstance(found, Move) else []
    moved = old.store.policies.replan(moves, revision=new.revision, by=By("me", "calmer"))
    return (found.effect if moves else found), moved


def test_a_retry_gets_the_new_time_and_keeps_its_number(old):
    """Counted from its own failure, not from now."""
    old.fail()
    began = old.now
    old.wait(HOUR)

    assert replan(old, SHIPPED.replace("4h", "9h")) == (Effect.LATER, 1)
    after = old.story().delivery
    assert (after.due, after.attempt) == (began + 9 * HOUR, 1)
    assert old.claim() == []
    old.wait(7 * HOUR)
    assert old.claim() == []
    old.wait(HOUR)
    assert [lease.delivery.attempt for lease in old.claim()] == [1]


def test_a_retry_whose_new_time_has_passed_is_due_now(old):
    """One that should have left by the new rule leaves with the next claim."""
    old.fail()
    old.wait(2 * HOUR)

    assert replan(old, SHIPPED.replace("4h", "1h")) == (Effect.EARLIER, 1)
    assert old.story().delivery.due == old.now
    old.wait(1000)
    assert [lease.delivery.attempt for lease in old.claim()] == [1]


@pytest.mark.parametrize(
    "rule",
    [
        "SMS_EXPIRED: {do: drop, fault: recipient}",
        "SMS_EXPIRED: {do: retry, fault: recipient, retry: {delays: [80h], jitter: 0%, give_up_after: 79h}}",
    ],
    ids=["drop", "too late"],
)
def test_a_retry_that_the_new_rule_drops_or_outlasts_is_given_up(old, rule):
    """Told to the pipeline as any other end, and never sent."""
    old.fail()

    assert replan(old, rule) == (Effect.DROPPED, 1)
    old.wait(1000)
    assert old.claim() == []
    assert old.story().delivery.outcome == "given_up"
    assert old.notices() == ["given_up"]


def test_a_retry_that_the_new_rule_would_hold_or_block_keeps_its_time(old):
    """No new rule convicts a recipient by an old report."""
    old.fail()

    assert replan(old, "SMS_EXPIRED: {do: suppress, fault: recipient}") == (Effect.KEPT, 0)
    assert replan(old, "SMS_EXPIRED: {do: hold, fault: recipient}") == (Effect.KEPT, 0)
    assert not old.is_suppressed(NUMBER)


def test_a_retry_gets_no_more_tries_than_all_rules_allow(old):
    """By the new rule the one try was of another fault, and does not count; limits.max_attempts binds it nevertheless."""
    old.fail()
    old.resend()
    old.fail()
    rule = SHIPPED.replace("4h, 6h", "7h, 8h").replace("recipient", "provider")

    assert replan(old, rule + "\nlimits: {max_attempts: 2}") == (Effect.LATER, 1)
    assert (old.story().delivery.attempt, old.story().delivery.head["n"]) == (2, 2)


def test_a_retry_is_never_planned_past_the_deadline_of_its_message(old):
    """The new rule would send it after nine hours, and the message is of no use after five."""
    old.fail(notAfter=iso(old.now + 5 * HOUR))

    assert replan(old, SHIPPED.replace("4h", "9h")) == (Effect.DROPPED, 1)


def test_a_retry_that_a_person_released_as_it_is_keeps_its_time(old):
    """A release with --even-stale says when each leaves; a person's word goes before a plan."""
    old.fail()
    old.until_due()
    for _ in range(4):
        old.claim()
        old.wait(LEASE + SECOND)
    (case,) = old.cases()
    old.store.cases.resolve(
        case.id,
        how="release",
        first=old.now + HOUR,
        step=0,
        even_stale=True,
        policy=old.policy,
        by=By("me", "mended"),
    )
    due = old.story().delivery.due
    assert due == old.now + HOUR

    assert replan(old, SHIPPED.replace("4h", "9h")) == (Effect.UNCHANGED, 0)
    assert old.story().delivery.due == due


def test_the_least_delay_of_a_new_plan_counts_from_the_report(old):
    """A retry that the new rule wants in five minutes leaves then, though the least delay is ten."""
    old.fail()
    began = old.now
    old.wait(2 * HOUR - 5 * MINUTE)

    assert replan(old, SHIPPED.replace("4h", "2h") + "\nlimits: {min_delay: 10m}") == (Effect.EARLIER, 1)
    assert old.story().delivery.due == began + 2 * HOUR


def answered(driver):
    """Return when it is due then."""
    driver.resend()
    driver.fail()
    return driver.now + 6 * HOUR


def due_by_now(driver):
    """Return when it was due."""
    driver.wait(5 * HOUR)
    return START + 4 * HOUR


def planned_by_another(driver):
    """Return when it is due then."""
    replan(driver, SHIPPED.replace("4h, 6h", "6h, 8h"))
    return START + 6 * HOUR


@pytest.mark.parametrize("meanwhile", [answered, due_by_now, planned_by_another])
def test_a_retry_that_changed_after_it_was_read_keeps_what_it_has(old, meanwhile):
    """Leased, answered, due or planned anew meanwhile: the plan speaks of something that is no more."""
    old.fail()
    due = []
    rule = SHIPPED.replace("4h, 6h", "9h, 9h")

    assert replan(old, rule, meanwhile=lambda: due.append(meanwhile(old))) == (Effect.LATER, 0)
    assert [old.story().delivery.due] == due


def test_of_two_who_apply_at_once_one_is_refused(old):
    """Each names the revision it has seen: the second has not seen the first's."""
    policies = old.store.policies
    one, two = (
        Revision(revision=name, text="version: 1", file="policy.yaml", by="me", at=old.now, reason="why")
        for name in ("11111111", "22222222")
    )
    words = {"action": "policy apply", "by": By("me", "why")}

    assert policies.apply(one, seen="", **words)
    assert not policies.apply(two, seen="", **words)
    assert policies.applied() == one
    old.wait(500 * DAY)
    old.store.sweep(policy=old.policy, count=1000)
    assert policies.applied() == one
