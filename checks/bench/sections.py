"""The parts of the bench. What is compared is measured in turns, so that other load on the machine meets both."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from checks.bench import events, handover, lookups, parts, race, state
from checks.bench.contenders import (
    PEERS,
    ROOT,
    BullMQ,
    CeleryRedis,
    Client,
    Contender,
    Dramatiq,
    OneByOne,
    Stream,
    Task,
    ToCelery,
    failures,
)
from checks.bench.rows import CPU, STEADY, Figures, Row, Section, ratios
from checks.bench.server import on

MICRO, MIB = 1e6, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each thing is measured."""

    rounds: int
    events: int  # a round takes a stream worker a few seconds
    tasks: int  # as long for Celery, which takes fewer
    due: int
    resends: int  # of a peer's
    to_celery: int
    many: int
    kept: int
    recipients: int
    all: bool  # every contender, and what is printed only


FULL = Size(
    rounds=5,
    events=30_000,
    tasks=1_500,
    due=100_000,
    resends=1_500,
    to_celery=6_000,
    many=1_000_000,
    kept=15_000,
    recipients=50_000,
    all=True,
)
SHORT = Size(
    rounds=3,
    events=10_000,
    tasks=600,
    due=10_000,
    resends=600,
    to_celery=2_000,
    many=100_000,
    kept=6_000,
    recipients=20_000,
    all=False,
)


def intake(size: Size) -> Section:
    """Let every contender take in failures."""
    racing = _present((Stream, Task, Client, OneByOne, *PEERS) if size.all else (Stream, CeleryRedis, BullMQ))
    figures: Figures = {}
    two: list[float] = []
    limits: list[float] = []
    for _ in range(size.rounds):
        for kind in racing:
            _note(
                figures,
                kind.name,
                _taken(race.intake(kind, events.make(_count(kind, size), kinds=kind.kinds))),
            )
        limits.append(MICRO / parts.measure(count=size.kept // 4)[parts.SCRIPT])
        if size.all:
            both = race.intake(Stream, events.make(size.events), workers=2)
            two.append(both.per_second)
            _note(figures, "softbounce, stream, two workers", _taken(both))
    ours = figures[Stream.name]["events/s"]
    peers = {kind.name: figures[kind.name]["events/s"] for kind in racing if kind in PEERS}
    best = max(peers, key=lambda name: median(peers[name]))
    rows = [
        Row(
            key="intake/celery",
            title="intake by stream / Celery task per event",
            found=ratios(ours, peers[CeleryRedis.name]),
            goal=60,
            floor=30,
        ),
        Row(
            key="intake/cpu",
            margin=CPU,
            title="CPU of an event: of Celery / of softbounce",
            found=ratios(_cost(figures[CeleryRedis.name]), _cost(figures[Stream.name])),
        ),
        Row(
            key="intake/limit",
            title="intake by stream / limit of our own script in Redis",
            found=ratios(ours, limits),
            goal=0.6,
            floor=0.4,
        ),
    ]
    if len(peers) > 1:
        title = f"intake by stream / best peer ({best})"
        rows.insert(1, Row(key="intake/best", title=title, found=ratios(ours, peers[best]), goal=12, floor=6))
    if two:
        rows.append(Row(key="intake/two", title="two workers / one", found=ratios(two, ours), goal=1.6))
    return Section(
        title="Intake: 70 % transient, 20 % permanent, 10 % message-level or malformed",
        figures=figures,
        rows=rows,
    )


def delivered(size: Size) -> Section:
    """Let messages arrive that never failed: 97 of 100."""
    racing = (Stream, CeleryRedis)
    figures: Figures = {}
    for _ in range(size.rounds):
        for kind in racing:
            found = race.intake(kind, events.make(_count(kind, size), kinds=events.DELIVERIES))
            _note(figures, kind.name, _taken(found))
    rows = [
        Row(
            key="delivered/cpu",
            margin=CPU,
            title="97 % MESSAGE_DELIVERED: CPU of Celery / of softbounce",
            found=ratios(_cost(figures[CeleryRedis.name]), _cost(figures[Stream.name])),
            goal=50,
            floor=20,
        )
    ]
    return Section(
        title="Intake: 97 % MESSAGE_DELIVERED of messages that never failed", figures=figures, rows=rows
    )


def due(size: Size) -> Section:
    """Hand over what is due at once, with the cap lifted."""
    peers = _present(PEERS if size.all else (CeleryRedis,))
    ours = {Stream: failures(size.due), ToCelery: failures(size.to_celery)}
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        images = {kind: Path(folder) / kind.__name__ for kind in ours}
        for kind, raws in ours.items():
            with on(images[kind]) as client, closing(kind(client)) as contender:
                race.wait_until_due(contender, raws)
        for _ in range(size.rounds):
            for kind in (*ours, *peers):
                raws = ours.get(kind) or failures(size.resends)
                found = race.hand_over(kind, raws, image=images.get(kind))
                _note(figures, kind.name, {"retries/s": found.per_second} | _used(found))
            _note(figures, "a loop of apply_async", {"retries/s": handover.loop(size.resends)})
    rate = {name: found["retries/s"] for name, found in figures.items()}
    rows = [
        Row(
            key="due/celery",
            title=f"hand-over to a stream, {size.due:,} due / Celery ETA",
            found=ratios(rate[Stream.name], rate[CeleryRedis.name]),
            goal=60,
            floor=20,
        ),
        Row(
            key="due/cpu",
            margin=CPU,
            title="CPU of a hand-over to a stream: of Celery / of softbounce",
            found=ratios(_cost(figures[CeleryRedis.name]), _cost(figures[Stream.name])),
        ),
        Row(
            key="due/queue",
            title="hand-over to a Celery queue / a loop of apply_async",
            found=ratios(rate[ToCelery.name], rate["a loop of apply_async"]),
            goal=12,
            floor=8,
        ),
    ]
    return Section(title="Hand-over: all due at once, cap lifted", figures=figures, rows=rows)


def lag(size: Size) -> Section:
    """See how late retries leave, and how soon after a crash. Milliseconds and seconds: printed, never gated."""
    figures: Figures = {}
    rates = {Stream: 1_000, BullMQ: 1_000, CeleryRedis: 500} if size.all else {Stream: 1_000}
    for kind in _present(rates):
        late = handover.lags(kind, per_second=rates[kind], seconds=5 if size.all else 2)
        middle, most = (handover.quantile(late, share) for share in (0.5, 0.99))
        _note(figures, f"{kind.name}, {rates[kind]:,}/s due", {"p50 ms": middle, "p99 ms": most})
    rows = [
        Row(
            key="lag/p99",
            title="lag p99 at 1,000/s due",
            found=figures[f"{Stream.name}, 1,000/s due"]["p99 ms"],
            goal=100,
            floor=1_000,
            unit=" ms",
            less=True,
        )
    ]
    if size.all:
        lease = handover.LEASE
        found = handover.recoveries(3, count=10_000)
        title = f"recovery after kill -9 with a lease of {lease:g} s"
        rows.append(
            Row(
                key="recovery",
                title=title,
                found=found,
                goal=lease + 1,
                floor=lease + 2,
                unit=" s",
                less=True,
            )
        )
    return Section(title="Lag", figures=figures, rows=rows)


def kept(size: Size) -> Section:
    """Count what Redis keeps, and what many retries that wait cost a worker."""
    found = state.kept(count=size.kept)
    figures: Figures = {
        name: {f"{who}, bytes": [size] for who, size in sizes.items()} for name, sizes in found.items()
    }
    arrived = found["one of 97 % that arrive"]
    rows = [
        Row(
            key="bytes/retry",
            margin=STEADY,
            title="Redis bytes of a pending retry, payload included",
            found=[found["a pending retry"]["softbounce"]],
            goal=300,
            floor=450,
            unit=" B",
            less=True,
        ),
        Row(
            key="bytes/message",
            margin=STEADY,
            title="Redis bytes of a failed message, all state",
            found=[found["a failed message"]["softbounce"]],
            goal=900,
            floor=1_200,
            unit=" B",
            less=True,
        ),
        Row(
            key="delivered/memory",
            margin=STEADY,
            title="97 % MESSAGE_DELIVERED: Redis memory of Celery / of softbounce",
            found=[arrived["Celery on Redis"] / arrived["softbounce"]],
            goal=50,
            floor=20,
        ),
    ]
    return Section(title="Kept in Redis", figures=figures, rows=rows)


def many(size: Size) -> Section:
    """See what a worker costs beside many retries that wait."""
    figures: Figures = {}
    names = [f"beside {count:,} that wait" for count in (state.FEW, size.many)]
    for pair in state.beside(many=size.many, count=size.events // 2, rounds=size.rounds):
        for name, found in zip(names, pair, strict=True):
            _note(figures, name, _taken(found))
    few, lots = (figures[name] for name in names)
    if size.all:
        for count, held in zip((0, size.resends), state.celery_beside(size.resends), strict=True):
            _note(figures, f"Celery on Redis, {count:,} ETAs in its memory", {"worker MiB": held / MIB})

    beside = f"{size.many:,} pending / {state.FEW:,}"
    rows = [
        Row(
            key="many/memory",
            margin=STEADY,
            title=f"worker memory, {beside}",
            found=ratios(lots["worker MiB"], few["worker MiB"]),
            goal=1.1,
            floor=1.3,
            less=True,
        ),
        Row(
            key="many/cost",
            margin=0.75,
            title=f"CPU per event, {beside}",
            found=ratios(_cost(lots), _cost(few)),
            goal=1.1,
            floor=1.3,
            less=True,
        ),
    ]
    return Section(title="One worker beside few and many retries that wait", figures=figures, rows=rows)


def asked(size: Size) -> Section:
    """Ask who may be sent to."""
    figures: Figures = {}
    for found in lookups.measure(count=size.recipients, rounds=size.rounds):
        for name, rate in found.items():
            _note(figures, name, {"recipients/s": rate})
    rate = {name: found["recipients/s"] for name, found in figures.items()}
    in_slices, read, _, single, bare = rate.values()
    rows = [
        Row(
            key="lookups/many",
            title="may_send_many in slices / SISMEMBER in pipelines, addresses read by both",
            found=ratios(in_slices, read),
            goal=5,
            floor=4,
        ),
        Row(
            key="lookups/single",
            title="time of may_send / of one bare round trip",
            found=ratios(bare, single),
            goal=1.3,
            less=True,
        ),
    ]
    return Section(title="May these be sent to? Half of them are suppressed", figures=figures, rows=rows)


def start(size: Size) -> Section:
    """Time what a person waits for: printed."""
    rows = [
        Row(
            key="help",
            title="softbounce --help",
            found=[_help() for _ in range(size.rounds)],
            unit=" s",
            less=True,
        )
    ]
    return Section(title="Start", rows=rows)


def steps(size: Size) -> Section:
    """Split the CPU of one event by step, one step after the other."""
    figures: Figures = {}
    for _ in range(size.rounds if size.all else 0):
        for part, used in parts.measure(count=size.kept // 2).items():
            _note(figures, part, {"us": used})
    return Section(title="CPU of one event by step, one after the other", figures=figures)


SECTIONS: dict[str, Callable[[Size], Section]] = {
    "intake": intake,
    "delivered": delivered,
    "due": due,
    "lag": lag,
    "kept": kept,
    "many": many,
    "asked": asked,
    "start": start,
    "steps": steps,
}


def skipped() -> dict[str, str]:
    """Return which peers cannot be had here, and why."""
    return {kind.name: kind.missing() for kind in PEERS if kind.missing()}


def _present(kinds: Iterable[type[Contender]]) -> list[type[Contender]]:
    return [kind for kind in kinds if not kind.missing()]


def _count(kind: type[Contender], size: Size) -> int:
    """Return how many events keep a contender busy for some seconds."""
    if kind in (Stream, Client):
        return size.events
    return size.tasks * (3 if kind in (Dramatiq, BullMQ, OneByOne) else 1)


def _cost(used: dict[str, list[float]]) -> list[float]:
    """Return the CPU of one event, of the worker and of Redis."""
    return [sum(pair) for pair in zip(used["worker us"], used["Redis us"], strict=True)]


def _taken(found: race.Round) -> dict[str, float]:
    shown = {"events/s": found.per_second} | _used(found)
    if found.published.count:
        shown |= {"producer us": found.published.cpu / found.published.count * MICRO}
    return shown


def _used(found: race.Round) -> dict[str, float]:
    return {
        "worker us": found.worker * MICRO,
        "Redis us": found.server * MICRO,
        "Redis busy %": found.busy * 100,
        "worker MiB": found.resident / MIB,
        "start s": found.start,
    }


def _note(figures: Figures, name: str, found: dict[str, float]) -> None:
    for what, value in found.items():
        figures.setdefault(name, {}).setdefault(what, []).append(value)


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "softbounce", "--help"], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began
