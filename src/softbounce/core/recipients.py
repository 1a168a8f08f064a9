"""Recipients: one normalised address for all of its spellings, its mask and its hash."""

import re
import unicodedata
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from typing import cast
from urllib.parse import unquote

from msgspec import Struct

from softbounce.core.bounds import TEXT
from softbounce.core.phone_numbers import E164, calling_code, folded_number, is_dialled, read_number, zones_of
from softbounce.errors import InvalidRecipient


class Channel(StrEnum):
    """How a message is sent."""

    SMS = "sms"
    EMAIL = "email"
    LETTER = "letter"


class Recipient(Struct, frozen=True, kw_only=True):
    """One address on one channel; ``address`` is normalised, and it is what is hashed."""

    channel: Channel
    address: str
    country: str | None = None  # ISO 3166 alpha-2, from the number or the postal address
    domain: str | None = None  # e-mail only, lower-case ASCII
    unreadable: str = ""  # why the address cannot be read: ``address`` is its folded spelling then
    is_masked: bool = False  # it stands for many people: nobody may be convicted by it
    zones: tuple[str, ...] = ()  # IANA zones of the number's region; () if unknown


# Field names of recipient objects, in lower case without separators, as ``fold_name`` returns them.
_PHONE = ("mobilenumber", "mobile", "msisdn", "sms", "phonenumber", "phone", "number", "telephone", "tel")
_EMAIL = ("email", "emailaddress", "mail")
_ANY = ("value", "address", "recipient", "to")
_PHONE_OR_ANY, _EMAIL_OR_ANY = (*_PHONE, *_ANY), (*_EMAIL, *_ANY)
_COUNTRY = ("country", "countrycode")
_POSTCODE = ("postcode", "postalcode", "zip", "zipcode", "plz")
_CITY = ("city", "town")
_STREET = ("street", "streetaddress", "addressline1", "addressline", "address1", "line1", "streetname")
_HOUSE = ("housenumber", "streetnumber")
_COMPANY, _NAME = ("company",), ("name", "fullname")
_GIVEN, _FAMILY = ("firstname", "givenname"), ("lastname", "familyname")
_POSTAL = (*_COUNTRY, *_POSTCODE, *_CITY, *_STREET, *_HOUSE, *_COMPANY, *_NAME, *_GIVEN, *_FAMILY)
_STREET_WORD = re.compile(r"str(?:asse\b|\.)")  # the German word, folded
FIELDS: dict[Channel, frozenset[str]] = {
    Channel.SMS: frozenset(_PHONE),
    Channel.EMAIL: frozenset(_EMAIL),
    Channel.LETTER: frozenset(_POSTAL),
}

_MAX_EMAIL = 320
_SHOWS_BOTH_ENDS = 4  # a mask also shows the last character of a local part that is at least so long

# Possessive and without IGNORECASE: this halves the time, and a long wrong address causes no backtracking.
_LABEL = r"(?!-|..--)[A-Za-z0-9-]{1,63}+(?<!-)"  # labels such as "xn--" are left to the library
_ATOM = r"[A-Za-z0-9!#$%&'+/=?^_`{|}~-]++"  # without "*", which marks a masked address
_ADDR_SPEC = re.compile(
    rf"((?![xX]{{3,}}@){_ATOM}(?:\.{_ATOM})*+)@((?:{_LABEL}\.)+{_LABEL}(?<=[A-Za-z]))", re.ASCII
)
_DOMAIN = re.compile(r"[\w.-]+")
_ODD_DOTS = re.compile(_ATOM.replace("[A", "[.A", 1), re.ASCII)  # "a..b@", "a.@": some carriers allow them
_IN_ANGLES = re.compile(r"[^<>]*<([^<>]*)>", re.DOTALL)  # a display name before it
_COMMENT = re.compile(r"\([^()]*\)")
_NESTED = 8  # decorations one in the other that are taken off
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"@([^"@]*)')
_BEFORE, _AFTER = " \t\r\n,;", " \t\r\n,;."  # what stands around an address in a list or a sentence
_MAX_LOCAL, _MAX_DOMAIN, _MAX_ADDR_SPEC = 64, 253, 254

_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_BLACKED_OUT = re.compile(r"[*•…●■█]")
_CROSSED_OUT = re.compile(r"(?i)x{2,}|\d[x#?_]|[x#?_]\d|[#?_]{2,}")  # +1XXX5550100, +4915x123, +49 ____ 12
_X_LOCAL = re.compile(r'(?i)(?<![^\s"<])x{3,}+@')  # at its beginning: foxxx@ is somebody
_X_WORD = re.compile(r"(?i)\bx{3,}\b")


def normalise(value: object, channel: Channel | str) -> str:
    """Return the normalised address of ``value``, the same for all of its spellings.

    A phone number becomes E.164 and must be written internationally (``+`` or ``00``). An e-mail address
    becomes lower case with an ASCII domain, its local part too: by the standard case may matter there, but
    no mailbox provider makes a difference, and a missed suppression costs more than one too many. A letter
    is known by country, postcode, street and name. The text of ``InvalidRecipient`` never holds the address.
    """
    return recipient(value, channel_named(channel)).address


def recipient(value: object, channel: Channel) -> Recipient:
    """Return the normalised recipient with country, domain and time zones. Raises ``InvalidRecipient``."""
    match channel:
        case Channel.SMS:
            return _phone(_text_of(value, _PHONE_OR_ANY))
        case Channel.EMAIL:
            return _email(_text_of(value, _EMAIL_OR_ANY))
        case Channel.LETTER:
            return _letter(value)


def read_recipient(value: object, channel: Channel) -> Recipient | None:
    """Return the normalised recipient, or None if the value is no valid address."""
    try:
        return recipient(value, channel)
    except InvalidRecipient:
        return None


def address_of(value: object, channel: Channel) -> str:
    """Return ``recipient(value, channel).address`` in half the time, for lists of millions."""
    if isinstance(value, str):
        text = value.strip()
        if channel is Channel.SMS:
            return read_number(text)[0]
        if channel is Channel.EMAIL and _usual(text):
            return text.lower()
    return recipient(value, channel).address


def identity(value: object, channel: Channel, *, lacks_plus: bool = False) -> Recipient | None:
    """Return who is meant: the normalised recipient, or one known by its folded spelling and why.

    None where there is no spelling: nobody is named. ``lacks_plus``: digits are an international number.
    """
    try:
        return recipient(value, channel)
    except InvalidRecipient as error:
        text = _spelling(value, channel)
        if not text or len(text) > TEXT:
            return None
        known = Recipient(
            channel=channel, address=text, unreadable=str(error), is_masked=_is_masked(text, channel)
        )
        return (with_plus(known) if lacks_plus else None) or known


def _spelling(value: object, channel: Channel) -> str:
    """Return the folded text of what is no address; empty where it has none."""
    if isinstance(value, Mapping):
        fields = _folded(value)
        names = _POSTAL if channel is Channel.LETTER else (*FIELDS[channel], *_ANY)
        value = " ".join(str(fields[name]) for name in names if isinstance(fields.get(name), str | int))
    if not isinstance(value, str) or len(value) > TEXT:
        return ""
    return _fold(folded_number(value) if channel is Channel.SMS else _visible(value))


def with_plus(who: Recipient) -> Recipient | None:
    """Return the number that digits without a plus would be with one; None if they are no such digits.

    Several carriers write numbers so, but 030... or 0911... may be anybody's: only refusals are shared.
    """
    is_digits = who.channel is Channel.SMS and who.unreadable and who.address.isdecimal()
    return read_recipient(f"+{who.address}", Channel.SMS) if is_digits and who.address[0] != "0" else None


def listed(value: object, channel: Channel) -> Recipient:
    """Return the ``identity`` under which the suppression list knows ``value``.

    An invalid number can be suppressed as it was written; this finds it again. Raises ``InvalidRecipient``,
    also for a masked address.
    """
    known = identity(value, channel)
    return recipient(value, channel) if known is None or known.is_masked else known


def stored(address: object, channel: Channel) -> Recipient:
    """Return who is meant by an address that the store keeps; raises ``InvalidRecipient`` for a masked one.

    A letter's address is kept as its key: read again, its bars would be blanks.
    """
    if channel is Channel.LETTER and isinstance(address, str) and "|" in address:
        return Recipient(channel=channel, address=address)
    return listed(address, channel)


def form(value: object) -> Channel | None:
    """Return the channel that an address looks like; None if that cannot be told."""
    if isinstance(value, str):
        if "@" in value:
            return Channel.EMAIL
        return Channel.SMS if is_dialled(value) else None
    if isinstance(value, Mapping):
        names = _folded(value).keys()
        fitting = [channel for channel in Channel if names & FIELDS[channel]]
        if len(fitting) > 1 and Channel.LETTER in fitting:
            fitting.remove(Channel.LETTER)  # any address may come with a name or a country
        return fitting[0] if len(fitting) == 1 else None
    return None


def mask(address: str) -> str:
    """Return an address that can be recognised but not used: ``+49•••67``, ``j…e@web.de``, ``DE 10•••``."""
    if E164.fullmatch(address):
        return f"+{address[1 : 1 + calling_code(address[1:4])[0]]}•••{address[-2:]}"
    local, at, domain = address.rpartition("@")
    if at and _DOMAIN.fullmatch(domain):
        return f"{local[: len(local) > 1]}…{local[-1:] if len(local) >= _SHOWS_BOTH_ENDS else ''}@{domain}"
    country, bar, rest = address.partition("|")
    return f"{country.upper()} {rest[:2]}•••".lstrip() if bar else "•••"


_ENDS = r"""\s<>()\[\]{}"',;:|=/"""
_EMAIL_IN_TEXT = re.compile(rf"""(?:"[^"\n]+"|(?<![^{_ENDS}])[^{_ENDS}…]+)@[\w.-]*\w""")
_PHONE_IN_TEXT = re.compile(
    r"\+[(\d][\d\xa0 ()./-]{5,24}\d"  # with a plus it is a number, whatever is around it
    r"|(?<![\w.-])(?<!\d:)\(?\d[\d\xa0 ()/-]{5,24}\d(?![\w-]|[.:]\d)"  # without: no part of an id or a time
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d)?|1\d{9}|1\d{12}(?:-\d+)?")  # a date, s, ms or an entry id


def scrub(text: str) -> str:
    """Return ``text`` with all e-mail addresses and phone numbers in it masked."""
    if "@" in text:
        text = _EMAIL_IN_TEXT.sub(lambda found: mask(found[0]), text)
    return _PHONE_IN_TEXT.sub(_scrubbed_number, text)


def named_in(value: object) -> Iterator[Recipient]:
    """Yield each recipient whom a JSON value may name: on any channel, in any spelling, also inside texts."""
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from named_in(inner)
    if isinstance(value, str | int):
        text = str(value)
        for found in _EMAIL_IN_TEXT.finditer(text) if "@" in text else ():
            yield from _spellings(found[0], (Channel.EMAIL,))
        for found in _PHONE_IN_TEXT.finditer(text):
            yield from _spellings(found[0], (Channel.SMS,))
            yield from _spellings(f"+{found[0]}", (Channel.SMS,))
    if isinstance(value, str | Mapping):
        yield from _spellings(value, Channel)


def _spellings(value: object, channels: Iterable[Channel]) -> Iterator[Recipient]:
    yield from (known for channel in channels if (known := identity(value, channel)))


def fingerprint(key: bytes) -> str:
    """Return a hash that identifies a hash key without revealing it."""
    return blake2b(key, digest_size=8, person=b"softbounce-key").hexdigest()


def hashed(who: Recipient, key: bytes) -> str:
    """Return the recipient's keyed hash, 12 characters; ``key`` has at most 64 bytes."""
    return keyed(f"{who.channel}:{who.address}", key)


def keyed(name: str, key: bytes) -> str:
    """Return the keyed hash of the text ``channel:address``."""
    digest = blake2b(name.encode(), key=key, digest_size=9).digest()
    return b2a_base64(digest, newline=False).translate(_URL_SAFE).decode()


def channel_named(name: Channel | str) -> Channel:
    """Return the channel of a name in any case. Raises ``InvalidRecipient`` if there is none."""
    try:
        return Channel(name.lower())
    except ValueError:
        message = "a channel is sms, email or letter"
        raise InvalidRecipient(message) from None


def fold_name(name: object) -> str:
    """Return a field name in lower case without separators: ``postal_code`` and ``postalCode`` are equal."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _folded(fields: Mapping[object, object]) -> dict[str, object]:
    """Return the fields by their plain names."""
    return {fold_name(name): value for name, value in fields.items()}


def _first(fields: Mapping[str, object], names: Iterable[str]) -> str:
    """Return the first of the named fields that holds text or a number, or the empty string."""
    values = (fields.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and str(value).strip()), "")


def _text_of(value: object, names: tuple[str, ...]) -> str:
    """Return the address inside a recipient, which is text or an object with one of the named fields."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        fields = _folded(value)
        if text := _first(fields, names).strip():
            # By definition an MSISDN begins with the country code and has no plus.
            return f"+{text}" if text == str(fields.get("msisdn")) and text[0] in "123456789" else text
    message = "neither text nor an object with an address for this channel"
    raise InvalidRecipient(message)


def _is_masked(text: str, channel: Channel) -> bool:
    """Whether parts of an address are hidden: normalising it could give somebody else's address."""
    if _BLACKED_OUT.search(text):
        return True
    pattern = {Channel.SMS: _CROSSED_OUT, Channel.EMAIL: _X_LOCAL, Channel.LETTER: _X_WORD}[channel]
    return pattern.search(text) is not None


def _phone(text: str) -> Recipient:
    e164, country = read_number(text)
    return Recipient(channel=Channel.SMS, address=e164, country=country, zones=zones_of(e164))


def _email(text: str) -> Recipient:
    usual = _usual(text)
    if not usual:
        text = _undecorated(text)
        usual = _usual(text)
    if usual:
        return Recipient(channel=Channel.EMAIL, address=text.lower(), domain=usual[2].lower())
    if len(text) > _MAX_EMAIL or _is_masked(text, Channel.EMAIL):
        message = "a masked or overlong e-mail address"
        raise InvalidRecipient(message)
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - 20 ms, for few addresses

    local, at, domain = text.rpartition("@")
    has_odd_dots = at and len(local) <= _MAX_LOCAL and _ODD_DOTS.fullmatch(local)
    try:
        known = validate_email(
            f"x@{domain}" if has_odd_dots else text, check_deliverability=False, test_environment=True
        )
    except EmailNotValidError:
        message = "not an e-mail address"
        raise InvalidRecipient(message) from None
    domain = known.ascii_domain.lower()
    local = local if has_odd_dots else known.local_part
    return Recipient(channel=Channel.EMAIL, address=f"{local.lower()}@{domain}", domain=domain)


def _undecorated(text: str) -> str:
    """Return an e-mail address without what mail programs, links and lists put around it (RFC 5322, 6068)."""
    text = _visible(text)
    for _ in range(_NESTED):
        before = text
        text = text.lstrip(_BEFORE).rstrip(_AFTER)
        if text[:7].casefold() == "mailto:":
            text = unquote(text[7:].partition("?")[0])
        if found := _IN_ANGLES.fullmatch(text):
            text = found[1]
        head, quote, tail = text.rpartition('"')  # in quotes a bracket is no comment
        text = head + quote + _COMMENT.sub("", tail)
        if text == before:
            break
    if found := _QUOTED.fullmatch(text):
        local = re.sub(r"\\(.)", r"\1", found[1])
        text = f"{local}@{found[2]}" if _ODD_DOTS.fullmatch(local) else text
    return text


def _visible(text: str) -> str:
    """Return text without marks that nobody sees: a BOM, marks of direction, zero-width blanks."""
    return text if text.isascii() else "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


def _usual(text: str) -> re.Match[str] | None:
    """Return local part and domain of an ordinary e-mail address; None: the library must read it."""
    if len(text) <= _MAX_ADDR_SPEC and (found := _ADDR_SPEC.fullmatch(text)):
        at = found.end(1)
        return found if at <= _MAX_LOCAL and len(text) - at - 1 <= _MAX_DOMAIN else None
    return None


def _letter(value: object) -> Recipient:
    if isinstance(value, Mapping):
        text, country = _postal(_folded(value))
    else:
        text, country = _fold(value) if isinstance(value, str) else "", ""
    if not text or len(text) > TEXT or _is_masked(text, Channel.LETTER):
        message = "not a postal address: it takes a postcode or city, and a street or name, unmasked"
        raise InvalidRecipient(message)
    known = country.upper() if re.fullmatch("[a-z]{2}", country) else None
    return Recipient(channel=Channel.LETTER, address=text, country=known)


def _postal(fields: dict[str, object]) -> tuple[str, str]:
    """Return the normalised text of an address object and its country; empty if too little is known."""
    for name in ("postaladdress", "address"):
        inner = fields.get(name)
        if isinstance(inner, Mapping):
            fields = fields | _folded(inner)
    country = _fold(_first(fields, _COUNTRY))
    country = _countries().get(country, country)
    place = _fold(_first(fields, _POSTCODE)).replace(" ", "") or _fold(_first(fields, _CITY))
    street = _STREET_WORD.sub("str", _fold(f"{_first(fields, _STREET)} {_first(fields, _HOUSE)}"))
    person = _first(fields, _NAME) or f"{_first(fields, _GIVEN)} {_first(fields, _FAMILY)}"
    name = _fold(f"{_first(fields, _COMPANY)} {person}")  # each person of a company is somebody else
    if place and (street or name):
        return f"{country}|{place}|{street}|{name}", country
    return _fold(_first(fields, _ANY)), country


@cache
def _countries() -> dict[str, str]:
    """Return the code of each country by its folded name, in all languages that the library knows."""
    # Run alone, for letters only: to import it would load the areas of all numbers, 100 MiB, with it.
    path = str(files("phonenumbers") / "geodata" / "locale.py")
    spec = cast("ModuleSpec", spec_from_file_location("phonenumbers.geodata.locale", path))
    module = module_from_spec(spec)
    cast("Loader", spec.loader).exec_module(module)
    named = {
        _fold(name): code.lower()
        for code, names in module.LOCALE_DATA.items()
        for name in names.values()
        if not name.startswith("*")  # it names the language whose word is the same
    }
    return named | {"uk": "gb", "england": "gb", "usa": "us", "deu": "de", "gbr": "gb", "aut": "at"}


def _fold(text: str) -> str:
    """Return text for a comparison: in one case, with single blanks, in normal form NFKC."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("|", " ").split())


def _scrubbed_number(found: re.Match[str]) -> str:
    text = found[0]
    digits = re.sub(r"\D", "", text)
    if text[0] == "+":
        return mask(f"+{digits}")
    least = 7 if text[0] == "0" else 11 if text == digits else 9
    return f"•••{digits[-2:]}" if len(digits) >= least and not _MOMENT.fullmatch(text) else text
