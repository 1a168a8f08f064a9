"""Due times: jitter, settle, least delay, and quiet hours over zones and clock changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from softbounce.core.durations import DAY, HOUR, MINUTE
from softbounce.core.policy.model import Disposition, QuietHours, Rule, SoftBounce, Source, SuppressionTerm
from softbounce.core.reasons import Fault
from softbounce.core.recipients import Channel, Recipient
from softbounce.core.schedule import HORIZON, chances, due_times, out_of_quiet, zones_for
from softbounce.core.zones import zones_of_country

EVERY_DAY = frozenset(range(7))
NIGHT = QuietHours(start=20 * 60, end=8 * 60, zone="recipient", days=EVERY_DAY, spread=45 * MINUTE)
BERLIN = ("Europe/Berlin",)
# every kind of clock: no change, half hours, a change of half an hour, one at midnight, Ramadan, date line
CLOCKS = (
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Tokyo",
    "Australia/Lord_Howe", "Africa/Casablanca", "Africa/Cairo", "Asia/Beirut", "Pacific/Apia",
    "Pacific/Chatham", "America/St_Johns",
)  # fmt: skip

FULL_HOURS = {"Pacific/Honolulu", "America/Los_Angeles", "America/New_York", "Europe/London", "Europe/Moscow",
              "Asia/Tokyo", "Asia/Vladivostok", "Australia/Sydney", "Pacific/Auckland"}  # fmt: skip

RULE = Rule(
    name="codes.SMS_EXPIRED", line=39, do=Disposition.RETRY, fault=Fault.RECIPIENT, off=False,
    delays=(90 * MINUTE, 4 * HOUR, 12 * HOUR, 24 * HOUR), jitter=0.2, give_up_after=72 * HOUR, settle=0,
    then="review", quiet_hours=None, timezone="Europe/Berlin", several_recipients=Disposition.RETRY,
    soft_bounce=SoftBounce(
        count="messages", escalate_at=3, within=30 * DAY, apart=DAY, reset_on="delivered", then="notify",
        hold_for=14 * DAY,
    ),
    suppression=SuppressionTerm(expires=90 * DAY, scope="all", origin="event"), confirm=None,
)  # fmt: skip
PHONE = Recipient(channel=Channel.SMS, address="+491701234567", country="DE", zones=BERLIN)


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Return the moment of a wall clock."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


FAILED = ms("2026-11-20T16:32")


def dues(rule: Rule, *, at: int = FAILED, now=None, min_delay=30_000, seed="m1|sms", **facts):
    """Return the due times of ``PHONE``'s delivery, accepted when it failed, unless told otherwise."""
    facts = {"subject": PHONE, "timezone": None} | facts
    return due_times(rule, at=at, now=at if now is None else now, min_delay=min_delay, seed=seed, **facts)


def is_quiet(moment: int, quiet: QuietHours, zones: tuple[str, ...]) -> bool:
    """Read each wall clock anew, as a person would: the independent judge of these tests."""
    for zone in zones:
        local = datetime.fromtimestamp(moment // 1000, UTC).astimezone(ZoneInfo(zone))
        clock = local.hour * 60 + local.minute
        today, yesterday = local.weekday() in quiet.days, (local.weekday() - 1) % 7 in quiet.days
        if quiet.start < quiet.end:
            if today and quiet.start <= clock < quiet.end:
                return True
        elif (today and clock >= quiet.start) or (yesterday and clock < quiet.end):
            return True
    return False


moments = st.integers(ms("2010-01-01T00:00"), ms("2036-01-01T00:00"))
units = st.floats(0, 1, exclude_max=True)
zone_sets = st.lists(st.sampled_from(CLOCKS), min_size=1, max_size=4, unique=True).map(tuple)
quiet_hours = st.builds(
    QuietHours,
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
    zone=st.just("recipient"),
    days=st.one_of(st.just(EVERY_DAY), st.frozensets(st.integers(0, 6), min_size=1)),
    spread=st.sampled_from((0, 1, 45 * MINUTE, 6 * HOUR)),
)


# delays and jitter --------------------------------------------------------------------


def test_each_try_of_the_rule_has_one_due_time():
    """There is one due time for each delay, and none for a rule without tries."""
    assert len(dues(RULE)) == 4
    assert dues(replace(RULE, delays=())) == ()


@given(moments, st.text(max_size=40), st.floats(0, 1))
def test_jitter_deviates_by_no_more_than_its_share(at, seed, jitter):
    """A try lies within delay x (1 - jitter) and delay x (1 + jitter) after the failure."""
    rule = replace(RULE, jitter=jitter)

    for delay, due in zip(rule.delays, dues(rule, at=at, min_delay=0, seed=seed), strict=True):
        assert round(delay * (1 - jitter)) <= due.at - at <= round(delay * (1 + jitter))


@given(moments, st.text(max_size=40))
def test_full_jitter_lies_between_nothing_and_the_delay(at, seed):
    """Full jitter takes anything from zero to the delay."""
    rule = replace(RULE, jitter=None)

    for delay, due in zip(rule.delays, dues(rule, at=at, min_delay=0, seed=seed), strict=True):
        assert 0 <= due.at - at <= delay


def test_jitter_spreads_evenly():
    """Over many deliveries the fractions fill [0, 1) evenly, and the two of one try are independent."""
    drawn = [chances(f"m{n}|sms", 1) for n in range(4000)]
    quarters = [0] * 16
    for jitter, spread in drawn:
        quarters[int(jitter * 4) * 4 + int(spread * 4)] += 1

    assert all(180 < count < 330 for count in quarters)  # 250 each; the bounds are 5 standard deviations


def test_a_try_has_the_chance_that_its_number_names():
    """What is asked before a hand-over, by the number of the try, is what was drawn when it was planned."""
    rule = replace(RULE, delays=(HOUR,) * 20, jitter=None, settle=0)
    planned = [due.planned - FAILED for due in dues(rule, min_delay=0)]

    assert planned == [round(HOUR * chances("m1|sms", number)[0]) for number in range(1, 21)]


def test_the_same_seed_gives_the_same_moments():
    """Explain, replay and a second worker compute what the first one did."""
    assert dues(RULE) == dues(RULE)
    assert dues(RULE, seed="a6590eb9|sms") != dues(RULE, seed="a6590eb9|email")


def test_moments_are_the_same_for_ever():
    """The hash and its reading are part of what a record means: a release may not change them."""
    first, second = dues(replace(RULE, delays=(HOUR, HOUR)), at=0, min_delay=0)

    assert (first.at, second.at) == (4_085_661, 3_048_462)


def test_tries_of_one_delivery_are_drawn_apart():
    """Two tries with the same delay do not share their jitter."""
    first, second = dues(replace(RULE, delays=(DAY, DAY)))

    assert first.at != second.at


# settle and least delay --------------------------------------------------------------------


def test_settle_binds_the_first_try_only():
    """The first try waits for late receipts; the others have an answer already."""
    first, second = dues(replace(RULE, delays=(HOUR, HOUR), settle=3 * HOUR))

    assert first.at == ms("2026-11-20T19:32")
    assert second.at < ms("2026-11-20T18:00")


@pytest.mark.parametrize("fault", [Fault.PROVIDER, Fault.MESSAGE, Fault.CONFIG])
def test_settle_binds_fault_recipient_only(fault):
    """A provider that refused has no late receipt to send."""
    (first,) = dues(replace(RULE, delays=(HOUR,), settle=3 * HOUR, fault=fault))

    assert first.at < ms("2026-11-20T18:00")


def test_no_try_is_sooner_than_the_least_delay_from_now():
    """A report that comes in late still leaves ``min_delay`` between its acceptance and each try."""
    late = dues(replace(RULE, delays=(2 * MINUTE, HOUR)), now=FAILED + 3 * DAY, min_delay=5 * MINUTE)

    assert [due.at for due in late] == [FAILED + 3 * DAY + 5 * MINUTE] * 2


@given(moments, st.integers(0, 3 * DAY), quiet_hours)
def test_no_try_is_sooner_than_planned(at, waited, quiet):
    """Quiet hours only ever move a try later, and say so."""
    rule = replace(RULE, quiet_hours=quiet, settle=90 * MINUTE)

    for due in dues(rule, at=at, now=at + waited):
        assert due.at >= due.planned >= at + waited + 30_000
        assert due.quiet == (due.at > due.planned)


# whose night --------------------------------------------------------------------


def phone_in(*zones: str) -> Recipient:
    """Return a phone that may be in any of the zones."""
    return structs.replace(PHONE, zones=zones)


@pytest.mark.parametrize(
    ("subject", "timezone", "expected"),
    [
        (PHONE, "Asia/Tokyo", (("Asia/Tokyo",), "event")),
        (PHONE, None, (BERLIN, "country")),
        (phone_in("Asia/Tokyo", "Asia/Dili"), None, (("Asia/Tokyo", "Asia/Dili"), "country")),
        (phone_in(*CLOCKS[:5]), None, (CLOCKS[:3], "country")),
        (phone_in(), None, (BERLIN, "default")),
        (None, None, (BERLIN, "default")),
    ],
)
def test_the_zone_is_the_events_then_the_numbers_then_the_rules(subject, timezone, expected):
    """The event's own zone comes first, then those of the number's area or country, else the rule's."""
    assert zones_for(replace(RULE, quiet_hours=NIGHT), subject, timezone) == expected


def sendable_hours(quiet: QuietHours, zones: tuple[str, ...], day: datetime) -> int:
    """Count the hours of one day in which it is quiet in none of the zones."""
    hours = [int(day.timestamp()) * 1000 + hour * HOUR for hour in range(24)]
    return sum(not is_quiet(hour, quiet, zones) for hour in hours)


@given(
    zones=st.lists(st.sampled_from(sorted(FULL_HOURS)), min_size=1, unique=True).map(tuple),
    start=st.integers(0, 23),
    end=st.integers(0, 23),
)
@example(
    zones=("America/New_York", "Pacific/Honolulu"), start=20, end=9
)  # six hours in winter, five in summer
def test_the_smallest_zones_are_left_out_until_six_hours_are_sendable(zones, start, end):
    """The kept zones are the first ones; one zone more would leave less than six hours in a season."""
    if start == end:
        return
    quiet = QuietHours(start=start * 60, end=end * 60, zone="recipient", days=EVERY_DAY, spread=0)
    kept, _ = zones_for(replace(RULE, quiet_hours=quiet), phone_in(*zones), None)
    seasons = (datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC))

    assert kept == zones[: len(kept)]
    assert len(kept) == 1 or all(sendable_hours(quiet, kept, day) >= 6 for day in seasons)
    more = zones[: len(kept) + 1]
    assert more == kept or any(sendable_hours(quiet, more, day) < 6 for day in seasons)


def test_a_country_whose_zones_share_no_six_hours_loses_the_smallest():
    """America's eight zones share 14:00 to 20:00 of New York; of Russia's eleven those from Moscow to Samara."""
    rule = replace(RULE, quiet_hours=NIGHT)
    america, russia = zones_of_country("US"), zones_of_country("RU")

    assert zones_for(rule, phone_in(*america), None)[0] == america
    assert zones_for(rule, phone_in(*russia), None)[0] == russia[:4]
    assert russia[4] == "Asia/Vladivostok"


def test_a_merchants_zone_is_named_as_such():
    """Explain says whether the fallback zone is the merchant's or everybody's."""
    source = Source(value="Europe/Zurich", layer="merchants.42", line=90)
    rule = replace(RULE, quiet_hours=NIGHT, timezone="Europe/Zurich", sources={"timezone": source})

    assert zones_for(rule, None, None) == (("Europe/Zurich",), "merchant")


def test_quiet_hours_may_name_a_fixed_zone():
    """``zone: Asia/Tokyo`` holds for everybody, whatever event and number say."""
    rule = replace(RULE, quiet_hours=replace(NIGHT, zone="Asia/Tokyo"))

    assert zones_for(rule, PHONE, "Europe/Paris") == (("Asia/Tokyo",), "policy")


# quiet hours --------------------------------------------------------------------


def test_a_try_at_night_moves_to_the_morning():
    """A try planned for 00:14 leaves after 08:00, within the spread."""
    planned = ms("2026-11-21T00:14", "Europe/Berlin")

    assert out_of_quiet(planned, NIGHT, BERLIN, 0.0) == ms("2026-11-21T08:00", "Europe/Berlin")
    assert out_of_quiet(planned, NIGHT, BERLIN, 0.5) == ms("2026-11-21T08:22:30", "Europe/Berlin")


@pytest.mark.parametrize("clock", ["08:00", "12:00", "19:59:59.999"])
def test_a_try_by_day_stays(clock):
    """Quiet time ends at its end and starts at its start, to the millisecond."""
    planned = ms(f"2026-11-21T{clock}", "Europe/Berlin")

    assert out_of_quiet(planned, NIGHT, BERLIN, 0.9) == planned


def test_a_wide_country_is_quiet_if_it_is_night_anywhere():
    """08:30 in Sao Paulo is 06:30 in Rio Branco: the try waits until both are awake."""
    zones = ("America/Sao_Paulo", "America/Rio_Branco")
    planned = ms("2026-11-20T21:30", "America/Sao_Paulo")

    assert out_of_quiet(planned, NIGHT, zones, 0.0) == ms("2026-11-21T08:00", "America/Rio_Branco")


def test_a_chosen_day_is_the_day_on_which_the_quiet_time_starts():
    """Quiet on Saturday from 20:00 to 08:00 covers Sunday morning, not Saturday morning."""
    saturday = replace(NIGHT, days=frozenset({5}), spread=0)

    assert out_of_quiet(ms("2026-11-21T07:00"), saturday, ("UTC",), 0.0) == ms("2026-11-21T07:00")
    assert out_of_quiet(ms("2026-11-21T21:00"), saturday, ("UTC",), 0.0) == ms("2026-11-22T08:00")
    assert out_of_quiet(ms("2026-11-22T07:00"), saturday, ("UTC",), 0.0) == ms("2026-11-22T08:00")
    assert out_of_quiet(ms("2026-11-22T21:00"), saturday, ("UTC",), 0.0) == ms("2026-11-22T21:00")


def test_a_quiet_weekend_is_left_on_monday():
    """Quiet all day on Saturday and Sunday is one quiet time, not two."""
    weekend = QuietHours(start=0, end=1440, zone="recipient", days=frozenset({5, 6}), spread=0)

    assert out_of_quiet(ms("2026-11-21T00:00"), weekend, ("UTC",), 0.0) == ms("2026-11-23T00:00")


def test_the_spread_ends_where_it_gets_quiet_again():
    """With 20 sendable minutes a day and a spread of 45, moved tries share the 20."""
    quiet = replace(NIGHT, start=8 * 60 + 20)
    planned = ms("2026-11-21T03:00")

    assert out_of_quiet(planned, quiet, ("UTC",), 0.999999) == pytest.approx(ms("2026-11-21T08:20"), abs=2)
    assert not is_quiet(out_of_quiet(planned, quiet, ("UTC",), 0.999999), quiet, ("UTC",))


def test_moved_tries_spread_evenly():
    """A night's tries do not all leave in one burst at 08:00."""
    rule = replace(RULE, quiet_hours=NIGHT, delays=(8 * HOUR,))
    start = ms("2026-11-21T08:00", "Europe/Berlin")
    thirds = [0, 0, 0]
    for n in range(600):
        (due,) = dues(rule, seed=f"m{n}|sms")
        thirds[(due.at - start) // (15 * MINUTE)] += 1

    assert all(150 < count < 250 for count in thirds)


def test_without_a_sendable_minute_a_try_waits_until_it_is_given_up():
    """A policy that is quiet all week sends nothing; the try moves past its deadline and becomes a case."""
    always = replace(NIGHT, start=8 * 60)
    planned = ms("2026-11-21T03:00")

    assert out_of_quiet(planned, always, ("UTC",), 0.5) == planned + HORIZON


@pytest.mark.parametrize("date", ["0001-01-01T00:00", "1900-06-01T00:00", "9999-12-31T23:59"])
def test_an_absurd_date_is_moved_like_any_other(date):
    """A producer's broken clock must not break the worker."""
    moment = ms(date)

    assert moment <= out_of_quiet(moment, NIGHT, ("America/New_York",), 0.5) < moment + DAY


@given(moments, quiet_hours, zone_sets, units)
def test_no_try_leaves_in_quiet_hours(moment, quiet, zones, unit):
    """The result is sendable in every zone, unless eight days hold no sendable minute at all."""
    result = out_of_quiet(moment, quiet, zones, unit)

    assert result >= moment
    if is_quiet(result, quiet, zones):
        assert result == moment + HORIZON
        assert all(is_quiet(moment + n * MINUTE, quiet, zones) for n in range(0, 8 * 1440, 7))


@given(moments, quiet_hours, zone_sets)
def test_no_sendable_minute_is_passed_over(moment, quiet, zones):
    """Without a spread the result is the first sendable moment: all before it is quiet."""
    result = out_of_quiet(moment, quiet, zones, 0.0)

    passed = range(moment, min(result, moment + 2 * DAY), 5 * MINUTE)
    assert all(is_quiet(each, quiet, zones) for each in passed)
    if result > moment:
        assert is_quiet(result - 1, quiet, zones)


@given(moments, st.integers(0, 2 * DAY), quiet_hours, zone_sets)
def test_a_later_plan_never_leaves_earlier(moment, later, quiet, zones):
    """Moving out of quiet hours keeps the order of moments."""
    quiet = replace(quiet, spread=0)

    assert out_of_quiet(moment, quiet, zones, 0.0) <= out_of_quiet(moment + later, quiet, zones, 0.0)


@given(moments, quiet_hours, zone_sets, units)
def test_a_moved_try_is_not_moved_again(moment, quiet, zones, unit):
    """The second look before the hand-over lets pass what the first one planned."""
    once = out_of_quiet(moment, quiet, zones, unit)

    if once != moment + HORIZON:
        assert out_of_quiet(once, quiet, zones, 0.99) == once


# clock changes --------------------------------------------------------------------


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
@pytest.mark.parametrize(
    ("start", "end"), [(1200, 480), (90, 150), (150, 180), (120, 180), (1380, 135), (165, 60)]
)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/London"])
def test_every_minute_of_a_clock_change_is_right(day, start, end, zone):
    """Minute by minute through both changes of a year, also where an edge lies in the hour that changes."""
    quiet = replace(NIGHT, start=start, end=end, spread=0)
    first = ms(f"{day}T12:00")
    expected = first + 3 * DAY
    for moment in range(expected, first, -MINUTE):
        if not is_quiet(moment, quiet, (zone,)):
            expected = moment

        assert moment > first + 2 * DAY or out_of_quiet(moment, quiet, (zone,), 0.0) == expected


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (("2026-03-29T01:10", 0), ("2026-03-29T08:00", 0)),  # the night of the missing hour is 11 h long
        (("2026-10-24T23:00", 0), ("2026-10-25T08:00", 0)),  # the night of the doubled hour is 13 h long
        (("2026-10-25T02:30", 1), ("2026-10-25T08:00", 0)),
    ],
)
def test_the_morning_is_at_eight_by_the_wall_clock(planned, expected):
    """A clock change in the night moves the morning, not the time of day."""
    moment = ms(planned[0], "Europe/Berlin", planned[1])

    assert out_of_quiet(moment, NIGHT, BERLIN, 0.0) == ms(expected[0], "Europe/Berlin", expected[1])


def test_quiet_hours_that_end_in_the_missing_hour_end_with_it():
    """01:30-02:30 on the night without a 02:30 ends at 03:00, half an hour after it began."""
    quiet = replace(NIGHT, start=90, end=150, spread=0)
    planned = ms("2026-03-29T01:45", "Europe/Berlin")

    assert out_of_quiet(planned, quiet, BERLIN, 0.0) == planned + 15 * MINUTE
    assert planned + 15 * MINUTE == ms("2026-03-29T03:00", "Europe/Berlin")


def test_quiet_hours_that_start_in_the_missing_hour_start_after_it():
    """02:30-04:00 on the night without a 02:30 starts at 03:00."""
    quiet = replace(NIGHT, start=150, end=240, spread=0)

    assert out_of_quiet(ms("2026-03-29T01:59", "Europe/Berlin"), quiet, BERLIN, 0.0) == ms("2026-03-29T00:59")
    assert out_of_quiet(ms("2026-03-29T01:00"), quiet, BERLIN, 0.0) == ms("2026-03-29T04:00", "Europe/Berlin")


def test_quiet_hours_in_the_doubled_hour_happen_twice():
    """02:00-02:30 on the night with two of them is quiet both times, and sendable between."""
    quiet = replace(NIGHT, start=120, end=150, spread=0)
    first, second = (ms("2026-10-25T02:10", "Europe/Berlin", fold) for fold in (0, 1))

    assert out_of_quiet(first, quiet, BERLIN, 0.0) == first + 20 * MINUTE
    assert out_of_quiet(second, quiet, BERLIN, 0.0) == second + 20 * MINUTE


def test_a_night_before_a_leap_day_ends_on_the_leap_day():
    """A text that fails on the evening of 28 February 2028 leaves on the 29th; a year earlier on 1 March."""
    quiet = replace(NIGHT, spread=0)

    for year, morning in ((2028, "02-29"), (2027, "03-01")):
        evening = ms(f"{year}-02-28T22:00", "Europe/Berlin")
        assert out_of_quiet(evening, quiet, BERLIN, 0.0) == ms(f"{year}-{morning}T08:00", "Europe/Berlin")
