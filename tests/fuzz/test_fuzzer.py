"""The coverage-guided fuzzer itself: it finds what it must, says so, and can be asked again."""

import base64
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is missing: pip install atheris (Linux, x86-64)",
)


def python(*words):
    """Run Python where make does."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words


def fuzz(*words):
    """Run the fuzzer."""
    return python("-m", "checks.fuzz", *words)


@needs_atheris
def test_a_planted_bug_is_found_shown_and_replayed():
    """Behind five bytes that chance does not hit: exit 1, the input, and a command that fails again."""
    found = fuzz("--target", "planted", "--seconds", 20)
    raw = base64.b64decode(re.search(r"base64  (\S+)", found.stdout)[1])
    again = fuzz("--replay", re.search(r"--replay (\S+)", found.stdout)[1])

    assert found.returncode == 1
    assert "RuntimeError: the planted bug" in found.stdout
    assert raw.startswith(b'{"z":')
    assert (again.returncode, "the planted bug" in again.stderr) == (1, True)


@needs_atheris
def test_a_sound_target_says_how_far_it_came(tmp_path):
    """Runs, branches and the size of its corpus, which the next run starts from."""
    done = fuzz("--target", "words", "--seconds", 1, "--corpus", tmp_path)
    runs, branches = re.match(
        r"words\s+([\d,]+) runs in .* s   (\d+) branches, \d+ features", done.stdout
    ).groups()

    assert done.returncode == 0, done.stdout + done.stderr
    assert int(runs.replace(",", "")) > 100
    assert int(branches) > 10
    assert list((tmp_path / "words").iterdir())


def test_without_atheris_it_says_that_it_did_not_run():
    """Exit 0, but in words that nobody takes for a success."""
    program = "import sys, runpy; sys.modules['atheris'] = None; sys.argv = ['x']; runpy.run_module('checks.fuzz', run_name='__main__')"
    done = python("-c", program)

    assert (done.returncode, done.stdout.startswith("NOT RUN: ")) == (0, True), done.stderr
