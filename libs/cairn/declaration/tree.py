"""Reads a YAML text into plain data, and keeps where each key and value stands.

Nothing is executed or expanded: aliases, anchors and tags are refused. Plain values are read by the core schema of
YAML 1.2, so `no` and `2026-01-01` are texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.reader import ReaderError

from cairn.declaration.problems import Problem

DEEPEST = 16
"""So many levels of nesting are read; a declaration has four."""

Location = tuple[str | int, ...]
"""The way to a value: keys, and numbers of list entries; a negative number stands for what has no key."""
Position = tuple[int, int]
"""Line and column, from 1."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_REAL = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass
class Tree:
    """The plain data of a YAML text and the positions of its parts."""

    root: Any = None
    complete: bool = False
    """Whether the whole text could be read."""
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[Location] = field(default_factory=set)
    """What has its problem already, so that nothing more is said about it."""
    keys: dict[Location, Position] = field(default_factory=dict)
    values: dict[Location, Position] = field(default_factory=dict)

    def complain(self, mark: Any, location: Location, text: str) -> None:
        """Note a problem at one of the YAML reader's marks."""
        self.problems.append(Problem(*_position(mark), dotted(location), text))


def dotted(location: Location) -> str:
    """A location as a person writes it: `search.estimators[1]`."""
    plain = (part for part in location if isinstance(part, str) or part >= 0)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in plain).removeprefix(".")


def _position(mark: Any) -> Position:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def read_tree(text: str) -> Tree:
    """The data of one YAML document. Raises nothing: what is wrong is in the tree's problems."""
    tree = Tree()
    try:
        _Reading(tree, text).document()
        tree.complete = True
    except _Stopped:
        pass
    except ReaderError as error:
        # Found before any line is read, so the reader knows no line of it.
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        tree.problems.append(Problem(line, column, "", f"found the character U+{error.character:04X}"))
    except yaml.MarkedYAMLError as error:
        tree.complain(error.problem_mark, (), _explained(error))
    return tree


class _Stopped(Exception):
    """Nothing more can be read; the problem is noted."""


class _Reading:
    def __init__(self, tree: Tree, text: str) -> None:
        self._tree = tree
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.BaseLoader)

    def document(self) -> None:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            self._tree.problems.append(Problem(0, 0, "", "is empty: expected a mapping of keys to values"))
            raise _Stopped
        self._tree.root = self._node(next(self._events), ())
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._tree.complain(event.start_mark, (), "found a second document: expected one in a file")
            raise _Stopped

    def _node(self, event: Any, location: Location) -> Any:
        if len(location) > DEEPEST:
            self._tree.complain(event.start_mark, (), f"found more than {DEEPEST} levels of nesting")
            raise _Stopped
        self._tree.values[location] = _position(event.start_mark)
        self._refuse_extras(event, location)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(location)
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._node(item, (*location, n)) for n, item in enumerate(self._until(yaml.SequenceEndEvent))]
        return None if isinstance(event, yaml.AliasEvent) else self._scalar(event, location)

    def _until(self, end: type[Any]) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _mapping(self, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event, location)
            here = location if key is None else (*location, key)
            if key is None or key in found:
                self._node(next(self._events), self._aside(here))
            else:
                found[key] = self._node(next(self._events), here)
        return found

    def _key(self, event: Any, location: Location) -> str | None:
        """The key that an event is, or None after saying why it is none."""
        if not isinstance(event, yaml.ScalarEvent):
            self._tree.complain(event.start_mark, location, "found a key that is no plain name")
            self._node(event, self._aside(location))
            return None
        key: str = event.value
        here = (*location, key)
        if _UNPRINTABLE.search(key):
            self._tree.complain(event.start_mark, location, f"found the unprintable key {key!a}")
            return None
        if here in self._tree.keys:
            first, _ = self._tree.keys[here]
            self._tree.complain(event.start_mark, here, f"found a second time: it stands in line {first} already")
            return key
        self._tree.keys[here] = _position(event.start_mark)
        self._refuse_extras(event, here)
        return key

    def _aside(self, location: Location) -> Location:
        aside = (*location, -1 - len(self._tree.spoiled))
        self._tree.spoiled.add(aside)
        return aside

    def _refuse_extras(self, event: Any, location: Location) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._tree.spoiled.add(location)
            self._tree.complain(event.start_mark, location, f"found the alias *{event.anchor}: expected a plain value")
            return
        if event.anchor is not None:
            self._tree.complain(event.start_mark, location, f"found the anchor &{event.anchor}: write values out")
        if event.tag is not None:
            self._tree.spoiled.add(location)
            self._tree.complain(event.start_mark, location, f"found the tag {event.tag!a}: expected a plain value")

    def _scalar(self, event: Any, location: Location) -> Any:
        text: str = event.value
        if bad := _UNPRINTABLE.search(text):
            self._tree.spoiled.add(location)
            self._tree.complain(event.start_mark, location, f"found the unprintable character U+{ord(bad[0]):04X}")
            return None
        return text if event.style else _plain(text)


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _explained(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "it is not YAML"
    if r"'\t'" in problem:
        return "found a tab: expected spaces"
    return f"cannot be read as YAML: {problem}"
