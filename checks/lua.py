"""Compares what each Lua include says in its header with what luacheck finds in it; part of ``make lint``.

``-- needs:`` names what the include takes from its script: keys, values, functions. ``-- gives:`` names what
other files of a script take from it; its other names are its own. All of both, and nothing else, stands there.
"""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from softbounce.store.scripts import names_behind

ROOT = Path(__file__).parents[1]
LUA = ROOT / "src" / "softbounce" / "store" / "lua"
_FREE = re.compile(r"^(.*?):\d+:\d+: \(W11\d\) .* variable '(\w+)'", re.MULTILINE)
_OWN = re.compile(r"^local (?:function )?([\w, ]+)", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include: (\S+)$", re.MULTILINE)


def problems(folder: Path) -> list[str]:
    """Return a sentence for each name that a header leaves out, or that it has and nobody needs."""
    texts = {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*.lua")
    }
    used = _used(folder)
    wanted = defaultdict(set)  # include -> what the other files of its scripts use
    for name, text in texts.items():
        files = [name, *_INCLUDE.findall(text)]
        for one in files[1:]:
            wanted[one] |= set().union(*(used[other] for other in files if other != one))
    said = []
    for name in sorted(texts):
        if "/" in name:
            own = {word for found in _OWN.findall(texts[name]) for word in re.findall(r"\w+", found)}
            said += _compared(name, "needs", names_behind("needs", texts[name]), used[name])
            said += _compared(name, "gives", names_behind("gives", texts[name]), own & wanted[name])
    return said


def _used(folder: Path) -> dict[str, set[str]]:
    """Return by file the names that it uses and does not bind, each file by itself."""
    words = ("luacheck", "--formatter", "plain", "--codes", "--only", "11", "--no-cache")
    words += ("--config", str(ROOT / ".luacheckrc"), ".")
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode > 1:  # 1: it has found some
        sys.exit(run.stdout + run.stderr)
    used = defaultdict(set)
    for path, name in _FREE.findall(run.stdout):
        used[Path(path).with_suffix("").as_posix()].add(name)
    return used


def _compared(name: str, what: str, stated: tuple[str, ...], found: set[str]) -> list[str]:
    left_out, too_many = sorted(found - set(stated)), sorted(set(stated) - found)
    return [
        *(f"{name}.lua {what} {word}, which its header does not say" for word in left_out),
        *(f"{name}.lua says that it {what} {word}, which it does not" for word in too_many),
    ]


def main() -> int:
    """Print the problems of the scripts of softbounce; 1 where there are any."""
    found = problems(LUA)
    print("\n".join(found) or "lua: each include says what it needs and gives")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
