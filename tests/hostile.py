"""The worst that producers, and the store itself, have given us: each input with a name, in one place.

For whatever asks what one bad item costs the others: the chaos row ``worst_inputs``, the tests of intake and claim, the fuzzer's
seeds and the cost of a script. Every input has a reference and recipients of its own. Nothing here knows the product.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

EMOJI = "\U0001f4a9"
MEGABYTE = 1 << 20
TIMES = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59", "0001-01-01T00:00:00", "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59+14:00", "2286-11-20T17:46:40Z", "5138-11-16T09:46:40Z",
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59+23:59", "9999-12-31T23:59:59", "2026-11-20T15:32:23",
    "2026-02-30T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T15:32:23+99:99", "", " ", "now", "2026-W48", "20261120T153223Z",
)  # fmt: skip
"""As text: of any year, with any offset or none, and what is no time at all."""
NUMBERS = (
    "0", "-0", "-0.0", "-1", "0.1", "1e400", "-1e400", "1e308", "5e-324", "1e-400", str(2**31), str(2**53 + 1), str(2**63), str(-(2**63)), str(2**70),
    "9" * 401, f"-{'9' * 401}", "9" * 5000, f"0.{'0' * 400}1", "NaN", "Infinity", "-Infinity", '"NaN"', '"1e400"', '"-0"', "true", "null",
)  # fmt: skip
"""As they stand in JSON, or in what takes itself for JSON."""
TEXTS = (
    EMOJI * 500, EMOJI * 513, "\x00", "a\x00b", "a\nb", "a\n\nb", "\r\n", "\x1b[2J", "\x7f", "\u2028", "\ud800", "\udfff", "\ufeff", "*", "%s%d%", "%",
    "^[%w", '"', "\\", '","z":1', '"z":1', "{sb:default}:schedule", "null", "-0", "1e400", "x" * 512, "x" * 5000, "\u0000" * 600, "",
)  # fmt: skip
"""Where a label, a name or a group is expected; lone surrogates stand escaped in the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One bad input: the entries that a producer adds to the stream for it, in this order."""

    name: str
    reference: str  # of its message, where one can be read
    entries: tuple[dict[bytes, bytes], ...]


PIECE = "\ue000"
"""Stands for a piece of JSON that json.dumps would not write."""


def address(number: int) -> str:
    """Return a phone number that no other input and no ordinary message has."""
    return f"+49151{number:08}"


def report(reference: str, to: Any, *, as_json: str = "", **facts: Any) -> bytes:
    """Return one failure report; ``facts`` change it, by the dotted path with ``__``. ``PIECE`` in them becomes ``as_json``."""
    sent = {"reference": reference, "channel": "SMS", "recipients": to}
    sent["error"] = {"type": "SEND_ERROR", "reasonCode": "SMS_EXPIRED", "details": {"message": "x"}}
    claim: dict[str, Any] = {"id": f"c-{reference}", "merchantId": 1, "communication": sent}
    event = {"claim": claim, "type": "MESSAGE_NOT_DELIVERED", "eventId": None, "date": None}
    for path, value in facts.items():
        *above, last = path.split("__")
        holder: dict[str, Any] = event
        for name in above:
            holder = holder[name]
        holder[last] = value
    return json.dumps(event).replace(json.dumps(PIECE), as_json).encode()


_SENT = "claim__communication__"
_DETAILS = f"{_SENT}error__details__"
NUMBERED = (
    "claim__id",
    "claim__merchantId",
    "claim__referenceNumber",
    "claim__customerNumber",
    "eventId",
    f"{_DETAILS}smtpCode",
)
NAMED = (
    "claim__id", "claim__merchantId", "claim__customerNumber", "eventId", "source", "traceparent", f"{_SENT}provider", f"{_SENT}campaign",
    f"{_SENT}operator", f"{_SENT}timezone", f"{_SENT}resendId", f"{_SENT}channel", f"{_SENT}error__reasonCode", f"{_SENT}error__type",
)  # fmt: skip
GROUPED = ("snippets", "placeholders")  # the first of them names a group of cases


def inputs(*, first: int = 1, share: float = 1.0) -> Iterator[Bad]:
    """Yield every bad input that may come by the stream; ``share`` of the reports where one input is many of them."""
    for number, (name, entries) in enumerate(_all(share), start=first):
        reference = f"bad{number}"
        yield Bad(name=name, reference=reference, entries=tuple(entries(reference, [address(number)])))


def _all(share: float) -> Iterator[tuple[str, Any]]:
    yield from _times()
    yield from _numbers()
    yield from _texts()
    yield from _many(share)
    yield from _raw()


def _times() -> Iterator[tuple[str, Any]]:
    for text in TIMES:
        for place in ("date", f"{_SENT}notAfter"):
            yield f"{_words(place)} {_short(text)}", _once(**{place: text})
            yield f"a second report with {_words(place)} {_short(text)}", _twice(**{place: text})
    for text in NUMBERS:
        yield f"notAfter {_short(text)}", _once(as_json=text, **{f"{_SENT}notAfter": PIECE})
        yield f"date {_short(text)}", _once(as_json=text, date=PIECE)
    yield "notAfter an object", _once(**{f"{_SENT}notAfter": {"$date": 1}})


def _numbers() -> Iterator[tuple[str, Any]]:
    for text in NUMBERS:
        for place in NUMBERED:
            yield f"{_words(place)} {_short(text)}", _once(as_json=text, **{place: PIECE})
        for place in GROUPED:
            for code in ("PLACEHOLDER_ERROR", "NEVER_HEARD_OF"):
                facts = {f"{_DETAILS}{place}": [PIECE], f"{_SENT}error__reasonCode": code}
                yield f"{code}: {place} [{_short(text)}]", _once(as_json=text, **facts)


def _texts() -> Iterator[tuple[str, Any]]:
    for text in TEXTS:
        for place in NAMED:
            yield f"{_words(place)} {_short(text)}", _once(**{place: text})
        for place in GROUPED:
            facts = {f"{_DETAILS}{place}": [text, text], f"{_SENT}error__reasonCode": "PLACEHOLDER_ERROR"}
            yield f"{place} {_short(text)}", _once(**facts)
    for value in ([], {}, [[]], [None], {"a": 1}, True):
        for place in (
            *NAMED,
            *(f"{_DETAILS}{name}" for name in GROUPED),
            _SENT + "error",
            _SENT + "recipients",
            "claim",
            "type",
        ):
            yield f"{_words(place)} {value!r}", _once(**{place: value})


def _many(share: float) -> Iterator[tuple[str, Any]]:
    def much(times: int) -> int:
        return max(3, round(times * share))

    large = {"name": "x" * 3900}

    def recipients(reference: str, how_many: int, **more: str) -> list[Any]:
        return [{"phone": f"+4915{_digits(reference, one)}", **more} for one in range(how_many)]

    def several(how_many: int, **more: str) -> Any:
        return lambda reference, _: [_entry(report(reference, recipients(reference, how_many, **more)))]

    yield "100 recipients", several(100)
    yield "100 recipients with large objects", several(100, name="x" * 2500)
    yield "100 recipients with objects above the limit of a report", several(100, **large)
    yield "200 recipients", several(200)
    yield (
        "100 recipients that cannot be read",
        lambda reference, _: [_entry(report(reference, [f"?{n}" for n in range(100)]))],
    )
    yield "recipients that are one another", lambda reference, to: [_entry(report(reference, to * 100))]
    yield (
        "a bare report of 100 recipients, then each of them",
        lambda reference, _: [
            _entry(report(reference, recipients(reference, 100), claim__communication__error=None)),
            *(
                _entry(report(reference, [one], eventId=f"{reference}-{n}"))
                for n, one in enumerate(recipients(reference, much(100)))
            ),
        ],
    )
    yield (
        "one reference under 200 recipients, then bare reports",
        lambda reference, _: [
            *(
                _entry(report(reference, [one], eventId=f"{reference}-{n}"))
                for n, one in enumerate(recipients(reference, much(200)))
            ),
            *(
                _entry(
                    report(reference, [one], eventId=f"{reference}-b{n}", claim__communication__error=None)
                )
                for n, one in enumerate(recipients(reference, much(50)))
            ),
        ],
    )
    labels = {f"{_SENT}{name}": EMOJI * 500 for name in ("provider", "campaign", "operator")}
    yield (
        "600 events with labels of 500 emoji on one reference",
        lambda reference, to: [
            _entry(report(reference, to, eventId=f"{reference}-{n}", source=EMOJI * 500, **labels))
            for n in range(much(600))
        ],
    )
    yield (
        "one eventId for two messages",
        lambda reference, to: [
            _entry(report(reference, to, eventId=reference)),
            _entry(report(f"{reference}-other", to, eventId=reference)),
            _entry(report(reference, to, eventId=reference, type="MESSAGE_DELIVERED")),
        ],
    )
    yield (
        "deliveries of 100 recipients that nobody reported",
        lambda reference, _: [
            _entry(
                report(
                    reference,
                    recipients(reference, 100),
                    type="MESSAGE_DELIVERED",
                    date="0001-01-01T00:00:00Z",
                )
            )
        ],
    )


def _raw() -> Iterator[tuple[str, Any]]:
    """Entries that hold no report: of any bytes, depth and size, with other fields or none of ours."""
    for name, raw in (
        ("nothing", b""), ("every byte", bytes(range(256))), ("half a character", b'{"a":"\xf0\x9f"}'), ("a surrogate in UTF-8", b'"\xed\xa0\x80"'),
        ("100,000 levels", b"[" * 100_000), ("65 levels", b'{"a":' * 65 + b"1" + b"}" * 65), ("a million zeros", b"\x00" * MEGABYTE),
        ("20 MB of text", b'{"type":"' + b"x" * (20 * MEGABYTE) + b'"}'), ("20 MB of zeros", b"\x00" * (20 * MEGABYTE)),
        ("the same key a thousand times", b"{" + b'"type":"x",' * 1000 + b'"type":"y"}'), ("a number", b"9" * 5000), ("NaN", b"NaN"),
        ("a BOM", b"\xef\xbb\xbf{}"), ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00"), ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00"),
    ):  # fmt: skip
        yield f"an event that is {name}", lambda _reference, _to, raw=raw: [{b"event": raw}]
    for name, fields in (
        ("another field", {b"evnt": b"{}"}), ("an empty field", {b"": b""}), ("binary fields", {bytes(range(128, 256)): bytes(range(256))}),
        ("500 fields", {b"%d" % n: b"x" for n in range(500)}), ("a field of 1 MB", {b"x" * MEGABYTE: b"x" * MEGABYTE}),
        ("EVENT in capitals", {b"EVENT": b"{}"}),
    ):  # fmt: skip
        yield f"an entry with {name}", lambda _reference, _to, fields=fields: [fields]


def tokens() -> Iterator[tuple[str, bytes]]:
    """Yield bad values of an entry's field ``reply``, beside a report that is sound. ``TAKEN`` is to name a key of another type."""
    yield from (
        ("of a key of another type", TAKEN), ("of 1 MB", b"x" * MEGABYTE), ("with a line break", b"a\r\nb"), ("of zeros", b"\x00" * 40),
        ("of no character", b"\xff\xfe"), ("with a hash tag", b"}{sb:default}:schedule"), ("of a stream", b"../events"), ("of one space", b" "),
        ("of emoji", EMOJI.encode() * 100), ("with wildcards", b"*?[a]"),
    )  # fmt: skip


TAKEN = b"taken"


def records(*, deadline: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (name, delivery, bytes of its record) of what no release of ours has written; ``deadline`` (s) lies ahead.

    ``deliveries`` may hold it after a restored backup or a slip of a hand. Each delivery is to be put into the schedule, due.
    """
    numbers = count(1)

    def ident() -> bytes:
        return b"%012d%012d" % (next(numbers), 0)

    payload = b'["r","sms","c",1,"","","SEND_ERROR","SMS_EXPIRED","rev",1]'
    head = b'{"a":1,"n":3,"d":1,"f":1,"x":%d}' % deadline
    for name, raw in (
        ("empty", b""), ("zeros", b"\x00" * 100), ("no text", b"\xff\xfe\xfd"), ("one line", b"{}"), ("null", b"null\nnull\nnull"),
        ("no object", b"[]\n[]\n[]"), ("an empty head", b"{}\n" + payload + b'\n["+49"]'), ("no payload", head + b"\n\n"),
        ("an empty payload", head + b'\n[]\n["+49"]'), ("a payload that is an object", head + b'\n{}\n["+49"]'),
        ("a payload of nulls", head + b"\n[null,null,null,null,null,null,null,null,null,null]\n[]"),
        ("a payload of lists", head + b'\n[[],[],[],[],[],[],[],[],[],[]]\n["+49"]'),
        ("a torn head", head[:-3] + b"\n" + payload + b'\n["+49"]'), ("a torn payload", head + b"\n" + payload[:-5] + b'\n["+49"]'),
        ("recipients that are torn", head[:-1] + b',"rs":["",""]}\n' + payload + b'\n["+49"'),
        ("fewer recipients than hashes", head[:-1] + b',"rs":["a","b"]}\n' + payload + b"\n[]"),
        ("hashes that are no list", head[:-1] + b',"rs":7}\n' + payload + b'\n["+49"]'),
        ("a deadline before 1970", b'{"a":1,"n":3,"d":1,"f":1,"x":-62135683140}\n' + payload + b'\n["+49"]'),
        ("a deadline without an end", b'{"a":1,"n":3,"d":1,"f":1,"x":1e999}\n' + payload + b'\n["+49"]'),
        ("a deadline that is text", b'{"a":1,"n":3,"d":1,"f":1,"x":"soon"}\n' + payload + b'\n["+49"]'),
        ("no deadline", b'{"a":1}\n' + payload + b'\n["+49"]'), ("a try that is text", head.replace(b'"a":1', b'"a":"x"') + b"\n" + payload + b"\n[]"),
        ("an unknown state", head[:-1] + b',"s":"asleep"}\n' + payload + b'\n["+49"]'),
        ("a version that is text", head[:-1] + b',"v":"x"}\n' + payload + b'\n["+49"]'),
        ("a strike that is an object", head[:-1] + b',"k":{},"kt":{}}\n' + payload + b'\n["+49"]'),
        ("10 MB", head[:-1] + b',"h":"' + b"x" * (10 * MEGABYTE) + b'"}\n' + payload + b'\n["+49"]'),
        ("100,000 levels", b'{"a":' * 100_000 + b"\n" + payload + b"\n[]"),
    ):  # fmt: skip
        yield name, ident(), raw
    sound = head + b"\n" + payload + b'\n["+49"]'
    for name, odd in (
        ("no id", b""),
        ("an id of one byte", b"\xff"),
        ("an id with line breaks", b"\n\n\n"),
        ("an id of 1 MB", b"i" * MEGABYTE),
    ):
        yield name, odd, sound


def newer(*, deadline: int) -> tuple[bytes, bytes]:
    """Return (delivery, record) as a newer release may write it: to be left alone, not to be set aside."""
    return b"%012d%012d" % (0, 0), b'{"v":2,"a":1,"x":%d,"s":["new"]}\nanything' % deadline


def _once(**facts: Any) -> Any:
    return lambda reference, to: [_entry(report(reference, to, **facts))]


def _twice(**facts: Any) -> Any:
    """Report the message, then once more while it waits."""
    return lambda reference, to: [_entry(report(reference, to)), _entry(report(reference, to, **facts))]


def _entry(raw: bytes) -> dict[bytes, bytes]:
    return {b"event": raw}


def _short(text: str) -> str:
    whole = repr(text)
    return whole if len(whole) <= 30 else f"{whole[:12]}... of {len(text)} characters"


def _words(place: str) -> str:
    return place.rpartition("__")[2]


def _digits(reference: str, one: int) -> str:
    return f"2{int(reference.removeprefix('bad')):05}{one:03}"
