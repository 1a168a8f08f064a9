"""The coverage-guided fuzzer: ``python -m checks.fuzz --seconds 60 [--target NAME] [--corpus DIR]``.

Each target of ``rules.TARGETS`` runs in a process of its own (libFuzzer ends its process) on inputs that reach new
branches. Prints a line a target; on a crash, a hang of 10 s or more than 1 GiB the input and how to replay it, exit 1.
"""

import argparse
import base64
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SHARES = {"event": 6, "policy": 5, "json": 2, "addresses": 3, "filters": 1, "words": 1}  # of the time
LONGEST = {"event": 2048, "policy": 1024, "json": 1024}  # bytes of an input; short ones are tried more often
INSTRUMENTED = {
    "policy": ["softbounce.core", "ruamel.yaml"],
    "addresses": ["softbounce.core", "email_validator"],
}
WORDS = ("type", "claim", "communication", "reference", "recipients", "error", "reasonCode", "details", "invalidValues", "notAfter",
         "MESSAGE_NOT_DELIVERED", "MESSAGE_DELIVERED", "SMS", "EMAIL", "LETTER", "codes:", "defaults:", "retry:", "delays:", "quiet_hours:",
         "do: suppress", "fault: recipient", "merchants:", "when:", "smtp:", "confirm:", "xn--", "+49", "due:<", "90m", "6/1d", "20%", "21:00")  # fmt: skip
ROOT = Path(__file__).parents[2]
STAMP = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)")
WHEELS = "pip install atheris; it has wheels for Linux on x86-64, Python 3.11 to 3.14"


def main() -> int:
    """Run the targets one after the other; return the exit code."""
    options = _options()
    if options.replay:
        return _replay(options.replay, options.target)
    if importlib.util.find_spec("atheris") is None:
        print(f"NOT RUN: the coverage-guided fuzzer, because atheris is missing ({WHEELS})")  # noqa: T201
        return 0
    if options.inside:
        _fuzz(options.target, options.inside)
    names = list(SHARES) if options.target == "all" else [options.target]
    share = options.seconds / sum(SHARES.get(name, 1) for name in names)
    found = [
        _run(name, seconds=share * SHARES.get(name, 1), corpus=options.corpus, seed=options.seed)
        for name in names
    ]
    return int(any(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m checks.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60, help="in all, the start of each process not counted"
    )
    parser.add_argument("--target", default="all", choices=["all", *SHARES, "planted"])
    parser.add_argument(
        "--corpus", type=Path, help="keep what reaches new branches in DIR/TARGET, and start from it"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed tries the same inputs")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="run the one input in FILE; its name says the target"
    )
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # JSON: libFuzzer's arguments
    return parser.parse_args()


def _run(name: str, *, seconds: float, corpus: Path | None, seed: int) -> bool:
    """Fuzz one target in a process of its own and tell how it went; return whether it found something."""
    with tempfile.TemporaryDirectory(prefix="softbounce-fuzz-") as folder:
        seeds, crashes = Path(folder, "seeds"), Path(folder, "crashes")
        grown = corpus / name if corpus else Path(folder, "grown")
        for each in (seeds, crashes, grown):
            each.mkdir(parents=True, exist_ok=True)
        for number, raw in enumerate(_seeds(name)):
            (seeds / f"{number}").write_bytes(raw)
        (words := Path(folder, "words")).write_text("".join(_dictionary()), encoding="ascii")
        known = len(list(grown.iterdir()))
        limits = [
            f"-max_total_time={max(1, round(seconds))}",
            "-timeout=10",
            "-rss_limit_mb=1024",
            f"-seed={seed}",
        ]
        shape = [f"-max_len={LONGEST.get(name, 256)}", f"-dict={words}", f"-artifact_prefix={crashes}/"]
        arguments = json.dumps([*limits, *shape, str(grown), str(seeds)])
        command = [sys.executable, "-m", "checks.fuzz", "--target", name, "--inside", arguments]
        start = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own words
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
        )
        took = time.monotonic() - start
        counts = STAMP.findall(done.stderr)
        runs, branches, features, inputs = counts[-1] if counts else ("0", "0", "0", "0")
        new = len(list(grown.iterdir())) - known
        print(  # noqa: T201
            f"{name:<9} {int(runs):>9,} runs in {took:4.0f} s   {branches} branches, {features} features   "
            f"corpus {inputs} inputs, {new} new files   {'FAILED' if done.returncode else 'ok'}",
            flush=True,
        )
        if done.returncode:
            _tell(name, sorted(crashes.iterdir()), done)
        return done.returncode != 0


def _tell(name: str, crashes: list[Path], done: subprocess.CompletedProcess[str]) -> None:
    """Print what failed, the input, and how to see it again; the input is kept in ./build."""
    said = (
        done.stdout.splitlines() or done.stderr.splitlines()
    )  # Python's traceback, or libFuzzer's own words
    print("\n".join(f"  {line}" for line in said[-30:]))  # noqa: T201
    for crash in crashes:
        raw = crash.read_bytes()
        kept = ROOT / "build" / "fuzz" / f"{name}-{crash.name[:16]}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(raw)
        print(f"  target  {name}\n  input   {raw!r}\n  base64  {base64.b64encode(raw).decode()}")  # noqa: T201
        print(f"  replay  python -m checks.fuzz --replay {kept.relative_to(ROOT)}", flush=True)  # noqa: T201


def _replay(file: Path, target: str) -> int:
    """Run one input without the fuzzer; a failure is its own traceback, exit 1."""
    name = file.name.partition("-")[0] if target == "all" else target
    print(f"{name}: {_target(name)(file.read_bytes())}")  # noqa: T201
    return 0


def _fuzz(name: str, arguments: str) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(
        include=[*INSTRUMENTED.get(name, ["softbounce.core"]), "checks.fuzz.planted"]
    ):
        target = _target(name)
    atheris.Setup([sys.argv[0], *json.loads(arguments)], target)
    atheris.Fuzz()


def _target(name: str) -> Callable[[bytes], str]:
    if name == "planted":
        return importlib.import_module("checks.fuzz.planted").planted  # type: ignore[no-any-return]
    return importlib.import_module("checks.fuzz.rules").TARGETS[name]  # type: ignore[no-any-return]


def _seeds(name: str) -> Iterator[bytes]:
    """Yield what a target starts from: our own examples and small strings, no provider's payload."""
    from . import inputs

    match name:
        case "event" | "json":
            yield from inputs.seed_events()
        case "policy":
            blocks = re.split(r"\n(?=\w)", inputs.POLICY)
            yield from (f"version: 1\n{block}\n".encode()[:1024] for block in blocks)
        case "addresses":
            known = (*inputs.PHONES, *inputs.EMAILS, *inputs.TEXTS)
            yield from (text.encode(errors="replace")[:256] for text in known)
        case "filters":
            yield from (b"channel:sms code:BOUNCE_* due:<2h -merchant:42 a,b", b"age:>1d", b"x")
        case "words":
            yield from (b"90m", b"6/1d", b"50/s", b"20%", b"21:00", b"never")
        case _:
            yield b"x"


def _dictionary() -> Iterator[str]:
    from . import inputs

    for word in (*inputs.PIECES, *(text.encode() for text in (*WORDS, *inputs.DATES))):
        yield '"' + "".join(f"\\x{byte:02x}" for byte in word[:64]) + '"\n'


if __name__ == "__main__":
    sys.exit(main())
