"""The loader: what stands in a script's header is what the server and the caller get."""

import re
from pathlib import Path

import pytest

from softbounce.store import scripts

LUA = Path(__file__).parents[3] / "src" / "softbounce" / "store" / "lua"
ENTRIES = sorted(path.stem for path in LUA.glob("*.lua"))


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Load what a test writes, instead of the scripts of softbounce."""
    monkeypatch.setattr(scripts, "_LUA", tmp_path)
    scripts._bindings.cache_clear()  # noqa: SLF001 - the loader keeps what it has read
    yield tmp_path
    scripts._bindings.cache_clear()  # noqa: SLF001


def test_the_line_of_keys_binds_them_in_its_order(written):
    """Also one that goes on; each later line keeps its number, and a note of another kind is no name."""
    (written / "x.lua").write_text(
        "-- x: nothing.\n-- keys: meta audit\n--       hash\n-- more: none\nreturn meta\n"
    )

    script = scripts.Script("x")

    lines = script.text.splitlines()
    assert lines[1:] == ["local meta, audit,", "hash = unpack(KEYS, 1, 3)", "-- more: none", "return meta"]
    assert script._names == ("meta", "audit", "hash")  # noqa: SLF001 - what it is called with


def test_a_key_that_is_on_no_list_is_refused(written):
    """A misspelt key would be one that nobody sweeps."""
    (written / "x.lua").write_text("-- keys: meta adit\nreturn 1\n")

    with pytest.raises(TypeError, match=r"x\.lua names unknown keys: \['adit'\]"):
        scripts.Script("x")


def test_an_include_is_pasted_in(written):
    """A script without keys is called with those that its caller names."""
    (written / "shared").mkdir()
    (written / "shared" / "y.lua").write_text("local y = 1\n\n")
    (written / "x.lua").write_text("-- include: shared/y\nreturn y\n")

    assert scripts.Script("x").text == "local y = 1\nreturn y\n"


def test_of_an_include_only_what_it_gives_is_seen(written):
    """Two includes may use the same names for what is their own; what both give and take is one variable."""
    (written / "y.lua").write_text(
        "-- gives: next_one seen\n"
        "local step = 2\n"
        "local seen = 0\n"
        "local function next_one()\n"
        "  local seen_now = seen + step\n"
        "  seen = seen_now\n"
        "end\n"
    )
    (written / "x.lua").write_text("-- include: y\nreturn seen\n")

    assert scripts.Script("x").text.splitlines() == [
        "local next_one, seen",
        "do",
        "-- gives: next_one seen",
        "local step = 2",
        "seen = 0",
        "function next_one()",
        "  local seen_now = seen + step",
        "  seen = seen_now",
        "end",
        "end",
        "return seen",
    ]


def test_names_that_are_given_and_names_that_are_not_stand_in_lines_of_their_own(written):
    """Else the given one would stay unset outside, and nobody would say so."""
    (written / "y.lua").write_text("-- gives: seen\nlocal seen, own = 0, 1\n")
    (written / "x.lua").write_text("-- include: y\nreturn seen\n")

    with pytest.raises(TypeError, match="given and names that are not: seen, own"):
        scripts.Script("x")


@pytest.mark.parametrize("name", ENTRIES)
def test_each_script_says_in_its_header_what_it_does_and_what_it_returns(name):
    """The first sentence begins with its name; the first code comes after both."""
    header = re.match(r"(?:--.*\n)+", (LUA / f"{name}.lua").read_text(encoding="utf-8"))[0]

    assert header.startswith(f"-- {name}: ")
    assert "\n-- returns  " in header
