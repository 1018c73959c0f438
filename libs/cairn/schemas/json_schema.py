"""One JSON Schema (2020-12) for one type of event: what its payload must be."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from cairn.events.catalogue import EventType
from cairn.events.envelope import schema_address
from cairn.schemas.addresses import key_template, owner_template, subject_template, topic_template

PERSONAL = "x-personal"
"""Marks a field that can hold personal data."""

UNIT = "x-unit"
"""Says what a number counts, or what an instant is told in."""

UNITS = {"seconds": "seconds", "bytes": "bytes", "ratio": "0 to 1", "at": "instant, UTC"}
"""What the end of a field's name says of its unit."""

_LONGEST_EXAMPLE = 90
_FIRST = ("type", "properties", "required", "additionalProperties")
_RULE = "Readers ignore fields that they do not know; writers may not send any."


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic would make from the fields' names."""

    def field_title_should_be_set(self, *_: Any) -> bool:
        return False


def json_schema(entry: EventType, recorded: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The schema that a payload of this type must meet before it may be sent; `recorded` ones show its fields."""
    made = entry.facts.model_json_schema(schema_generator=_Untitled, mode="validation")
    _lift_marks(made)
    for node in (made, *made.get("$defs", {}).values()):
        _describe(node.get("properties", {}), made)
        _tell_units(node.get("properties", {}))
        _lift_examples(node.get("properties", {}))
        for shown in node.pop("examples", ()):
            _show(node, made, shown)
    for payload in recorded:
        _show(made, made, payload)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_address(entry.name),
        "title": made.pop("title"),
        "description": f"{made.pop('description')}\n\nOnly {owner_template(entry)} sends it. {_RULE}",
        "x-type": entry.name,
        "x-topic": topic_template(entry),
        "x-owner": owner_template(entry),
        "x-subject": subject_template(entry),
        "x-key": key_template(entry),
        **({"x-judge": entry.judge} if entry.judge else {}),
    }
    return head | {key: made[key] for key in sorted(made, key=_rank)}


def unit_of(name: str) -> str:
    """The unit that a field's name ends in; empty where it has none."""
    return UNITS.get(name.rpartition("_")[2], "")


def _rank(key: str) -> int:
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)


def _describe(fields: dict[str, Any], made: dict[str, Any]) -> None:
    """Say again what pydantic leaves out where a field's description is also that of its class."""
    for field in fields.values():
        if "$ref" in field and "description" not in field:
            field["description"] = made["$defs"][field["$ref"].rpartition("/")[2]]["description"]


def _tell_units(fields: dict[str, Any]) -> None:
    for name, field in fields.items():
        if unit_of(name):
            field[UNIT] = unit_of(name)


def _show(node: Any, made: dict[str, Any], value: Any) -> None:
    """Give fields without an example one from a recorded payload."""
    if "$ref" in node:
        node = made["$defs"][node["$ref"].rpartition("/")[2]]
    for branch in node.get("anyOf", ()):
        _show(branch, made, value)
    if isinstance(value, list) and "items" in node:
        for item in value:
            _show(node["items"], made, item)
    if isinstance(value, dict):
        for name, field in node.get("properties", {}).items():
            if "examples" not in field and (shown := _shorten(value.get(name))) is not None:
                field["examples"] = [shown]
            _show(field, made, value.get(name))


def _shorten(value: Any) -> Any:
    """What says in one short line what a value is: itself, or the beginning of a list; None where nothing does."""
    if isinstance(value, list):
        while value and len(json.dumps(value)) > _LONGEST_EXAMPLE:
            value = value[:-1]
    if value in ({}, []) or len(json.dumps(value, ensure_ascii=False)) > _LONGEST_EXAMPLE:
        return None
    return value


def _lift_examples(fields: dict[str, Any]) -> None:
    """Show on the field itself what its class declares for one of the alternatives, or for what a list holds."""
    for field in fields.values():
        for branch in field.get("anyOf", ()):
            if "examples" in branch:
                field.setdefault("examples", branch["examples"])
        if "examples" in field.get("items", {}):
            field.setdefault("examples", [field["items"]["examples"][:1]])


def _lift_marks(node: Any) -> None:
    """Put `x-personal` on the field itself: of an optional one, pydantic leaves it on one of the alternatives."""
    if isinstance(node, list):
        for item in node:
            _lift_marks(item)
    elif isinstance(node, dict):
        for item in node.values():
            _lift_marks(item)
        for branch in node.get("anyOf", ()):
            if branch.pop(PERSONAL, False):
                node[PERSONAL] = True
