"""Judges a change of the schemas: whom it breaks, those who read events or those who write them, and the cure.

Compatibility is full: what was written under the old schema must be readable under the new one, since the log is kept
for ever, and what is written under the new schema must be readable by whoever still reads with the old one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cairn.schemas.accepting import Gap, Node, Schema, find_gaps
from cairn.schemas.json_schema import PERSONAL

_NEXT_MAJOR = "or make a new major version of the type, with an upcaster from this one"
_IDENTITY = ("x-type", "x-topic", "x-owner", "x-subject", "x-key", "x-judge")

Whom = Literal["reader", "writer"]


@dataclass(frozen=True, slots=True)
class Break:
    """A change that somebody will suffer from."""

    type: str
    """The type of event."""
    path: str
    """The field; empty for the type as a whole."""
    change: str
    """What it was and what it is."""
    breaks: Whom
    """The `reader` who still has the old schema, or the `writer` who still has it (and all that he ever wrote)."""
    cure: str

    def __str__(self) -> str:
        where = f"{self.type} {self.path}".rstrip()
        return f"{where}: {self.change}: breaks the {self.breaks}. {self.cure}"


@dataclass(frozen=True, slots=True)
class Contract:
    """What was promised at one time."""

    schemas: Mapping[str, Schema]
    """Each type's JSON Schema."""
    examples: Mapping[str, str]
    """Each recorded message's text, by its path below the folder of schemas."""


def find_breaks(old: Contract, new: Contract) -> list[Break]:
    """Every change from `old` to `new` that breaks somebody, by type and field."""
    found = [one for name in old.schemas for one in _judge_type(name, old.schemas[name], new.schemas.get(name))]
    found += _judge_examples(old.examples, new.examples)
    return sorted(dict.fromkeys(found), key=lambda one: (one.type, one.path, one.breaks, one.change))


def as_rows(breaks: list[Break]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [asdict(one) for one in breaks]


def _judge_type(name: str, old: Schema, new: Schema | None) -> Iterator[Break]:
    if new is None:
        yield Break(name, "", "the type is gone", "writer", "Keep its schema: the log holds its events for ever.")
        return
    yield from _judge_identity(name, old, new)
    for gap in find_gaps(reader=new, writer=old):
        yield _refused(name, gap, _change(gap.keyword, gap.written, gap.read), "writer")
    for gap in find_gaps(reader=old, writer=new):
        yield _refused(name, gap, _change(gap.keyword, gap.read, gap.written), "reader")
    yield from _judge_fields(name, Node({}, old).at(old), Node({}, new).at(new), "", frozenset())


def _judge_identity(name: str, old: Schema, new: Schema) -> Iterator[Break]:
    for mark in _IDENTITY:
        if old.get(mark) != new.get(mark):
            change = _change(mark.removeprefix("x-"), old.get(mark), new.get(mark))
            yield Break(name, "", change, "reader", f"Keep it, {_NEXT_MAJOR}.")


def _refused(name: str, gap: Gap, change: str, breaks: Whom) -> Break:
    return Break(name, gap.path, change, breaks, _cure(gap, breaks))


def _change(keyword: str, old: Any, new: Any) -> str:
    if keyword == "required":
        return "optional, now required" if new else "required, now optional or gone"
    return f"{keyword} was {_said(old)}, is {_said(new)}"


def _said(rule: Any) -> str:
    return "not given" if rule is None else json.dumps(rule, ensure_ascii=False)


def _cure(gap: Gap, breaks: Whom) -> str:
    if gap.keyword == "required":
        kept = "Leave it optional, with a default" if breaks == "writer" else "Go on sending it"
    else:
        kept = "Keep the wider rule" if breaks == "writer" else "Keep the narrower rule, or add another, optional field"
    return f"{kept}, {_NEXT_MAJOR}."


def _judge_fields(name: str, old: Node, new: Node, path: str, seen: frozenset[tuple[int, int]]) -> Iterator[Break]:
    """What no document shows: fields that are gone, other defaults, marks that are gone."""
    pair = (id(old.schema), id(new.schema))
    if pair in seen:
        return
    seen |= {pair}
    before, now = old.fields(), new.fields()
    for field in before:
        where = f"{path}.{field}" if path else field
        if field not in now:
            cure = f"Keep it, marked as deprecated, {_NEXT_MAJOR}."
            yield Break(name, where, "the field is gone", "writer", cure)
            continue
        said, says = old.schema["properties"][field], new.schema["properties"][field]
        yield from _judge_words(name, where, said, says)
        yield from _judge_fields(name, before[field], now[field], where, seen)
    for inner, suffix in _inside(old, new):
        yield from _judge_fields(name, *inner, f"{path}{suffix}", seen)


def _judge_words(name: str, path: str, old: Schema, new: Schema) -> Iterator[Break]:
    if "default" in old and "default" in new and json.dumps(old["default"]) != json.dumps(new["default"]):
        change = _change("default", old["default"], new["default"])
        yield Break(name, path, change, "reader", "Keep the default: events that leave the field out would change.")
    if old.get(PERSONAL) and not new.get(PERSONAL):
        cure = "Keep the mark: what was written as personal stays so."
        yield Break(name, path, "no longer marked as personal", "reader", cure)


def _inside(old: Node, new: Node) -> Iterator[tuple[tuple[Node, Node], str]]:
    """What lies in lists, maps and alternatives, side by side."""
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        said, says = old.schema.get(keyword), new.schema.get(keyword)
        if isinstance(said, Mapping) and isinstance(says, Mapping):
            yield (old.at(said), new.at(says)), suffix
    if len(old.alternatives()) > 1 or len(new.alternatives()) > 1:
        before, now = _objects(old), _objects(new)
        yield from (((before[name], now[name]), "") for name in before.keys() & now.keys())


def _objects(node: Node) -> dict[str, Node]:
    """The alternatives that have fields, by their titles; where there is but one, its title does not matter."""
    found = [one for one in node.alternatives() if "properties" in one.schema]
    return {"": found[0]} if len(found) == 1 else {str(one.schema.get("title")): one for one in found}


def _judge_examples(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Break]:
    for path, text in old.items():
        if new.get(path) != text:
            change = f"the recorded message {path} {'is gone' if path not in new else 'was changed'}"
            cure = "Put it back as it was and add another: recorded messages stay readable for ever."
            yield Break(path.split("/")[1], "", change, "reader", cure)
