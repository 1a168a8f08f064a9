"""The filter words that every list understands: ``channel:sms code:BOUNCE_* due:<2h -merchant:42``."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from softbounce.core.bounds import fold_id
from softbounce.core.durations import parse_duration
from softbounce.errors import InvalidSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    key: str
    values: tuple[str, ...]
    is_negated: bool

    def matches(self, facts: Mapping[str, Any]) -> bool:
        """Whether the facts have one of the values; numbers are compared as durations in ms."""
        have = facts.get(self.key)
        found = any(_matches(have, value) for value in self.values)
        return found is not self.is_negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Terms that must all match; without any term it matches everything."""

    text: str
    terms: tuple[_Term, ...]

    def matches(self, facts: Mapping[str, Any]) -> bool:
        """Whether every term matches. Durations in ``facts`` are ms; everything else is compared as text."""
        return all(term.matches(facts) for term in self.terms)

    def only(self, key: str) -> str | None:
        """Return the value if the filter is exactly ``key:value``, else None."""
        if len(self.terms) != 1:
            return None
        term = self.terms[0]
        is_plain = term.key == key and not term.is_negated and len(term.values) == 1
        return term.values[0] if is_plain and "*" not in term.values[0] else None


def parse_filter(words: str | Collection[str], *, keys: Collection[str], bare: str = "reference") -> Filter:
    """Return a filter: a blank means and, a comma or, ``-`` not; a word without a key has the key ``bare``.

    Raises ``InvalidSettings`` for an unknown key, with the nearest known one, and for an empty value.
    """
    text = words if isinstance(words, str) else " ".join(words)
    terms = []
    for word in text.split():
        is_negated = word.startswith("-")
        key, colon, value = word.removeprefix("-").partition(":")
        if not colon:
            key, value = bare, key
        if key not in keys:
            close = get_close_matches(key, keys, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            msg = f"unknown filter key '{key}'{hint} Known: {', '.join(sorted(keys))}"
            raise InvalidSettings(msg)
        if not value:
            msg = f"'{word}' has no value; write for example {key}:value"
            raise InvalidSettings(msg)
        values = tuple(value.split(","))
        if not all(values):
            msg = f"'{word}' has an empty value beside a comma"
            raise InvalidSettings(msg)
        for one in values:
            _bound(one)
        terms.append(_Term(key=key, values=values, is_negated=is_negated))
    return Filter(text=text, terms=tuple(terms))


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda have, want: have < want,
    ">": lambda have, want: have > want,
}


def _matches(have: Any, value: str) -> bool:  # noqa: ANN401 - a fact is a text or a number
    if have is None:
        return False
    bound = _bound(value)
    if bound is not None:
        return isinstance(have, int | float) and _COMPARE[value[0]](have, bound)
    return fnmatchcase(fold_id(str(have)).casefold(), fold_id(value).casefold())


def _bound(value: str) -> int | None:
    """Return the ms of ``<2h`` or ``>2h``, None for any other value."""
    if value[0] not in _COMPARE:
        return None
    try:
        return parse_duration(value[1:])
    except ValueError as error:
        msg = f"'{value}': {error}"
        raise InvalidSettings(msg) from error
