"""Judges a change of the schemas: whom it breaks, those who read events or those who write them, and the cure.

Compatibility is full: what was written under the old schema must be readable under the new one, since the log is kept
for ever, and what is written under the new schema must be readable by whoever still reads with the old one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cairn.schemas.accepting import Gap, find_gaps
from cairn.schemas.alternatives import Schema
from cairn.schemas.json_schema import PERSONAL, UNIT

_NEXT_MAJOR = "or make a new major version of the type, with an upcaster from this one"
_UNSAID = "not given"
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
        if gap.effect != "changed":  # what was written means the same: whoever left it out, or marked it, did so then
            yield Break(name, gap.path, _change(gap, gap.written, gap.read), "writer", _cure(gap, "writer"))
    for gap in find_gaps(reader=old, writer=new):
        if gap.effect != "lost":  # a new field is for new readers
            yield Break(name, gap.path, _change(gap, gap.read, gap.written), "reader", _cure(gap, "reader"))


def _judge_identity(name: str, old: Schema, new: Schema) -> Iterator[Break]:
    for mark in _IDENTITY:
        if old.get(mark) != new.get(mark):
            was, now = (json.dumps(one[mark]) if mark in one else _UNSAID for one in (old, new))
            change = f"{mark.removeprefix('x-')} was {was}, is {now}"
            yield Break(name, "", change, "reader", f"Keep it, {_NEXT_MAJOR}.")


def _change(gap: Gap, old: str | None, new: str | None) -> str:
    if gap.keyword == "required":
        return "optional, now required" if new == "true" else "required, now optional or gone"
    if gap.keyword == PERSONAL:
        return "no longer marked as personal"
    if gap.keyword == UNIT:
        return f"the unit was {old}, is {new or _UNSAID}"
    if gap.effect == "lost":
        return "the field is gone" if gap.keyword == "properties" else "any name was kept, now only the listed fields"
    return f"{gap.keyword} was {old or _UNSAID}, is {new or _UNSAID}"


def _cure(gap: Gap, breaks: Whom) -> str:
    if gap.keyword == PERSONAL:
        return "Keep the mark: what was written as personal stays so."
    if gap.keyword == UNIT:
        return f"Keep the unit, add a field in the other one, {_NEXT_MAJOR}."
    if gap.keyword == "default":
        return "Keep the default: events that leave the field out would change."
    if gap.effect == "lost":
        kept = "Keep it, marked as deprecated"
    elif gap.keyword == "required":
        kept = "Leave it optional, with a default" if breaks == "writer" else "Go on sending it"
    else:
        kept = "Keep the wider rule" if breaks == "writer" else "Keep the narrower rule, or add another, optional field"
    return f"{kept}, {_NEXT_MAJOR}."


def _judge_examples(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Break]:
    for path, text in old.items():
        if new.get(path) != text:
            change = f"the recorded message {path} {'is gone' if path not in new else 'was changed'}"
            cure = "Put it back as it was and add another: recorded messages stay readable for ever."
            yield Break(path.split("/")[1], "", change, "reader", cure)
