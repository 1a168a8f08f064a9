"""Time zones: of each country's mobiles, of areas, and by the names that producers write."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import timezone

from softbounce.core.phone_numbers import zones_of
from softbounce.core.zones import zone_named, zones_of_country

E164 = phonenumbers.PhoneNumberFormat.E164
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
MOBILE = phonenumbers.PhoneNumberType.MOBILE
# Their numbers are those of Australia, Saint Helena and Tristan da Cunha to everybody.
GUESTS = {"CC", "CX", "AC", "TA"}


def clocks(zones: tuple[str, ...]) -> set[tuple[float, ...]]:
    """Return the offsets of zones in winter and summer."""
    days = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 7)]
    return {
        tuple(day.astimezone(ZoneInfo(zone)).utcoffset().total_seconds() for day in days) for zone in zones
    }


@pytest.mark.parametrize("region", sorted(set(REGIONS) - GUESTS))
def test_a_mobile_may_be_anywhere_in_its_country(region):
    """Mobiles have all clocks of their country, unless the numbering plan binds them to an area."""
    example = phonenumbers.example_number_for_type(region, MOBILE)
    zones = zones_of(phonenumbers.format_number(example, E164))
    whole = clocks(zones_of_country(region))

    assert whole
    assert clocks(zones) <= whole if phonenumbers.is_number_geographical(example) else clocks(zones) == whole


@pytest.mark.parametrize(
    ("number", "zone", "country"),
    [
        ("+61412345678", "Australia/Perth", "AU"),
        ("+79123456789", "Asia/Vladivostok", "RU"),
        ("+212650123456", "Africa/Casablanca", "MA"),
        ("+6281234567890", "Asia/Jayapura", "ID"),
        ("+56961234567", "Pacific/Easter", "CL"),
        ("+34612345678", "Atlantic/Canary", "ES"),
        ("+14362345678", "America/Los_Angeles", "US"),  # an area code that is newer than the library
        ("+18335550100", "Pacific/Honolulu", "US"),  # no area at all
        ("+16582345678", "America/Jamaica", "JM"),
    ],
)
def test_a_number_without_a_place_has_the_zones_of_its_country(number, zone, country):
    """The text must not arrive at night, wherever in the country the phone is."""
    assert zone in zones_of(number) == zones_of_country(country)


@pytest.mark.parametrize(
    "number", ["+12125550123", "+493012345678", "+61893211234", "+78432123456", "+5511961234567"]
)
def test_an_area_has_the_librarys_zones(number):
    """New York, Berlin, Perth, Kazan and Sao Paulo: the place is known, so no other zone counts."""
    assert zones_of(number) == timezone.time_zones_for_geographical_number(phonenumbers.parse(number))


@given(
    code=st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    national=st.text("0123456789", min_size=5, max_size=10),
)
def test_each_zone_of_a_number_exists(code, national):
    """Unknown is the empty tuple, never ``Etc/Unknown``."""
    assert set(zones_of(f"+{code}{national}")) <= available_timezones()


@given(zone=st.sampled_from(sorted(available_timezones())), data=st.data())
def test_a_zone_is_found_in_any_case_and_with_blanks(zone, data):
    """A producer's spelling does not move anybody's night."""
    letters = [data.draw(st.sampled_from([one.upper(), one.lower()])) for one in zone]
    written = "".join(letters).replace("_", data.draw(st.sampled_from(["_", " ", "  "])))

    assert zone_named(f" {written} ") == zone


@given(
    minutes=st.integers(-12 * 4, 14 * 4).map(lambda quarters: quarters * 15), form=st.sampled_from(["", ":"])
)
def test_an_offset_is_a_zone_with_that_offset(minutes, form):
    """Full hours always; others where a zone has that offset all year."""
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    zone = zone_named(f"{sign}{hours:02}{form}{rest:02}")

    assert zone or rest
    assert zone is None or clocks((zone,)) == {(minutes * 60, minutes * 60)}


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("Eastern Standard Time", "America/New_York"),
        ("w. europe standard time", "Europe/Berlin"),
        ("India Standard Time", "Asia/Kolkata"),
        ("UTC-11", "Etc/GMT+11"),
        ("GMT +1", "Etc/GMT-1"),
        ("UTC\u22128", "Etc/GMT+8"),
        ("-05:00", "Etc/GMT+5"),
        ("", None),
        ("Middle Earth Standard Time", None),
        ("x" * 65, None),
    ],
)
def test_names_of_windows_and_offsets_are_read(written, zone):
    """Systems on .NET report the names of Windows; others only know the offset."""
    assert zone_named(written) == zone
