"""No batch of reports costs the store much more than an ordinary one, whatever stands in them.

The figures are the store's own microseconds in scripts, the least of several runs on an empty store: a busy machine only adds.
``make cost`` counts instructions, over the worst inputs that we know; here they are drawn.
"""

import json
from threading import Event

import pytest
from checks.bench.events import FAILURES, TRANSIENT, event
from checks.cost.counted import Metered
from checks.cost.kinds import SHIPPED
from checks.fuzz.inputs import as_bytes, bent_events, sound_events
from checks.fuzz.rules import NOW
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from softbounce.store import Caller, Store, scripts
from softbounce.store.limits import HANDOVER_BATCH, INTAKE_BATCH
from softbounce.worker.intake import Intake

SCRIPT = 6  # full ordinary batches that one script may take; the goal is 1, and instructions are exact
ITEM = 40  # ordinary events or retries that one may take; the goal is 10
REPEATS = 3  # before a batch is too dear
ROUNDS = 6  # full batches, one after the other: what grows without bound is seen
HOUR = 3_600_000
QUICKLY = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller example would cost minutes
DATE = "2025-11-23T08:59:00Z"


@pytest.fixture(scope="module")
def client(valkey):
    """A client of the packaged Valkey that notes what each script takes."""
    with Metered.from_url(valkey, socket_timeout=60) as client:  # a batch that is too dear is to be measured
        yield client
        client.flushdb()


@pytest.fixture(scope="module")
def ordinary(client):
    """What a full batch of ordinary reports takes, and a full claim of ordinary retries (us)."""
    reports = [event(n, FAILURES[n * 7 % len(FAILURES)], DATE) for n in range(3 * INTAKE_BATCH)]
    retries = [event(n, TRANSIENT[n % len(TRANSIENT)], DATE) for n in range(2 * HANDOVER_BATCH - 1)]
    accepts = [max(spent(client, reports)[0][1:]) for _ in range(REPEATS)]
    claims = [max(spent(client, retries, soon=1)[1]) for _ in range(REPEATS)]
    return min(accepts), min(claims)


def spent(client, raws, *, soon=100_000):
    """Take reports in on an empty store, and claim ten hours later, until nothing is due.

    Return what each accept took, and each claim (us), and with how many retries claims have dealt.
    """
    client.flushdb()
    store = Store(client)
    store.set_now(NOW)
    client.meter()
    Intake(store, SHIPPED, worker="w", lease=30_000, stopping=Event()).take(raws)
    accepts = [one.amount for one in client.spent]
    store.set_now(NOW + 10 * HOUR)
    client.meter()
    before = due(store)
    for number in range(1, 60):
        caller = Caller(name="p", claim=number, answered=number - 1)
        claimed = store.ledger.claim(
            policy=SHIPPED.current, limit=HANDOVER_BATCH, lease=30_000, soon=soon, caller=caller
        )
        if claimed.idle:
            break
    return accepts, [one.amount for one in client.spent], before - due(store)


def due(store):
    """Return how many are due, in line or not."""
    sizes = store.sizes()
    return sizes["due"] + sizes["ready"]


def least(client, raws):
    """Yield what the scripts take at the least, after one run, two, and so on."""
    accepts, claims, dealt = spent(client, raws)
    yield accepts, claims, dealt
    for _ in range(REPEATS):
        again = spent(client, raws)
        accepts, claims = list(map(min, accepts, again[0])), list(map(min, claims, again[1]))
        yield accepts, claims, dealt


def dear(name, taken, *, items, full, size):
    """Say what is too dear, a script or an item of so many; empty if neither is.

    Less than a full ordinary batch altogether says nothing of an item: a claim of one retry has its own cost.
    """
    script, item = max(taken, default=0) / full, sum(taken) / max(items, 1) / (full / size)
    if script > SCRIPT or (sum(taken) > full and items and item > ITEM):
        return (
            f"{name}: a script takes {script:.1f} full ordinary batches, an item {item:.1f} ordinary ones. "
        )
    return ""


def within(client, ordinary, raws):
    """Check the rule; what seems too dear is asked again."""
    accept, claim = ordinary
    for accepts, claims, dealt in least(client, raws):
        said = dear("accept", accepts, items=len(raws), full=accept, size=INTAKE_BATCH)
        said += dear("claim", claims, items=dealt, full=claim, size=2 * HANDOVER_BATCH - 1)
        if not said:
            return
    raise AssertionError(said)


@st.composite
def heavy_events(draw):
    """Return a report with much in it: many recipients or large ones, long names, one reference for all or not."""
    to = [f"p{n}@example.com" for n in range(draw(st.sampled_from((0, 1, 2, 20, 100))))]
    if draw(st.booleans()):
        to = [{"email": one, "n": "x" * draw(st.sampled_from((10, 250)))} for one in to]
    name = draw(st.sampled_from(("x", "x" * 400, "\U0001f600" * 100)))
    sent = {"channel": "EMAIL", "reference": draw(st.sampled_from(("m-1", name))), "recipients": to}
    sent |= {"campaign": name, "operator": name, "provider": name}
    kind = draw(
        st.sampled_from(
            (
                "PROVIDER_ERROR",
                "BOUNCE_TRANSIENT_GENERAL",
                "INVALID_EMAIL_ADDRESS",
                "SMS_NOT_DELIVERED",
                name,
                "",
            )
        )
    )
    if kind:
        sent["error"] = {"type": "SEND_ERROR", "reasonCode": kind, "details": {"snippets": [name]}}
    claim = {
        "id": name,
        "merchantId": name,
        "customerNumber": name,
        "referenceNumber": name,
        "communication": sent,
    }
    delivered = draw(st.integers(0, 3)) == 0
    return {
        "type": "MESSAGE_DELIVERED" if delivered else "MESSAGE_NOT_DELIVERED",
        "date": DATE,
        "claim": claim,
    }


def batches_of(events, *, is_one_message):
    """Return full batches of these events in turn, each under an id of its own."""
    raws = []
    for number in range(ROUNDS * INTAKE_BATCH):
        one = json.loads(as_bytes(events[number % len(events)]))
        if isinstance(one, dict):
            one["eventId"] = f"e{number}"
            sent = one.get("claim")
            sent = sent.get("communication") if isinstance(sent, dict) else None
            if isinstance(sent, dict) and not is_one_message:
                sent["reference"] = f"m{number}"
        raws.append(as_bytes(one))
    return raws


def _of_one_message(*to):
    """Return a report that is dated and labelled, and as long as an ordinary one may be."""
    error = {"type": "SEND_ERROR", "reasonCode": "PROVIDER_ERROR"}
    sent = {
        "channel": "EMAIL",
        "reference": "m",
        "recipients": to,
        "campaign": "c" * 200,
        "operator": "o" * 200,
    }
    return {
        "type": "MESSAGE_NOT_DELIVERED",
        "date": DATE,
        "claim": {"communication": {**sent, "error": error}},
    }


ONE_MESSAGE = _of_one_message("a@example.com")
A_HUNDRED = _of_one_message(*(f"p{n}@example.com" for n in range(100)))
UNBOUNDED = """
local function lines_of(reference)
  return redis.call("HGET", history, reference)
end
local function remember(id, fields, more)
  local reference = string.sub(id, 1, 12)
  local line = string.format('{"t":%d,"y":"%s",', now, string.sub(id, 13)) .. fields .. (more or "")
  redis.call("HSET", history, reference, (lines_of(reference) or line) .. "\\n" .. line)
end
"""


@settings(
    max_examples=12,
    phases=QUICKLY,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    events=st.lists(heavy_events() | sound_events() | bent_events(), min_size=1, max_size=4),
    is_one_message=st.booleans(),
)
@example(events=[ONE_MESSAGE], is_one_message=True)
@example(events=[A_HUNDRED], is_one_message=False)
def test_no_batch_costs_the_store_much_more_than_an_ordinary_one(client, ordinary, events, is_one_message):
    """Not accept, not the claims that follow, not a script and not an item: whatever the reports hold."""
    within(client, ordinary, batches_of(events, is_one_message=is_one_message))


def test_a_history_without_its_bound_is_found_too_dear(client, ordinary, monkeypatch):
    """The rule sees what it is for: where each event writes a history anew that only grows, it costs more and more."""
    assemble, read = scripts.assemble, scripts._read  # noqa: SLF001

    def planted(name):
        with monkeypatch.context() as while_read:
            if name == "accept":
                part = "shared/history"
                while_read.setattr(scripts, "_read", lambda one: UNBOUNDED if one == part else read(one))
            return assemble(name)

    assert UNBOUNDED.strip() in planted("accept")
    monkeypatch.setattr(scripts, "assemble", planted)
    scripts._bindings.cache_clear()  # noqa: SLF001 - a process reads the scripts once
    try:
        with pytest.raises(AssertionError, match="accept: a script takes"):
            within(client, ordinary, batches_of([ONE_MESSAGE], is_one_message=True))
    finally:
        scripts._bindings.cache_clear()  # noqa: SLF001
