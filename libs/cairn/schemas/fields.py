"""The fields of one JSON Schema as rows for people."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.schemas.json_schema import PERSONAL, unit_of

_ANY = "any JSON"
_WORDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field."""

    name: str
    """In code marks; with a question mark where it may be absent."""
    type: str
    unit: str
    personal: bool
    example: str
    """As JSON."""
    says: str


def field_rows(schema: Mapping[str, Any], anchor: Callable[[str], str]) -> list[FieldRow]:
    """The fields of an object, in their order; `anchor` gives the place of a value object on the page."""
    required = schema.get("required", ())
    return [
        FieldRow(
            name=f"`{name}`" if name in required else f"`{name}`?",
            type=_type(field, anchor),
            unit=unit_of(name),
            personal=field.get(PERSONAL, False),
            example=_example(field),
            says=field.get("description", "").replace("\n", " "),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def _example(field: Mapping[str, Any]) -> str:
    shown = field.get("examples")
    if not shown:
        return ""
    text = json.dumps(shown[0], ensure_ascii=False)
    return f"`{text if text.isprintable() else json.dumps(shown[0])}`"  # no letter may break the table's line


def _type(field: Mapping[str, Any], anchor: Callable[[str], str]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _ANY if name == "JsonValue" else f"[{name}](#{anchor(name)})"
    if "anyOf" in field:
        kinds = [_type(one, anchor) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    return _plain_type(field, anchor)


def _plain_type(field: Mapping[str, Any], anchor: Callable[[str], str]) -> str:
    kind = field.get("type")
    if kind == "array":
        return f"list of {_type(field['items'], anchor)}"
    if kind == "object":
        return f"map to {_type(field.get('additionalProperties') or {}, anchor)}"
    if field.get("format") == "date-time":
        return "instant"
    return _WORDS.get(str(kind), _ANY)
