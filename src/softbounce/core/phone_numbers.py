"""Phone numbers: E.164 from every unambiguous spelling, with country and time zones.

Most numbers arrive as E.164 and are read here; the library, which is five times slower, reads the rest.
Whether a number is assigned is not checked: that data changes with every release, but a key must not.
"""

import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata
from phonenumbers.tzdata import TIMEZONE_LONGEST_PREFIX

from softbounce.core.dialling import PLANS, Plan
from softbounce.core.zones import zones_of_range
from softbounce.errors import InvalidRecipient

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MAX_WRITTEN = 64
_AREA_CODE, _LOCAL_NUMBER = 3, 7  # digits, in North America
# Signs that may stand in a number, besides blanks, dashes and invisible marks. Letters and masks are refused:
# the library reads letters as on a telephone's keys, +1XXX5550100 as +19995550100.
_PUNCTUATION = frozenset("()./'\u2212")
_IGNORED = frozenset(("Zs", "Zl", "Zp", "Cf", "Cc", "Pd"))  # Unicode's blanks, control characters and dashes
_SCHEME = re.compile(r"(?:tel|sms|whatsapp):(?://)?([^;?]*).*", re.DOTALL)
_INTERNATIONAL = re.compile(r"(?:\+|00)(\d+)", re.ASCII)
_DIALLED = re.compile(r"\+?\d{2,}", re.ASCII)


def folded_number(text: str) -> str:
    """Return a number without the signs that only decorate it; it may still be no number."""
    text = unicodedata.normalize("NFKC", text).strip()
    if ".." in text:  # also an ellipsis: it stands for digits that were left out
        return text
    if found := _SCHEME.fullmatch(text.casefold()):
        text = found[1]
    return "".join(
        sign for sign in text if sign not in _PUNCTUATION and unicodedata.category(sign) not in _IGNORED
    )


def is_dialled(text: str) -> bool:
    """Whether a text looks like a number as people dial it."""
    return len(text) <= _MAX_WRITTEN and _DIALLED.fullmatch(folded_number(text)) is not None


def read_number(text: str) -> tuple[str, str | None]:
    """Return a number in E.164, and its country. Raises ``InvalidRecipient`` if it is national or broken.

    Of the numbers by which one telephone is known it is the one that ``dialling.toml`` names.
    """
    if E164.fullmatch(text):
        length, national_prefix, plan = calling_code(text[1:4])
        national = text[1 + length :]
        # Only the library can remove a national prefix.
        if plan.key.fullmatch(national) if plan else length and not _begins_with(national_prefix, national):
            return text, _country(int(text[1 : 1 + length]), national)
    written = _INTERNATIONAL.fullmatch(folded_number(text)) if len(text) <= _MAX_WRITTEN else None
    if not written:
        message = "a phone number must be written internationally, as +49..., with nothing around it"
        raise InvalidRecipient(message)
    digits = _as_today(written[1])
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        message = "not a phone number of any country"
        raise InvalidRecipient(message) from None
    e164 = f"+{_as_today(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])}"
    if not E164.fullmatch(e164):
        message = "a phone number has 7 to 15 digits"
        raise InvalidRecipient(message)
    # The library removes one national prefix each time, and there may be more (+49 0049 70...).
    # Reading a key again must give the same key.
    if len(e164) <= len(digits):
        return read_number(e164)
    return e164, _country(number.country_code or 0, phonenumbers.national_significant_number(number))


def _begins_with(prefix: re.Pattern[str], national: str) -> bool:
    found = prefix.match(national)
    return found is not None and found.end() > 0


def _as_today(digits: str) -> str:
    """Return international digits as they are dialled today."""
    length, _, plan = calling_code(digits[:3])
    return digits[:length] + plan.today(digits[length:]) if plan else digits


def zones_of(e164: str) -> tuple[str, ...]:
    """Return the time zones in which a number may be; () if none is known."""
    return _zones(e164[1 : 1 + TIMEZONE_LONGEST_PREFIX])


@lru_cache(maxsize=100_000)  # a prefix stands for thousands of subscribers
def _zones(digits: str) -> tuple[str, ...]:
    length, *_ = calling_code(digits[:3])
    code, area = digits[:length], digits[1 : 1 + _AREA_CODE]
    country = _country_of_area(area) if code == "1" and len(area) == _AREA_CODE else None
    main, *_ = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code or 0), ("",))
    return zones_of_range(digits, length, country or main)


@lru_cache(maxsize=1000)
def calling_code(digits: str) -> tuple[int, re.Pattern[str], Plan | None]:
    """Return how many of three digits are the country code (0: none), its national prefix and its plan."""
    for length in (1, 2, 3):
        if regions := phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length])):
            facts = PhoneMetadata.metadata_for_region_or_calling_code(int(digits[:length]), regions[0])
            prefix = re.compile((facts and facts.national_prefix_for_parsing) or "(?!)")
            return length, prefix, PLANS.get(int(digits[:length]))
    return 0, re.compile("(?!)"), None


def _country(code: int, national: str) -> str | None:
    """Return the country of a number; the main country of its code if the library does not know better."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    region: str | None = regions[0]
    if code == 1 and len(national) == _AREA_CODE + _LOCAL_NUMBER:
        region = _country_of_area(national[:_AREA_CODE])
    elif len(regions) > 1:
        zeros = len(national) - len(national.lstrip("0"))
        number = phonenumbers.PhoneNumber(code, int(national), None, zeros > 0, zeros or None)
        region = phonenumbers.region_code_for_number(number)
    region = region or regions[0]
    return None if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else region


@lru_cache(maxsize=1000)
def _country_of_area(area: str) -> str | None:
    """Return the country of an area code of the North American plan, which 25 countries share."""
    return phonenumbers.region_code_for_number(phonenumbers.PhoneNumber(1, int(f"{area}2345678")))
