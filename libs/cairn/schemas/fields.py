"""The fields of one JSON Schema as rows for people."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.events.values import LARGEST_INTEGER
from cairn.schemas.json_schema import PERSONAL, unit_of

_ANY = "any JSON"
_WORDS = {"integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
_FORMATS = {"date-time": "instant", "uri-reference": "URI reference"}

Anchor = Callable[[str], str]
"""Gives the place of a value object on the page."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field."""

    name: str
    """In code marks; with a question mark where it may be absent."""
    type: str
    """With its limits and its default."""
    unit: str
    personal: bool
    example: str
    """As JSON."""
    says: str


def field_rows(schema: Mapping[str, Any], anchor: Anchor) -> list[FieldRow]:
    """The fields of an object, in their order; `anchor` gives the place of a value object on the page."""
    required = schema.get("required", ())
    return [
        FieldRow(
            name=f"`{name}`" if name in required else f"`{name}`?",
            type=type_of(field, anchor),
            unit=unit_of(name),
            personal=field.get(PERSONAL, False),
            example=_example(field, anchor),
            says=field.get("description", "").replace("\n", " "),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def _example(field: Mapping[str, Any], anchor: Anchor) -> str:
    if shown := field.get("examples"):
        return f"`{_json(shown[0])}`"
    names = [name for name in _references(field) if name != "JsonValue"]
    return " or ".join(f"as [{name}](#{anchor(name)}) shows" for name in dict.fromkeys(names))


def _references(field: Mapping[str, Any]) -> Iterator[str]:
    """The value objects that a field, or a part of it, is made of."""
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    parts = (*field.get("anyOf", ()), *field.get("oneOf", ()), field.get("items"), field.get("additionalProperties"))
    for part in parts:
        if isinstance(part, Mapping):
            yield from _references(part)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)  # no letter may break the table's line


def type_of(field: Mapping[str, Any], anchor: Anchor) -> str:
    """What a field may hold, e.g. `text, 1 to 128 characters; or null`."""
    branches = field.get("anyOf", [field])
    kinds = [one for one in branches if one.get("type") != "null"]
    if len(kinds) == 1:
        name, limits = _kind(kinds[0], anchor)
        said = ", ".join(filter(None, (name, limits)))
    else:
        said = " or ".join(dict.fromkeys(_short(one, anchor) for one in kinds))
    null = "or null" if len(kinds) < len(branches) else ""
    return "; ".join(filter(None, (said, null, _default(field))))


def _short(field: Mapping[str, Any], anchor: Anchor) -> str:
    """What one of several may be, e.g. `text (at most 1000 characters)`."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_short(one, anchor) for one in field["anyOf"]))
    name, limits = _kind(field, anchor)
    return f"{name} ({limits})" if limits else name


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None:
        return ""
    return "default: each field's own" if isinstance(default, dict) else f"default `{_json(default)}`"


def _kind(field: Mapping[str, Any], anchor: Anchor) -> tuple[str, str]:
    """A type's name and its limits."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return (_ANY if name == "JsonValue" else f"[{name}](#{anchor(name)})"), ""
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")])), ""
    kind = field.get("type")
    if kind == "array":
        return f"list of {_short(field['items'], anchor)}", _size(field, "Items", "items")
    if kind == "object":
        return _map(field, anchor), _size(field, "Properties", "entries")
    if kind == "string":
        return _FORMATS.get(field.get("format", ""), "text"), _text_limits(field)
    return _WORDS.get(str(kind), _ANY), _range(field)


def _map(field: Mapping[str, Any], anchor: Anchor) -> str:
    names = f"from {_short(field['propertyNames'], anchor)} " if "propertyNames" in field else ""
    return f"map {names}to {_short(field.get('additionalProperties') or {}, anchor)}"


def _text_limits(field: Mapping[str, Any]) -> str:
    pattern = f"like `{field['pattern']}`" if "pattern" in field else ""
    return ", ".join(filter(None, (_size(field, "Length", "characters"), pattern)))


def _size(field: Mapping[str, Any], what: str, counted: str) -> str:
    said = _between(field.get(f"min{what}"), field.get(f"max{what}"))
    return f"{said} {counted}" if said else ""


def _range(field: Mapping[str, Any]) -> str:
    lower, upper = (
        None if abs(bound) == LARGEST_INTEGER else bound
        for bound in (field.get("minimum", LARGEST_INTEGER), field.get("maximum", LARGEST_INTEGER))
    )
    above, below = (
        f"{word} {_number(field[keyword])}" if keyword in field else ""
        for word, keyword in (("above", "exclusiveMinimum"), ("below", "exclusiveMaximum"))
    )
    return " and ".join(filter(None, (above, _between(lower, upper), below)))


def _between(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{_number(least)} to {_number(most)}"
    if least is not None:
        return f"at least {_number(least)}"
    return f"at most {_number(most)}" if most is not None else ""


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
