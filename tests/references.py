"""Whether a store is whole: each group, member, case, place and notice that it names exists. Knows the keys, and no product code.

The rules are those of a store at rest: no script runs while it is read, and none has ended half-way without its repeat.
"""

import json
from collections.abc import Iterator
from math import isfinite

from softbounce.store.keys import Keys

HASHES = (
    "deliveries", "history", "standing", "suppressions", "pauses", "cancels", "brakes", "breakers", "sent", "cases", "open_cases",
    "notice_bodies", "groups", "dead_letters", "claims", "damaged",
)  # fmt: skip
ZSETS = ("schedule", "ready", "turns", "members", "notices", "group_turns")
ENTRIES = ("standing", "suppressions", "pauses", "cancels", "brakes", "sent", "cases", "groups", "dead_letters", "claims")  # fmt: skip
"""Hashes whose values are one JSON object each."""
COUNTED = ("a", "n", "p", "o", "t", "k", "q", "u", "r", "j", "b", "v", "c", "z", "d", "kt")
"""Numbers of a record's head that are never negative."""
DATED = ("x", "f", "l", "y")
"""And those that a producer's date may put before 1970, for as long as nothing waits for them."""
NEEDED = ("x", "f")
IN_LINE = 10**10  # a deadline (s) from 0 up to it keeps its order: a place in line has ten digits for it
WAITS = ("waiting", "leased")
SHOWN = ("soft_bounces", "also_retried", "reference_reused", "contradiction", "incident")
"""Kinds of cases that show deliveries which another case may hold, or none."""
READABLE = 1  # the newest version of a record that this code knows; what is newer is left alone

Row = dict[str, object]


def broken(client, keys: Keys | None = None) -> list[str]:
    """Return each broken reference of one namespace as a sentence; none of a whole store.

    ``client`` answers in bytes. Reads some twenty keys as a whole: for tests, not for a live store.
    """
    return Snapshot(client, keys or Keys()).broken()


class Snapshot:
    """All that one namespace holds, read once."""

    def __init__(self, client, keys: Keys) -> None:
        self._unread: list[str] = []
        self.hashes = {name: self._hash(client, keys.fixed(name)) for name in HASHES}
        self.zsets = {name: self._zset(client, keys.fixed(name)) for name in ZSETS}
        self.entries = {
            name: {field: self._entry(name, field, raw) for field, raw in self.hashes[name].items()}
            for name in ENTRIES
        }
        self.heads = {ident: self._head(ident, raw) for ident, raw in self.hashes["deliveries"].items()}
        self.open = self.hashes["open_cases"]

    def broken(self) -> list[str]:
        """Return the sentences."""
        return [*self._unread, *self._cases(), *self._members(), *self._records(), *self._places(),
                *self._notices(), *self._histories(), *self._numbers()]  # fmt: skip

    # --- reading ------------------------------------------------------------------------------------------

    def _hash(self, client, key: str) -> dict[str, str]:
        found = client.hgetall(key) if self._is(client, key, b"hash") else {}
        return {_text(field): _text(value) for field, value in found.items()}

    def _zset(self, client, key: str) -> dict[str, float]:
        found = client.zrange(key, 0, -1, withscores=True) if self._is(client, key, b"zset") else []
        return {_text(member): float(score) for member, score in found}

    def _is(self, client, key: str, kind: bytes) -> bool:
        found = client.type(key)
        if found not in (kind, b"none"):
            self._unread.append(f"{key} is a {found.decode()}, where a {kind.decode()} belongs")
        return found == kind

    def _entry(self, name: str, field: str, raw: str) -> Row:
        try:
            entry = json.loads(raw)
        except (RecursionError, ValueError):
            entry = None
        if not isinstance(entry, dict):
            self._unread.append(f"{name}: {field!r} cannot be read: {raw[:60]!r}")
            return {}
        return entry

    def _head(self, ident: str, raw: str) -> Row:
        """Return a record's head; none of one that a newer release has written: its fields may mean anything."""
        try:
            head, *rest = raw.split("\n", 2)
            read = json.loads(head)
            is_newer = read.get("v", READABLE) > READABLE
            is_whole = is_newer or (len(rest) == 2 and isinstance(json.loads(rest[0] or "[]"), list))
        except (AttributeError, RecursionError, TypeError, ValueError):
            is_newer = is_whole = False
        if not is_whole:
            self._unread.append(f"deliveries: {ident!r} cannot be read: {raw[:60]!r}")
        return {} if is_newer or not is_whole else read

    # --- cases, and what they hold ------------------------------------------------------------------------

    def _cases(self) -> Iterator[str]:
        """Check that a group that is open names its case, and a case that is not resolved stands under its group."""
        cases = self.entries["cases"]
        for group, ident in self.open.items():
            case = cases.get(ident)
            if case is None:
                yield f"open_cases: {group!r} names case {ident}, which does not exist"
            elif case.get("group") != group:
                yield f"open_cases: {group!r} names case {ident}, which is of {case.get('group')!r}"
            elif case.get("state") == "resolved":
                yield f"open_cases: {group!r} names case {ident}, which is resolved"
        for ident, case in cases.items():
            if case.get("state") != "resolved" and self.open.get(str(case.get("group"))) != ident:
                yield f"cases: {ident} is not resolved, and its group {case.get('group')!r} does not name it"
        for name, fact in (("pauses", "case"), ("suppressions", "incident"), ("brakes", "k")):
            for field, entry in self.entries[name].items():
                if entry.get(fact) and entry[fact] not in cases:
                    yield f"{name}: {field!r} names case {entry[fact]}, which does not exist"

    def _members(self) -> Iterator[str]:
        """Check that a member is a delivery that exists, or was set aside, of a group that is open, and what was set aside is a member.

        The empty member is the group itself: a breaker, a dead letter.
        """
        held = {member.rpartition("\n\n")[2] for member in self.zsets["members"]}
        yield from (
            f"damaged: {ident!r} is of no case"
            for ident in self.hashes["damaged"]
            if ident and ident not in held
        )
        for member in self.zsets["members"]:
            group, _, ident = member.rpartition("\n\n")
            if group not in self.open:
                yield f"members: {ident!r} is of {group!r}, which is no open case"
            if not ident or ident in self.hashes["damaged"]:  # set aside, with its bytes there
                continue
            if ident not in self.heads:
                yield f"members: {ident!r} of {group!r} is no delivery"
            elif group.partition("\n")[0] not in SHOWN and self.heads[ident].get("g", group) != group:
                yield f"members: {ident!r} of {group!r} is held by {self.heads[ident]['g']!r}"
            elif group.partition("\n")[0] not in SHOWN and "g" not in self.heads[ident]:
                yield f"members: {ident!r} of {group!r} is held by no case"

    def _records(self) -> Iterator[str]:
        """Check that what is held is a member of the open case that its record names; what waits or is out names none.

        An ended record keeps the group of the exhausted case that it belonged to: ``resolve`` takes its membership, and does not
        write each of what may be 100,000 records. So it is judged only while its history says that it joined the case that is open.
        """
        for ident, head in self.heads.items():
            state, group = head.get("s", "waiting"), head.get("g")
            if state == "held" and not group:
                yield f"deliveries: {ident!r} is held by no case"
            elif state == "held" and group not in self.open:
                yield f"deliveries: {ident!r} is held by {group!r}, which is no open case"
            elif state in (*WAITS, "out") and group:
                yield f"deliveries: {ident!r} is {state}, and still names the case {group!r}"
            elif f"{group}\n\n{ident}" in self.zsets["members"]:
                continue
            elif state == "held" or self._joined(ident, group):
                yield f"deliveries: {ident!r} names the case {group!r}, and is no member of it"

    def _joined(self, ident: str, group: object) -> bool:
        lines = self.hashes["history"].get(ident[:12], "").split("\n")
        mine = [line for line in lines if f'"y":"{ident[12:]}"' in line]
        return group in self.open and any(f'"c":"{self.open[str(group)]}"' in line for line in mine)

    # --- what waits ---------------------------------------------------------------------------------------

    def _places(self) -> Iterator[str]:
        """Check that what is scheduled waits or is leased, and what waits or is leased is scheduled or in line.

        In line means: among what is ready, of a merchant that has a turn. The line may name what has ended since, and what was scheduled anew: claim drops such a place when its turn comes.
        """
        schedule = self.zsets["schedule"]
        line = {place.rpartition("\n")[2]: place.partition("\n")[0] for place in self.zsets["ready"]}
        for ident in schedule:
            if ident not in self.heads:
                yield f"schedule: {ident!r} is no delivery"
            elif (state := self.heads[ident].get("s", "waiting")) not in WAITS:
                yield f"schedule: {ident!r} is {state}"
        for ident, head in self.heads.items():
            if not head or head.get("s", "waiting") not in WAITS or ident in schedule:
                continue
            if ident not in line:
                yield f"deliveries: {ident!r} is {head.get('s', 'waiting')}, and neither scheduled nor in line"
            elif line[ident] not in self.zsets["turns"]:
                yield f"ready: {ident!r} stands in line with {line[ident]!r}, which has no turn"

    def _notices(self) -> Iterator[str]:
        """Check that a notice has a body, a body has its time, and a group has its turn."""
        for places, bodies in (("notices", "notice_bodies"), ("group_turns", "groups")):
            for ident in sorted(self.zsets[places].keys() - self.hashes[bodies].keys()):
                yield f"{places}: {ident!r} has nothing in {bodies}"
            for ident in sorted(self.hashes[bodies].keys() - self.zsets[places].keys()):
                yield f"{bodies}: {ident!r} has no time in {places}"

    def _histories(self) -> Iterator[str]:
        """Check that each line of a history is of a delivery that exists, or was set aside."""
        for reference, lines in self.hashes["history"].items():
            for line in lines.split("\n"):
                try:
                    ident = f"{reference}{json.loads(line)['y']}"
                except (KeyError, TypeError, ValueError):
                    yield f"history: a line of {reference!r} cannot be read: {line[:60]!r}"
                    continue
                if ident not in self.heads and ident not in self.hashes["damaged"]:
                    yield f"history: {reference!r} is of {ident!r}, which is no delivery"

    def _numbers(self) -> Iterator[str]:
        """Check that each number is whole and has an end, and that the deadline of what waits has its order in line."""
        for ident, head in self.heads.items():
            needed = NEEDED if head else ()
            for name in (name for name in (*COUNTED, *DATED) if name in head or name in needed):
                value = head.get(name)
                if not _is_whole(value) or (name in COUNTED and value < 0):
                    yield f"deliveries: {ident!r} has {name} = {value!r}"
                elif name == "x" and head.get("s", "waiting") in WAITS and not 0 <= value < IN_LINE:
                    yield f"deliveries: {ident!r} waits with a deadline of {value!r}, which has no order in line"
        for name, entries in self.entries.items():
            for field, entry in entries.items():
                if not all(map(isfinite, _numbers_in(entry))):
                    yield f"{name}: {field!r} holds a number without an end"
                if not _is_whole(entry.get("z", 0)) or entry.get("z", 0) < 0:
                    yield f"{name}: {field!r} is to be forgotten at {entry['z']!r}"
        for name, places in self.zsets.items():
            yield from (
                f"{name}: {one!r} has the score {score!r}"
                for one, score in places.items()
                if not 0 <= score < 2**53
            )


def _is_whole(value: object) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value) and value == int(value))


def _text(value: bytes) -> str:
    """Return what the store holds as text; bytes that are none stay apart from each other."""
    return value.decode(errors="backslashreplace")


def _numbers_in(value: object) -> Iterator[float]:
    match value:
        case dict():
            for one in value.values():
                yield from _numbers_in(one)
        case list():
            for one in value:
                yield from _numbers_in(one)
        case float():
            yield value
