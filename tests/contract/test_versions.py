"""A type may come in versions: what was written under a former one is read as the current one."""

import json
from dataclasses import replace
from typing import ClassVar

import pytest

from cairn.events import (
    Event,
    EventType,
    Heard,
    Installation,
    Malformed,
    Message,
    Record,
    Trust,
    UnsignedSource,
    check,
    read,
)
from cairn.events.catalogue import CATALOGUE
from cairn.events.upcasting import FORMER, Former, Versions
from cairn.schemas.json_schema import json_schema

EVERYBODY = Trust(unsigned=(UnsignedSource(source="*", topics=("datasets",)),))


class FirstMeasured(Event):
    """The first form: a temperature in Fahrenheit."""

    station: str
    temperature: float


class SecondMeasured(Event):
    """The second: it says its unit."""

    major: ClassVar[int] = 2
    station: str
    celsius: float


class ThingMeasured(Event):
    """The third: several readings."""

    major: ClassVar[int] = 3
    station: str
    celsius: tuple[float, ...]
    note: str = ""


def second_of(first: FirstMeasured) -> SecondMeasured:
    return SecondMeasured(station=first.station, celsius=(first.temperature - 32) / 1.8)


def third_of(second: SecondMeasured) -> ThingMeasured:
    return ThingMeasured(station=second.station, celsius=(second.celsius,))


CURRENT = EventType("cairn.thing.measured.v3", ThingMeasured, "datasets", "dataset", "station")
VERSIONS = Versions(
    {CURRENT.name: CURRENT},
    {
        "cairn.thing.measured.v1": Former(FirstMeasured, second_of),
        "cairn.thing.measured.v2": Former(SecondMeasured, third_of),
    },
)
CORPUS = (
    (1, {"station": "north", "temperature": 50.0}),
    (2, {"station": "north", "celsius": 10.0}),
    (3, {"station": "north", "celsius": [10.0]}),
)


def record(major: int, value: object) -> Record:
    headers = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "1",
        "ce_source": "/weather",
        "ce_type": f"cairn.thing.measured.v{major}",
        "ce_subject": "dataset/north",
    }
    raw = tuple((name, text.encode()) for name, text in headers.items())
    return Record("datasets", 0, 0, 0, b"dataset/north", raw, json.dumps(value).encode())


def hear(major: int, value: object) -> Heard | Malformed:
    message = read(record(major, value), VERSIONS)
    return check(message, Installation(), EVERYBODY, VERSIONS) if isinstance(message, Message) else message


@pytest.mark.parametrize(("major", "value"), CORPUS)
def test_every_version_is_heard_as_the_current_one(major: int, value: object) -> None:
    heard = hear(major, value)
    assert isinstance(heard, Heard), heard
    assert heard.facts == ThingMeasured(station="north", celsius=(10.0,))


@pytest.mark.parametrize(("major", "value"), CORPUS)
def test_evidence_names_the_version_that_was_written(major: int, value: object) -> None:
    message = read(record(major, value), VERSIONS)
    assert isinstance(message, Message)
    assert message.ref.type == f"cairn.thing.measured.v{major}"
    assert message.entry is CURRENT


def test_a_payload_is_judged_by_the_version_that_it_names() -> None:
    heard = hear(1, {"station": "north", "celsius": [10.0]})
    assert isinstance(heard, Malformed)
    assert (heard.code, heard.text) == ("schema", "temperature: Field required")


def test_fields_that_a_former_version_does_not_know_are_ignored() -> None:
    heard = hear(1, {"station": "north", "temperature": 50.0, "celsius": [0.0], "note": "x"})
    assert isinstance(heard, Heard)
    assert heard.facts == ThingMeasured(station="north", celsius=(10.0,))


@pytest.mark.parametrize("major", [4, 0, 99])
def test_a_version_that_is_not_known_yet_is_told_apart_from_an_unknown_type(major: int) -> None:
    message = read(record(major, {}), VERSIONS)
    assert isinstance(message, Malformed)
    assert message.code == "unsupported-version"


def test_each_version_keeps_a_schema_of_its_own() -> None:
    entries = VERSIONS.entries()
    assert {json_schema(entry)["x-type"] for entry in entries.values()} == set(entries)
    assert len(entries) == 3


def test_the_upcasters_of_the_catalogue_end_at_a_current_version() -> None:
    versions = Versions(CATALOGUE, FORMER)
    assert all(versions.find(name) for name in FORMER)
    assert not set(FORMER) & set(CATALOGUE)


def test_a_class_that_names_its_major_version_has_it_in_its_type() -> None:
    for name, entry in CATALOGUE.items():
        assert name.endswith(f".v{entry.facts.major}")
    assert replace(CURRENT).name.endswith(f".v{ThingMeasured.major}")
