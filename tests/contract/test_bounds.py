"""No text from a caller passes into the store without a bound: it is refused, with the field named."""

import inspect
from collections.abc import Iterator
from dataclasses import replace

import fakeredis
import pytest

from softbounce import InvalidEvent, InvalidRecipient, Softbounce
from softbounce.core.bounds import NAME, TEXT
from softbounce.core.policy.file import load
from softbounce.errors import InvalidSettings
from softbounce.receiver import handle_once
from softbounce.store import Store, Verdict
from softbounce.store.audit import Audit, By
from softbounce.store.breakers import Breakers
from softbounce.store.cancels import Cancels
from softbounce.store.cases import Cases
from softbounce.store.dead_letters import DeadLetters
from softbounce.store.erasure import Erasure
from softbounce.store.modes import Modes
from softbounce.store.pauses import Pauses
from softbounce.store.policies import Policies, Revision
from softbounce.store.retries import Retries
from softbounce.store.suppression_entries import SuppressionEntry
from softbounce.store.suppressions import Suppressions
from softbounce.store.workers import Workers

NUMBER = "+4915112345678"
HUGE = "x" * 5_000_000
EVENT = {"type": "OTHER"}
ROW = {"address": NUMBER, "channel": "sms", "merchant": "1", "code": "C", "origin": "person", "reason": "asked",
       "recipient": "r_abcdefghijkl", "since": "2026-01-01", "until": "never"}  # fmt: skip
WANTED = {"revision": "r", "text": "version: 1", "file": "f", "previous": "p", "by": "me", "reason": "asked"}
LISTED = SuppressionEntry(field="abc", rid="abc", merchant=None, entry={"code": "C", "origin": "person"})
POLICY = load("version: 1\ndefaults: {retry: {delays: [1h]}}\n", file="p")
SAMPLES = {"by": By("me", "asked"), "now": 1_800_000_000_000, "until": 1_900_000_000_000, "channel": "sms",
           "merchant": "1", "value": "1", "kind": "claim", "mode": "off", "provider": "p", "action": "look", "what": "all",
           "ident": "k_1", "how": "drop", "first": 0, "step": 1, "policy": POLICY, "idents": ["a"],
           "rows": [ROW], "code": "C", "seen": "", "revision": "r", "text": "version: 1", "rid": "abc", "streams": {},
           "history_kept": 1, "recipients": [NUMBER], "recipient": NUMBER, "wanted": Revision(**WANTED), "claim": "1",
           "event": EVENT, "causes": (LISTED,)}  # fmt: skip
# Every public method of the first six; of the others what changes something, or takes a word of a person.
DOORS = {
    Softbounce: None,
    Modes: None,
    Pauses: None,
    Cancels: None,
    Breakers: None,
    Workers: None,
    Audit: {"note"},
    Suppressions: {"add", "remove", "load", "rid"},
    Cases: {"show", "ack", "resolve"},
    DeadLetters: {"show", "drop"},
    Retries: {"run_now", "resume"},
    Policies: {"find", "apply", "keep"},
    Erasure: {"erase"},
}
HARMLESS = {"close", "from_env", "report", "report_many", "all", "beat"}
NAMED = {  # by what else a text is named
    (Softbounce, "recipients"): "recipient",
    (Pauses, "value"): "claim",
    (Cancels, "value"): "claim",
    (Suppressions, "value"): "recipient",
    (Cases, "ident"): "case",
    (DeadLetters, "ident"): "id",
    (DeadLetters, "idents"): "id",
    (Retries, "idents"): "delivery",
    (Erasure, "rid"): "what",
}
LEFT_OUT = {"if_unreachable", "event"}  # a choice of two, and what has a test of its own
ONE_OF = ("claim", "reference", "customer", "recipient")  # of cancel; a merchant beside one is one too many


def cases() -> Iterator[tuple[tuple[type, str], dict[str, object], str]]:
    """Yield for each text of each door: class and method, the arguments, and which of them is huge."""
    for of, named in DOORS.items():
        methods = [name for name, _ in inspect.getmembers(of, inspect.isfunction) if not name.startswith("_")]
        for name in methods:
            if ((of, name) != (Breakers, "close") and name in HARMLESS) or (
                named is not None and name not in named
            ):
                continue
            wanted = inspect.signature(getattr(of, name)).parameters
            takes = [one for one in wanted if one not in {"self", *LEFT_OUT}]
            if (of, name) == (Softbounce, "cancel"):
                for one in (*ONE_OF, "merchant"):
                    chosen = {one: NUMBER, "reason": "paid", "actor": "me", "channel": "sms"}
                    yield from (((of, name), chosen, field) for field in chosen)
                continue
            chosen = {one: SAMPLES[one] for one in takes if one in SAMPLES}
            if (of, name) == (Softbounce, "delivered"):
                chosen = {"reference": "m1", "channel": "sms"}
            if of is Suppressions and "value" in chosen:
                chosen["value"] = NUMBER
            for field, sample in chosen.items():
                if isinstance(sample, str | list | By):
                    yield (of, name), chosen, field


def huge(sample: object) -> Iterator[tuple[object, str]]:
    """Yield the sample with one text of it made huge, and the name of that text if it has one of its own."""
    if isinstance(sample, str):
        yield HUGE, ""
    elif isinstance(sample, By):
        yield from ((replace(sample, **{name: HUGE}), name) for name in ("actor", "reason"))
    elif isinstance(sample, list) and isinstance(sample[0], str):
        yield [HUGE], ""
    elif isinstance(sample, list):
        yield from (([sample[0] | {name: HUGE}], name) for name in sample[0])


def contents(client):
    """Return all that the store holds."""
    readers = {b"hash": client.hgetall, b"stream": client.xrange, b"string": client.get}
    return {
        key: readers.get(client.type(key), lambda key: client.zrange(key, 0, -1))(key)
        for key in client.scan_iter()
    }


def door(of: type, store: Store) -> object:
    """Return the object of a class on this store."""
    parts = (
        *(store.modes, store.pauses, store.cancels, store.breakers, store.workers, store.audit),
        store.suppressions,
        store.cases,
        store.dead_letters,
        store.retries,
        store.policies,
    )
    known = {type(part): part for part in (*parts, store.erasure)}
    return Softbounce(store) if of is Softbounce else known[of]


@pytest.fixture
def client():
    """A store's server in memory: what is refused before it is asked needs no other."""
    return fakeredis.FakeRedis()


@pytest.fixture
def store(client) -> Store:
    """A store with its key."""
    made = Store(client)
    assert made.key
    return made


@pytest.mark.parametrize(
    ("method", "chosen", "field"),
    [
        pytest.param(*case, id=f"{case[0][0].__name__}.{case[0][1]}-{case[2]}-{n}")
        for n, case in enumerate(cases())
    ],
)
def test_a_huge_text_is_refused_by_name_and_nothing_is_written(client, store, method, chosen, field):
    """Whatever a producer or a person passes as a text: 5 MB of it never reach the store."""
    of, name = method
    call = getattr(door(of, store), name)
    before = contents(client)
    for value, inner in huge(chosen[field]):
        try:
            answer = call(**chosen | {field: value})
            (answer,) = list(answer) if isinstance(answer, Iterator) else [answer]
        except (InvalidEvent, InvalidSettings, InvalidRecipient) as error:
            answer = error
        assert said(answer) == (inner or NAMED.get((of, field), field)), answer
        assert contents(client) == before


def said(answer: object) -> str:
    """Return which field is refused; an address, a channel and a verdict are so by their kind."""
    match answer:
        case InvalidRecipient():
            return "channel" if "channel is" in str(answer) else "recipient"
        case InvalidEvent() | InvalidSettings():
            return answer.path
        case Verdict(allowed=False) | ([], [_]):  # of may_send, of split
            return "recipient"
    return f"nothing, but {answer!r:.200}"


@pytest.mark.parametrize("name", list(WANTED))
def test_a_huge_policy_is_refused_by_name(store, name):
    """The text of a policy, and what a person says beside it."""
    with pytest.raises(InvalidSettings, match=f"^{name}: is longer than"):
        store.policies.apply(
            Revision(**WANTED | {name: HUGE}), seen="", action="policy apply", by=By("me", "asked")
        )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (10**5000, "more than 64 bits"),
        ("\ud800", "not UTF-8"),
        ("x" * (NAME + 1), "longer than 512 characters"),
    ],
    ids=["number", "surrogate", "long"],
)
def test_a_value_that_no_event_can_have_is_refused(store, value, told):
    """Numbers beyond 64 bits, half a character, and a name that is longer than an event's."""
    with pytest.raises(InvalidEvent) as refused:
        Softbounce(store).cancel(claim=value, reason="paid")

    assert refused.value.path == "claim"
    assert told in refused.value.reason


def test_what_an_event_may_hold_can_be_cancelled_and_paused(store):
    """The bounds of a name are those of an event's; of a reason those of its texts."""
    Softbounce(store).cancel(claim="x" * NAME, reason="y" * TEXT)
    store.pauses.add("merchant", "x" * NAME, by=By("z" * NAME, "y"), until=1)

    assert [len(entry["reason"]) for entry in store.audit.entries()] == [1, TEXT]


def test_an_address_that_begins_like_a_hash_is_an_address(store):
    """r_smith@example.com is somebody's mailbox: it is found by its hash, and not taken for one."""
    store.suppressions.add("r_smith@example.com", "email", by=By("me", "asked"), now=1)

    assert not Softbounce(store).may_send("r_smith@example.com", channel="email")


def test_the_id_of_a_command_is_bounded(store):
    """A receiver that is given nonsense says which field it is."""
    for ident in (HUGE, "", None, 5, "\ud800"):
        with pytest.raises(InvalidEvent, match=r"^id: "):
            handle_once({"id": ident}, print, store=store)
