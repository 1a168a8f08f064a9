"""Bad input to the pure core: whatever the bytes, the documented answers and nothing else, in bounded time."""

import json
import time
import tracemalloc

import pytest
from checks.fuzz import inputs, rules
from checks.fuzz.inputs import EMAILS, PHONES, TEXTS, as_bytes, bytes_of, raw_events, raw_policies
from hypothesis import example, given, settings
from hypothesis import strategies as st

from softbounce.core.decide import DeadLetter, decide
from softbounce.core.policy.file import check

addresses = bytes_of(
    st.sampled_from((*PHONES, *EMAILS, *TEXTS)).map(lambda text: text.encode(errors="replace"))
)
filters = bytes_of(st.sampled_from((b"channel:sms code:BOUNCE_* due:<2h", b"-merchant:42 a,b age:>1d")))
words = bytes_of(st.sampled_from((b"90m", b"6/1d", b"50/s", b"20%", b"21:00")))
SECONDS = 5.0  # a busy machine needs a tenth of it for any of these


@settings(max_examples=100)
@given(raw=raw_events)
@example(raw=b"")
@example(raw=b"\xef\xbb\xbf{}")
def test_any_report_has_a_decision_that_can_be_kept_and_explained(raw):
    """Scheduled, held, suppressed, ignored, delivered or a dead letter with its reason."""
    assert rules.event(raw)


@settings(max_examples=120)
@given(raw=raw_events)
def test_what_is_read_is_what_any_json_parser_reads(raw):
    """Or it is refused: nobody may see another event in the same bytes."""
    assert rules.strict_json(raw)


@settings(max_examples=120)
@given(raw=addresses)
def test_any_address_is_normalised_once_and_for_all_or_refused(raw):
    """One address has one hash, and a refusal does not repeat it."""
    assert rules.addresses(raw)


@settings(max_examples=100)
@given(raw=raw_policies)
def test_any_policy_file_is_taken_or_refused_with_every_place(raw):
    """A line, a column, a sentence; what is taken decides on events."""
    assert rules.policy(raw)


@settings(max_examples=100)
@given(raw=filters)
def test_any_filter_finds_or_is_refused(raw):
    """In a sentence."""
    assert rules.filters(raw)


@settings(max_examples=120)
@given(raw=words)
def test_any_duration_is_read_or_refused(raw):
    """In a sentence that says what to write."""
    assert rules.words(raw)


def _event(**sent):
    return as_bytes({"type": "MESSAGE_NOT_DELIVERED", "claim": {"communication": {"reference": "m1"} | sent}})


HUGE = {
    "10^5 levels": b'{"a":' * 100_000,
    "10^5 brackets": b"[" * 100_000,
    "200 levels that end": b'{"a":' * 200 + b"1" + b"}" * 200,
    "64 levels in a recipient": _event(recipients=[{"a": json.loads("[" * 59 + "]" * 59)}]),
    "a number of 10^5 digits": b'{"a":' + b"9" * 100_000 + b"}",
    "a fraction of 10^5 digits": b'{"a":0.' + b"1" * 100_000 + b"}",
    "an exponent": b'{"a":1e999999999}',
    "20,000 equal keys": b"{" + b'"a":1,' * 20_000 + b'"a":1}',
    "20,000 keys": b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
    "10 MB": b'{"type":"' + b"x" * 10_000_000 + b'"}',
    "quotes": b'{"a":"' + b'\\"' * 100_000 + b'"}',
    "a text of combining marks": _event(recipients=["\u0301" * 3000], channel="LETTER"),
    "a letter that grows": _event(recipients=[{"street": "\ufdfa" * 600, "city": "x"}], channel="LETTER"),
    "an address of dots": _event(recipients=["a." * 2000 + "@" + "a." * 20], channel="EMAIL"),
    "an address of at signs": _event(recipients=["@" * 4000], channel="EMAIL"),
    "a number of blanks": _event(recipients=["+" + " " * 4000 + "1"], channel="SMS"),
    "10,000 invalid values": _event(error={"details": {"invalidValues": [["a"]] * 10_000}}, channel="SMS"),
    "a date of 10^5 digits": as_bytes(
        {"date": f"2026-11-20T15:32:23.{'1' * 100_000}Z", "type": "MESSAGE_NOT_DELIVERED"}
    ),
    "an SMTP reply": _event(
        error={"reasonCode": "X", "details": {"smtpCode": "smtp;" * 10_000, "message": "5." * 40_000}}
    ),
}


@pytest.mark.parametrize("raw", HUGE.values(), ids=HUGE)
def test_a_huge_report_is_decided_in_bounded_time_and_memory(raw):
    """Seconds are far above what it takes; an exponential regular expression or a recursion would show."""
    tracemalloc.start()
    before = time.process_time()
    decision = decide(raw, policy=rules.shipped(), now=rules.NOW)
    took, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert rules.event(raw)
    assert took < SECONDS
    assert peak < 64 * 1024 * 1024
    assert not isinstance(decision, DeadLetter) or len(decision.raw) <= 64 * 1024


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
BOMBS = {
    "billion laughs": f"version: 1\na0: &a0 [1]\n{LAUGHS}",
    "merged laughs": "version: 1\nx: &a0 {k: 1}\n"
    + "".join(f"x{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)),
    "an anchor inside itself": "version: 1\na: &a [*a]",
    "python objects": "version: 1\nname: !!python/object/apply:os.system ['exit 1']",
    "deep flow": "version: 1\na: " + "[" * 20_000,
    "deep blocks": "version: 1\n" + "".join(f"{' ' * n}a:\n" for n in range(500)),
    "dashes": "- " * 100_000,
    "question marks": "? " * 50_000,
    "a scalar of 100 KiB": "version: 1\nname: " + "x" * 100_000,
    "a quoted scalar of 100 KiB": 'version: 1\nname: "' + "\\u0041" * 16_000 + '"',
    "a key of 100 KiB": "x" * 100_000 + ": 1",
    "2,000 keys": "version: 1\n" + "".join(f"k{n}: 1\n" for n in range(2_000)),
    "10,000 comments": "# x\n" * 10_000 + "version: 1\n",
    "2,000 anchors": "version: 1\na: [" + ", ".join(f"&a{n} 1" for n in range(2_000)) + "]",
    "20 MB": "version: 1\n" + "#" * 20_000_000,
    "directives": "%TAG ! x\n" * 20_000,
    "a version": f"%YAML {'9' * 10_000}.1\n---\nversion: 1\n",
    "tabs": "version:\t1\n\tname: x\n",
    "documents": "--- 1\n" * 10_000,
    "a number of 10^5 digits": "version: 1\nlimits: {max_attempts: " + "9" * 100_000 + "}",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_of_a_policy_is_judged_in_bounded_time_and_memory(text):
    """Aliases, depth, size: refused with a place, before they cost anything."""
    tracemalloc.start()
    before = time.process_time()
    policy, problems = check(text, file="policy.yaml")
    took, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (policy is None) == any(problem.severity == "error" for problem in problems)
    assert took < 4 * SECONDS
    assert peak < 128 * 1024 * 1024


def test_the_strategies_reach_what_they_are_for():
    """A sieve that refused everything would prove nothing: sound and bent events come out both ways."""
    outcomes = set()

    @settings(max_examples=150, database=None, derandomize=True)
    @given(raw=inputs.raw_events)
    def look(raw):
        outcomes.add(rules.event(raw))

    look()

    assert outcomes >= {"dead_lettered", "delivered", "retry", "hold", "suppress"}
