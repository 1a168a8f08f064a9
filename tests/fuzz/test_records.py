"""A record of the store, changed in any way, stops nobody: not a claim, an accept, a finish, a sweep or a list."""

import json

import pytest
import redis
from checks.fuzz.inputs import NUMBERS, TEXTS
from checks.fuzz.rules import NOW, shipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softbounce.core.decide import decide
from softbounce.core.filters import parse_filter
from softbounce.core.policy.file import load
from softbounce.core.records import resend_command
from softbounce.store import Finish, Store
from softbounce.store.audit import By

ANYTHING = parse_filter("", keys=())
HOUR = 3_600_000
IN_LINE = load("version: 1\nlimits: {handover_rate: 3/s}", file="policy.yaml")
NEIGHBOURS = {f"m{n}" for n in range(3)}

values = st.none() | st.booleans() | st.sampled_from([*NUMBERS, *TEXTS]) | st.floats() | st.text(max_size=5)
values |= st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2)
fields = st.sampled_from(
    [
        "v",
        "s",
        "a",
        "n",
        "p",
        "o",
        "t",
        "k",
        "kt",
        "c",
        "g",
        "d",
        "x",
        "f",
        "l",
        "e",
        "z",
        "w",
        "q",
        "u",
        "r",
        "h",
        "j",
        "rs",
        "b",
        "y",
    ]
)
heads = st.dictionaries(fields, values, max_size=3) | st.dictionaries(
    fields, st.integers(-(2**60), 2**60), max_size=3
)
payloads = st.dictionaries(st.integers(0, 11), values, max_size=2)


@st.composite
def records(draw):
    """Draw a change of three lines: of the head's fields, of the payload's places, of the recipients, or of bytes anywhere."""
    new_head, new_values = draw(heads), draw(payloads)
    to = draw(st.none() | values)
    at, byte = draw(st.integers(0, 400)), draw(st.binary(max_size=2))
    is_torn, is_rough = draw(st.booleans()), draw(st.integers(0, 3)) == 0

    def change(raw):
        head, payload, recipients = raw.split(b"\n", 2)
        known, row = json.loads(head) | new_head, json.loads(payload)
        for place, value in new_values.items():
            row[place : place + 1] = [value]
        lines = [
            json.dumps(known, separators=(",", ":")),
            json.dumps(row),
            recipients.decode() if to is None else json.dumps(to),
        ]
        changed = "\n".join(lines).encode(errors="surrogatepass")
        if is_rough:
            changed = changed[:at] + byte + (b"" if is_torn else changed[at:])
        return changed

    return change


@pytest.fixture(scope="module")
def client(valkey):
    """A client of the packaged Valkey."""
    with redis.Redis.from_url(valkey) as client:
        yield client
        client.flushdb()


def report(reference, kind="MESSAGE_NOT_DELIVERED", error="PROVIDER_ERROR"):
    """Return a report of one message, each to a number of its own."""
    sent = {
        "channel": "SMS",
        "reference": reference,
        "recipients": [f"+49151123456{len(reference)}{ord(reference[-1]) % 10}"],
    }
    sent |= {"error": {"type": "SEND_ERROR", "reasonCode": error}} if error else {}
    return json.dumps(
        {"type": kind, "claim": {"id": reference, "merchantId": 7, "communication": sent}}
    ).encode()


def accept(store, *raws):
    """Accept reports as one batch; return the outcomes."""
    decisions = [decide(raw, policy=shipped(), now=store.now()) for raw in raws]
    return [answer.outcome for answer in store.ledger.accept(decisions, policy=shipped())]


def left(store, policy):
    """Claim and finish for ten seconds; return the references that left."""
    gone = []
    for _ in range(10):
        claimed = store.ledger.claim(policy=policy, limit=10, lease=30_000)
        leases = claimed.leases
        gone += [
            resend_command(lease.delivery, file="p")["reference"]
            for lease in leases
            if lease.delivery.reference in NEIGHBOURS
        ]
        ends = [
            Finish(delivery=lease.delivery.id, token=lease.token, result="handed_over") for lease in leases
        ]
        store.ledger.finish(ends, policy=policy)
        store.set_now(store.now() + 1000)
    return gone


@pytest.mark.parametrize("policy", [shipped(), IN_LINE], ids=["at once", "in line"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(change=records())
def test_a_changed_record_costs_only_itself(client, policy, change):
    """Its neighbours leave once each, its own next report gets an outcome, and what cannot be read is kept with its bytes."""
    client.flushdb()
    store = Store(client)
    store.set_now(NOW)
    assert accept(store, *(report(name) for name in (*sorted(NEIGHBOURS), "bad"))) == ["scheduled"] * 4
    deliveries = store.keys.fixed("deliveries")
    (ident,) = (
        one.delivery.id for one in store.retries.select(ANYTHING, now=NOW) if one.delivery.reference == "bad"
    )
    client.hset(deliveries, ident, change(client.hget(deliveries, ident)))

    store.set_now(NOW + HOUR)
    list(store.retries.select(ANYTHING, now=store.now()))
    gone = left(store, policy)
    assert sorted(gone) == sorted(NEIGHBOURS)
    outcomes = accept(
        store,
        report("bad"),
        report("bad", error=None),
        report("bad", "MESSAGE_DELIVERED", error=None),
        report("m9"),
    )
    assert outcomes[-1] == "scheduled"
    store.sweep(policy=policy)
    list(store.retries.select(ANYTHING, now=store.now()))
    store.retries.find("bad")
    for case in store.cases.select(ANYTHING, now=store.now()):
        store.cases.show(case.id)
        if case.kind == "damaged_record":
            assert list(store.cases.damaged()) == [ident]
            store.cases.resolve(
                case.id, how="release", by=By("me", "x"), policy=shipped(), first=store.now(), step=1
            )
            left(store, policy)
