"""Which change of a schema breaks whom: each row is judged by pydantic itself too, with a document as the witness."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

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


class MayBeSized(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int | None = None


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


class Warm(StrEnum):
    RED = "red"
    PINK = "pink"


class Measured(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: float = 0.0


class MayBeMeasured(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: float | None = None


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    claws: int | None = None


class Feline(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"] = "dog"


class Bird(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["bird"] = "bird"


class Pair(NamedTuple):
    first: int
    second: str = "x"


class PairOfOther(NamedTuple):
    first: int
    second: str = "y"


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


def tagged(kinds: Any) -> Any:
    return Annotated[kinds, Field(discriminator="kind")]


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
    Change(
        "a map becomes an object with other optional fields",
        facts(a=dict[str, float]),
        facts(a=MayBeMeasured),
        new={"a": {"size": None}},
        gone=True,
    ),
    Change(
        "a map becomes an object with fields of another type",
        facts(a=dict[str, float]),
        facts(a=InnerText),
        old={"a": {"size": 1.5}},
        new={"a": {"size": "x"}},
    ),
    Change(
        "a map becomes an object with optional fields that fit", facts(a=dict[str, float]), facts(a=Measured), gone=True
    ),
    Change("an object becomes a map that its fields fit", facts(a=Measured), facts(a=dict[str, float])),
    Change(
        "an object becomes a map that its fields do not fit",
        facts(a=Inner),
        facts(a=dict[str, bounded(str, strict=True)]),
        old={"a": {"size": 1}},
        new={"a": {"size": "x"}},
    ),
    Change(
        "a map of few names becomes an object that knows them all",
        facts(a=dict[Literal["size"], float]),
        facts(a=Measured),
    ),
    Change(
        "what a pair holds is wider", facts(a=tuple[Inner, int]), facts(a=tuple[MayBeSized, int]), new={"a": [{}, 1]}
    ),
    Change(
        "what a pair holds changes its type",
        facts(a=tuple[Inner, int]),
        facts(a=tuple[InnerText, int]),
        old={"a": [{"size": 1}, 1]},
        new={"a": [{"size": "x"}, 1]},
    ),
    Change("a pair becomes a list", facts(a=tuple[int, int]), facts(a=list[int]), new={"a": []}),
    Change("a list becomes a pair", facts(a=list[int]), facts(a=tuple[int, str]), old={"a": []}, new={"a": [1, "x"]}),
    Change("a place may be left out", facts(a=tuple[int, str]), facts(a=Pair), new={"a": [1]}),
    Change(
        "fewer names are admitted in a map",
        facts(a=dict[MoreColours, int]),
        facts(a=dict[Colour, int]),
        old={"a": {"blue": 1}},
    ),
    Change(
        "more names are admitted in a map",
        facts(a=dict[Literal["red"], int]),
        facts(a=dict[Literal["red", "blue"], int]),
        new={"a": {"blue": 1}},
    ),
    Change(
        "some names in a map are others",
        facts(a=dict[MoreColours, int]),
        facts(a=dict[Warm, int]),
        old={"a": {"blue": 1}},
        new={"a": {"pink": 1}},
    ),
    Change(
        "a pattern is asked of the names in a map",
        facts(a=dict[str, int]),
        facts(a=dict[bounded(str, pattern="^x"), int]),
        old={"a": {"y": 1}},
    ),
    Change(
        "text or a list of it must be shorter",
        facts(a=bounded(str | list[str], max_length=9)),
        facts(a=bounded(str | list[str], max_length=3)),
        old={"a": "xxxx"},
    ),
    Change(
        "a bound of alternatives holds for the same one only",
        facts(a=bounded(list[str] | dict[str, int], max_length=1)),
        facts(a=bounded(list[str], max_length=1) | dict[str, int]),
        new={"a": {"x": 1, "y": 1}},
    ),
    Change("an object may be null", facts(a=Inner), facts(a=Inner | None), new={"a": None}),
    Change("an object may be another", facts(a=Cat), facts(a=Cat | Dog), new={"a": {"kind": "dog"}}),
    Change("an object may no longer be another", facts(a=Cat | Dog), facts(a=Cat), old={"a": {"kind": "dog"}}),
    Change("a member is told by its tag, whatever its title", facts(a=Cat | Dog), facts(a=Feline | Dog), gone=True),
    Change("a tagged member loses a field", facts(a=tagged(Cat | Dog)), facts(a=tagged(Feline | Dog)), gone=True),
    Change(
        "a tagged member is added",
        facts(a=tagged(Cat | Dog)),
        facts(a=tagged(Cat | Dog | Bird)),
        new={"a": {"kind": "bird"}},
    ),
    Change("a tag is asked for", facts(a=Dog | Bird), facts(a=tagged(Dog | Bird)), old={"a": {}}),
    Change(
        "alternatives are said as one enumeration",
        facts(a=Literal["x"] | Literal[1] | None),
        facts(a=Literal["x", 1, None]),
    ),
    Change("listed values become two types", facts(a=Literal["x", 1]), facts(a=str | int), new={"a": "y"}),
    Change("listed words fit a length", facts(a=Literal["x"]), facts(a=bounded(str, max_length=2)), new={"a": "yy"}),
    Change("listed words fit a pattern", facts(a=Literal["x"]), facts(a=bounded(str, pattern="^x")), new={"a": "xx"}),
    Change("a list of anything", facts(a=list[int]), facts(a=list), new={"a": ["x"]}),
    Change(
        "a finer multiple is asked for", facts(a=bounded(multiple_of=10)), facts(a=bounded(multiple_of=5)), new={"a": 5}
    ),
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


def bounded_cat() -> type[BaseModel]:
    """The cat with fewer claws, and a size that must be told."""
    claws = (bounded(le=9) | None, None)
    return create_model("Tiger", __base__=Feline, claws=claws, size=(int, ...))


def judge(before: type[BaseModel], after: type[BaseModel]) -> list[Break]:
    return find_breaks(contract(before), contract(after))


def test_a_lost_optional_field_breaks_who_still_writes_it() -> None:
    (only,) = judge(TWO, BASE)
    assert (only.path, only.breaks, only.change) == ("b", "writer", "the field is gone")


def test_another_default_breaks_who_leaves_the_field_out() -> None:
    (only,) = judge(facts(a=(int, 0)), facts(a=(int, 1)))
    assert (only.path, only.breaks, only.change) == ("a", "reader", "default was 0, is 1")


@pytest.mark.parametrize(
    ("before", "after"), [(Field(5), Field(default_factory=int)), (Field(default_factory=int), Field(5))]
)
def test_a_default_that_is_no_longer_said_breaks_who_leaves_the_field_out(before: Any, after: Any) -> None:
    (only,) = judge(facts(a=(int, before)), facts(a=(int, after)))
    assert (only.path, only.breaks) == ("a", "reader")
    assert only.change in ("default was 5, is not given", "default was not given, is 5")


def test_another_default_at_a_place_of_a_tuple_breaks_who_leaves_it_out() -> None:
    (only,) = judge(facts(a=Pair), facts(a=PairOfOther))
    assert (only.path, only.breaks, only.change) == ("a[1]", "reader", 'default was "x", is "y"')


def test_a_change_of_a_member_names_its_field_and_no_other_member() -> None:
    breaks = judge(facts(a=tagged(Cat | Dog)), facts(a=tagged(bounded_cat() | Dog)))
    assert {(one.path, one.breaks) for one in breaks} == {("a.claws", "writer"), ("a.size", "writer")}


def test_a_lost_mark_of_personal_data_breaks_who_must_erase_it() -> None:
    marked = facts(a=bounded(str, json_schema_extra={"x-personal": True}))
    (only,) = judge(marked, facts(a=str))
    assert (only.path, only.breaks) == ("a", "reader")
    assert judge(facts(a=str), marked) == []


def test_a_lost_mark_is_seen_in_a_list() -> None:
    marked = facts(a=list[bounded(str, json_schema_extra={"x-personal": True})])
    (only,) = judge(marked, facts(a=list[str]))
    assert (only.path, only.breaks) == ("a[]", "reader")


def in_unit(unit: str) -> Any:
    return bounded(float, json_schema_extra={"x-unit": unit})


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (in_unit("seconds"), in_unit("bytes"), 'the unit was "seconds", is "bytes"'),
        (in_unit("seconds"), float, 'the unit was "seconds", is not given'),
    ],
)
def test_another_unit_breaks_who_reckons_in_the_old_one(before: Any, after: Any, change: str) -> None:
    (only,) = judge(facts(a=before), facts(a=after))
    assert (only.path, only.breaks, only.change) == ("a", "reader", change)


def test_another_unit_is_seen_in_a_field_that_may_be_null() -> None:
    before, after = ((Annotated[float | None, Field(json_schema_extra={"x-unit": one})], None) for one in ("s", "min"))
    (only,) = judge(facts(a=before), facts(a=after))
    assert (only.path, only.breaks, only.change) == ("a", "reader", 'the unit was "s", is "min"')


def test_a_unit_that_is_said_for_the_first_time_breaks_nobody() -> None:
    assert judge(facts(a=float), facts(a=in_unit("seconds"))) == []


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (bounded(float, ge=0), bounded(float, gt=0), "exclusiveMinimum was minimum 0, is 0"),
        (bounded(float, le=1), bounded(float, lt=1), "exclusiveMaximum was maximum 1, is 1"),
        (bounded(float, gt=0), bounded(float, gt=1), "exclusiveMinimum was 0, is 1"),
        (bounded(float, gt=0), bounded(float, ge=1), "minimum was exclusiveMinimum 0, is 1"),
        (float, bounded(float, gt=0), "exclusiveMinimum was not given, is 0"),
    ],
)
def test_a_bound_is_named_by_its_own_keyword(before: Any, after: Any, change: str) -> None:
    (only,) = judge(facts(a=before), facts(a=after))
    assert (only.path, only.breaks, only.change) == ("a", "writer", change)


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


def test_schemas_that_are_true_or_false_are_judged() -> None:
    def with_items(rule: bool) -> Contract:
        return Contract({TYPE: {"type": "array", "items": rule}}, {})

    assert find_breaks(with_items(True), with_items(True)) == []
    (only,) = find_breaks(with_items(True), with_items(False))
    assert (only.path, only.breaks) == ("[]", "writer")


def test_a_break_says_what_where_whom_and_the_cure() -> None:
    (only,) = judge(facts(a=bounded(le=9)), facts(a=bounded(le=5)))
    assert str(only) == (
        "cairn.thing.happened.v1 a: maximum was 9, is 5: breaks the writer. "
        "Keep the wider rule, or make a new major version of the type, with an upcaster from this one."
    )
