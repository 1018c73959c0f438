"""Whether one JSON Schema accepts whatever another allows, over the keywords that pydantic emits.

The reader's schema is taken as readers take it: fields that it does not know are ignored, whatever
`additionalProperties: false` asks of writers. Writers send no field that their schema does not list.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from cairn.schemas.alternatives import Node, Schema, is_annotation
from cairn.schemas.json_schema import PERSONAL, UNIT

_SIZES = ("Length", "Items", "Properties")
_JUDGED = frozenset(
    {"type", "enum", "const", "properties", "required", "items", "prefixItems", "uniqueItems", "contentSchema"}
    | {"additionalProperties", "propertyNames", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}
    | {f"{end}{size}" for end in ("min", "max") for size in _SIZES}
)
_FEW = {"boolean": [False, True], "null": [None]}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}

Effect = Literal["refused", "lost", "changed"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that the writer's schema allows and the reader's does not take as it was meant."""

    path: str
    """The field: `items[].period.start_at`; `limits{}` is a value of a map, `limits{name}` its name."""
    keyword: str
    written: str | None
    """What the writer's schema says, as JSON; None where it says nothing."""
    read: str | None
    """What the reader's schema says, as JSON; None where it says nothing."""
    effect: Effect = "refused"
    """What comes of it: the value is refused, it is silently lost, or it is taken for something else."""


def find_gaps(reader: Schema, writer: Schema) -> list[Gap]:
    """Everything that `writer` allows and `reader` does not take as it was meant; both are whole documents."""
    return list(_gaps(Node(reader, reader), Node(writer, writer), "", frozenset()))


Visited = frozenset[tuple[str, str]]


def _gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    pair = (json.dumps(reader.schema), json.dumps(writer.schema))
    if pair in visited:
        return  # a schema that holds itself was judged where it began
    visited |= {pair}
    choices = reader.alternatives()
    for written in writer.alternatives():
        found = _gaps_of_best(choices, written, path, visited)
        values = _single_values(written) if _refused(found) else []
        if not values or any(_refused(_gaps_of_best(choices, value, path, visited)) for value in values):
            yield from found


def _single_values(node: Node) -> list[Node]:
    """Each of several listed values as a schema of its own: one alternative may take this one, another that."""
    values = _values(node.schema) or []
    plain = {word: rule for word, rule in node.schema.items() if word not in ("enum", "const", "type")}
    return [node.at(plain | {"const": json.loads(value)}) for value in values] if len(values) > 1 else []


def _gaps_of_best(choices: Sequence[Node], writer: Node, path: str, visited: Visited) -> list[Gap]:
    """The gaps to the alternative that was meant: it accepts, or it is of the same kind and refuses least."""
    found = [(_is_other(one, writer), list(_gaps_of_one(one, writer, path, visited))) for one in choices]
    nothing = (True, [Gap(path, "type", _said(writer.schema, "type"), "[]")])
    return min(found, key=lambda one: (one[0], len(_refused(one[1])), len(one[1])), default=nothing)[1]


def _refused(gaps: list[Gap]) -> list[Gap]:
    return [gap for gap in gaps if gap.effect == "refused"]


def _is_other(reader: Node, writer: Node) -> bool:
    """Whether two alternatives are told apart by their types, or by a field that has other values in each."""
    read, written = _types(reader.schema), _types(writer.schema)
    if read is not None and written is not None and not read & written:
        return True
    known, sent = reader.fields(), writer.fields()
    return any(_are_apart(known[name], sent[name]) for name in known.keys() & sent.keys())


def _are_apart(reader: Node, writer: Node) -> bool:
    read = [_values(one.schema) for one in reader.alternatives()]
    written = [_values(one.schema) for one in writer.alternatives()]
    return not any(one is None or other is None or set(one) & set(other) for one in read for other in written)


def _gaps_of_one(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    read, written = _types(reader.schema), _types(writer.schema)
    if read is not None and (written is None or not written <= read):
        # What else they say is about different things.
        typed = "type" in reader.schema and "type" in writer.schema
        by_values = not typed and reader.schema.keys() & {"enum", "const"}
        yield from _value_gaps(reader, writer, path) if by_values else [_gap(path, "type", reader, writer)]
        return
    if written != {"null"} and reader.schema.get(PERSONAL) and not writer.schema.get(PERSONAL):
        yield _gap(path, PERSONAL, reader, writer, "changed")
    if written != {"null"} and reader.schema.get(UNIT) not in (None, writer.schema.get(UNIT)):
        yield _gap(path, UNIT, reader, writer, "changed")
    yield from _value_gaps(reader, writer, path)
    yield from _bound_gaps(reader.schema, writer.schema, path)
    yield from _other_gaps(reader, writer, path)
    yield from _field_gaps(reader, writer, path, visited)
    yield from _map_gaps(reader, writer, path, visited)
    yield from _item_gaps(reader, writer, path, visited)
    if "contentSchema" in reader.schema:
        content = writer.at(writer.schema.get("contentSchema", {}))
        yield from _gaps(reader.at(reader.schema["contentSchema"]), content, path, visited)


def _gap(path: str, keyword: str, reader: Node, writer: Node, effect: Effect = "refused") -> Gap:
    return Gap(path, keyword, _said(writer.schema, keyword), _said(reader.schema, keyword), effect)


def _said(schema: Schema, keyword: str) -> str | None:
    return _text(schema[keyword]) if keyword in schema else None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _types(schema: Schema) -> set[str] | None:
    kind = schema.get("type")
    if kind is None:
        values = _values(schema)
        return None if values is None else {_TYPES.get(type(json.loads(value)), "object") for value in values}
    kinds = {kind} if isinstance(kind, str) else set(kind)
    return kinds | {"integer"} if "number" in kinds else kinds


def _values(schema: Schema) -> list[str] | None:
    """The values that are allowed, as JSON: `1`, `1.0` and `true` are three. None where they are not listed."""
    if "const" in schema:
        return [_text(schema["const"])]
    values = schema.get("enum", _FEW.get(str(schema.get("type"))))
    return None if values is None else [_text(value) for value in values]


def _value_gaps(reader: Node, writer: Node, path: str) -> Iterator[Gap]:
    read, written = _values(reader.schema), _values(writer.schema)
    if read is not None and (written is None or not set(written) <= set(read)):
        yield Gap(path, "enum", None if written is None else f"[{', '.join(written)}]", f"[{', '.join(read)}]")


def _bound_gaps(reader: Schema, writer: Schema, path: str) -> Iterator[Gap]:
    writer = {**_implied(writer), **writer}
    for lower, exclusive, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        read, written = _bound(reader, lower, exclusive, sign), _bound(writer, lower, exclusive, sign)
        if read is not None and (written is None or written < read):
            keyword, other = (exclusive, lower) if exclusive in reader else (lower, exclusive)
            said = f"{other} {writer[other]}" if other in writer and keyword not in writer else _said(writer, keyword)
            yield Gap(path, keyword, said, _said(reader, keyword))
    for size in _SIZES:
        low, high = f"min{size}", f"max{size}"
        if writer.get(low, 0) < reader.get(low, 0):
            yield Gap(path, low, _said(writer, low), _said(reader, low))
        if writer.get(high, inf) > reader.get(high, inf):
            yield Gap(path, high, _said(writer, high), _said(reader, high))


def _bound(schema: Schema, inclusive: str, exclusive: str, sign: int) -> tuple[float, bool] | None:
    """A bound that compares: the greater is the stricter."""
    bounds = [(sign * schema[name], name == exclusive) for name in (inclusive, exclusive) if name in schema]
    if schema.get("type") == "integer":
        bounds = [(value + 1, False) if out else (value, out) for value, out in bounds]
    return max(bounds, default=None)


def _implied(writer: Schema) -> Schema:
    """The bounds that follow from what else a schema says: from its values, or from the list of its fields."""
    values = [json.loads(value) for value in _values(writer) or ()]
    if values and all(isinstance(value, str) for value in values):
        return {"minLength": min(map(len, values)), "maxLength": max(map(len, values))}
    if values and all(type(value) in (int, float) for value in values):
        return {"minimum": min(values), "maximum": max(values)}
    if "properties" in writer and not writer.get("additionalProperties"):
        return {"minProperties": len(set(writer.get("required", ()))), "maxProperties": len(writer["properties"])}
    return {}


def _other_gaps(reader: Node, writer: Node, path: str) -> Iterator[Gap]:
    """Rules that either are the same or cannot be compared: `pattern`, `format`, and whatever comes later."""
    for keyword, rule in reader.schema.items():
        if keyword in _JUDGED or is_annotation(keyword):
            continue
        same = writer.schema.get(keyword) == rule and "$ref" not in _text(rule)
        if not same and not _follows(keyword, rule, writer.schema):
            yield _gap(path, keyword, reader, writer)
    if reader.schema.get("uniqueItems") and not writer.schema.get("uniqueItems"):
        yield _gap(path, "uniqueItems", reader, writer)


def _follows(keyword: str, rule: Any, writer: Schema) -> bool:
    """Whether a rule holds because of another that the writer keeps."""
    if isinstance(rule, list):
        return all(_follows(keyword, one, writer) for one in rule)
    if keyword == "multipleOf":
        return isinstance(said := writer.get(keyword), int | float) and said % rule == 0
    values = [json.loads(value) for value in _values(writer) or ()]
    return keyword == "pattern" and values != [] and all(re.search(rule, str(value)) for value in values)


def _field_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    """The fields that either lists."""
    known, sent, others, unlisted = reader.fields(), writer.fields(), reader.others(), writer.others()
    asked, always = set(reader.schema.get("required", ())), set(writer.schema.get("required", ()))
    for name in sorted(asked - always):
        yield Gap(_field(path, name), "required", "false", "true")
    for name, field in sent.items():
        there = _field(path, name)
        if name in known:
            yield from _gaps(known[name], field, there, visited)
            if name not in asked | always:
                yield from _default_gaps(known[name], field, there)
        elif others is None:
            yield Gap(there, "properties", _text(name), None, "lost")
        else:
            yield from _gaps(others, field, there, visited)
    for name in sorted(known.keys() - sent.keys()):
        if unlisted and not _refused(list(_gaps(writer.names(), writer.at({"const": name}), path, visited))):
            yield from _gaps(known[name], unlisted, _field(path, name), visited)


def _default_gaps(reader: Node, writer: Node, path: str) -> Iterator[Gap]:
    """What a value is that may be left out."""
    gap = _gap(path, "default", reader, writer, "changed")
    if gap.written != gap.read:
        yield gap


def _map_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    """The names that nobody lists, and what they hold."""
    others, unlisted = reader.others(), writer.others()
    if "propertyNames" in reader.schema:
        names = [writer.at({"const": name}) for name in writer.fields()] + ([writer.names()] if unlisted else [])
        for name in names:
            yield from _gaps(reader.names(), name, f"{path}{{name}}", visited)
    if others and unlisted:
        yield from _gaps(others, unlisted, f"{path}{{}}", visited)
    elif unlisted and _refused(list(_gaps(reader.at({"enum": [*reader.fields()]}), writer.names(), path, visited))):
        yield Gap(path, "additionalProperties", _text(unlisted.schema), None, "lost")


def _item_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    if not reader.schema.keys() & {"items", "prefixItems"}:
        return
    placed = max(len(node.schema.get("prefixItems", ())) for node in (reader, writer))
    least = max(node.schema.get("minItems", 0) for node in (reader, writer))
    most = writer.schema.get("maxItems", inf)
    for place in range(placed):
        if place < most:
            yield from _gaps(reader.item(place), writer.item(place), f"{path}[{place}]", visited)
            if place >= least:
                yield from _default_gaps(reader.item(place), writer.item(place), f"{path}[{place}]")
    if placed < most:
        yield from _gaps(reader.item(placed), writer.item(placed), f"{path}[]", visited)


def _field(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
