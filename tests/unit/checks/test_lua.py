"""``make lint`` compares what each Lua include says in its header with what luacheck finds in it."""

import shutil

import pytest
from checks import lua
from tests.conftest import program

PLANTED = {
    "a needed name that is left out": (
        "accept/failure.lua", "-- needs: suppressions cancels ", "-- needs: suppressions ",
        "accept/failure.lua needs cancels, which its header does not say",
    ),
    "a new need": (
        "shared/take_back.lua", 'record.s = "waiting"', 'record.s, record.d = "waiting", now',
        "shared/take_back.lua needs now, which its header does not say",
    ),
    "a stated need that is none": (
        "shared/clock.lua", "-- needs: meta\n", "-- needs: meta audit\n",
        "shared/clock.lua says that it needs audit, which it does not",
    ),
    "a given name that is left out": (
        "claim/queue.lua", "next_lines heads", "heads",
        "claim/queue.lua gives next_lines, which its header does not say",
    ),
    "a stated gift that nobody takes": (
        "shared/case.lua", "-- gives: open_case\n", "-- gives: open_case shut_case\n",
        "shared/case.lua says that it gives shut_case, which it does not",
    ),
}  # fmt: skip


def test_each_include_says_what_it_needs_and_gives():
    """All of both, and nothing else."""
    program("luacheck")

    assert lua.problems(lua.LUA) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_header_that_is_wrong_is_found(planted, tmp_path):
    """The sentence names the file and the name."""
    program("luacheck")
    file, before, after, said = PLANTED[planted]
    copy = shutil.copytree(lua.LUA, tmp_path / "lua")
    text = (copy / file).read_text(encoding="utf-8")
    assert text.count(before) == 1
    (copy / file).write_text(text.replace(before, after), encoding="utf-8")

    assert lua.problems(copy) == [said]


def test_a_file_that_is_no_lua_fails(tmp_path):
    """What luacheck cannot read has no free names, and would pass."""
    program("luacheck")
    (tmp_path / "x.lua").write_text("local function\n", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"x\.lua:2"):
        lua.problems(tmp_path)
