"""One AsyncAPI document (3.0.0) for the whole catalogue: topics, messages, headers, examples, tellers and hearers."""

from collections.abc import Iterable
from typing import Any

from cairn.events.catalogue import TOPICS, EventType, Topic, carries
from cairn.events.envelope import schema_address
from cairn.events.hearing import HEARD
from cairn.events.identity import Installation
from cairn.events.upcasting import VERSIONS
from cairn.schemas.addresses import key_template, schema_file, subject_template
from cairn.schemas.examples import ORDINARY, Example
from cairn.schemas.headers import headers_schema

_KAFKA = "0.5.0"
_ABOUT = """\
Every step in the life of a machine-learning model is an event on Kafka. This document is generated from the \
catalogue in `cairn.events`; `docs/events.md` says the same for people.

Events are CloudEvents 1.0.2. Cairn writes binary mode, which the messages below describe. It reads structured mode \
too: the header `content-type` is `application/cloudevents+json` and the value one JSON object with the attributes \
beside `data`; such an event is not signed. A record's partition is (murmur2(key) & 0x7fffffff) % partitions, as the \
Java client does by itself (librdkafka and kcat: `partitioner=murmur2_random`); a record without a key does not count, \
and one in another partition is a finding. What a signature covers, byte by byte, is said in `docs/events.md`, \
"The signature". Only a topic's owner writes it. Readers ignore fields and headers that they do not know.
"""


def asyncapi(examples: Iterable[Example]) -> dict[str, Any]:
    """The document; of the recorded messages it shows each type's ordinary one."""
    shown = {example.type: example for example in examples if example.name == ORDINARY}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cairn",
            "version": "1.0.0",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS.values()},
        "operations": _operations(),
        "components": {
            "schemas": {"headers": headers_schema()},
            "correlationIds": {"story": {"location": "$message.header#/ce_correlationid"}},
            "parameters": {"installation": _installation()},
            "messages": {name: _message(entry, shown.get(name)) for name, entry in VERSIONS.entries().items()},
        },
    }


def _installation() -> dict[str, Any]:
    return {"default": Installation().name, "description": "The name of one running Cairn: the prefix of its topics."}


def _channel(topic: Topic) -> dict[str, Any]:
    types = [name for name, entry in VERSIONS.entries().items() if carries(topic.name, entry)]
    return {
        "address": f"{{installation}}.{topic.name}",
        "title": topic.name,
        "description": f"Only {topic.owner} writes it. At most {topic.max_value_bytes} bytes a value.",
        "parameters": {"installation": {"$ref": "#/components/parameters/installation"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in types},
        "bindings": {"kafka": {"partitions": topic.partitions, "bindingVersion": _KAFKA}},
        "x-owner": topic.owner,
        "x-max-value-bytes": topic.max_value_bytes,
    }


def _operations() -> dict[str, Any]:
    told = [_operation(topic.owner, "tells", "send", topic.name) for topic in TOPICS.values()]
    heard = [_operation(hearer, "hears", "receive", topic) for hearer, topics in HEARD.items() for topic in topics]
    return dict(told + heard)


def _operation(who: str, verb: str, action: str, topic: str) -> tuple[str, dict[str, Any]]:
    content = {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "tags": [{"name": who}]}
    return f"{who}.{verb}.{topic}", content


def _message(entry: EventType, example: Example | None) -> dict[str, Any]:
    key = {"type": "string", "description": f"`{key_template(entry)}`"}
    return {
        "name": entry.name,
        "title": entry.facts.__name__,
        "summary": entry.facts.__doc__,
        "contentType": "application/json",
        "headers": _headers(entry),
        # By address, so that one file alone says what a payload is.
        "payload": {"$ref": f"./{schema_file(entry.name).removeprefix('schemas/')}"},
        "correlationId": {"$ref": "#/components/correlationIds/story"},
        "bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA}},
        **({"examples": [_example(example)]} if example else {}),
        **({"x-judge": entry.judge} if entry.judge else {}),
    }


def _headers(entry: EventType) -> dict[str, Any]:
    own = {
        "ce_type": {"type": "string", "const": entry.name},
        "ce_subject": {"type": "string", "description": f"`{subject_template(entry)}`"},
        "ce_dataschema": {"type": "string", "enum": [schema_address(entry.name), schema_file(entry.name)]},
    }
    return {"type": "object", "allOf": [{"$ref": "#/components/schemas/headers"}], "properties": own}


def _example(example: Example) -> dict[str, Any]:
    return {"name": example.name, "headers": example.headers, "payload": example.value}
