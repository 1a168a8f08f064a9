"""The causes of an entry of the suppression list, in the store and as rows of an export or import."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from softbounce.core.bounds import NAME
from softbounce.core.timestamps import iso
from softbounce.errors import InvalidEvent

_OF_A_CAUSE = ("code", "origin", "reason", "since", "until", "evidence")
COLUMNS = ("recipient", "address", "channel", "merchant", *_OF_A_CAUSE, "also", "key")
"""The columns of an export as CSV; ``also`` holds the weaker causes of an entry, with the columns of one."""
_MOST_CAUSES = 100  # an imported row may name so many
_IN_ENTRY = {"ends": "z", "case": "incident"}  # names of a cause among several -> of the only one
_MOST_EVIDENCE = 100  # an imported entry may name so many events


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionEntry:
    """One cause for which a recipient is on the suppression list; an entry there may have several."""

    field: str
    rid: str
    merchant: str | None
    entry: Mapping[str, Any]

    @property
    def address(self) -> str | None:
        """The address in clear; None if only its hash is kept."""
        return cast("str | None", self.entry.get("address"))

    @property
    def code(self) -> str:
        """The reason code."""
        return str(self.entry.get("code", ""))

    @property
    def origin(self) -> str:
        """Whose word it is: of an ``event``, a ``person``, a ``provider``; an import may name others."""
        return str(self.entry.get("origin", ""))

    @property
    def since(self) -> int:
        """When it was made (ms)."""
        return int(self.entry["at"])

    @property
    def until(self) -> int | None:
        """When it ends (ms); None: never."""
        return cast("int | None", self.entry.get("z"))

    @property
    def incident(self) -> str | None:
        """The case of the incident that made it, while it is provisional."""
        return cast("str | None", self.entry.get("incident"))

    def facts(self, now: int) -> dict[str, Any]:
        """Return the facts that filters compare."""
        return {
            "recipient": f"r_{self.rid}",
            "channel": self.entry.get("channel"),
            "code": self.entry.get("code"),
            "origin": self.entry.get("origin"),
            "merchant": self.merchant,
            "expires": self.until - now if self.until else None,
            "age": now - self.since,
            "incident": self.incident,
        }

    def row(self, *, reveal: bool, key: str = "") -> dict[str, Any]:
        """Return a row of an export, masked unless ``reveal``; ``key``: fingerprint of the hash key."""
        entry = self.entry
        return {
            "recipient": f"r_{self.rid}",
            "address": (self.address if reveal else None) or entry.get("mask") or "",
            "channel": entry.get("channel", ""),
            "merchant": self.merchant or "",
            "code": entry.get("code", ""),
            "origin": entry.get("origin", ""),
            "reason": entry.get("reason", ""),
            "since": iso(self.since),
            "until": iso(self.until) or "never",
            "evidence": list(entry.get("evidence") or ()),
            **({"incident": self.incident} if self.incident else {}),
            **({"key": key} if key else {}),
        }


def exported(entries: Iterable[SuppressionEntry], *, reveal: bool, key: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each entry: its strongest cause, with the others, which follow it, in ``also``."""
    for _, causes in groupby(entries, key=lambda entry: entry.field):
        first, *others = (cause.row(reveal=reveal, key=key) for cause in causes)
        also = [{name: other[name] for name in _OF_A_CAUSE} for other in others]
        yield first | ({"also": also} if also else {})


def causes_of_row(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a row for each cause in a row of ``exported``, its own one last. Raises ``InvalidEvent``."""
    also = row.get("also") or []
    is_short = isinstance(also, list) and len(also) <= _MOST_CAUSES
    if is_short and all(isinstance(one, dict) for one in also):
        return [
            *(dict(row) | {name: one.get(name) for name in _OF_A_CAUSE} for one in also),
            row,
        ]
    message = f"must be a list of at most {_MOST_CAUSES} objects with {', '.join(_OF_A_CAUSE)}"
    raise InvalidEvent(message, "also")


def is_mirror(field: bytes) -> bool:
    """Whether a field only mirrors the consents of all merchants, see ``causes.lua``: it is no entry."""
    return field.find(b"@") == len(field) - 1


def causes_in(field: bytes, raw: bytes) -> list[SuppressionEntry]:
    """Return the causes of an entry, the strongest first, from its field and value in the store."""
    name = field.decode()
    rid, _, merchant = name.partition("@")
    return [
        SuppressionEntry(field=name, rid=rid, merchant=merchant or None, entry=cause)
        for cause in causes_of(json.loads(raw))
    ]


def causes_of(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return each cause of an entry as if it were the only one, the strongest first; ended ones too."""
    if "causes" not in entry:
        return [entry]
    who = {name: entry[name] for name in ("channel", "mask", "address") if name in entry}
    return [
        {_IN_ENTRY.get(name, name): value for name, value in cause.items()} | who for cause in entry["causes"]
    ]


def evidence(row: Mapping[str, Any]) -> list[str]:
    """Return the ids of events that caused a suppression. Raises ``InvalidEvent``."""
    value = row.get("evidence") or []
    is_short = isinstance(value, list) and len(value) <= _MOST_EVIDENCE
    if is_short and all(isinstance(one, str) and len(one) <= NAME for one in value):
        return cast("list[str]", value)
    message = f"must be a list of at most {_MOST_EVIDENCE} texts of at most {NAME} characters"
    raise InvalidEvent(message, "evidence")
