"""One planted bug: what changes, the rule that this breaks, and the tests that must notice."""

from msgspec import Struct


class Mutant(Struct, frozen=True, kw_only=True):
    """A change of one file under src/softbounce; ``old`` stands there exactly once."""

    file: str
    old: str
    new: str
    rule: str  # what is no longer true then, a sentence
    tests: tuple[str, ...]  # pytest ids, the nearest and quickest first
    equivalent: str = ""  # why no behaviour changes, so that no test can notice


def in_file(file: str, tests: tuple[str, ...], *rows: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """Return bugs of one file that the same tests notice, each given as (old, new, rule)."""
    return tuple(Mutant(file=file, old=old, new=new, rule=rule, tests=tests) for old, new, rule in rows)
