"""Which change of a schema breaks whom: each row is judged by pydantic itself too, with a document as the witness."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, create_model

from cairn.schemas.compatibility import Break, Contract, find_breaks

TYPE = "cairn.thing.happened.v1"


def facts(**fields: Any) -> type[BaseModel]:
    """A class of events with these fields: a type, or a type and a default."""
    made = {name: one if isinstance(one, tuple) else (one, ...) for name, one in fields.items()}
    return create_model("Facts", __config__=ConfigDict(extra="forbid"), **made)


def contract(model: type[BaseModel], **marks: Any) -> Contract:
    return Contract({TYPE: model.model_json_schema() | marks}, {})


def reads(model: type[BaseModel], document: Any) -> bool:
    """Whether a reader with this class accepts it; readers ignore fields that they do not know."""
    try:
        model.model_validate_json(json.dumps(document), extra="ignore", strict=True)
    except ValidationError:
        return False
    return True


def writes(model: type[BaseModel], document: Any) -> bool:
    """Whether a writer with this class may send it."""
    try:
        model.model_validate_json(json.dumps(document), extra="forbid", strict=True)
    except ValidationError:
        return False
    return True


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int


class InnerWithMore(Inner):
    colour: str | None = None


class InnerThatAsksMore(Inner):
    colour: str


class InnerText(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: str


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inside: "Leaf | None" = None
    size: int = 0


class StrictLeaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inside: "StrictLeaf | None" = None
    size: Annotated[int, Field(ge=0)] = 0


class Colour(StrEnum):
    RED = "red"


class MoreColours(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Change:
    """One change; `old` is a document of an old writer that is refused, `new` one of a new writer."""

    says: str
    before: type[BaseModel]
    after: type[BaseModel]
    old: Any = None
    new: Any = None
    gone: bool = False
    """Whether an old writer's field is lost, which no document shows: readers ignore what they do not know."""


def bounded(kind: Any = int, **rules: Any) -> Any:
    return Annotated[kind, Field(**rules)]


BASE = facts(a=int)
TWO = facts(a=int, b=(str, ""))
CHANGES = (
    Change("an optional field is added", BASE, TWO),
    Change("an optional field that may be null is added", BASE, facts(a=int, b=(str | None, None))),
    Change("a description is added", BASE, facts(a=bounded(description="How many."))),
    Change("an example is added", BASE, facts(a=bounded(examples=[1]))),
    Change("the order of the fields", facts(a=int, b=int), facts(b=int, a=int)),
    Change("a required field is added", BASE, facts(a=int, b=str), old={"a": 1}),
    Change("a required field is gone", facts(a=int, b=str), BASE, new={"a": 1}, gone=True),
    Change("an optional field becomes required", TWO, facts(a=int, b=str), old={"a": 1}),
    Change("a required field becomes optional", facts(a=int, b=str), TWO, new={"a": 1}),
    Change("a field is renamed", facts(a=int), facts(b=int), old={"a": 1}, new={"b": 1}, gone=True),
    Change("an integer becomes a number", BASE, facts(a=float), new={"a": 1.5}),
    Change("a number becomes an integer", facts(a=float), BASE, old={"a": 1.5}),
    Change("a number becomes text", BASE, facts(a=bounded(str, strict=True)), old={"a": 1}, new={"a": "red"}),
    Change("a field may be null", BASE, facts(a=int | None), new={"a": None}),
    Change("a field may no longer be null", facts(a=int | None), BASE, old={"a": None}),
    Change("another type is admitted", BASE, facts(a=int | bounded(str, strict=True)), new={"a": "red"}),
    Change("a type is no longer admitted", facts(a=int | bounded(str, strict=True)), BASE, old={"a": "red"}),
    Change("alternatives in another order", facts(a=int | str), facts(a=str | int)),
    Change("a minimum is set", BASE, facts(a=bounded(ge=0)), old={"a": -1}),
    Change("a minimum is lifted", facts(a=bounded(ge=0)), BASE, new={"a": -1}),
    Change("a maximum is lowered", facts(a=bounded(le=9)), facts(a=bounded(le=5)), old={"a": 7}),
    Change("a maximum is raised", facts(a=bounded(le=5)), facts(a=bounded(le=9)), new={"a": 7}),
    Change("a bound of integers is said otherwise", facts(a=bounded(gt=0)), facts(a=bounded(ge=1))),
    Change(
        "a bound of numbers loses its edge",
        facts(a=bounded(float, ge=0)),
        facts(a=bounded(float, gt=0)),
        old={"a": 0.0},
    ),
    Change(
        "text may be longer", facts(a=bounded(str, max_length=1)), facts(a=bounded(str, max_length=2)), new={"a": "xx"}
    ),
    Change(
        "text must be shorter",
        facts(a=bounded(str, max_length=2)),
        facts(a=bounded(str, max_length=1)),
        old={"a": "xx"},
    ),
    Change("text may no longer be empty", facts(a=str), facts(a=bounded(str, min_length=1)), old={"a": ""}),
    Change("a pattern is added", facts(a=str), facts(a=bounded(str, pattern="^x$")), old={"a": "y"}),
    Change("a pattern is lifted", facts(a=bounded(str, pattern="^x$")), facts(a=str), new={"a": "y"}),
    Change(
        "another pattern",
        facts(a=bounded(str, pattern="^x$")),
        facts(a=bounded(str, pattern="^y$")),
        old={"a": "x"},
        new={"a": "y"},
    ),
    Change("text becomes an instant", facts(a=str), facts(a=AwareDatetime), old={"a": "soon"}),
    Change("an instant becomes text", facts(a=AwareDatetime), facts(a=str), new={"a": "soon"}),
    Change("a value is added to an enumeration", facts(a=Literal["x"]), facts(a=Literal["x", "y"]), new={"a": "y"}),
    Change("a value of an enumeration is gone", facts(a=Literal["x", "y"]), facts(a=Literal["x"]), old={"a": "y"}),
    Change("an enumeration becomes free text", facts(a=Literal["x"]), facts(a=str), new={"a": "y"}),
    Change("free text becomes an enumeration", facts(a=str), facts(a=Literal["x"]), old={"a": "y"}),
    Change("a referenced enumeration grows", facts(a=Colour), facts(a=MoreColours), new={"a": "blue"}),
    Change(
        "a list may be longer",
        facts(a=bounded(list[int], max_length=1)),
        facts(a=bounded(list[int], max_length=2)),
        new={"a": [1, 2]},
    ),
    Change(
        "a list may no longer be empty", facts(a=list[int]), facts(a=bounded(list[int], min_length=1)), old={"a": []}
    ),
    Change("what a list holds is wider", facts(a=list[int]), facts(a=list[float]), new={"a": [1.5]}),
    Change("one becomes a list of them", facts(a=int), facts(a=list[int]), old={"a": 1}, new={"a": [1]}),
    Change(
        "the values of a map are narrower", facts(a=dict[str, float]), facts(a=dict[str, int]), old={"a": {"x": 1.5}}
    ),
    Change("a map may hold anything", facts(a=dict[str, int]), facts(a=dict[str, Any]), new={"a": {"x": None}}),
    Change(
        "a map may have more entries",
        facts(a=bounded(dict[str, int], max_length=1)),
        facts(a=dict[str, int]),
        new={"a": {"x": 1, "y": 1}},
    ),
    Change("a value object gets an optional field", facts(a=Inner), facts(a=InnerWithMore)),
    Change("a value object gets a required field", facts(a=Inner), facts(a=InnerThatAsksMore), old={"a": {"size": 1}}),
    Change(
        "a field of a value object in a list changes its type",
        facts(a=list[Inner]),
        facts(a=list[InnerText]),
        old={"a": [{"size": 1}]},
        new={"a": [{"size": "x"}]},
    ),
    Change("an optional value object becomes required", facts(a=(Inner | None, None)), facts(a=Inner), old={}),
    Change(
        "a schema that holds itself becomes narrower",
        facts(a=Leaf),
        facts(a=StrictLeaf),
        old={"a": {"inside": {"size": -1}}},
    ),
    Change(
        "a schema that holds itself becomes wider",
        facts(a=StrictLeaf),
        facts(a=Leaf),
        new={"a": {"inside": {"size": -1}}},
    ),
    Change("a constant becomes another", facts(a=Literal[1]), facts(a=Literal[2]), old={"a": 1}, new={"a": 2}),
    Change(
        "true or false becomes an integer",
        facts(a=bounded(bool, strict=True)),
        facts(a=bounded(int, strict=True)),
        old={"a": True},
        new={"a": 2},
    ),
    Change("anything becomes text", facts(a=Any), facts(a=bounded(str, strict=True)), old={"a": 1}),
    Change("a multiple is asked for", facts(a=int), facts(a=bounded(multiple_of=5)), old={"a": 1}),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.says)
def test_a_change_is_judged_right(change: Change) -> None:
    breaks = find_breaks(contract(change.before), contract(change.after))
    expected = {whom for whom, witness in (("writer", change.old), ("reader", change.new)) if witness is not None}
    assert {one.breaks for one in breaks} == expected | ({"writer"} if change.gone else set()), breaks


@pytest.mark.parametrize("change", [one for one in CHANGES if one.old is not None], ids=lambda one: one.says)
def test_what_an_old_writer_sends_is_truly_refused(change: Change) -> None:
    assert writes(change.before, change.old)
    assert not reads(change.after, change.old)


@pytest.mark.parametrize("change", [one for one in CHANGES if one.new is not None], ids=lambda one: one.says)
def test_what_a_new_writer_sends_is_truly_refused_by_an_old_reader(change: Change) -> None:
    assert writes(change.after, change.new)
    assert not reads(change.before, change.new)


def judge(before: type[BaseModel], after: type[BaseModel]) -> list[Break]:
    return find_breaks(contract(before), contract(after))


def test_a_lost_optional_field_breaks_who_still_writes_it() -> None:
    (only,) = judge(TWO, BASE)
    assert (only.path, only.breaks, only.change) == ("b", "writer", "the field is gone")


def test_another_default_breaks_who_leaves_the_field_out() -> None:
    (only,) = judge(facts(a=(int, 0)), facts(a=(int, 1)))
    assert (only.path, only.breaks, only.change) == ("a", "reader", "default was 0, is 1")


def test_a_lost_mark_of_personal_data_breaks_who_must_erase_it() -> None:
    marked = facts(a=bounded(str, json_schema_extra={"x-personal": True}))
    (only,) = judge(marked, facts(a=str))
    assert (only.path, only.breaks) == ("a", "reader")
    assert judge(facts(a=str), marked) == []


def test_a_change_deep_inside_names_the_whole_way() -> None:
    breaks = judge(facts(a=dict[str, list[Inner]]), facts(a=dict[str, list[InnerText]]))
    assert {one.path for one in breaks} == {"a{}[].size"}


def test_an_optional_field_inside_an_optional_object_may_not_vanish() -> None:
    (only,) = judge(facts(a=(InnerWithMore | None, None)), facts(a=(Inner | None, None)))
    assert (only.path, only.change) == ("a.colour", "the field is gone")


@pytest.mark.parametrize("mark", ["x-topic", "x-key", "x-subject", "x-owner", "x-judge", "x-type"])
def test_what_routes_a_type_never_changes(mark: str) -> None:
    (only,) = find_breaks(contract(BASE, **{mark: "one"}), contract(BASE, **{mark: "two"}))
    assert only.breaks == "reader"


def test_a_type_that_is_gone_breaks_who_writes_it_and_a_new_one_nobody() -> None:
    (only,) = find_breaks(contract(BASE), Contract({}, {}))
    assert (only.type, only.breaks) == (TYPE, "writer")
    assert find_breaks(Contract({}, {}), contract(BASE)) == []


@pytest.mark.parametrize("after", [{}, {"examples/cairn.thing.happened.v1/ordinary.json": "{ }"}])
def test_a_recorded_message_is_never_changed(after: dict[str, str]) -> None:
    before = Contract({}, {"examples/cairn.thing.happened.v1/ordinary.json": "{}"})
    (only,) = find_breaks(before, Contract({}, after))
    assert (only.type, only.breaks) == (TYPE, "reader")


def test_a_rule_that_the_checker_does_not_know_is_never_passed_over() -> None:
    before, after = contract(BASE), contract(BASE, dependentRequired={"a": ["b"]})
    assert {one.breaks for one in find_breaks(before, after)} == {"writer"}


def test_a_break_says_what_where_whom_and_the_cure() -> None:
    (only,) = judge(facts(a=bounded(le=9)), facts(a=bounded(le=5)))
    assert str(only) == (
        "cairn.thing.happened.v1 a: maximum was 9, is 5: breaks the writer. "
        "Keep the wider rule, or make a new major version of the type, with an upcaster from this one."
    )
