"""The AsyncAPI document is valid by AsyncAPI's own schema, and holds together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from cairn.events import CATALOGUE, TOPICS
from cairn.events.catalogue import carries
from cairn.events.hearing import HEARD
from cairn.schemas.examples import read_examples
from cairn.schemas.headers import HEADERS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "schemas/asyncapi.yaml"
EXAMPLES = read_examples(ROOT)
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_bytes())
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]

every_message = pytest.mark.parametrize("name", MESSAGES)
every_channel = pytest.mark.parametrize("name", DOCUMENT["channels"])


def nodes(node: Any) -> Iterator[Any]:
    """All that is in the document, but what is shown as an example."""
    yield node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        if name != "examples":
            yield from nodes(child)


def resolve(reference: str) -> Any:
    """What a reference names, in this document or in a file beside it."""
    file, _, pointer = reference.partition("#")
    node = json.loads((FILE.parent / file).read_bytes()) if file else DOCUMENT
    for part in pointer.split("/")[1:]:
        node = node[part]
    return node


def faults_of(document: Any) -> list[str]:
    schema = json.loads((Path(__file__).parent / "asyncapi/3.0.0.json").read_bytes())
    return [f"{error.json_path}: {error.message[:300]}" for error in Draft7Validator(schema).iter_errors(document)]


def test_the_document_is_valid_by_asyncapis_own_schema() -> None:
    assert faults_of(DOCUMENT) == []


@pytest.mark.parametrize(
    "damage",
    [{"channels": {"datasets": {"adress": "x"}}}, {"asyncapi": "9.0.0"}, {"operations": {"x": {"action": "shout"}}}],
    ids=["channels", "version", "operations"],
)
def test_that_schema_finds_a_fault(damage: dict[str, Any]) -> None:
    assert faults_of(DOCUMENT | damage)


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(DOCUMENT) if isinstance(node, dict) and "$ref" in node]
    assert len(references) > len(MESSAGES)
    for reference in references:
        assert resolve(reference), reference


def test_the_document_has_what_asyncapi_demands() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]
    known = {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    assert set(DOCUMENT) <= known


def test_every_topic_is_a_channel() -> None:
    assert set(DOCUMENT["channels"]) == set(TOPICS)


@every_channel
def test_a_channel_says_how_kafka_keeps_it(name: str) -> None:
    channel = DOCUMENT["channels"][name]
    assert channel["address"] == f"{{installation}}.{name}"
    assert set(channel["parameters"]) == {"installation"}
    assert channel["bindings"]["kafka"]["partitions"] == TOPICS[name].partitions
    assert channel["x-owner"] == TOPICS[name].owner


@every_channel
def test_a_channel_lists_the_types_that_belong_on_it(name: str) -> None:
    belong = {entry.name for entry in CATALOGUE.values() if carries(name, entry)}
    assert set(DOCUMENT["channels"][name]["messages"]) == belong


def test_every_type_is_a_message() -> None:
    assert set(MESSAGES) == set(CATALOGUE)


@every_message
def test_a_message_refers_to_the_schema_of_its_type(name: str) -> None:
    assert resolve(MESSAGES[name]["payload"]["$ref"])["x-type"] == name


@every_message
def test_a_message_has_headers_a_key_and_a_content_type(name: str) -> None:
    message = MESSAGES[name]
    assert message["contentType"] == "application/json"
    assert message["bindings"]["kafka"]["key"]["type"] == "string"
    assert message["headers"]["properties"]["ce_type"]["const"] == name


@every_message
def test_a_message_shows_an_example_that_fits_its_schemas(name: str) -> None:
    message = MESSAGES[name]
    (example,) = message["examples"]
    Draft202012Validator(resolve(message["payload"]["$ref"])).validate(example["payload"])
    Draft202012Validator(resolve("#/components/schemas/headers")).validate(example["headers"])
    Draft202012Validator({"properties": message["headers"]["properties"]}).validate(example["headers"])


@every_message
def test_the_headers_of_every_recorded_message_are_allowed(name: str) -> None:
    for example in EXAMPLES:
        if example.type == name:
            Draft202012Validator(resolve("#/components/schemas/headers")).validate(example.headers)
            own = {"properties": MESSAGES[name]["headers"]["properties"]}
            Draft202012Validator(own).validate(example.headers)


def test_the_headers_are_those_that_cairn_writes() -> None:
    assert list(resolve("#/components/schemas/headers")["properties"]) == [header.name for header in HEADERS]


def test_owners_send_and_hearers_receive() -> None:
    found = {
        (operation["tags"][0]["name"], operation["action"], operation["channel"]["$ref"].rpartition("/")[2])
        for operation in DOCUMENT["operations"].values()
    }
    sent = {(topic.owner, "send", topic.name) for topic in TOPICS.values()}
    received = {(hearer, "receive", topic) for hearer, topics in HEARD.items() for topic in topics}
    assert found == sent | received
