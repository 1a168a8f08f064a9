"""YAML 1.2 text to plain values, each with its line and column.

The tree is made from the events of ruamel.yaml's parser, which have positions, also for aliases. So no tag
runs code, a duplicate key is an error, and depth and aliases are bounded.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from softbounce.core.durations import shown

LARGEST = 256 * 1024  # most bytes of a file; the shipped policy has 8 KiB
DEEPEST = 12  # most levels; a policy needs 6
MOST_VALUES = 50_000  # most values after aliases are followed, against "billion laughs"

INTEGER = re.compile(r"[-+]?[0-9]{1,15}")
DECIMAL = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{1,15}")
SURROGATE = re.compile("[\ud800-\udfff]")  # a lone surrogate, from an escape such as "\\ud800"
NULLS = frozenset({"", "~", "null"})

Path = Sequence[int | str]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of one line, from 1; ``end`` is the column after it, or ``column`` if that is unknown."""

    line: int
    column: int
    end: int


@dataclass(slots=True, kw_only=True)
class Node:
    """One value: a scalar, ``items`` of a list, or ``entries`` of a mapping as (key node, value node)."""

    place: Place
    value: Scalar = None
    text: str = ""  # a scalar as written
    items: "list[Node] | None" = None
    entries: "dict[str, tuple[Node, Node]] | None" = None
    is_alias: bool = False
    is_meant: bool = False  # a null that is allowed as a value
    size: int = 1  # number of values in it, itself included


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An error at a place of the text."""

    place: Place
    message: str


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, place: Place, message: str) -> None:
        self.mistake = Mistake(place=place, message=message)


class Tree:
    """The text as nodes. ``root`` is None if the text cannot be read; ``mistakes`` has every error.

    ``warnings`` has the merges by ``<<`` that lose keys.
    """

    def __init__(self, text: str, *, takes_null: bool = False) -> None:
        """``takes_null``: a written ``null`` is a value; a key without anything is always an error."""
        self._takes_null = takes_null
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []
        self.root: Node | None = None
        self._anchors: dict[str, Node] = {}
        self._values = 0
        try:
            self.root = self._document(text)
        except _Unreadable as error:
            self.mistakes.append(error.mistake)
        except ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            self._wrong(Place(line=line, column=column, end=column + 1), "YAML does not allow this character")
        except MarkedYAMLError as error:
            problem, mark = error.problem or "", error.problem_mark or error.context_mark
            message = f"this is not YAML: {problem}"
            if "\\t" in problem:
                message = "a tab cannot indent YAML; use spaces"
            elif "quoted scalar" in (error.context or "") and "end of stream" in problem:
                message, mark = ("this quote is never closed", error.context_mark)
            self._wrong(_place(mark), message)
        except (YAMLError, ValueError) as error:  # ValueError: a %YAML line with a broken number
            self._wrong(Place(line=1, column=1, end=1), f"this is not YAML: {error}")

    def plain(self) -> Any:  # noqa: ANN401 - whatever the file says
        """Return new dicts, lists and scalars, with aliases followed."""
        return _plain(self.root) if self.root else None

    def nodes(self, path: Path) -> list[tuple[Node | None, Node]]:
        """Return (key node or None, value node) for each step of ``path`` that exists in the text."""
        found: list[tuple[Node | None, Node]] = []
        node = self.root
        for step in path:
            if node and node.entries and str(step) in node.entries:
                found.append(node.entries[str(step)])
            elif node and node.items and isinstance(step, int) and step < len(node.items):
                found.append((None, node.items[step]))
            else:
                continue  # pydantic adds the member of a union to a path
            node = found[-1][1]
        return found

    def key_place(self, path: Path) -> Place:
        """Return the place of the key of ``path``, or of the item of a list."""
        key, value = self._last(path)
        return (key or value).place

    def value_place(self, path: Path) -> Place:
        """Return the place of the value of ``path``, or of its key if the value begins on a later line."""
        key, value = self._last(path)
        return key.place if key and value.place.line > key.place.line else value.place

    def line(self, path: Path) -> int:
        """Return the line of ``path``, 0 if it is not in the text; under an alias, the line of the alias."""
        nodes = self.nodes(path)
        if len(nodes) < len(path):
            return 0
        alias = next((key or value for key, value in nodes if value.is_alias), None)
        return alias.place.line if alias else self.key_place(path).line

    def _last(self, path: Path) -> tuple[Node | None, Node]:
        nodes = self.nodes(path)
        return nodes[-1] if nodes else (None, self.root or Node(place=Place(line=1, column=1, end=1)))

    def _wrong(self, place: Place, message: str) -> None:
        self.mistakes.append(Mistake(place=place, message=message))

    def _document(self, text: str) -> Node:
        start = Place(line=1, column=1, end=1)
        if len(text.encode(errors="replace")) > LARGEST:
            raise _Unreadable(start, f"the file is larger than {LARGEST // 1024} KiB")
        root: Node | None = None
        events = iter(YAML(typ="safe", pure=True).parse(text))
        for event in events:
            if isinstance(event, AliasEvent | ScalarEvent | MappingStartEvent | SequenceStartEvent):
                if root:
                    raise _Unreadable(
                        _place(event.start_mark), "a second document starts here; one is enough"
                    )
                root = self._node(event, events, depth=0)
        if root is None:
            raise _Unreadable(start, "the file is empty")
        return root

    def _node(self, event: Any, events: Iterator[Any], *, depth: int) -> Node:  # noqa: ANN401 - ruamel's events
        place, before = _place(event.start_mark, event.end_mark), self._values
        if depth > DEEPEST:
            raise _Unreadable(place, f"nested deeper than {DEEPEST} levels")
        is_alias = isinstance(event, AliasEvent)
        node = self._alias(place, event.anchor) if is_alias else Node(place=place)
        self._values += node.size
        if self._values > MOST_VALUES:
            raise _Unreadable(place, f"more than {MOST_VALUES} values once aliases are followed")
        if is_alias:
            return node
        if isinstance(event, ScalarEvent):
            if SURROGATE.search(event.value):
                raise _Unreadable(place, "this escape is no character")
            node.text = event.value
            node.value = event.value if event.style else _scalar(event.value)
        elif isinstance(event, SequenceStartEvent):
            node.items = [self._node(item, events, depth=depth + 1) for item in _until_end(events)]
        else:
            node.entries = self._entries(events, depth=depth + 1)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._wrong(place, f"a tag has no meaning here: {shown(tag)}")
            node = Node(place=place, text=tag)
        node.size = self._values - before
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, place: Place, name: str) -> Node:
        if name not in self._anchors:  # also an alias inside its own anchor
            raise _Unreadable(place, f"no anchor '&{name}' above this alias")
        return replace(self._anchors[name], place=place, is_alias=True)

    def _entries(self, events: Iterator[Any], *, depth: int) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        merged: list[Node] = []
        for event in _until_end(events):
            key = self._node(event, events, depth=depth)
            value = self._node(next(events), events, depth=depth)
            name = key.text
            if key.items is not None or key.entries is not None:
                self._wrong(key.place, "a key must be a word")
            elif name == "<<":
                merged += value.items if value.items is not None else [value]
            elif name in entries:
                first = entries[name][0].place.line
                self._wrong(key.place, f"duplicate key {shown(name)}; the first is in line {first}")
            else:
                entries[name] = (key, value)
                value.is_meant = self._takes_null and value.text != ""
                if _is_null(value) and value.text in NULLS and not value.is_meant:
                    self._wrong(
                        key.place, f"{shown(name)} has no value; write one, or {{}} for an empty block"
                    )
        for source in merged:  # what is written here wins over what is merged in
            if source.entries is None:
                self._wrong(source.place, "<< merges a block of keys, nothing else")
                continue
            for name in entries.keys() & source.entries.keys():
                (key, value), (_, base) = entries[name], source.entries[name]
                lost = sorted((base.entries or {}).keys() - value.entries.keys()) if value.entries else []
                if lost:
                    message = (
                        f"{shown(name)} replaces the whole block merged by <<: {', '.join(lost)} is lost"
                    )
                    self.warnings.append(Mistake(place=key.place, message=message))
            entries = {**source.entries, **entries}
        return entries


def _until_end(events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            return
        yield event


def _place(start: Any, end: Any = None) -> Place:  # noqa: ANN401 - ruamel's marks
    if start is None:
        return Place(line=1, column=1, end=1)
    column = start.column + 1
    return Place(
        line=start.line + 1,
        column=column,
        end=end.column + 1 if end is not None and end.line == start.line else column,
    )


def _scalar(text: str) -> Scalar:
    if text in NULLS:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else text


def _plain(node: Node) -> Any:  # noqa: ANN401 - whatever the file says
    if node.entries is not None:
        values = ((name, value) for name, (_, value) in node.entries.items())
        return {name: _plain(value) for name, value in values if value.is_meant or not _is_null(value)}
    if node.items is not None:
        return [_plain(item) for item in node.items]
    return node.value


def _is_null(node: Node) -> bool:
    return node.value is None and node.items is None and node.entries is None
