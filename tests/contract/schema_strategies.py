"""Payloads made from a committed schema: whatever it admits may come out."""

from datetime import UTC
from typing import Any

from hypothesis import strategies as st

REFUSED = "".join(
    character
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if (character := chr(code)) not in "\t\n\r"
)
"""What no text may hold, though a schema cannot say so."""
_WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=REFUSED), max_size=12)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_WORDS, inner, max_size=2),
    max_leaves=4,
)


def payloads(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON objects that meet a schema with its own `$defs`."""
    return _any_of(schema, schema)


def _any_of(node: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return _any_of(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    if "anyOf" in node:
        return st.one_of([_any_of(branch, root) for branch in node["anyOf"]])
    if "enum" in node or "const" in node:
        return st.sampled_from(node.get("enum", [node.get("const")]))
    return _of_type(node, root)


def _of_type(node: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    match node.get("type"):
        case "object":
            return _objects(node, root)
        case "array":
            least = node.get("minItems", 0)
            return st.lists(_any_of(node["items"], root), min_size=least, max_size=min(least + 1, node["maxItems"]))
        case "string":
            return _texts(node)
        case "integer":
            return st.integers(node["minimum"], node["maximum"])
        case "number":
            return _numbers(node)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return _ANY


def _objects(node: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in node:
        names = _any_of(node.get("propertyNames", {"type": "string"}), root)
        return st.dictionaries(names, _any_of(node.get("additionalProperties") or {}, root), max_size=2)
    made = {name: _any_of(field, root) for name, field in node["properties"].items()}
    required = {name: made.pop(name) for name in node.get("required", ())}
    return st.fixed_dictionaries(required, optional=made)


def _texts(node: dict[str, Any]) -> st.SearchStrategy[str]:
    if node.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.isoformat().replace("+00:00", "Z"))
    if "pattern" in node:
        return st.from_regex(node["pattern"].replace("$", r"\Z"))
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters=REFUSED),
        min_size=node.get("minLength", 0),
        max_size=min(node.get("maxLength", 20), 20),
    )


def _numbers(node: dict[str, Any]) -> st.SearchStrategy[float]:
    least, most = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum", node.get("exclusiveMaximum"))
    return st.floats(
        least,
        most,
        exclude_min="exclusiveMinimum" in node,
        exclude_max="exclusiveMaximum" in node,
        allow_nan=False,
        allow_infinity=False,
    )
