"""Whether one JSON Schema accepts whatever another allows, over the keywords that pydantic emits.

The reader's schema is taken as readers take it: fields that it does not know are ignored, whatever
`additionalProperties: false` asks of writers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_ANNOTATIONS = frozenset({"title", "description", "examples", "default", "deprecated", "discriminator"})
_SIZES = ("Length", "Items", "Properties")
_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"})
_SHAPES = frozenset({"type", "enum", "const", "anyOf", "oneOf", "properties", "required", "items", "uniqueItems"})
_JUDGED = _SHAPES | _BOUNDS | {"additionalProperties"} | {f"{end}{size}" for end in ("min", "max") for size in _SIZES}


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that the writer's schema allows and the reader's refuses."""

    path: str
    """The field: `items[].period.start_at`."""
    keyword: str
    written: Any
    """What the writer's schema says; None where it says nothing."""
    read: Any
    """What the reader's schema says."""


@dataclass(frozen=True, slots=True)
class Node:
    """A schema, and the document in which its references are looked up."""

    schema: Schema
    document: Schema

    def at(self, schema: Schema) -> "Node":
        """Another schema of the same document, its reference followed."""
        while "$ref" in schema:
            schema = self.document["$defs"][schema["$ref"].rpartition("/")[2]]
        return Node(schema, self.document)

    def alternatives(self) -> "Sequence[Node]":
        """The schemas of which one must hold."""
        branches = self.schema.get("anyOf") or self.schema.get("oneOf")
        if not branches:
            return (self,)
        return tuple(one for branch in branches for one in self.at(branch).alternatives())

    def fields(self) -> "Mapping[str, Node]":
        """The fields of an object."""
        return {name: self.at(field) for name, field in self.schema.get("properties", {}).items()}


def find_gaps(reader: Schema, writer: Schema) -> list[Gap]:
    """Everything that `writer` allows and `reader` refuses; both are whole documents."""
    return list(_gaps(Node({}, reader).at(reader), Node({}, writer).at(writer), "", frozenset()))


Visited = frozenset[tuple[int, int]]


def _gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    pair = (id(reader.schema), id(writer.schema))
    if pair in visited:
        return  # a schema that holds itself was judged where it began
    visited |= {pair}
    choices = reader.alternatives()
    for written in writer.alternatives():
        found = [list(_gaps_of_one(one, written, path, visited)) for one in choices]
        if all(found):
            # Of several that refuse it, the one that was meant is of the same type, and refuses least.
            yield from min(
                found, key=lambda gaps: (any(gap.path == path and gap.keyword == "type" for gap in gaps), len(gaps))
            )


def _gaps_of_one(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    yield from _type_gaps(reader.schema, writer.schema, path)
    yield from _value_gaps(reader.schema, writer.schema, path)
    yield from _bound_gaps(reader.schema, writer.schema, path)
    yield from _other_gaps(reader.schema, writer.schema, path)
    yield from _object_gaps(reader, writer, path, visited)
    yield from _item_gaps(reader, writer, path, visited)


def _type_gaps(reader: Schema, writer: Schema, path: str) -> Iterator[Gap]:
    read, written = _types(reader), _types(writer)
    if read is not None and (written is None or not written <= read | ({"integer"} if "number" in read else set())):
        yield Gap(path, "type", writer.get("type"), reader.get("type"))


def _types(schema: Schema) -> set[str] | None:
    kind = schema.get("type")
    return None if kind is None else {kind} if isinstance(kind, str) else set(kind)


def _value_gaps(reader: Schema, writer: Schema, path: str) -> Iterator[Gap]:
    read, written = _values(reader), _values(writer)
    if read is None:
        return
    unread = None if written is None else [value for value in written if value not in read]
    if unread != []:
        yield Gap(path, "enum", written and _plain(written), _plain(read))


def _values(schema: Schema) -> list[str] | None:
    """The values that are allowed, as JSON: `1`, `1.0` and `true` are three."""
    if "const" in schema:
        return [json.dumps(schema["const"])]
    return [json.dumps(value) for value in schema["enum"]] if "enum" in schema else None


def _plain(values: list[str]) -> list[Any]:
    return [json.loads(value) for value in values]


def _bound_gaps(reader: Schema, writer: Schema, path: str) -> Iterator[Gap]:
    for lower, exclusive, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        read, written = _bound(reader, lower, exclusive, sign), _bound(writer, lower, exclusive, sign)
        if read is not None and (written is None or written < read):
            yield Gap(path, lower, _said(writer, lower, exclusive), _said(reader, lower, exclusive))
    for size in _SIZES:
        low, high = f"min{size}", f"max{size}"
        if writer.get(low, 0) < reader.get(low, 0):
            yield Gap(path, low, writer.get(low), reader[low])
        if high in reader and (high not in writer or writer[high] > reader[high]):
            yield Gap(path, high, writer.get(high), reader[high])


def _bound(schema: Schema, inclusive: str, exclusive: str, sign: int) -> tuple[float, bool] | None:
    """A bound that compares: the greater is the stricter."""
    bounds = [(sign * schema[name], name == exclusive) for name in (inclusive, exclusive) if name in schema]
    if schema.get("type") == "integer":
        bounds = [(value + 1, False) if out else (value, out) for value, out in bounds]
    return max(bounds, default=None)


def _said(schema: Schema, inclusive: str, exclusive: str) -> Any:
    return schema.get(inclusive, schema.get(exclusive))


def _other_gaps(reader: Schema, writer: Schema, path: str) -> Iterator[Gap]:
    """Rules that either are the same or cannot be compared: `pattern`, `format`, and whatever comes later."""
    for keyword, rule in reader.items():
        if keyword in _ANNOTATIONS or keyword in _JUDGED or keyword.startswith(("x-", "$")):
            continue
        if writer.get(keyword) != rule:
            yield Gap(path, keyword, writer.get(keyword), rule)
    if reader.get("uniqueItems") and not writer.get("uniqueItems"):
        yield Gap(path, "uniqueItems", False, True)


def _object_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    read, written, sent = reader.fields(), writer.fields(), set(writer.schema.get("required", ()))
    for name in reader.schema.get("required", ()):
        if name not in sent:
            yield Gap(_field(path, name), "required", False, True)
    for name in read.keys() & written.keys():
        yield from _gaps(read[name], written[name], _field(path, name), visited)
    yield from _map_gaps(reader, writer, path, visited)


def _map_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    """The values of a map, whose names nobody lists."""
    read, written = reader.schema.get("additionalProperties"), writer.schema.get("additionalProperties")
    if not isinstance(read, Mapping) or written is False:
        return
    allowed = written if isinstance(written, Mapping) else {}
    yield from _gaps(reader.at(read), writer.at(allowed), f"{path}{{}}", visited)


def _item_gaps(reader: Node, writer: Node, path: str, visited: Visited) -> Iterator[Gap]:
    if "items" in reader.schema:
        allowed = writer.schema.get("items", {})
        yield from _gaps(reader.at(reader.schema["items"]), writer.at(allowed), f"{path}[]", visited)


def _field(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
