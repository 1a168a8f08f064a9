"""The simulated world, and the checker of the demo's claims."""

from collections import Counter

import pytest
from msgspec import convert

from softbounce.core.durations import HOUR, MINUTE
from softbounce.core.history import HistoryLine
from softbounce.demo.claims import other_claims, zero_claims
from softbounce.demo.pipeline import Seen
from softbounce.demo.rivals import Score, no_retry, plain_retry
from softbounce.demo.world import OUTAGE, START, Kind, World


def test_the_same_seed_makes_the_same_world():
    """Everything in the world follows from its seed."""
    one, same, other = (World(seed=seed, days=2, recipients=200) for seed in (7, 7, 8))

    assert one.messages == same.messages
    assert one.messages != other.messages


def test_the_outage_fails_every_text_and_no_mail():
    """While the text provider is down each text gets PROVIDER_ERROR."""
    world = World(seed=7, days=2, recipients=200)
    moment = OUTAGE[0] + HOUR
    codes = {message.person.channel: set() for message in world.messages}
    for message in world.messages:
        codes[message.person.channel].add(world.carry(message, moment)[1][0].code)

    assert codes["sms"] == {"PROVIDER_ERROR"}
    assert "PROVIDER_ERROR" not in codes["email"]


def test_a_phone_that_is_off_gets_the_text_in_the_morning_only():
    """A text into the night expires; the same text after seven arrives."""
    world = World(seed=7, days=2, recipients=400)
    message = next(m for m in world.messages if m.person.kind is Kind.OFF_AT_NIGHT and not m.is_late)
    night = next(START + n * HOUR for n in range(24) if message.person.hour(START + n * HOUR) == 23)

    assert world.carry(message, night)[0] is None
    assert world.carry(message, night + 10 * HOUR)[0] is not None


def test_a_plain_retry_costs_more_and_brings_back_less():
    """The straw man sends texts at night and twice; not to retry recovers late receipts only."""
    world = World(seed=7, days=2, recipients=1000)
    none, plain = no_retry(world), plain_retry(world)

    assert none.extra == 0
    assert none.recovered == none.late
    assert plain.delivered > none.delivered
    assert plain.at_night > 0
    assert plain.doubled > 0


def test_the_checker_finds_a_resend_after_the_delivery_was_known():
    """A checker that cannot fail proves nothing."""
    seen = Seen(commands=[(START + HOUR, _command())], delivered_at={"m1": START})

    assert [claim.found for claim in zero_claims(seen)[:3]] == [1, 0, 0]


def test_a_resend_that_left_before_the_delivery_was_known_is_told_beside():
    """The receipt of an earlier send that meets a resend in the air is no broken claim, but it is said."""
    seen = Seen(commands=[(START, _command())], delivered_at={"m1": START}, delivered_by={"m1": None})
    arrived = Seen(commands=[(START, _command())], delivered_at={"m1": START}, delivered_by={"m1": "a"})

    assert [claim.found for claim in zero_claims(seen)[:3]] == [0, 0, 0]
    assert zero_claims(seen)[0].beside == "1 crossed"
    assert zero_claims(arrived)[0].beside == "0 crossed"


def test_the_checker_finds_two_ids_for_one_try():
    """One (delivery, attempt) has one id; a repeated hand-over of it is told beside."""
    twice = Seen(commands=[(START, _command()), (START, _command(id="other"))])
    repeated = Seen(commands=[(START, _command()), (START, _command())])

    assert [claim.found for claim in zero_claims(twice)[:3]] == [0, 1, 0]
    assert [claim.found for claim in zero_claims(repeated)[:3]] == [0, 0, 0]
    assert "1 repeated" in zero_claims(repeated)[1].beside


def test_the_checker_finds_a_resend_to_a_suppressed_recipient():
    """A resend that leaves after the suppression breaks the claim; one at the same step had left before."""
    suppressed = {("sms", "+4915100000001"): START}
    seen = Seen(commands=[(START + MINUTE, _command())], suppressed_at=suppressed)
    before = Seen(commands=[(START, _command())], suppressed_at=suppressed)

    assert [claim.found for claim in zero_claims(seen)[:3]] == [0, 0, 1]
    assert [claim.found for claim in zero_claims(before)[:3]] == [0, 0, 0]


def test_the_checker_reads_a_command_without_recipients():
    """A broken command is a broken claim, never a crash of the checker."""
    seen = Seen(commands=[(START + HOUR, _command(recipients=[]))], delivered_at={"m1": START})

    assert zero_claims(seen)[0].found == 1


@pytest.mark.parametrize("answers", [[], ["scheduled"], ["scheduled", "coalesced"]])
def test_the_checker_finds_an_event_without_exactly_one_outcome(answers):
    """Each copy of an event is answered, and all with the same outcome."""
    seen = Seen(reported=Counter(e1=2), answers={"e1": answers} if answers else {})

    assert _others(seen)["Events without exactly one outcome"] == 1
    assert _others(Seen(reported=Counter(e1=2), answers={"e1": ["held", "held"]}), {"held": 1}) == ALL_WELL


def test_the_checker_finds_a_figure_that_differs_from_the_stores_own():
    """The store's counters say the same as the world; its duplicates too, unless a worker was killed."""
    seen = Seen(reported=Counter(e1=2), answers={"e1": ["held", "held"]}, duplicates=1)
    figures = "Figures that differ from the store's own counters"

    assert _others(seen, {"held": 1, "duplicate": 1})[figures] == 0
    assert _others(seen, {"held": 2, "duplicate": 1})[figures] == 1
    assert _others(seen, {"held": 1, "duplicate": 9})[figures] == 1
    assert _others(seen, {"held": 1, "duplicate": 9}, has_kills=True)[figures] == 0


def test_the_checker_finds_a_history_that_tells_another_story():
    """By the store's own time no resend comes after the delivery, and each command has its line."""
    seen = Seen(commands=[(START, _command())])
    resent, delivered = {"k": "resent", "a": 1, "t": 5}, {"k": "delivered", "a": 1, "t": 9}
    told = "Of 1 histories, those that tell another story"

    for wrong in ([], [resent, {**resent, "a": 2}], [delivered, {**resent, "t": 10}]):
        assert _others(seen, {"handed_over": 1}, lines=wrong)[told] == 1
    assert _others(seen, {"handed_over": 1}, lines=[resent, delivered])[told] == 0


def test_the_checker_finds_a_text_in_the_night_and_a_retry_of_a_permanent_code():
    """A confirming send of SMS_NOT_DELIVERED is policy; it is counted apart."""
    codes = ("BOUNCE_PERMANENT_GENERAL", "INVALID_MOBILE_NUMBER", "SMS_NOT_DELIVERED")
    seen = Seen(commands=[(START, _command(reason={"reasonCode": code})) for code in codes])
    found = _others(seen, score=Score(at_night=3))

    assert found["Retries of permanent codes"] == 2
    assert found["Texts between 20:00 and 08:00"] == 3


ALL_WELL = {
    "Texts between 20:00 and 08:00": 0,
    "Retries of permanent codes": 0,
    "Events without exactly one outcome": 0,
    "Figures that differ from the store's own counters": 0,
    "Of 0 histories, those that tell another story": 0,
}


def _others(seen, counters=None, *, score=None, lines=(), has_kills=False):
    claims = other_claims(
        seen,
        score or Score(),
        counters=counters or {},
        history=lambda _: convert(list(lines), list[HistoryLine]),
        has_kills=has_kills,
    )
    return {claim.text: claim.found for claim in claims}


def _command(**other):
    command = {"id": "a", "reference": "m1", "channel": "SMS", "recipients": ["+4915100000001"], "attempt": 1}
    return command | {"reason": {"reasonCode": "SMS_EXPIRED"}} | other


@pytest.mark.parametrize(("seen", "found"), [(0, 0), (2, 2), (None, -1)])
def test_the_checker_finds_who_is_still_suppressed_after_the_undo(seen, found):
    """Each healthy recipient that is refused counts, and no undo at all is no zero."""
    claim = zero_claims(Seen(still_refused=seen))[3]

    assert (claim.found, claim.holds) == (found, found == 0)
