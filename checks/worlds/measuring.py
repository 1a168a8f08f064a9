"""Runs every strategy in one world after the other, and keeps the figures by world, strategy and seed."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from softbounce import embedded
from softbounce.settings import packaged_policy
from softbounce.store import Store

from .driving import drive
from .figures import Figures, figures
from .kinds import Kind
from .strategies import EXPONENTIAL, SVIX, no_retry, oracle, plain
from .world import World

NO_RETRY, PLAIN, PLAIN_SVIX, SHIPPED, ORACLE = (
    "no retry",
    "exponential",
    "Svix",
    "the shipped policy",
    "oracle",
)

Found = dict[str, dict[str, list[Figures]]]  # world -> strategy -> figures of each seed, in order
Opened = Callable[[], Store]  # gives an empty store, whatever the one before holds


def measured(
    kind: Kind, *, seed: int, messages: int, policies: dict[str, Path], empty_store: Opened
) -> dict[str, Figures]:
    """Return the figures of all strategies in one world; ``policies``: files by the names of their strategies."""
    world = World(kind, seed=seed, messages=messages)
    best = oracle(world)
    runs = {
        NO_RETRY: no_retry(world),
        PLAIN: plain(world, EXPONENTIAL),
        PLAIN_SVIX: plain(world, SVIX),
    }
    for name, path in policies.items():
        store = empty_store()
        runs[name] = drive(world, store, policy=path)
        store.close()
    runs[ORACLE] = best
    return {name: figures(run, oracle=best) for name, run in runs.items()}


def measure(
    kinds: Sequence[Kind],
    *,
    seeds: Sequence[int],
    messages: int,
    policy: Path | None,
    told: Callable[[str], None],
) -> Found:
    """Measure all worlds with all seeds on the packaged Valkey; ``policy``: a file to try beside the shipped one."""
    found: Found = {}
    with _valkey() as empty_store, TemporaryDirectory(prefix="worlds-") as folder:
        shipped = Path(folder, "policy.yaml")  # the packaged one, whatever the caller's folder holds
        shipped.write_text(packaged_policy(), encoding="utf-8")
        policies = {SHIPPED: shipped} | ({policy.name: policy} if policy else {})
        for kind in kinds:
            by_strategy: defaultdict[str, list[Figures]] = defaultdict(list)
            for seed in seeds:
                told(f"{kind.name}, seed {seed}")
                one = measured(kind, seed=seed, messages=messages, policies=policies, empty_store=empty_store)
                for name, counted in one.items():
                    by_strategy[name].append(counted)
            found[kind.name] = dict(by_strategy)
    return found


@contextmanager
def _valkey() -> Iterator[Opened]:
    with (
        TemporaryDirectory(prefix="worlds-") as data,
        embedded.start(Path(data)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        client.config_set("appendonly", "no")  # what was decided is measured here, and nothing has to last

        def empty_store() -> Store:
            client.flushall()
            return Store.open(server.url)

        yield empty_store
