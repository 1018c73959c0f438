"""Whatever pair of models: who is said not to suffer truly reads what the other writes, and loses nothing of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from random import Random
from typing import Annotated, Any, Literal

from hypothesis import given, note, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from cairn.schemas.compatibility import Contract, find_breaks

TYPE = "cairn.thing.happened.v1"
NAMES = ("a", "b", "c")
WORDS = ("", "x", "y", "xx", "yyy", "a")
LISTED = ("x", "y", 1, 2, None, True)
ANYTHING = (None, 1, True, 1.5, "x", "zz", [], ["x"], [1, "x"], {}, {"a": 1}, {"b": "x"}, {"kind": "x"})


@dataclass(frozen=True)
class Kind:
    """A type of values: its form, the rules of this form, and the kinds that it is made of."""

    form: str
    rules: tuple[Any, ...] = ()
    inner: tuple["Kind", ...] = ()


def bounds(chance: Random, low: Any, high: Any) -> tuple[Any, Any]:
    return chance.choice([None, None, low]), chance.choice([None, None, high, high + 1])


def some_of(chance: Random, values: tuple[Any, ...], least: int) -> tuple[Any, ...]:
    return tuple(chance.sample(values, chance.randint(least, 2)))


RULES: dict[str, Callable[[Random], tuple[Any, ...]]] = {
    "int": lambda chance: bounds(chance, 0, 2),
    "float": lambda chance: bounds(chance, 0.5, 2),
    "str": lambda chance: bounds(chance, 1, 1),
    "pattern": lambda chance: (chance.choice(["^x", "^y"]),),
    "listed": lambda chance: some_of(chance, LISTED, 1),
    "bool": lambda _: (),
    "null": lambda _: (),
    "any": lambda _: (),
    "list": lambda chance: bounds(chance, 1, 1),
    "map": lambda chance: (chance.choice([None, "^a", ("a",), ("a", "b")]), *bounds(chance, 1, 1)),
    "places": lambda _: (),
    "union": lambda chance: (None, chance.choice([None, None, 1, 2])),
    "object": lambda chance: tuple((name, some_default(chance)) for name in some_of(chance, NAMES, 0)),
    "tagged": lambda chance: some_of(chance, ("x", "y", "z"), 2),
}
LEAVES = ("int", "float", "str", "pattern", "listed", "bool", "null", "any")
SEVERAL = ("places", "union")


def some_default(chance: Random) -> Any:
    return chance.choice([..., None, 0])


def make(chance: Random, depth: int, form: str = "") -> Kind:
    """A kind by chance."""
    is_leaf = depth <= 0 or chance.random() < 0.3
    form = form or chance.choice(LEAVES if is_leaf else ("list", "map", "union", "places", "object", "tagged"))
    rules = RULES[form](chance)
    inner = {"list": 1, "map": 1, "union": 2, "places": 2, "object": len(rules), "tagged": len(rules)}.get(form, 0)
    inside = "object" if form == "tagged" else ""
    return Kind(form, rules, tuple(make(chance, depth - 1, inside) for _ in range(inner)))


def change(chance: Random, kind: Kind) -> Kind:
    """Much the same kind: what a later version of a class would have."""
    how = chance.choice(["other", "wrapped", "rules", "member", "inside", "inside", "inside"])
    if how == "other":
        return make(chance, 2, {"map": "object", "object": "map"}.get(kind.form, ""))
    if kind.form == "object" and how != "wrapped":
        return change_object(chance, kind)
    if how == "wrapped":
        return chance.choice([*kind.inner, Kind("union", (None, None), (kind, make(chance, 0)))])
    if kind.form in LEAVES or (how == "rules" and kind.form in ("list", "map", "union")):
        return replace(kind, rules=RULES[kind.form](chance))
    if how == "member" and kind.form in SEVERAL:
        return replace(kind, inner=chance.choice([kind.inner[1:], (*kind.inner, make(chance, 1))]) or kind.inner)
    place = chance.randrange(len(kind.inner))
    alter = change_object if kind.form == "tagged" else change
    return replace(kind, inner=(*kind.inner[:place], alter(chance, kind.inner[place]), *kind.inner[place + 1 :]))


def change_object(chance: Random, kind: Kind) -> Kind:
    fields = {name: (default, one) for (name, default), one in zip(kind.rules, kind.inner, strict=True)}
    name = chance.choice([*fields, *fields, *fields, *NAMES])
    default, inner = fields.pop(name, (some_default(chance), make(chance, 1)))
    how = chance.choice(["kind", "kind", "kind", "default", "gone"])
    if how != "gone":
        fields[name] = (default, change(chance, inner)) if how == "kind" else (some_default(chance), inner)
    return Kind(
        "object", tuple((name, one) for name, (one, _) in fields.items()), tuple(one for _, one in fields.values())
    )


def document(chance: Random, kind: Kind) -> Any:
    """What a writer might send; not all of it is allowed, since the rules are pydantic's to know."""
    match kind.form:
        case "object":
            pairs = zip(kind.rules, kind.inner, strict=True)
            return {
                name: document(chance, one) for (name, default), one in pairs if default is ... or chance.random() < 0.6
            }
        case "tagged":
            tag, one = chance.choice(list(zip(kind.rules, kind.inner, strict=True)))
            return document(chance, one) | {"kind": tag}
        case "union":
            return document(chance, chance.choice(kind.inner))
        case "places":
            return [document(chance, one) for one in kind.inner]
        case "list":
            return [document(chance, kind.inner[0]) for _ in range(chance.randint(0, 3))]
        case "map":
            return {name: document(chance, kind.inner[0]) for name in (*NAMES, "ab") if chance.random() < 0.35}
    values = {"listed": kind.rules, "int": range(-1, 5), "float": (-1.5, 0.0, 0.5, 1, 1.5, 2, 3, 9.5), "any": ANYTHING}
    return chance.choice(values.get(kind.form) or {"bool": (True, False), "null": (None,)}.get(kind.form, WORDS))


def annotation(kind: Kind) -> Any:
    """The type that a class would have for it."""
    if kind.form == "object":
        return model(kind)
    if kind.form == "tagged":
        members = [model(one, tag) for tag, one in zip(kind.rules, kind.inner, strict=True)]
        return Annotated[reduce(or_, members), Field(discriminator="kind")]
    some = [annotation(one) for one in kind.inner]
    if some:
        return combined(kind, some)
    if kind.form in ("int", "float"):
        return ruled({"int": int, "float": float}[kind.form], ge=kind.rules[0], le=kind.rules[1])
    if kind.form == "str":
        return ruled(str, min_length=kind.rules[0], max_length=kind.rules[1])
    if kind.form == "pattern":
        return ruled(str, pattern=kind.rules[0])
    return {"listed": Literal[kind.rules], "bool": bool, "null": type(None), "any": Any}[kind.form]


def combined(kind: Kind, some: list[Any]) -> Any:
    if kind.form == "places":
        return tuple[*some]
    *names, low, high = kind.rules
    if kind.form == "list":
        return ruled(list[some[0]], min_length=low, max_length=high)
    if kind.form == "union":
        return ruled(reduce(or_, some), max_length=high if has_length(kind) else None)
    key = Literal[names[0]] if isinstance(names[0], tuple) else ruled(str, pattern=names[0])
    return ruled(dict[key, some[0]], min_length=low, max_length=high)


def has_length(kind: Kind) -> bool:
    if kind.form == "union":
        return all(has_length(one) for one in kind.inner)
    return kind.form in ("str", "pattern", "list", "map", "places")


def ruled(kind: Any, **rules: Any) -> Any:
    said = {word: rule for word, rule in rules.items() if rule is not None}
    return Annotated[kind, Field(**said)] if said else kind


def model(kind: Kind, tag: str = "") -> type[BaseModel]:
    fields = {name: (annotation(one), default) for (name, default), one in zip(kind.rules, kind.inner, strict=True)}
    return create_model(
        "Facts", __config__=ConfigDict(extra="forbid"), **fields, **({"kind": (Literal[tag], tag)} if tag else {})
    )


def read(model: type[BaseModel], document: Any, extra: Literal["ignore", "forbid"]) -> Any:
    """What a class makes of a document, as a document; None where it refuses."""
    try:
        facts = model.model_validate_json(json.dumps(document), extra=extra, strict=True)
    except ValidationError:
        return None
    return facts.model_dump(mode="json", exclude_unset=True)


def written(chance: Random, kinds: list[Kind], writer: type[BaseModel]) -> list[Any]:
    """Documents that a writer may send, and that readers with his own class read as he meant them."""
    some = [document(chance, chance.choice(kinds)) for _ in range(40)]
    return [one for one in some if read(writer, one, "forbid") == one == read(writer, one, "ignore")]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_who_is_said_not_to_suffer_reads_whatever_the_other_writes(seed: int) -> None:
    chance = Random(seed)
    old = make(chance, 3, "object")
    new = change_object(chance, old)
    note(f"old: {old}\nnew: {new}")
    before, after = model(old), model(new)
    suffering = {one.breaks for one in find_breaks(contract(before), contract(after))}
    if "writer" not in suffering:
        for one in written(chance, [old, old, new], before):
            assert read(after, one, "ignore") == one
    if "reader" not in suffering:
        for one in written(chance, [new, new, old], after):
            assert read(before, one, "ignore") is not None, one


def contract(model: type[BaseModel]) -> Contract:
    return Contract({TYPE: model.model_json_schema()}, {})
