"""The catalogue, the event classes and the table of hearers agree with each other and with the contract's rules."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from cairn.events import ALL_SERVICES, CATALOGUE, TOPICS, topic_for, topics_owned_by
from cairn.events.catalogue import OPERATIONS, carries
from cairn.events.hearing import HEARD, hearers_of
from cairn.schemas.addresses import key_template, subject_template
from cairn.schemas.json_schema import PERSONAL, json_schema

SCHEMAS = {name: json_schema(entry) for name, entry in CATALOGUE.items()}
ROOT = Path(__file__).parents[2]
DIMENSIONLESS = {"confidence", "probability", "psi", "chi_square", "value", "lower", "upper", "score", "significance"}
"""Real numbers without a unit, or whose unit stands beside them."""

every_type = pytest.mark.parametrize("name", CATALOGUE)


class Field(NamedTuple):
    owner: str
    name: str
    schema: dict[str, Any]


def fields_of(name: str) -> Iterator[Field]:
    """Every field of an event and of the value objects in it."""
    for title, node in [(name, SCHEMAS[name]), *SCHEMAS[name].get("$defs", {}).items()]:
        for field, schema in node.get("properties", {}).items():
            yield Field(title, field, schema)


def kinds_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives that a field's schema leaves."""
    return [kind for branch in schema["anyOf"] for kind in kinds_of(branch)] if "anyOf" in schema else [schema]


@every_type
def test_a_type_is_named_entity_happening_major(name: str) -> None:
    assert re.fullmatch(r"cairn\.[a-z]+\.[a-z]+\.v[1-9][0-9]*", name)
    assert name == CATALOGUE[name].name


@every_type
def test_a_type_has_a_topic_with_an_owner(name: str) -> None:
    entry = CATALOGUE[name]
    owners = {topic.owner for topic in TOPICS.values() if carries(topic.name, entry)}
    assert owners == set(ALL_SERVICES) if entry.topic == OPERATIONS else len(owners) == 1
    assert owners <= {*ALL_SERVICES, "serving", "upstream", "people"}


@every_type
def test_a_type_derives_its_subject_from_a_field_that_is_required(name: str) -> None:
    assert CATALOGUE[name].entity in SCHEMAS[name]["required"]
    assert subject_template(CATALOGUE[name]).startswith(f"{CATALOGUE[name].subject}/{{{CATALOGUE[name].entity}")


def test_the_key_is_the_subject_but_for_predictions() -> None:
    others = {name for name, entry in CATALOGUE.items() if key_template(entry) != subject_template(entry)}
    assert others == {"cairn.predictions.served.v1"}
    assert key_template(CATALOGUE["cairn.predictions.served.v1"]) == "model/{model}/{replica}"


def test_every_request_has_a_judge_but_the_redrive_whose_judge_parked_the_record() -> None:
    requests = [entry for entry in CATALOGUE.values() if entry.topic == "requests"]
    assert {entry.name for entry in requests if entry.judge is None} == {"cairn.redrive.requested.v1"}


def test_only_requests_have_a_judge() -> None:
    assert all(entry.topic == "requests" for entry in CATALOGUE.values() if entry.judge)


def test_every_judge_hears_requests_and_so_does_every_service_that_may_park_a_record() -> None:
    assert {entry.judge for entry in CATALOGUE.values() if entry.judge} <= set(hearers_of("requests"))
    assert set(ALL_SERVICES) == set(hearers_of("requests"))


def test_every_service_tells_of_its_own_running() -> None:
    for service in ALL_SERVICES:
        assert topic_for(CATALOGUE["cairn.record.parked.v1"], service) in topics_owned_by(service)


def test_all_services_and_the_serving_processes_hear_something() -> None:
    assert set(HEARD) == {*ALL_SERVICES, "serving"}
    assert all(HEARD.values())


@pytest.mark.parametrize("hearer", HEARD)
def test_nobody_hears_a_topic_twice_or_its_own_or_one_that_is_not(hearer: str) -> None:
    assert len(set(HEARD[hearer])) == len(HEARD[hearer])
    assert all(TOPICS[topic].owner != hearer for topic in HEARD[hearer])


def test_the_governance_auditor_hears_everything_but_its_own() -> None:
    own = {topic.name for topic in topics_owned_by("governance-auditor")}
    assert set(HEARD["governance-auditor"]) == set(TOPICS) - own


def test_topics_have_dots_and_no_underscores() -> None:
    assert all(re.fullmatch(r"[a-z-]+(\.[a-z-]+)?", topic) for topic in TOPICS)


@every_type
def test_a_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@every_type
def test_an_event_and_each_of_its_fields_has_a_description(name: str) -> None:
    assert SCHEMAS[name]["description"]
    assert [field[:2] for field in fields_of(name) if not field.schema.get("description")] == []


@every_type
def test_fields_are_in_snake_case(name: str) -> None:
    assert [field[:2] for field in fields_of(name) if not re.fullmatch(r"[a-z]+(_[a-z]+)*", field.name)] == []


@every_type
def test_instants_and_they_alone_end_in_at(name: str) -> None:
    for field in fields_of(name):
        instant = any(kind.get("format") == "date-time" for kind in kinds_of(field.schema))
        assert instant == field.name.endswith("_at"), field[:2]


@every_type
def test_a_real_number_says_its_unit_in_its_name(name: str) -> None:
    for field in fields_of(name):
        if {kind.get("type") for kind in kinds_of(field.schema)} <= {"number", "null"}:
            assert re.search(r"(^|_)(seconds|ratio)$", field.name) or field.name in DIMENSIONLESS, field[:2]


@every_type
def test_what_is_named_after_a_unit_is_a_number_that_is_not_negative(name: str) -> None:
    for field in fields_of(name):
        if re.search(r"(^|_)(seconds|bytes|ratio)$", field.name):
            assert field.schema["type"] in ("integer", "number"), field[:2]
            assert field.schema.get("minimum", field.schema.get("exclusiveMinimum")) == 0, field[:2]


@every_type
def test_integers_are_within_what_every_json_reader_keeps_exactly(name: str) -> None:
    for field in fields_of(name):
        for kind in kinds_of(field.schema):
            if kind.get("type") == "integer":
                assert kind["maximum"] <= 2**53 - 1, field[:2]
                assert kind["minimum"] >= -(2**53) + 1, field[:2]


@every_type
def test_lists_texts_and_maps_have_limits(name: str) -> None:
    limits = {
        "array": ("maxItems",),
        "object": ("maxProperties",),
        "string": ("maxLength", "pattern", "enum", "format"),
    }
    for field in fields_of(name):
        for kind in kinds_of(field.schema):
            wanted = limits.get(kind.get("type", ""), ())
            assert not wanted or "const" in kind or any(limit in kind for limit in wanted), field[:2]


def test_the_fields_that_can_hold_personal_data_are_marked() -> None:
    marked = {field[:2] for name in CATALOGUE for field in fields_of(name) if field.schema.get(PERSONAL)}
    assert marked >= {
        ("Label", "entity"),
        ("Outcome", "entity"),
        ("PredictionRow", "entity"),
        ("PredictionRow", "features"),
    }


def test_a_value_object_is_the_same_wherever_it_appears() -> None:
    seen: dict[str, Any] = {}
    for schema in SCHEMAS.values():
        for name, definition in schema.get("$defs", {}).items():
            assert seen.setdefault(name, definition) == definition
