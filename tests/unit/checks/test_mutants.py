"""The planted bugs of ``make mutants`` can be planted: one that is not there would count as one that nobody noticed."""

from pathlib import Path

from checks.mutants.catalogue import catalogue
from lupa.lua51 import LuaRuntime

ROOT = Path(__file__).parents[3]


def test_each_planted_bug_has_its_one_place_and_tests_that_exist():
    """What a bug replaces stands in its file exactly once, no bug is there twice, and its tests are there."""
    wrong, known = [], set()
    for one in catalogue():
        found = (ROOT / "src" / "softbounce" / one.file).read_text(encoding="utf-8").count(one.old)
        if found != 1 or one.new == one.old or not (one.tests or one.equivalent):
            wrong.append(f"{one.file}: {found} times: {one.old!r}")
        if (one.file, one.old, one.new) in known:
            wrong.append(f"{one.file}: twice: {one.old!r}")
        known.add((one.file, one.old, one.new))
        wrong += [f"no test {test}" for test in one.tests if not _exists(test)]

    assert wrong == []


def test_each_planted_bug_can_be_read():
    """A bug that no interpreter takes would be noticed by every test, and prove nothing."""
    lua = LuaRuntime()
    for one in catalogue():
        text = (ROOT / "src" / "softbounce" / one.file).read_text(encoding="utf-8").replace(one.old, one.new)
        if one.file.endswith(".lua"):
            lua.compile(text)
        else:
            compile(text, one.file, "exec")


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    function = name.partition("[")[0].rpartition("::")[2]
    text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
    return (ROOT / path).exists() and (not name or f"def {function}(" in text)
