"""What people hear: one notice for many recipients with something in common, and not again for the same."""

import pytest

from softbounce.core.durations import DAY, HOUR, MINUTE, SECOND
from softbounce.core.policy.file import load
from softbounce.core.policy.model import Grouping
from softbounce.store.audit import By

LEASE = 30 * SECOND
GROUPS = Grouping(by=("merchant", "channel", "code"), wait=5 * MINUTE, repeat=DAY)
CODES = """codes:
  SMS_EXPIRED: {do: retry, fault: recipient}
  SMS_UNDELIVERED: {do: retry, fault: recipient}
"""


@pytest.fixture
def policy():
    """The policy that ships, where the first soft bounce is one too many."""
    return load("version: 1\ndefaults: {soft_bounce: {escalate_at: 1}}\n" + CODES, file="policy.yaml")


@pytest.fixture
def people(driver):
    """Return what tells the pipeline and takes what people are to hear, without finishing that."""

    def turn():
        notices = driver.store.notices.claim(limit=1000, lease=LEASE)
        driver.store.notices.finish([one for one in notices if not one.told], people=GROUPS)
        return [one for one in notices if one.told]

    return turn


def escalate(driver, *numbers, **options):
    """Let one message to each of these recipients fail."""
    for n in numbers:
        assert driver.fail(f"m{n}", to=[f"+41760000{n:03}"], **options).escalated


def tell(driver, people):
    """Take what people are to hear and finish it; returns the bodies."""
    told = people()
    driver.store.notices.finish(told, people=GROUPS)
    return [one.body for one in told]


def test_people_get_one_notice_for_all_that_a_wait_has_collected(driver, people):
    """It says how many, shows five of them masked, and what to type; the pipeline gets each at once."""
    escalate(driver, *range(7))
    assert driver.store.sizes()["notices"] == 7
    assert people() == []
    driver.wait(4 * MINUTE)
    escalate(driver, 7)
    assert people() == []
    driver.wait(MINUTE)
    (body,) = tell(driver, people)

    assert body["type"] == "softbounce.escalated"
    assert body["group"] == {"merchant": "1", "channel": "sms", "code": "SMS_EXPIRED"}
    assert (body["count"], len(body["samples"])) == (8, 5)
    assert {sample["recipient"] for sample in body["samples"]} <= {f"+41•••{n:02}" for n in range(7)}
    assert {sample["reference"] for sample in body["samples"]} <= {f"m{n}" for n in range(7)}
    assert (
        body["command"] == "softbounce cases list kind:soft_bounces merchant:1 channel:sms code:SMS_EXPIRED"
    )
    assert body["text"].startswith(
        "8 recipients failed again and again: merchant 1, channel sms, code SMS_EXPIRED."
    )
    assert "+4176" not in str(body)


def test_what_has_something_else_in_common_is_another_group(driver, people):
    """Another merchant or another code is told apart, because somebody else may have to look."""
    escalate(driver, 1)
    escalate(driver, 2, merchant=2)
    escalate(driver, 3, code="SMS_UNDELIVERED")
    assert people() == []
    driver.wait(5 * MINUTE)

    assert sorted(
        (body["group"]["merchant"], body["group"]["code"], body["count"]) for body in tell(driver, people)
    ) == [
        ("1", "SMS_EXPIRED", 1),
        ("1", "SMS_UNDELIVERED", 1),
        ("2", "SMS_EXPIRED", 1),
    ]


def test_a_group_that_grows_is_told_again_after_its_repeat_and_then_of_the_new_ones_alone(driver, people):
    """An open case that is known is no news; a group without news is forgotten and waits anew."""
    escalate(driver, 1)
    people()
    driver.wait(5 * MINUTE)
    (first,) = tell(driver, people)
    escalate(driver, 2, 3)
    people()
    driver.wait(23 * HOUR)
    assert people() == []
    driver.wait(HOUR)
    (second,) = tell(driver, people)

    assert (first["count"], second["count"]) == (1, 2)
    assert first["id"] != second["id"]
    driver.wait(DAY)
    assert people() == []
    assert driver.client.hlen("{sb:default}:groups") == driver.client.zcard("{sb:default}:group_turns") == 0


def test_a_group_that_was_not_finished_comes_again_unchanged_under_its_id(driver, people):
    """A worker that is killed has told nobody, or the same thing; what comes meanwhile waits for the next."""
    escalate(driver, 1)
    people()
    driver.wait(5 * MINUTE)
    (first,) = people()
    escalate(driver, 2)
    assert people() == []
    driver.wait(LEASE + SECOND)
    (again,) = people()

    assert again == first
    driver.store.notices.finish([again], people=GROUPS)
    driver.wait(DAY)
    assert [body["count"] for body in tell(driver, people)] == [1]


def test_a_late_finish_of_one_telling_does_not_end_the_next(driver, people):
    """A worker that wakes up after its lease must not silence what another is about to tell."""
    escalate(driver, 1)
    people()
    driver.wait(5 * MINUTE)
    (old,) = people()
    driver.store.notices.finish([old], people=GROUPS)
    escalate(driver, 2)
    people()
    driver.wait(DAY)
    (new,) = people()
    driver.store.notices.finish([old], people=GROUPS)
    driver.wait(LEASE + SECOND)

    assert [one.id for one in people()] == [new.id]


def test_a_notice_that_is_finished_twice_is_counted_once(driver):
    """The reply of the first call may be lost; a second one, of another worker too, adds nothing."""
    escalate(driver, 1)
    notices = driver.store.notices.claim(limit=10, lease=LEASE)
    driver.store.notices.finish(notices, people=GROUPS)
    driver.store.notices.finish(notices, people=GROUPS)
    driver.wait(5 * MINUTE)

    assert [one.body["count"] for one in driver.store.notices.claim(limit=10, lease=LEASE)] == [1]


def test_cases_that_somebody_closed_meanwhile_are_not_told_as_open(driver, people):
    """Whoever closed a case within the wait knows it; that it was closed is a notice of its own."""
    escalate(driver, 1, 2)
    people()
    for case, how in (("k_1", "fixed"), ("k_2", "suppress")):
        driver.store.cases.resolve(
            case, how=how, by=By("me", "known"), policy=driver.policy, first=driver.now, step=SECOND
        )
    people()
    driver.wait(5 * MINUTE)
    (body,) = tell(driver, people)

    assert (body["type"], body["count"]) == ("softbounce.case_resolved", 2)
    assert sorted(sample["how"] for sample in body["samples"]) == ["fixed", "suppress"]
    assert body["command"] == "softbounce cases list state:resolved merchant:1 channel:sms code:SMS_EXPIRED"


def test_where_nobody_is_to_be_told_no_group_is_kept(driver):
    """A receiver of the pipeline's notices alone leaves nothing behind."""
    escalate(driver, 1)
    driver.notices()

    assert not driver.client.exists("{sb:default}:groups", "{sb:default}:group_turns")
