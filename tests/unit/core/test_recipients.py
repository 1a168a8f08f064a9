"""Recipients: one key for every spelling, none for what is masked or ambiguous, and no address in clear."""

import re
import string
import unicodedata

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import assume, given
from hypothesis import strategies as st

from softbounce.core.dialling import PLANS
from softbounce.core.phone_numbers import calling_code
from softbounce.core.recipients import (
    Channel,
    Recipient,
    address_of,
    form,
    hashed,
    identity,
    mask,
    normalise,
    recipient,
    scrub,
    with_plus,
)
from softbounce.errors import InvalidRecipient

E164 = phonenumbers.PhoneNumberFormat.E164
INTERNATIONAL = phonenumbers.PhoneNumberFormat.INTERNATIONAL
CODES = sorted(
    set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE) - set(PLANS)
)  # those that the library alone reads
EXAMPLES = sorted(
    {
        phonenumbers.format_number(example, E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in phonenumbers.PhoneNumberType.values()
        if (example := phonenumbers.example_number_for_type(region, kind))
        and example.country_code not in PLANS
    }
)
DIGITS = st.text(string.digits, min_size=4, max_size=12)
LOCALS = st.text(string.ascii_letters + string.digits + "._%+-'!#$&/=?^`{|}~", min_size=1, max_size=70)
DOMAINS = st.text(string.ascii_letters + string.digits + ".-", min_size=1, max_size=80)
SPECIAL_USE = ("arpa", "invalid", "local", "localhost", "onion")


def by_library(text):
    """Return what the library makes of a number, read until nothing changes any more, or None."""
    try:
        e164 = phonenumbers.format_number(phonenumbers.parse(text), E164)
    except phonenumbers.NumberParseException:
        return None
    if not 7 <= len(e164) - 1 <= 15:
        return None
    return by_library(e164) if len(e164) - 1 < sum(map(str.isdigit, text)) else e164


def key(value, channel):
    """Return the key of a value, or None where it has none; by both ways to it, which agree on every value."""
    found = []
    for way in (normalise, address_of):
        try:
            found.append(way(value, Channel(channel)))
        except InvalidRecipient:
            found.append(None)
    assert found[0] == found[1]
    return found[0]


# --- phone numbers


@given(code=st.sampled_from(CODES), national=DIGITS)
def test_a_number_with_a_plus_is_what_the_library_makes_of_it(code, national):
    """Looking at an E.164 number gives the same key as the library, for every country code."""
    assert key(f"+{code}{national}", "sms") == by_library(f"+{code}{national}")


def test_a_national_prefix_in_the_digits_is_found():
    """+49 0151... and +1 1 415... lose the prefix exactly where the library drops it, in every country."""
    numbers = [
        f"+{code}{lead:02d}{rest}"
        for code in CODES
        for lead in range(100)
        for rest in ("2345678", "51234567")
    ]

    assert [number for number in numbers if key(number, "sms") != by_library(number)] == []


@given(st.from_regex(r"\+[0-9]{1,18}", fullmatch=True))
def test_any_digits_after_a_plus_are_what_the_library_makes_of_them(text):
    """Unknown country codes, leading zeros and too many digits are refused exactly where the library does."""
    assume(calling_code(text[1:4])[2] is None)
    assert key(text, "sms") == by_library(text)


def test_every_spelling_of_a_number_has_one_key():
    """National punctuation, brackets, blanks and 00 lead to the same key as E.164, in every country."""
    spellings = {
        e164: {
            key(e164, "sms"),
            key(f"00{e164[1:]}", "sms"),
            key(phonenumbers.format_number(phonenumbers.parse(e164), INTERNATIONAL), "sms"),
        }
        for e164 in EXAMPLES
    }

    assert {e164: keys for e164, keys in spellings.items() if keys != {by_library(e164)}} == {}


SIGNS = [
    chr(code) for code in range(0x10000) if unicodedata.category(chr(code)) in {"Zs", "Zl", "Zp", "Cf", "Pd"}
]


@pytest.mark.parametrize("sign", [*SIGNS, "\t", "\n", "(", ")", "/", "\u2212"], ids=ascii)
def test_no_sign_between_the_digits_changes_a_key(sign):
    """Blanks, dashes and invisible marks of all kinds, before, in and after a number."""
    assert key(f"{sign}+{sign}33{sign}6{sign}12 34 56 78{sign}", "sms") == "+33612345678"


@pytest.mark.parametrize(
    "spelling",
    ["tel:+33612345678", "tel:+33-6-12-34-56-78;ext=1", "SMS:+33612345678?body=hi", "whatsapp:+33612345678", "sms://+33612345678",
     "'+33612345678", "\uff0b33612345678", "\uff10\uff10\uff133612345678", "00 33 6 12 34 56 78", {"phone": "+4930123456", "mobile": "+33612345678"}],
)  # fmt: skip
def test_what_decorates_a_number_leaves_its_key(spelling):
    """Schemes of links, a spreadsheet's apostrophe, full-width signs; a mobile among other numbers gets the text."""
    assert key(spelling, "sms") == "+33612345678"


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (("+5215512345678", "+52 044 55 1234 5678", "+52 01 55 1234 5678"), "+525512345678"),
        (
            ("+5491112345678", "+54 11 15 1234 5678", "+54 9 11 15 1234 5678", "+54 0 11 15 1234 5678"),
            "+541112345678",
        ),
        (("+54 9 221 123 4567", "+54 221 15 123 4567"), "+542211234567"),
        (("+54 9 2966 12 3456", "+54 2966 15 12 3456"), "+542966123456"),
        (("+551187654321",), "+5511987654321"),
        (("+22507123456",), "+2250707123456"),
        (("+22544123456",), "+2250544123456"),
        (("+22502123456",), "+2250102123456"),
        (("+22997123456",), "+2290197123456"),
        (("+24107123456", "+241077123456"), "+24177123456"),
        (("+24106123456", "+241066123456"), "+24166123456"),
        (("+841662345678",), "+84362345678"),
        (("+841202345678",), "+84702345678"),
        (("+841993456789",), "+84593456789"),
    ],
)
def test_the_numbers_of_one_telephone_have_one_key(spellings, expected):
    """As it is dialled today; how it was dialled before, or is within the country, is the same telephone."""
    assert {key(number, "sms") for number in (*spellings, expected)} == {expected}


@given(st.data())
def test_two_telephones_of_today_never_share_a_key(data):
    """A number as it is dialled today is its own key, so older ways to dial lead to one telephone only."""
    code = data.draw(st.sampled_from(sorted(PLANS)))
    national = data.draw(st.from_regex(PLANS[code].key, fullmatch=True, alphabet=string.digits))

    assert key(f"+{code}{national}", "sms") == f"+{code}{national}"
    assert PLANS[code].today(national) == national


@given(st.data())
def test_whatever_fits_a_rule_is_dialled_today(data):
    """Each rule ends with a number of the plan."""
    code = data.draw(st.sampled_from(sorted(PLANS)))
    pattern, _ = data.draw(st.sampled_from(PLANS[code].rules))
    national = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=string.digits))

    assert PLANS[code].today(PLANS[code].today(national)) == PLANS[code].today(national)


def test_the_country_of_an_assigned_number_is_the_librarys():
    """The short way to a country gives what ``region_code_for_number`` says, where it says anything."""
    known = {e164: phonenumbers.region_code_for_number(phonenumbers.parse(e164)) for e164 in EXAMPLES}
    found = {e164: recipient(e164, Channel.SMS).country for e164 in EXAMPLES if by_library(e164)}

    assert {e164: it for e164, it in found.items() if known[e164] not in (it, None)} == {}


@given(code=st.sampled_from([1, 7, 39, 44, 47, 61, 212, 262, 290, 358, 590, 599]), national=DIGITS)
def test_countries_that_share_a_code_are_told_apart_as_by_the_library(code, national):
    """Where the library cannot place a number, it belongs to the code's main country."""
    e164 = by_library(f"+{code}{national}")
    if e164 is None:
        return
    known = phonenumbers.region_code_for_number(phonenumbers.parse(e164))

    assert known is None or recipient(e164, Channel.SMS).country == known


@pytest.mark.parametrize(
    "text", ["00490049-7070-7070", "+49 00 49 7070 7070", "+49000000", "+260 00000000000"]
)
def test_a_key_that_is_read_again_stays_the_same(text):
    """An export that is imported, or a key that a pipeline sends back, must not become somebody else."""
    assert (known := key(text, "sms")) is None or key(known, "sms") == known


def test_a_number_that_was_never_assigned_has_a_key_a_country_and_a_zone():
    """Numbering plans change with every release of the library: validity decides nothing."""
    fictitious = recipient("+441632960123", Channel.SMS)

    assert fictitious.address == "+441632960123"
    assert fictitious.country == "GB"
    assert "Europe/London" in fictitious.zones


@pytest.mark.parametrize(
    "masked",
    [
        "+1XXX5550100",
        "+1xxx5550100",
        "+49151•••12",
        "+4915112345***",
        "+49 151 1234 5xx",
        "+49151…12",
        "+49___1234567",
        "+1800FLOWERS",
    ],
)
def test_a_masked_or_lettered_number_never_becomes_a_key(masked):
    """The library reads letters as keys of a telephone: +1XXX5550100 would be somebody's number."""
    with pytest.raises(InvalidRecipient) as refused:
        normalise(masked, "sms")

    assert "5550100" not in str(refused.value)


@pytest.mark.parametrize(
    "national",
    [
        "0151 12345678",
        "15112345678",
        "4915112345678",
        "(030) 1234567",
        "",
        "  ",
        "+",
        "+49",
        "n/a",
        "+49151/+49152",
        "00",
    ],
)
def test_a_number_without_its_country_is_refused(national):
    """Guessing a country would suppress somebody else's number."""
    with pytest.raises(InvalidRecipient):
        normalise(national, "sms")


@pytest.mark.parametrize(
    "value",
    [
        "+4915112345678",
        " +49 (0)151 / 1234-5678 ",
        "004915112345678",
        "\u202a+49 151 12345678\u202c",
        {"phone": "+4915112345678"},
        {"phoneNumber": "0049 151 12345678", "name": "A. Person"},
        {"mobile_number": "+49-151-12345678"},
        {"msisdn": "4915112345678"},
        {"msisdn": 4915112345678},
        {"type": "SMS", "value": "+4915112345678"},
        {"email": "", "Number": "+4915112345678"},
    ],
)
def test_a_number_is_found_in_text_and_in_objects(value):
    """Producers write recipients as text or as objects with various names for the same field."""
    assert normalise(value, "sms") == "+4915112345678"


# --- e-mail addresses


@given(local=LOCALS, domain=DOMAINS)
def test_a_plain_address_is_what_the_library_makes_of_it(local, domain):
    """Looking at a plain address gives the library's key in lower case, and lets reserved domains through."""
    text = f"{local}@{domain}"
    assume(text.strip(".") == text and ".." not in local and not local.endswith("."))  # others are read by us
    try:
        known = validate_email(text, check_deliverability=False, test_environment=True)
        expected = f"{known.local_part}@{known.ascii_domain}".lower()
    except EmailNotValidError:
        expected = None
    found = key(text, "email")

    if set(local) <= {"x", "X"} and len(local) > 2:
        assert found is None
    elif found != expected:
        assert expected is None
        assert domain.lower().rpartition(".")[2] in SPECIAL_USE


@pytest.mark.parametrize("domain", [f"mail.{name}" for name in SPECIAL_USE] + ["mail.test", "mail.example"])
def test_a_reserved_domain_is_an_address_like_any_other(domain):
    """Test systems and intranets have recipients too; whether mail can reach them is another question."""
    assert normalise(f"a@{domain}", "email") == f"a@{domain}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Jane.Doe@Example.COM", "jane.doe@example.com"),
        ("  jane@example.com\n", "jane@example.com"),
        ("jane@BÜCHER.example", "jane@xn--bcher-kva.example"),
        ("jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
        ("JÜRGEN@example.com", "jürgen@example.com"),
        ({"email": "Jane@example.com"}, "jane@example.com"),
        ({"emailAddress": "Jane@example.com", "phone": "+4915112345678"}, "jane@example.com"),
        ({"address": "Jane@example.com"}, "jane@example.com"),
    ],
)
def test_every_spelling_of_an_address_has_one_key(written, expected):
    """Case, blanks and the two forms of an international domain do not make another recipient."""
    assert normalise(written, "email") == expected


@pytest.mark.parametrize(
    "masked", ["j***@example.com", "j…e@example.com", "xxxx@example.com", "•••@example.com"]
)
def test_a_masked_address_never_becomes_a_key(masked):
    """``j***@example.com`` is a valid address by the standard, and nobody's."""
    assert key(masked, "email") is None


@pytest.mark.parametrize(
    "text",
    [
        "jane",
        "jane@",
        "@example.com",
        "jane@localhost",
        "a b@example.com",
        "a@" + "b" * 70_000,
    ],
)
def test_what_is_no_address_is_refused(text):
    """No guesses at what might have been meant, and no time lost on it."""
    assert key(text, "email") is None


# --- letters


@pytest.mark.parametrize(
    "written",
    [
        {"country": "DE", "postcode": "10115", "street": "Invalidenstraße 1", "name": "Kim Beispiel"},
        {
            "Country": "de",
            "postalCode": "10115",
            "addressLine1": "INVALIDENSTRASSE  1",
            "firstName": "Kim",
            "lastName": "Beispiel",
        },
        {
            "country_code": "DE",
            "zipCode": 10115,
            "line1": "Invalidenstraße 1",
            "name": "kim beispiel",
            "city": "Berlin",
        },
        {
            "address": {"country": "DE", "zip": "10 115", "street": "Invalidenstraße", "houseNumber": 1},
            "name": "Kim Beispiel",
        },
    ],
)
def test_every_spelling_of_a_postal_address_has_one_key(written):
    """A letter is known by country, postcode, street and name, whatever the fields are called."""
    known = recipient(written, Channel.LETTER)

    assert known.address == "de|10115|invalidenstr 1|kim beispiel"
    assert known.country == "DE"


def test_a_postal_address_in_one_text_is_folded():
    """Case and line breaks do not make another recipient."""
    assert normalise("Kim Beispiel\nWeg 1\n10115 BERLIN", "letter") == "kim beispiel weg 1 10115 berlin"


@pytest.mark.parametrize(
    "little",
    [{}, {"name": "Kim"}, {"country": "DE", "postcode": "10115"}, {"street": "x"}, "", " \n", None, 7],
)
def test_too_little_of_a_postal_address_is_refused(little):
    """A postcode alone, or a name alone, is many people."""
    assert key(little, "letter") is None


# --- as written


@pytest.mark.parametrize(
    ("value", "channel", "expected"),
    [
        (" 0151-ABC ", Channel.SMS, "0151abc"),
        ({"phone": "12"}, Channel.SMS, "12"),
        ("Jane@@Example", Channel.EMAIL, "jane@@example"),
        ({"postcode": "10115", "country": "XX"}, Channel.LETTER, "xx 10115"),
        ("Jane\u200b@@Example", Channel.EMAIL, "jane@@example"),
        ("+1XXX5550100", Channel.SMS, "+1xxx5550100"),
        ("+49151***", Channel.SMS, "+49151***"),
        ("j***@example", Channel.EMAIL, "j***@example"),
        ("", Channel.SMS, None),
        (None, Channel.SMS, None),
        ({}, Channel.SMS, None),
    ],
)
def test_an_invalid_value_is_known_by_its_folded_spelling(value, channel, expected):
    """A malformed address comes again spelled the same way; a masked one stands for many, and says so."""
    found = identity(value, channel)

    assert (found and found.address) == expected
    assert not found or (
        found.unreadable and found.is_masked == any(sign in expected for sign in ("xxx", "***"))
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+49 151 12345678", Channel.SMS),
        ("015112345678", Channel.SMS),
        ("jane@example.com", Channel.EMAIL),
        ("10115 Berlin", None),
        ({"email": "jane@example.com", "name": "Jane"}, Channel.EMAIL),
        ({"phone": "1", "country": "DE"}, Channel.SMS),
        ({"phone": "1", "email": "a@example.com"}, None),
        ({"street": "a", "zip": "b"}, Channel.LETTER),
        ({}, None),
        (None, None),
    ],
)
def test_the_looks_of_an_address_tell_its_channel(value, expected):
    """Where neither channel nor code name one, the recipient's form does, unless it could be two."""
    assert form(value) == expected


@given(
    value=st.none() | st.text() | st.dictionaries(st.text() | st.just("phone"), st.text() | st.integers()),
    channel=st.sampled_from(Channel),
)
def test_any_value_is_a_recipient_or_refused(value, channel):
    """Nothing that a producer sends as a recipient raises anything but ``InvalidRecipient``."""
    first = key(value, channel)

    assert first is None or first
    identity(value, channel)
    form(value)


@given(st.sampled_from(EXAMPLES))
def test_a_key_is_its_own_key(number):
    """Normalising twice changes nothing, so that a stored address can be looked up again."""
    first = key(number, "sms")

    assert first is None or key(first, "sms") == first


def test_an_unknown_channel_is_refused():
    """The public function takes text; it says which channels there are."""
    with pytest.raises(InvalidRecipient, match="sms, email or letter"):
        normalise("+4915112345678", "fax")


# --- hash and masks


def test_the_hash_tells_channels_and_keys_apart():
    """One address on two channels is two recipients, and another key tells nothing about the first."""
    sms = Recipient(channel=Channel.SMS, address="a@example.com")
    email = Recipient(channel=Channel.EMAIL, address="a@example.com")

    assert len({hashed(sms, b"one"), hashed(email, b"one"), hashed(email, b"two")}) == 3
    assert hashed(email, b"one") == hashed(
        Recipient(channel=Channel.EMAIL, address="a@example.com", country="DE"), b"one"
    )
    assert len(hashed(email, b"one")) == 12


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("+491701234567", "+49•••67"),
        ("+14155552671", "+1•••71"),
        ("+3541234567", "+354•••67"),
        ("jane@web.de", "j…e@web.de"),
        ("joe@web.de", "j…@web.de"),
        ("j@web.de", "…@web.de"),
        ("de|10115|invalidenstr 1|kim", "DE 10•••"),
        ("|sw1a1aa|downing street 10|kim", "sw•••"),
        ("kim beispiel 10115 berlin", "•••"),
        ("0151-abc", "•••"),
        ("a@b@c d", "•••"),
    ],
)
def test_a_mask_shows_enough_to_recognise_and_too_little_to_use(address, expected):
    """Country and last digits, first and last letter with the domain, country and start of the postcode."""
    assert mask(address) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp; 550 5.1.1 <jane.doe@web.de>: unknown", "smtp; 550 5.1.1 <j…e@web.de>: unknown"),
        ("mailto:jane@example.com.", "mailto:j…e@example.com."),
        ('to "jane doe"@example.com', 'to "…"@example.com'),
        ("jürgen@bücher.example bounced", "j…n@bücher.example bounced"),
        ("sent to +4915112345678.", "sent to +49•••78."),
        ("tel:+49 (0)151 / 1234-5678, again", "tel:+49•••78, again"),
        ("from 0151 12345678 at 9", "from •••78 at 9"),
        ("004915112345678", "•••78"),
        ("msisdn=4915112345678", "msisdn=•••78"),
        ("(415) 555-2671", "•••71"),
        ("REF+4915112345678-7x", "REF+49•••87x"),
        ("x" * 400 + "@example.com", "x…x@example.com"),
    ],
)
def test_addresses_in_free_text_are_masked(text, expected):
    """Carriers and mail servers quote addresses in their replies."""
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a6590eb9-497a-4a7f-b5df-0c2f6f1f7d10",
        "12345678-1234-1234-1234-123456789012",
        "2026-11-20T15:32:23Z",
        "2026-11-20 15:32:23.123456+00:00",
        "2026-11-20",
        "from 15:32:23 2026-11-20 15:32:24 on",
        "Thu, 20 Nov 2026 15:32:23 +0000 (UTC)",
        "1764000000000-0",
        "1764000000",
        "1764000000000",
        "550 5.1.1 user unknown",
        "421-4.7.0 try again later [192.168.100.200]",
        "codes.SMS_EXPIRED config/policy.yaml:39 r_a1b2c3d4 9b2f41c0",
        "claim 54321 merchant 7 attempt 2 of 4",
        "sms.v1.2026.11.20",
        "20:00-08:00",
        "+49•••67 j…e@web.de …@web.de DE 10•••",
    ],
)
def test_ids_times_and_codes_in_free_text_stay(text):
    """A log line that lost its ids helps nobody; what is masked already stays as it is."""
    assert scrub(text) == text


@given(st.text(alphabet=st.sampled_from("+0123456789 -()@.ab…•<>:"), max_size=60))
def test_scrubbing_twice_changes_nothing(text):
    """The redaction step stands last in the log chain, behind others that mask."""
    once = scrub(text)

    assert scrub(once) == once


@given(
    number=st.sampled_from(EXAMPLES),
    before=st.sampled_from(["", "to ", "<", "tel:", "id=", "x"]),
    after=st.sampled_from(["", ".", ",", ">", " now", "x", "-a", ":1"]),
)
def test_no_number_survives_in_free_text(number, before, after):
    """Whatever stands around it, an E.164 number is masked."""
    if by_library(number):
        assert number[1:-2] not in scrub(f"{before}{number}{after}")


WORDS = ("Jane Doe ", '"Doe, Jane" ', "")
PERSON = st.builds(
    lambda local, domain: f"{local}@{domain}.example",
    st.from_regex(r"[a-z0-9_+-]{1,12}(\.[a-z0-9_+-]{1,8}){0,2}", fullmatch=True),
    st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: "--" not in text),
)
DECORATIONS = {
    "display name": lambda text, word: f"{word}<{text}>" if "<" not in text else text,
    "comment": lambda text, _: f"{text}(home)" if "<" not in text else text,
    "blanks": lambda text, _: f"  {text}\t\n",
    "end of a list": lambda text, _: f"{text};",
    "end of a sentence": lambda text, _: f"{text}." if not text.endswith((">", ")")) else text,
    "BOM": lambda text, _: f"\ufeff{text}\u200b",
    "link": lambda text, _: f"mailto:{text}?subject=x" if re.fullmatch(r"[^<>(\s;]+", text) else text,
    "case": lambda text, _: text.upper() if "mailto" not in text else text,
    "quotes": lambda text, _: re.sub(r"^([\w.+-]+)@", r'"\1"@', text),
}


@given(
    address=PERSON,
    names=st.lists(st.sampled_from(sorted(DECORATIONS)), max_size=5),
    word=st.sampled_from(WORDS),
)
def test_no_decoration_changes_the_key_of_an_e_mail_address(address, names, word):
    """Whatever mail programs, lists and links put around it, in any order."""
    decorated = address
    for name in names:
        decorated = DECORATIONS[name](decorated, word)
    assume(key(address, "email") is not None)

    assert key(decorated, "email") == key(address, "email")


@given(PERSON, PERSON)
def test_two_mailboxes_never_share_a_key(one, other):
    """But for the case of their letters."""
    first, second = key(one, "email"), key(other, "email")

    assert (first == second) == (one == other) or first is second is None


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("try..this..0511@docomo.example", "try..this..0511@docomo.example"),
        ('"try..this..0511"@docomo.example', "try..this..0511@docomo.example"),
        ("a.@docomo.example", "a.@docomo.example"),
        ("mailto:jane%2Bx@example.com?subject=a", "jane+x@example.com"),
        ('"john doe"@example.com', None),
        ("tom@firma,example", None),
        ("<j***@example.com>", None),
        ("xxx@example.com", None),
        ("foxxx@müller.example", "foxxx@xn--mller-kva.example"),
        ("Jane <jane@example.com>, Joe <joe@example.com>", None),
    ],
)
def test_what_mail_programs_and_carriers_write_is_read(spelling, expected):
    """Dots as some carriers allow them; a masked address, or two of them, is none."""
    assert key(spelling, "email") == expected


def test_a_letter_is_known_by_its_person_beside_the_company():
    """And by one country and one street, however they are written."""
    plain = {"company": "ACME", "name": "Jane Doe", "street": "Hauptstr. 5", "zip": "10115", "country": "DE"}
    parts = {
        "company": "ACME",
        "firstName": "Jane",
        "lastName": "Doe",
        "street": "Hauptstraße",
        "houseNumber": 5,
    }
    parts |= {"postalCode": "10115"}

    assert key(plain, "letter") == "de|10115|hauptstr 5|acme jane doe"
    assert {
        key({**parts, "country": name}, "letter") for name in ("Deutschland", "Germany", "allemagne", "de")
    } == {key(plain, "letter")}
    assert key({**plain, "name": "Joe Doe"}, "letter") != key(plain, "letter")


def test_digits_without_a_plus_are_also_the_number_with_one_where_that_is_a_number():
    """A national number is not: it may be anybody's abroad."""
    found = {
        digits: with_plus(identity(digits, Channel.SMS)) for digits in ("447911123457", "0170 1234567", "12")
    }

    assert {digits: who and who.address for digits, who in found.items()} == {
        "447911123457": "+447911123457",
        "0170 1234567": None,
        "12": None,
    }
