"""The simulated world, and the checker of the demo's claims."""

from collections import Counter

from softbounce.core.durations import HOUR, MINUTE
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

    assert [claim.found for claim in zero_claims(seen)] == [1, 0, 0]


def test_the_checker_finds_two_ids_for_one_try():
    """One (delivery, attempt) has one id; a repeated hand-over of it is told beside."""
    twice = Seen(commands=[(START, _command()), (START, _command(id="other"))])
    repeated = Seen(commands=[(START, _command()), (START, _command())])

    assert [claim.found for claim in zero_claims(twice)] == [0, 1, 0]
    assert [claim.found for claim in zero_claims(repeated)] == [0, 0, 0]
    assert "1 repeated" in zero_claims(repeated)[1].beside


def test_the_checker_finds_a_resend_to_a_suppressed_recipient():
    """A resend that leaves after the suppression breaks the claim; one at the same step had left before."""
    seen = Seen(commands=[(START + MINUTE, _command())], suppressed_at={("sms", "+4915100000001"): START})

    assert [claim.found for claim in zero_claims(seen)] == [0, 0, 1]


def test_the_checker_finds_a_lost_outcome_and_a_figure_that_differs():
    """Each event has one outcome, and the store's own counters say the same."""
    seen = Seen(events=3, outcomes=Counter(scheduled=2))
    counters = {"scheduled": 2, "handed_over": 1}

    found = {claim.text: claim.found for claim in other_claims(seen, Score(), counters)}

    assert found["Events without exactly one outcome"] == 1
    assert found["Figures that differ from the store's own counters"] == 1


def _command(**other):
    command = {"id": "a", "reference": "m1", "channel": "SMS", "recipients": ["+4915100000001"], "attempt": 1}
    return command | {"reason": {"reasonCode": "SMS_EXPIRED"}} | other
