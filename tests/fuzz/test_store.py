"""Bad input on the packaged Valkey: what the parser takes the ledger takes, and gives back with its values."""

import itertools
import json

import pytest
import redis
from checks.fuzz.inputs import (
    DATES,
    NUMBERS,
    TEXTS,
    as_bytes,
    bent_events,
    raw_events,
    sound_events,
    worst_events,
)
from checks.fuzz.rules import NOW, as_reported, as_utf8, shipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.references import broken
from typer.testing import CliRunner

from softbounce.cli.main import app
from softbounce.core.decide import DeadLetter, Plan, decide
from softbounce.core.filters import parse_filter
from softbounce.core.records import resend_command
from softbounce.store import Finish, Store

OUTCOMES = {
    "scheduled", "suppressed", "held", "given_up", "delivered", "cancelled", "duplicate", "coalesced", "superseded", "ended",
    "opted_in", "ignored", "dead_lettered",
}  # fmt: skip
HOUR = 3_600_000
ANYTHING = parse_filter("", keys=())
LISTS = (("retries", "list"), ("cases", "list"), ("dead-letters", "list"), ("suppressions", "list"))


@pytest.fixture(scope="module")
def client(valkey):
    """A client of the packaged Valkey."""
    with redis.Redis.from_url(valkey) as client:
        yield client
        client.flushdb()


@pytest.fixture
def run(valkey, monkeypatch, tmp_path):
    """Run a command as a person does; no error but a sentence with an exit code may come out."""
    monkeypatch.setenv("SOFTBOUNCE_REDIS_URL", valkey)
    monkeypatch.chdir(tmp_path)

    def command(*words):
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in {0, 1, 2}, result.output
        if "ndjson" in words:
            return [json.loads(line) for line in result.stdout.split("\n") if line]
        assert result.output.strip()
        return result.stdout

    return command


def started(client):
    """Return an empty store in virtual time."""
    client.flushdb()
    store = Store(client)
    store.set_now(NOW)
    return store


def accepted(store, raws):
    """Let a batch be accepted; return the plan of each delivery whose newest report it is, by its id."""
    decisions = [decide(raw, policy=shipped(), now=store.now()) for raw in raws]
    answers = store.ledger.accept(decisions, policy=shipped())
    assert {answer.outcome for answer in answers} <= OUTCOMES
    for decision, answer in zip(decisions, answers, strict=True):
        assert (answer.outcome == "dead_lettered") == isinstance(decision, DeadLetter)
    return {
        answer.delivery: decision
        for decision, answer in zip(decisions, answers, strict=True)
        if isinstance(decision, Plan) and answer.outcome == "scheduled"
    }


def handed_over(store, plans):
    """Let a day pass hour by hour and hand over what is due; return the commands."""
    commands = []
    for _ in range(30):
        store.set_now(store.now() + HOUR)
        while leases := store.ledger.claim(policy=shipped(), limit=500, lease=30_000).leases:
            for lease in leases:
                command = json.loads(as_utf8(resend_command(lease.delivery, file="policy.yaml")))
                as_reported(plans[lease.delivery.id], command)
                commands.append(command)
            ends = [
                Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over", note="s")
                for lease in leases
            ]
            assert set(store.ledger.finish(ends, policy=shipped())) == {"done"}
    return commands


def told(store):
    """Tell every notice; return their types."""
    types = []
    while notices := store.notices.claim(limit=500, lease=30_000):
        for notice in notices:
            as_utf8(notice.body)
            types.append(notice.type)
        store.notices.finish(notices)
    return types


batches = st.lists(
    raw_events | bent_events().map(as_bytes) | sound_events().map(as_bytes) | worst_events(),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batch=batches, in_line=st.booleans())
def test_whatever_is_decided_is_accepted_read_back_and_handed_over(client, run, batch, in_line):
    """No input makes a script, a list, a notice or a command fail, and each retry has the values of its report."""
    store = started(client)
    plans = accepted(store, batch)
    assert not broken(client)
    references = {plan.event.reference for plan in plans.values()}

    assert [run(*words) for words in LISTS]
    for reference in itertools.islice(references, 2):
        run("explain", "--", reference)
        run("explain", "-o", "ndjson", "--", reference)
    if in_line:  # what is due stands in line where somebody does
        client.zadd(store.keys.fixed("ready"), {"another merchant\n9999999999\nnobody": 0})
    handed_over(store, plans)
    told(store)
    while store.sweep(policy=shipped(), count=1000):
        pass
    for reference in itertools.islice(references, 1):
        run("explain", "--", reference)
    assert not broken(client)


def test_every_nasty_text_in_every_place_is_accepted_or_dead_lettered(client, run):
    """One event for each text and each field that is found, grouped or shown by it."""
    store = started(client)
    raws = [as_bytes(event) for text in TEXTS for event in _with(text)]
    plans = accepted(store, raws)
    for words in LISTS:
        run(*words)
        run(*words, "-o", "ndjson")
    commands = handed_over(store, plans)

    assert len(commands) > 100
    assert told(store)
    assert not list(store.retries.select(ANYTHING, now=store.now()))
    assert not broken(client)
    for reference in sorted({plan.event.reference for plan in plans.values()})[::20]:
        run("explain", "--", reference)


@pytest.mark.parametrize(
    "place",
    ["id", "merchantId", "customerNumber", "referenceNumber", "address", "date", "notAfter", "date+notAfter"],
)
def test_every_nasty_number_and_date_is_accepted_or_dead_lettered(client, run, place):
    """Also past 2**53, past 14 digits, and at both ends of the calendar."""
    store = started(client)
    raws = []
    for number, value in enumerate((*NUMBERS, *DATES)):
        phone = f"+4915{next(_NUMBERS)}"
        to = [{"phone": phone, "n": value, "list": [], "deep": [[value, {}]]}, phone]
        sent = {
            "channel": "SMS",
            "reference": f"m{number}",
            "recipients": to if place == "address" else [phone],
        }
        sent["error"] = {
            "type": "SEND_ERROR",
            "reasonCode": "PLACEHOLDER_ERROR" if number % 2 else "PROVIDER_ERROR",
        }
        claim = {"id": number, "communication": sent} | (
            {place: value} if place in ("id", "merchantId", "customerNumber", "referenceNumber") else {}
        )
        sent |= {"notAfter": value} if "notAfter" in place else {}
        raws.append(
            as_bytes(
                {"type": "MESSAGE_NOT_DELIVERED", "claim": claim}
                | ({"date": value} if "date" in place else {})
            )
        )
    plans = accepted(store, raws)
    for words in LISTS:
        run(*words)
    for reference in range(0, len(raws), 4):
        run("explain", "-o", "ndjson", "--", f"m{reference}")
    handed_over(store, plans)

    assert "held" in told(store)
    assert not broken(client)


_NUMBERS = itertools.count(112345678)


def _with(text):
    """Yield a report for each place where ``text`` may stand."""
    for place in (
        "reference",
        "claim",
        "merchant",
        "customer",
        "code",
        "type",
        "campaign",
        "recipient",
        "field",
        "snippet",
        "eventId",
    ):
        sent = {
            "channel": "SMS",
            "reference": text if place == "reference" else f"{place} {TEXTS.index(text)}",
            "recipients": [
                text
                if place == "recipient"
                else {"phone": f"+4915{next(_NUMBERS)}", text if place == "field" else "x": text}
            ],
            "campaign": text if place == "campaign" else "c",
            "error": {
                "type": text if place == "type" else "SEND_ERROR",
                "reasonCode": text
                if place == "code"
                else "SNIPPET_ERROR"
                if place == "snippet"
                else "PROVIDER_ERROR",
                "details": {"snippets": [text]},
            },
        }
        claim = {
            "id": text if place == "claim" else None,
            "merchantId": text if place == "merchant" else None,
        }
        claim |= {"customerNumber": text if place == "customer" else None, "communication": sent}
        yield {
            "type": "MESSAGE_NOT_DELIVERED",
            "eventId": text if place == "eventId" else None,
            "claim": claim,
        }
