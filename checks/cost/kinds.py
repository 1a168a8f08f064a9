"""What every kind is made of: a state, and one step of the worker on it that is measured."""

import json
from collections.abc import Callable, Sequence
from threading import Event

import redis
from msgspec import Struct

from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.settings import policy_text
from softbounce.store import Caller, Finish, Store
from softbounce.store.limits import HANDOVER_BATCH
from softbounce.worker.intake import Intake
from softbounce.worker.policy_in_force import PolicyInForce

from .reports import HOUR, NOW

KEY = b"k" * 32


class Policies(PolicyInForce):
    """A policy that lets a whole batch leave at once: the shipped hand-over rate is less."""

    def __init__(self, *changes: tuple[str, str]) -> None:
        text = policy_text()[0]
        for old, new in (
            ("handover_rate: 50/s", "handover_rate: 100000/s"),
            ("rate: 50/s", "rate: 100000/s"),
            *changes,
        ):
            assert old in text, old
            text = text.replace(old, new)
        self.current = policy_file.load(text, file="policy.yaml")


SHIPPED = Policies()


class Call(Struct, frozen=True, kw_only=True):
    """A step of the worker to be measured, and how many events or retries it is about."""

    items: int
    run: Callable[[Store], object]


Kind = Callable[[Store], Call]
ACCEPT: dict[str, Kind] = {}
CLAIM: dict[str, Kind] = {}
OTHER: dict[str, Kind] = {}


def kind(table: dict[str, Kind], name: str) -> Callable[[Kind], Kind]:
    """Enter a kind under the name that is printed."""

    def enter(function: Kind) -> Kind:
        table[name] = function
        return function

    return enter


def taken(raws: Sequence[bytes], policies: PolicyInForce = SHIPPED, *, is_read: bool = True) -> Call:
    """Return that reports are taken in, as the worker does: in its batches, through ``Intake.take``.

    ``is_read``: hardly one may become a dead letter, or the kind would not be about what its name says.
    """

    def run(store: Store) -> object:
        answers = Intake(store, policies, worker="w", lease=30_000, stopping=Event()).take(raws)
        lost = sum(answer.outcome == "dead_lettered" for answer in answers)
        assert lost <= len(raws) / 30 or not is_read, f"{lost} of {len(raws)} could not be read"
        return answers

    return Call(items=len(raws), run=run)


def take(
    store: Store, raws: Sequence[bytes], policies: PolicyInForce = SHIPPED, *, is_read: bool = True
) -> None:
    """Take reports in now, to make a state."""
    taken(raws, policies, is_read=is_read).run(store)


def client_of(store: Store) -> redis.Redis:
    """Return the client of a store, to make what a test would take too long to make by reports."""
    return store._client  # noqa: SLF001


def hand_over(store: Store, policy: Policy, many: int) -> None:
    """Claim so many and finish them, to make a state."""
    left = many
    while left > 0:
        leases = store.ledger.claim(policy=policy, limit=HANDOVER_BATCH, lease=30_000, soon=100_000).leases
        assert leases, left
        store.ledger.finish(
            [
                Finish(delivery=one.delivery.id, token=one.token, result="handed_over", note="s")
                for one in leases
            ],
            policy=policy,
        )
        left -= len(leases)


def claimed(items: int, policies: PolicyInForce = SHIPPED, *, soon: int = 100_000) -> Call:
    """Return that so many are claimed, in as many claims as it takes, or until two of them changed nothing."""

    def run(store: Store) -> object:
        name, schedule, ready = "pump", store.keys.fixed("schedule"), store.keys.fixed("ready")
        left = [items, items + 1, items + 2]
        while left[-1] and left[-1] != left[-3]:
            at = len(left)
            store.ledger.claim(
                policy=policies.current,
                limit=HANDOVER_BATCH,
                lease=30_000,
                soon=soon,
                caller=Caller(name=name, claim=at, answered=at - 1),
            )
            client = client_of(store)
            left.append(client.zcount(schedule, "-inf", store.now()) + client.zcard(ready))
        return left

    return Call(items=items, run=run)


def due(store: Store, raws: Sequence[bytes], *, policies: PolicyInForce = SHIPPED, hours: int = 10) -> None:
    """Take reports in and let the time come at which all of them are due."""
    take(store, raws, policies)
    store.set_now(NOW + hours * HOUR)
    left = client_of(store).zcount(store.keys.fixed("schedule"), "-inf", store.now())
    assert left == client_of(store).zcard(store.keys.fixed("schedule")) >= 100, left


def fields(store: Store, target: str, entries: dict[str, object]) -> None:
    """Write what people's commands write."""
    texts = {name: json.dumps(entry, separators=(",", ":")) for name, entry in entries.items()}
    client_of(store).hset(store.keys.fixed(target), mapping=texts)
