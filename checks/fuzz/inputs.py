"""Bad input: events and policies that are nearly right, then changed in structure and in bytes."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests import hostile

from softbounce.core.reasons import KNOWN

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "config" / "policy.yaml").read_text(encoding="utf-8")
PHONES = ("+4915112345678", "+33612345678", "0049 151 12345679", "+1 212 555 0100", "+491511234")
EMAILS = ("a.b@web.de", "Ä@exämple.org", "x@y.co", "xxx@web.de", "a…e@web.de")
LETTERS = (
    {"postcode": "10115", "city": "Berlin", "street": "Gartenstr.", "houseNumber": 1, "name": "A. Muster"},
    {"postalAddress": {"zip": "1000", "country": "BE", "line1": "Rue 1"}},
)
TEXTS = (
    "", " ", "\n", "m\n1", "a\r\nb", "\t", "\x00", "m\x001", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u200b", "\ufeff", "\u202e", "\ud800",
    "{", "}", "{}", "}{", "{sb:default}", "{sb:x}:schedule", "__proto__", "constructor", "z", '"z":1', '","z":1,"s":"out', "\\", '"', "'", "%s%d",
    "null", "true", "0", "-0", "1e5", "NaN", "*", "**", "-x:y", "a:b,", "a@b", "+49", "r_x", "d_x", "=1+1", "@", "é", "ß", "İ", "ﬁ", "😀", "•",
    "x" * 128, "x" * 129, "x" * 512, "x" * 513, "ß" * 512, "x" * 4096, "x" * 5000, "\u200b" * 129, "m/1", "../../etc/passwd", "m.json",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2**31, 10**14 - 1, 10**14, 10**15, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 10**30,
    0.1, -0.0, 1.5, 5e-324, 1e308, 1e21, 123456789012345678, float("nan"), float("inf"), True, False, None,
)  # fmt: skip
DATES = (
    "2026-11-20T15:32:23Z", "2026-11-20T15:32:23.123456789+01:00", "2026-11-20 15:32:23", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "5138-11-16T09:46:40Z",
    "2038-01-19T03:14:08Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T15:32:23+99:99", "now",
)  # fmt: skip
KEYS = (
    "",
    "__proto__",
    "z",
    "type",
    "claim",
    "communication",
    "\x00",
    "a" * 5000,
    "{}",
    "\ud800",
    "1",
    "error",
    "then",
    "x y",
)
PIECES = (
    b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]", b'"', b",", b":",
    b"\n", b"\r", b"\t", b"NaN", b"Infinity", b"-", b"1e999", b"9" * 400, b"[" * 300, b'{"a":' * 70, b'"type":"x",', b"/*", b"//", b"\\",
    b"&a ", b"*a", b"<<: *a", b"!!python/object:os.system ", b"!!binary ", b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"? ", b"- ", b"| ", b">+9\n",
    b"{{", b"#", b"'", b"=cmd|' /C calc'!A0", b";", b"\xe2\x80\xae",
)  # fmt: skip

leaves = st.sampled_from(TEXTS) | st.sampled_from(NUMBERS) | st.sampled_from(DATES) | st.text(max_size=8)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
codes = st.sampled_from((*KNOWN, "BOUNCE_NEW", "", " sms_expired "))


@st.composite
def sound_events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event as a producer should write it: every field of ``docs/guides/intake.md``."""
    channel = draw(st.sampled_from(("SMS", "EMAIL", "LETTER", "sms")))
    addresses: tuple[Any, ...] = {"EMAIL": EMAILS, "LETTER": LETTERS}.get(channel, PHONES)
    recipient = st.sampled_from(addresses) | st.sampled_from(addresses).map(
        lambda to: {"address": to, "id": 7}
    )
    sent = {
        "channel": channel,
        "reference": draw(st.sampled_from(("m-1", "m-2", "a/b c", "ü"))),
        "recipients": draw(st.lists(recipient, min_size=1, max_size=3)),
    }
    if draw(st.booleans()):
        sent |= {
            "notAfter": draw(st.sampled_from(DATES[:3])),
            "timezone": "Europe/Paris",
            "provider": "p",
            "campaign": "c",
            "operator": "26201",
            "resendId": "r-1",
        }
    delivered = draw(st.integers(0, 4)) == 0
    if not delivered and draw(st.integers(0, 5)):
        details = {"message": "550 5.1.1 no", "smtpCode": draw(st.sampled_from(("550", "5.1.1", 452, "200")))}
        kind = draw(st.sampled_from(("SEND_ERROR", "CONTACT_ERROR", "RENDER_ERROR", "other")))
        sent["error"] = {"type": kind, "reasonCode": draw(codes), "details": details}
        if draw(st.booleans()):
            details |= {"invalidValues": [draw(recipient)], "snippets": ["s-1"]}
    kinds = ("MESSAGE_DELIVERED",) * 5 + ("RECIPIENT_OPTED_IN",) if delivered else ("MESSAGE_NOT_DELIVERED",)
    return {
        "type": draw(st.sampled_from(kinds)),
        "eventId": draw(st.none() | st.uuids().map(str)),
        "date": draw(st.sampled_from(DATES[:3])),
        "source": "REMINDER",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "claim": {
            "id": draw(st.sampled_from((54321, "C-1", 10**14, None))),
            "merchantId": draw(st.sampled_from((1, "shop", None))),
            "referenceNumber": "R1",
            "customerNumber": "0012",
            "communication": sent,
        },
    }


def _holders(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in list(items):
        found += [(value, key), *_holders(inner)]
    return found


@st.composite
def bent_events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event with up to four of its values, keys or levels changed."""
    event = deepcopy(draw(sound_events()))
    for _ in range(draw(st.integers(0, 4))):
        holder, key = draw(st.sampled_from(_holders(event) or [(event, "type")]))
        match draw(st.sampled_from(("value", "value", "near", "gone", "key", "deep"))):
            case "value":
                holder[key] = draw(values)
            case "near":
                holder[key] = draw(leaves)
            case "gone":
                holder.pop(key, None) if isinstance(holder, dict) else holder.pop()
            case "key" if isinstance(holder, dict):
                holder[draw(st.sampled_from(KEYS))] = draw(values)
            case _:
                for _ in range(draw(st.sampled_from((1, 5, 60, 70, 150)))):
                    holder[key] = [holder[key]]
    return event


@st.composite
def bytes_of(draw: st.DrawFn, texts: st.SearchStrategy[bytes], *, most: int = 4) -> bytes:
    """Return bytes of ``texts``, some of them changed, taken away, doubled or put in between."""
    raw = draw(texts)
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.sampled_from((1, 1, 2, 10, 100))))
        match draw(st.sampled_from(("put", "replace", "cut", "double", "end", "flip"))):
            case "put":
                raw = raw[:at] + draw(st.sampled_from(PIECES)) + raw[at:]
            case "replace":
                raw = raw[:at] + draw(st.sampled_from(PIECES)) + raw[end:]
            case "cut":
                raw = raw[:at] + raw[end:]
            case "double":
                raw = raw[:end] + raw[at:]
            case "end":
                raw = raw[:at]
            case _:
                raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
    return raw


def as_bytes(event: Any, *, ascii_only: bool = True) -> bytes:
    """Return JSON, also of what is none: NaN, and half a character as its escape."""
    return json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


times = st.builds(
    "{}{}".format,
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.sampled_from(("Z", "", "+23:59", "-23:59", "+14:00", "+00:01")),
)
"""Of any year from 1 to 9999, with any offset or none."""
numbers = (
    st.sampled_from(hostile.NUMBERS)
    | st.integers().map(str)
    | st.integers(300, 500).map(lambda digits: "9" * digits)
    | st.floats().map(json.dumps)
)
"""As they stand in JSON, or in what takes itself for JSON."""
NUMBERED = (*hostile.NUMBERED, "date", "claim__communication__notAfter")
TEMPORAL = ("date", "claim__communication__notAfter")
SNIPPETS = "claim__communication__error__details__snippets"


@cache
def _worst() -> tuple[bytes, ...]:
    """Return the known worst reports that are short enough to be tried by the thousand."""
    raws = (fields.get(b"event", b"") for bad in hostile.inputs(share=0) for fields in bad.entries)
    return tuple(raw for raw in raws if len(raw) < 2**16)


@st.composite
def worst_events(draw: st.DrawFn) -> bytes:
    """Return one of the worst reports that are known, or one with a time, a number or a label that a guard must bear.

    Two references share them, so that one report meets what another has left.
    """
    facts: dict[str, Any] = {"claim__communication__error__reasonCode": draw(codes)}
    as_json = ""
    match draw(st.sampled_from(("known", "time", "time", "number", "snippet", "label", "many"))):
        case "known":
            return draw(st.sampled_from(_worst()))
        case "time":
            facts[draw(st.sampled_from(TEMPORAL))] = draw(times)
        case "number":
            facts[draw(st.sampled_from(NUMBERED))], as_json = hostile.PIECE, draw(numbers)
        case "snippet":
            facts[SNIPPETS], as_json = [hostile.PIECE], draw(numbers)
        case "label":
            facts[draw(st.sampled_from(hostile.NAMED))] = draw(st.sampled_from(hostile.TEXTS) | st.text())
        case _:
            many = draw(st.sampled_from((2, 99, 100, 101)))
            facts["claim__communication__recipients"] = [f"+4915{n:09}" for n in range(many)]
    reference, to = draw(st.sampled_from(("m-1", "m-2"))), draw(st.sampled_from(PHONES[:2]))
    return hostile.report(reference, [to], as_json=as_json, **facts)


json_events = st.builds(as_bytes, bent_events(), ascii_only=st.booleans())
raw_events = (
    json_events
    | sound_events().map(as_bytes)
    | worst_events()
    | bytes_of(json_events)
    | st.binary(max_size=40)
)
"""What may stand in the stream: from a sound event to plain noise."""


def seed_events() -> list[bytes]:
    """Return small events: our example, a delivery, a bare failure, several recipients, an opt-in, the ends of the calendar, the worst known."""
    example = json.loads((ROOT / "examples" / "event.json").read_text(encoding="utf-8"))
    events = [deepcopy(example) for _ in range(6)]
    sent = [event["claim"]["communication"] for event in events]
    events[1]["type"] = "MESSAGE_DELIVERED"
    del sent[2]["error"]
    sent[3] |= {
        "channel": "EMAIL",
        "recipients": list(EMAILS),
        "error": {"reasonCode": "BOUNCE_PERMANENT_GENERAL"},
    }
    sent[3]["error"]["details"] = {"invalidValues": {"email": EMAILS[0]}, "smtpCode": "550 5.1.1"}
    sent[4] |= {
        "channel": "LETTER",
        "recipients": list(LETTERS),
        "timezone": "Europe/Paris",
        "notAfter": DATES[1],
    }
    events[5]["type"] = "RECIPIENT_OPTED_IN"
    for date in DATES:
        late = deepcopy(example) | {"date": date}
        late["claim"]["communication"]["notAfter"] = date
        events.append(late)
    return [json.dumps(event, separators=(",", ":")).encode() for event in events] + [
        raw for raw in _worst()[::10] if len(raw) <= 1024
    ]


_LINES = POLICY.splitlines(keepends=True)
_WORDS = (
    "retry", "hold", "suppress", "drop", "off", "never", "full", "90m", "0s", "999999999d", "3660d", "6/1d", "0/s", "20%", "101%", '"21:00"', "24:00", "~",
    "null", "true", "1e3", ".5", "0x1F", "017", "1_000", "[]", "{}", "''", '"\\ud800"', '"SMS_EXPIRED\\n"', '"90m\\n"', '"\\e[2J"', "*a", "&a", "<<", "!!set", "Europe/Berlin",
    "Mars/Olympus", "../../etc/passwd", "2026-11-20", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+10:00", "mon", "4*", "5.1.1", "*", "webhook", "x" * 300, "9" * 5000,
)  # fmt: skip


@st.composite
def bent_policies(draw: st.DrawFn) -> str:
    """Return the shipped policy with lines doubled, gone, moved, moved in, or with another value."""
    first = draw(st.integers(0, len(_LINES) - 1))
    lines = list(_LINES if draw(st.booleans()) else ["version: 1\n", *_LINES[first : first + 30]])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        match draw(
            st.sampled_from(("value", "value", "value", "key", "gone", "double", "move", "indent", "word"))
        ):
            case "value":
                key, colon, _ = line.partition(":")
                lines[at] = f"{key}{colon} {draw(st.sampled_from(_WORDS))}\n"
            case "key":
                lines[at] = line.replace(line.strip().partition(":")[0], draw(st.sampled_from(_WORDS)), 1)
            case "gone" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, line)
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), line)
            case "indent":
                lines[at] = draw(st.sampled_from((" ", "  ", "\t", "- ", "? ", "    "))) + line
            case _:
                lines[at] = line.rstrip("\n") + " " + draw(st.sampled_from(_WORDS)) + "\n"
    return "".join(lines)


raw_policies = bytes_of(bent_policies().map(str.encode))
