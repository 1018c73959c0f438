"""Where the schema of a type lies, and where its events travel: `{model.name}` stands for that field of the payload."""

from types import SimpleNamespace
from typing import Any

from cairn.events.catalogue import OPERATIONS, TOPICS, EventType

SCHEMAS = "schemas/json"
"""The folder of the JSON Schemas, in which every file is generated."""


def schema_file(type_name: str) -> str:
    """The file that holds the schema of a type; its `$id` is what the type's events name in `dataschema`."""
    return f"{SCHEMAS}/{type_name}.json"


def topic_template(entry: EventType) -> str:
    """The topic, without prefix; of what every service tells of itself: `operations.{service}`."""
    return f"{OPERATIONS}.{{service}}" if entry.topic == OPERATIONS else entry.topic


def owner_template(entry: EventType) -> str:
    """Who alone writes that topic."""
    return "{service}" if entry.topic == OPERATIONS else TOPICS[entry.topic].owner


def subject_template(entry: EventType) -> str:
    """The subject, e.g. `model/{model.name}`."""
    return entry.subject_of(_blank(entry))


def key_template(entry: EventType) -> str:
    """The Kafka key, e.g. `model/{model}/{replica}`."""
    return entry.key_of(_blank(entry))


def _blank(entry: EventType) -> Any:
    """Facts whose fields hold their own names: asking the catalogue with them gives its rule, not a second copy."""
    fields = entry.facts.model_fields
    return entry.facts.model_construct(None, **{name: _placeholder(name, fields[name].annotation) for name in fields})


def _placeholder(name: str, annotation: Any) -> Any:
    return f"{{{name}}}" if annotation is str else SimpleNamespace(name=f"{{{name}.name}}")
