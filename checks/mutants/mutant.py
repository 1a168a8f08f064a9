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


def in_file(file: str, *rows: tuple[str, str, str, str | tuple[str, ...]]) -> tuple[Mutant, ...]:
    """Return bugs of one file, each given as (old, new, rule, the test that notices or several)."""
    return tuple(
        Mutant(file=file, old=old, new=new, rule=rule, tests=(tests,) if isinstance(tests, str) else tests)
        for old, new, rule, tests in rows
    )
