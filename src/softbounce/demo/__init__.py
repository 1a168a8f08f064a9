"""The demo: simulated carriers, mailboxes and a pipeline drive the real worker in virtual time."""

import random
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from softbounce import embedded
from softbounce.core.durations import DAY
from softbounce.demo.claims import Claim, other_claims, zero_claims
from softbounce.demo.lockstep import Lockstep, Stuck
from softbounce.demo.narration import PAUSE, Narrator, headline, weekday_and_time
from softbounce.demo.pipeline import Pipeline
from softbounce.demo.report import print_claims, print_table
from softbounce.demo.rivals import Score
from softbounce.demo.world import START, World
from softbounce.errors import InvalidSettings

KILLS = 3
_STEPS_A_DAY = 144


def run(
    *,
    seed: int = 7,
    days: int = 4,
    recipients: int = 6000,
    fast: bool = False,
    chaos: bool = False,
    save: Path | None = None,
) -> int:
    """Run the demo and return its exit code: 0 if every claim holds.

    ``fast`` leaves no pauses to read, ``chaos`` kills the worker three times. ``save``: a file that gets
    all reports, as NDJSON for ``softbounce policy simulate``.
    """
    console, talk = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    world = World(seed=seed, days=days, recipients=recipients)
    rng = random.Random(f"kills {seed}")
    kills = sorted(rng.sample(range(5, days * _STEPS_A_DAY // 2), KILLS)) if chaos else []
    with (
        _file_to_write(save) if save else nullcontext() as log,
        tempfile.TemporaryDirectory(prefix="softbounce-demo-") as folder,
    ):
        data = Path(folder)
        with embedded.start(data) as server:
            lockstep = Lockstep(url=server.url, data=data, log=data / "worker.log")
            console.print(headline(world, seed=seed, data=folder), highlight=False)
            story = Narrator(console, world, pause=PAUSE if console.is_terminal and not fast else 0)
            pipeline = Pipeline(world, lockstep, tell=story.tell, save=log)
            try:
                view = console if console.is_terminal else talk  # two consoles on a terminal would collide
                ours = _live(pipeline, lockstep, story=story, talk=view, kills=kills)
                claims, others = _judge(pipeline, lockstep, ours, kills=len(kills))
            except Stuck as error:
                talk.print(f"the demo stopped: {error}", highlight=False, markup=False)
                return 1
            finally:
                lockstep.stop()
    print_table(console, world, ours)
    print_claims(console, claims, others)
    broken = [claim for claim in (*claims, *others) if not claim.holds]
    for claim in broken:
        said = f"claim broken: {claim.text}: {claim.found}, wanted {claim.wanted}. {claim.beside}"
        talk.print(said, style="bold red", markup=False)
    return 1 if broken else 0


def _file_to_write(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise InvalidSettings(message) from None


def _live(
    pipeline: Pipeline, lockstep: Lockstep, *, story: Narrator, talk: Console, kills: list[int]
) -> Score:
    lockstep.store.set_now(START)
    lockstep.start()
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        bar = progress.add_task("day 1", total=story.days)

        def show(now: int) -> None:
            day = (now - START) / DAY
            label = f"day {int(day) + 1}, {weekday_and_time(now)}"
            progress.update(bar, completed=min(day, story.days), description=label)
            story.day(now, pipeline.seen)

        return pipeline.run(progress=show, kills=kills)


def _judge(
    pipeline: Pipeline, lockstep: Lockstep, ours: Score, *, kills: int
) -> tuple[list[Claim], list[Claim]]:
    store = lockstep.store
    others = other_claims(
        pipeline.seen,
        ours,
        counters=store.counters(),
        history=lambda reference: [line for found in store.retries.find(reference) for line in found.history],
        has_kills=kills > 0,
    )
    if kills:
        cut = ", ".join(f"{count} {what}" for what, count in lockstep.cut_short.items())
        others.append(
            Claim(text="Kills with kill -9 while it worked", found=lockstep.kills, wanted=kills, beside=cut)
        )
    return zero_claims(pipeline.seen), others
