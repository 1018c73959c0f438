"""One JSON Schema (2020-12) for one type of event: what its payload must be."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from cairn.events.catalogue import EventType
from cairn.events.envelope import schema_address
from cairn.schemas.addresses import key_template, owner_template, subject_template, topic_template

PERSONAL = "x-personal"
"""Marks a field that can hold personal data."""

_FIRST = ("type", "properties", "required", "additionalProperties")
_RULE = "Readers ignore fields that they do not know; writers may not send any."


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic would make from the fields' names."""

    def field_title_should_be_set(self, *_: Any) -> bool:
        return False


def json_schema(entry: EventType) -> dict[str, Any]:
    """The schema that a payload of this type must meet before it may be sent."""
    made = entry.facts.model_json_schema(schema_generator=_Untitled, mode="validation")
    _lift_marks(made)
    for node in (made, *made.get("$defs", {}).values()):
        _describe(node.get("properties", {}), made)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_address(entry.name),
        "title": made.pop("title"),
        "description": f"{made.pop('description')}\n\n{_RULE}",
        "x-type": entry.name,
        "x-topic": topic_template(entry),
        "x-owner": owner_template(entry),
        "x-subject": subject_template(entry),
        "x-key": key_template(entry),
        **({"x-judge": entry.judge} if entry.judge else {}),
    }
    return head | {key: made[key] for key in sorted(made, key=_rank)}


def _rank(key: str) -> int:
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)


def _describe(fields: dict[str, Any], made: dict[str, Any]) -> None:
    """Say again what pydantic leaves out where a field's description is also that of its class."""
    for field in fields.values():
        if "$ref" in field and "description" not in field:
            field["description"] = made["$defs"][field["$ref"].rpartition("/")[2]]["description"]


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
