"""What a JSON Schema says, laid out: references followed, `anyOf`, `oneOf` and `allOf` merged with what stands beside.

Words are taken as pydantic means them, which makes the schemas: a length bounds lists and maps too, and a name that
meets no pattern is refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

Schema = Mapping[str, Any]

_LAID_OUT = frozenset({"$ref", "$defs", "anyOf", "oneOf", "allOf"})
_INNER = frozenset({"items", "additionalProperties", "propertyNames", "contentSchema"})
_UNSAID = frozenset(
    {"title", "description", "examples", "default", "deprecated", "discriminator", "readOnly", "writeOnly"}
)
_LOWER = ("min", "exclusiveMin")
_UPPER = ("max", "exclusiveMax")
_SIZE_OF = {"array": "Items", "object": "Properties"}


@dataclass(frozen=True, slots=True)
class Node:
    """A schema, and the document in which its references are looked up."""

    schema: Any
    document: Schema

    def at(self, schema: Any) -> "Node":
        """Another schema of the same document."""
        return Node(schema, self.document)

    def alternatives(self) -> "Sequence[Node]":
        """The schemas of which one must hold, each without references and without alternatives of its own."""
        return [self.at(_as_meant(one)) for one in _lay_out(self.schema, self.document)]

    def fields(self) -> "Mapping[str, Node]":
        """The fields of an object."""
        return {name: self.at(field) for name, field in self.schema.get("properties", {}).items()}

    def others(self) -> "Node | None":
        """What the names that are not listed may hold; None where there are no others."""
        said = self.schema.get("additionalProperties", "properties" not in self.schema)
        return None if said is False else self.at(said)

    def names(self) -> "Node":
        """What the names of a map may be."""
        return self.at({"allOf": [{"type": "string"}, self.schema.get("propertyNames", {})]})

    def item(self, index: int) -> "Node":
        """What stands at a place of a list."""
        first = self.schema.get("prefixItems", ())
        return self.at(first[index] if index < len(first) else self.schema.get("items", {}))


def is_annotation(word: str) -> bool:
    """Whether a keyword tells about values, and refuses none."""
    return word in _UNSAID or word.startswith(("x-", "$"))


def _lay_out(schema: Any, document: Schema) -> list[Schema]:
    if isinstance(schema, bool):
        return [{}] if schema else []
    plain = {word: rule for word, rule in schema.items() if word not in _LAID_OUT}
    if "discriminator" in schema:
        # The schema of a member does not require a tag that has a default; whoever chooses by it does.
        plain["required"] = [*plain.get("required", ()), schema["discriminator"]["propertyName"]]
    laid_out: list[Schema] = [plain]
    for group in _groups(schema, document):
        branches = [one for branch in group for one in _lay_out(branch, document)]
        laid_out = [_merge(one, other) for one, other in product(laid_out, branches)]
    return laid_out


def _groups(schema: Schema, document: Schema) -> Iterator[Sequence[Any]]:
    """Groups of schemas, of each of which one must hold."""
    if "$ref" in schema:
        yield [document["$defs"][schema["$ref"].rpartition("/")[2]]]
    yield from (schema[word] for word in ("anyOf", "oneOf") if word in schema)
    yield from ([one] for one in schema.get("allOf", ()))


def _merge(outer: Schema, inner: Schema) -> Schema:
    """The schema that asks for what both ask for; the outer one tells about the values."""
    return {**inner, **outer} | {
        word: _both(word, outer[word], inner[word])
        for word in outer.keys() & inner.keys()
        if not is_annotation(word) and outer[word] != inner[word]
    }


def _both(word: str, outer: Any, inner: Any) -> Any:
    if word.startswith(_LOWER):
        return max(outer, inner)
    if word.startswith(_UPPER):
        return min(outer, inner)
    if word in _INNER:
        return {"allOf": [outer, inner]}
    if word == "properties":
        shared = {name: {"allOf": [outer[name], inner[name]]} for name in outer.keys() & inner.keys()}
        return {**inner, **outer, **shared}
    if word == "required":
        return [*outer, *inner]
    if word == "enum":
        return [value for value in outer if json.dumps(value) in map(json.dumps, inner)]
    return [outer, inner]  # two rules that cannot be made one: they compare with the same two only


def _as_meant(schema: Schema) -> Schema:
    meant = dict(schema)
    size = _SIZE_OF.get(str(meant.get("type")))
    for end in ("min", "max") if size else ():
        if f"{end}Length" in meant:
            bound = meant.pop(f"{end}Length")
            meant = dict(_merge(meant, {f"{end}{size}": bound}))
    patterns = meant.get("patternProperties", {})
    if len(patterns) == 1 and "additionalProperties" not in meant:
        ((pattern, meant["additionalProperties"]),) = meant.pop("patternProperties").items()
        meant["propertyNames"] = {"allOf": [{"pattern": pattern}, meant.get("propertyNames", {})]}
    return meant
