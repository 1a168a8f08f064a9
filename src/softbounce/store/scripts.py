"""Loads Lua scripts by name; ``python -m softbounce.store.scripts DIR`` writes them out for the linter."""

import hashlib
import re
import sys
import textwrap
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from softbounce.store.connection import confirm, node
from softbounce.store.keys import FIXED, Keys

_LUA = files("softbounce.store") / "lua"
_LIST = r"^-- {}: (.*(?:\n--  .*)*)$"
_INCLUDE = re.compile(r"^-- include: ([\w/]+)$", re.MULTILINE)
_LOCAL = re.compile(r"^local (function )?(\w+(?:, \w+)*)", re.MULTILINE)


def assemble(name: str) -> str:
    """Return the text of a script: its keys are bound, and each line ``-- include: x`` is ``x.lua``.

    The line ``-- keys: schedule deliveries`` names ``KEYS[1]`` and ``KEYS[2]``. Of the names of
    an include a script sees only those behind its ``-- gives:``, because Lua allows 200 local names at once.
    """
    bound = re.sub(_LIST.format("keys"), _bound, _read(name), flags=re.MULTILINE)
    return _INCLUDE.sub(lambda found: _block(_read(found[1]).rstrip()), bound)


def names_behind(kind: str, text: str) -> tuple[str, ...]:
    """Return the names behind ``-- kind:``; lines that begin with ``--`` and two blanks continue them."""
    found = re.search(_LIST.format(kind), text, re.MULTILINE)
    return tuple(found[1].replace("\n--", " ").split()) if found else ()


def _read(name: str) -> str:
    return _LUA.joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _bound(found: re.Match[str]) -> str:
    """Return the bindings in as many lines as the list has."""
    names = ",\n".join(", ".join(line.removeprefix("--").split()) for line in found[1].splitlines())
    return f"local {names} = unpack(KEYS, 1, {len(names.split())})"


def _block(text: str) -> str:
    """Return an include as a block that hides the names that it does not give, if it has such a list."""
    given = names_behind("gives", text)
    if not given:
        return text

    def opened(found: re.Match[str]) -> str:
        own = set(found[2].split(", "))
        if own & set(given) and not own <= set(given):
            msg = f"one `local` has names that are given and names that are not: {found[2]}"
            raise TypeError(msg)
        return found[0].removeprefix("local ") if own <= set(given) else found[0]

    names = textwrap.fill(", ".join(given), 120)
    return f"local {names}\ndo\n{_LOCAL.sub(opened, text)}\nend"


@cache
def _bindings(name: str) -> tuple[str, tuple[str, ...]]:
    return assemble(name), names_behind("keys", _read(name))


class Script:
    """One script. Call it with client, keys and arguments; its ``-- keys:`` line tells which keys it gets."""

    def __init__(self, name: str) -> None:
        self.text, self._names = _bindings(name)
        self._sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        if unknown := [key for key in self._names if key not in FIXED and key != "hash"]:
            msg = f"{name}.lua names unknown keys: {unknown}"
            raise TypeError(msg)

    def __call__(
        self,
        client: redis.Redis,
        keys: Keys,
        args: list[Any],
        *,
        target: str = "",
        more: tuple[str, ...] = (),
        replicas: int = 0,
    ) -> Any:  # noqa: ANN401 - the script's header describes its reply
        """Run the script. ``target``: the key that it calls ``hash``. ``more``: keys after the fixed ones.

        ``replicas``: it returns after so many replicas have the writes, see ``confirm``.
        """
        names = [keys.fixed(target if name == "hash" else name) for name in self._names]
        words = (self._sha, len(names) + len(more), *names, *more, *args)
        try:
            return self._run(client, words, replicas)
        except NoScriptError:  # a new or restarted server
            client.script_load(self.text)
            return self._run(client, words, replicas)

    def ask(self, client: redis.Redis, keys: Keys, args: list[Any]) -> Any:  # noqa: ANN401
        """Run a script that only reads, on whom may only read; its text goes along where it is not known."""
        names = [keys.fixed(name) for name in self._names]
        with node(client, names[0]) as server:
            try:
                try:
                    return server.evalsha_ro(self._sha, len(names), *names, *args)
                except NoScriptError:
                    return server.eval_ro(self.text, len(names), *names, *args)
            except ResponseError as error:
                if not str(error).lower().startswith("unknown command"):
                    raise
        return self(client, keys, args)  # a server before Redis 7.0, who has no such commands

    def _run(self, client: redis.Redis, words: tuple[Any, ...], replicas: int) -> Any:  # noqa: ANN401
        if not replicas:
            return client.evalsha(*words)
        with node(client, words[2]) as server:
            pipe = server.pipeline(transaction=False)
            pipe.evalsha(*words)
            return confirm(pipe, replicas)[0]


def main(directory: str) -> None:
    """Write every assembled script into ``directory``."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name in sorted(path.name for path in _LUA.iterdir() if path.name.endswith(".lua")):
        Path(directory, name).write_text(assemble(name.removesuffix(".lua")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
