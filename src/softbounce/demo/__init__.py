"""The demo: simulated carriers, mailboxes and a pipeline drive the real worker in virtual time."""

import random
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from softbounce import embedded
from softbounce.core.durations import DAY
from softbounce.demo.claims import Claim, other_claims, zero_claims
from softbounce.demo.lockstep import Lockstep, Stuck
from softbounce.demo.pipeline import Pipeline
from softbounce.demo.rivals import Score, no_retry, plain_retry
from softbounce.demo.story import Story, headline
from softbounce.demo.world import START, World

KILLS = 3
_STEPS_A_DAY = 144


def run(
    *, seed: int = 7, days: int = 4, recipients: int = 6000, fast: bool = False, chaos: bool = False
) -> int:
    """Run the demo and return its exit code: 0 if every claim holds.

    ``fast`` leaves the story out, ``chaos`` kills the worker three times.
    """
    console, talk = Console(soft_wrap=True), Console(stderr=True)
    world = World(seed=seed, days=days, recipients=recipients)
    rng = random.Random(f"kills {seed}")
    kills = rng.sample(range(5, days * _STEPS_A_DAY // 2), KILLS) if chaos else []
    with tempfile.TemporaryDirectory(prefix="softbounce-demo-") as folder:
        data = Path(folder)
        with embedded.start(data) as server:
            lockstep = Lockstep(url=server.url, data=data, log=data / "worker.log")
            console.print(headline(world, seed=seed, data=folder), highlight=False)
            story = Story(console, world)
            pipeline = Pipeline(world, lockstep, tell=(lambda *_: None) if fast else story.tell)
            lockstep.store.set_now(START)
            lockstep.start()
            try:
                with Progress(
                    TextColumn("{task.description}"), BarColumn(), console=talk, transient=True
                ) as progress:
                    bar = progress.add_task("day 1", total=world.days)

                    def show(now: int) -> None:
                        day = (now - START) / DAY
                        progress.update(
                            bar, completed=min(day, world.days), description=f"day {int(day) + 1}"
                        )

                    ours = pipeline.run(progress=show, kills=kills)
                counters = lockstep.store.counters()
            except Stuck as error:
                talk.print(f"the demo stopped: {error}", highlight=False)
                return 1
            finally:
                lockstep.stop()
    _print_table(console, world, ours)
    claims = zero_claims(pipeline.seen)
    console.print()
    for number, claim in enumerate(claims, 1):
        beside = f"   ({claim.beside})" if claim.beside else ""
        console.print(f"{number}. {claim.text}: {claim.found}{beside}", highlight=False)
    others = other_claims(pipeline.seen, ours, {} if chaos else counters)
    console.print("   " + "; ".join(f"{claim.text}: {claim.found}" for claim in others), highlight=False)
    if chaos:
        console.print(f"   worker killed with kill -9: {lockstep.kills} times", highlight=False)
    broken: list[Claim] = [claim for claim in (*claims, *others) if not claim.holds]
    for claim in broken:
        said = f"claim broken: {claim.text}: {claim.found}, wanted {claim.wanted}. {claim.beside}"
        talk.print(said, style="bold red", soft_wrap=True)
    return 1 if broken else 0


def _print_table(console: Console, world: World, ours: Score) -> None:
    scores = [no_retry(world), plain_retry(world), ours]
    deliverable = sum(message.is_deliverable for message in world.messages)
    shares = " / ".join(f"{100 * score.delivered / deliverable:.1f}" for score in scores)
    real = max(1, ours.recovered - ours.late)
    plain = scores[1]
    plain_real = max(1, plain.recovered - plain.late)
    notes = {
        "delivered": f"of {deliverable:,} deliverable: {shares} %",
        "recovered": f"{ours.late} of them late receipts, no work of ours",
        "extra": f"{ours.extra / real:.1f} per real recovery; plain retry {plain.extra / plain_real:.1f}",
        "extra_to_lost": "each asked once more before it is believed; mailboxes full for ever",
        "doubled": "waiting tries are cancelled by late receipts",
        "at_night": "moved to the morning",
        "cases": "each a case with its evidence",
    }
    labels = {
        "delivered": "delivered",
        "recovered": "recovered after a failure",
        "extra": "extra sends",
        "extra_to_lost": "  to dead numbers and mailboxes",
        "doubled": "same message twice on a phone",
        "at_night": "texts between 20:00 and 08:00",
        "cases": "cases for repeated soft bounces",
    }
    names = ("no retry", "plain retry", "softbounce")
    console.print()
    console.print(" " * 33 + "".join(f"{name:>13}" for name in names), highlight=False)
    for name, label in labels.items():
        values = [getattr(score, name) for score in scores]
        cells = "".join(f"{'-' if value is None else format(value, ','):>13}" for value in values)
        console.print(f"{label:<33}{cells}     {notes[name]}", highlight=False)
