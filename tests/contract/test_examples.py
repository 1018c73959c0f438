"""The recorded messages: everything that was ever written stays readable."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from cairn.events import TOPICS, Heard, Installation, Message, Trust, TrustedKey, UnsignedSource, check, read
from cairn.events.catalogue import carries
from cairn.events.envelope import ATTRIBUTES, schema_address
from cairn.events.instants import parse_instant
from cairn.events.upcasting import VERSIONS
from cairn.schemas.addresses import schema_file
from cairn.schemas.examples import Example, read_examples

ROOT = Path(__file__).parents[2]
EXAMPLES = read_examples(ROOT)
ENTRIES = VERSIONS.entries()
BY_IDENTITY = {(one.headers["ce_source"], one.headers["ce_id"]): one for one in EXAMPLES}
EVERYBODY = Trust(unsigned=(UnsignedSource(source="*", topics=tuple(TOPICS)),))
EXAMPLE_KEY = TrustedKey(
    keyid="example",
    public_key="w4RX_wY1sNeE-MJb1gy4vGcjZEGtN-BDthEtX8Z7qq0",
    principal="service/registry",
    sources=("/cairn/registry",),
    topics=("registry",),
)

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.type}/{one.name}")
every_type = pytest.mark.parametrize("type_name", ENTRIES)


def message_of(example: Example) -> Message:
    message = read(example.record(timestamp=int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)))
    assert isinstance(message, Message)
    return message


def schema_of(type_name: str) -> Any:
    return json.loads((ROOT / schema_file(type_name)).read_bytes())


@every_type
def test_a_type_has_an_ordinary_example_and_two_awkward_ones(type_name: str) -> None:
    names = {example.name for example in EXAMPLES if example.type == type_name}
    assert "ordinary" in names
    assert len(names) > 2


def test_every_folder_of_examples_is_a_type() -> None:
    assert {example.type for example in EXAMPLES} == set(ENTRIES)


@every_example
def test_an_example_is_read_as_the_type_that_its_folder_names(example: Example) -> None:
    message = message_of(example)
    assert message.entry is VERSIONS.find(example.type)
    assert message.data == example.value_bytes


@every_example
def test_an_example_counts_as_an_event(example: Example) -> None:
    unsigned = {name: text for name, text in example.headers.items() if name not in ("ce_keyid", "ce_signature")}
    message = message_of(Example(example.type, example.name, example.topic, example.key, unsigned, example.value))
    heard = check(message, Installation(), EVERYBODY)
    assert isinstance(heard, Heard), heard


@every_example
def test_an_example_can_be_named_as_evidence(example: Example) -> None:
    assert message_of(example).ref.id == example.headers["ce_id"]


@every_example
def test_an_example_fits_its_class(example: Example) -> None:
    facts = ENTRIES[example.type].facts.model_validate_json(example.value_bytes, extra="ignore")
    assert facts == type(facts).model_validate_json(facts.model_dump_json())


@every_example
def test_an_example_says_nothing_that_its_class_does_not_know(example: Example) -> None:
    ENTRIES[example.type].facts.model_validate_json(example.value_bytes, extra="forbid")


@every_example
def test_an_example_fits_the_committed_schema(example: Example) -> None:
    validator = Draft202012Validator(schema_of(example.type), format_checker=FormatChecker())
    assert [error.message for error in validator.iter_errors(example.value)] == []


@every_example
def test_subject_key_and_topic_are_what_the_catalogue_says(example: Example) -> None:
    entry = ENTRIES[example.type]
    facts = entry.facts.model_validate_json(example.value_bytes)
    assert example.headers["ce_subject"] == entry.subject_of(facts)
    assert example.key == entry.key_of(facts)
    assert example.topic in TOPICS
    assert carries(example.topic, entry)


@every_example
def test_the_headers_of_an_example_are_ones_that_cairn_writes(example: Example) -> None:
    assert set(example.headers) <= {"content-type", *(f"ce_{name}" for name in ATTRIBUTES)}
    assert example.headers["content-type"] == "application/json"
    assert example.headers["ce_specversion"] == "1.0"
    assert example.headers["ce_type"] == example.type
    named = example.headers.get("ce_dataschema")
    assert named in (None, schema_address(example.type), schema_file(example.type))  # once it was the file's name
    assert parse_instant(example.headers["ce_time"])


@every_example
def test_an_example_fits_the_limit_of_its_topic(example: Example) -> None:
    assert len(example.value_bytes) <= TOPICS[example.topic].max_value_bytes


@every_example
def test_evidence_that_is_recorded_too_is_named_by_its_true_digest(example: Example) -> None:
    for reference in event_references(example.value):
        named = BY_IDENTITY.get((reference["source"], reference["id"]))
        if named:
            assert reference["type"] == named.type
            assert reference["digest"] == "sha256:" + hashlib.sha256(named.value_bytes).hexdigest()


def event_references(node: Any) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        if set(node) == {"source", "id", "type", "digest"}:
            yield node
        for item in node.values():
            yield from event_references(item)
    elif isinstance(node, list):
        for item in node:
            yield from event_references(item)


def test_no_two_examples_are_the_same_event() -> None:
    assert len(BY_IDENTITY) == len(EXAMPLES)


def test_the_signed_example_verifies_offline_with_nothing_but_the_public_key() -> None:
    (signed,) = (example for example in EXAMPLES if example.name == "signed")
    heard = check(message_of(signed), Installation(), Trust(keys=(EXAMPLE_KEY,)))
    assert isinstance(heard, Heard), heard
    assert heard.signed


@pytest.mark.parametrize("installation", ["cairn-staging", ""])
def test_the_signed_example_counts_nowhere_else(installation: str) -> None:
    (signed,) = (example for example in EXAMPLES if example.name == "signed")
    assert not isinstance(check(message_of(signed), Installation(installation), Trust(keys=(EXAMPLE_KEY,))), Heard)


@every_example
def test_a_newer_writers_fields_are_ignored_at_every_depth(example: Example) -> None:
    entry = ENTRIES[example.type]
    newer = with_unknown_fields(schema_of(example.type), schema_of(example.type), example.value)
    assert newer != example.value
    assert entry.facts.model_validate_json(json.dumps(newer), extra="ignore") == entry.facts.model_validate_json(
        example.value_bytes
    )


def with_unknown_fields(root: Any, schema: Any, value: Any) -> Any:
    """The value with one more field in every object whose fields the schema lists."""
    schema = resolved(root, schema)
    if isinstance(value, list):
        return [with_unknown_fields(root, schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    known = {name: with_unknown_fields(root, schema["properties"][name], item) for name, item in value.items()}
    return {"from_a_newer_writer": {"deep": [1, None]}, **known}


def resolved(root: Any, schema: Any) -> Any:
    for branch in schema.get("anyOf", ()):
        if "$ref" in branch or branch.get("type") == "array":
            return resolved(root, branch)
    return root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
