"""What README and docs tell people to type works as it stands there, on a store and a worker of its own.

Every ``sh`` and ``python`` block is run, in a copy of the folders that it may name, unless a line
``<!-- not run: why -->`` stands before it. A block of ``text`` right after it is what it prints: a word with a
digit in it may have others, and ``...`` is whatever a page leaves out. All other blocks are read only.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import WorkerProcess, until
from tests.servers import PATIENCE

from softbounce.embedded import Embedded
from softbounce.simulate import LABELS, ROWS
from softbounce.store import Store
from softbounce.worker.celery.broker import celery_url

ROOT = Path(__file__).parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.is_file()]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.*?) -->\n+)?```(?P<language>sh|python)\n(?P<text>.*?)^```$(?:\n+```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
EXCUSE = re.compile(r"<!--\s*not run(.*?)-->", re.DOTALL)
REPORTS = re.compile(
    r"^\S.*sb\.report|events report|softbounce\.report", re.MULTILINE
)  # not inside a function
GIVEN = """
import json, os
from celery import Celery
app = Celery("yours", broker=os.environ["SOFTBOUNCE_BROKER_URL"])
event = json.load(open("examples/event.json"))
events = [event]
send_again = print
"""  # the names that the prose around a Python block takes as given


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    where: str
    language: str
    text: str
    reason: str | None
    output: str | None


BLOCKS = [
    Block(
        where=f"{page.name}:{text.count(chr(10), 0, found.start('text'))}",
        language=found["language"],
        text=found["text"],
        reason=found["reason"],
        output=found["output"],
    )
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for found in BLOCK.finditer(text)
]


def shape(text: str) -> list[str]:
    """Return the lines without what varies: words with a digit, and how columns are filled."""
    return [" ".join(re.sub(r"\S*\d\S*", "#", line).split()) for line in text.splitlines()]


def said(page: str) -> re.Pattern[str]:
    """Return what an output must look like to be what a page shows."""
    return re.compile(".*".join(map(re.escape, "\n".join(shape(page)).split("..."))), re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a reader has at hand."""
    folder = tmp_path / "softbounce"
    for name in ("config", "examples", "tests/data"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.reason is None], ids=lambda block: block.where)
def test_a_block_runs_as_written(
    block: Block, copy: Path, start: Callable[..., WorkerProcess], server: Embedded, store: Store
):
    """It ends with exit code 0 and prints what the page shows; what it reports is taken in, and nothing is unreadable."""
    start(policy=str(copy / "config/policy.yaml"))
    words = {
        "sh": ["sh", "-e", "-c", block.text],
        "python": [sys.executable, "-W", "error", "-c", GIVEN + block.text],
    }
    done = subprocess.run(  # noqa: S603 - the words of our own pages
        words[block.language],
        cwd=copy,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SOFTBOUNCE_REDIS_URL": server.url,
            "SOFTBOUNCE_BROKER_URL": celery_url(server.url),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    printed = "\n".join(shape(done.stdout))
    assert block.output is None or said(block.output).fullmatch(printed), printed
    if REPORTS.search(block.text):
        until(store.counters)
    assert store.sizes()["dead_letters"] == 0


def test_a_block_that_is_not_run_says_why():
    """An excuse has a reason, and stands before a block that would be run without it."""
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert [excuse for excuse in EXCUSE.findall(pages) if not excuse.startswith(": ")] == []
    assert len(EXCUSE.findall(pages)) == sum(block.reason is not None for block in BLOCKS)


@pytest.mark.parametrize(
    ("page", "titles"),
    [
        ("operations/operations.md", [*ROWS.values()]),
        ("guides/going-live.md", [*ROWS.values(), "sent to suppressed"]),
    ],
)
def test_a_table_of_a_simulation_has_the_rows_and_the_words_of_the_command(page: str, titles: list[str]):
    """The figures took four days of the demo; what stands beside them is what the command prints today."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(rf"^(\S.*?)  +\S.*  ({'|'.join(LABELS)})$", text, re.MULTILINE)

    assert [title for title, _ in rows] == titles
