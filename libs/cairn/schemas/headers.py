"""The Kafka headers of an event: CloudEvents 1.0.2 in binary mode, with Cairn's extensions."""

from dataclasses import dataclass
from typing import Any

_INSTANT = {"format": "date-time"}


@dataclass(frozen=True, slots=True)
class Header:
    """One header."""

    name: str
    says: str
    required: bool
    """Whether CloudEvents demands it."""
    rules: dict[str, Any]
    """What JSON Schema can say of its text."""


HEADERS = (
    Header("content-type", "Of the value.", False, {"const": "application/json"}),
    Header("ce_specversion", "The version of CloudEvents.", True, {"const": "1.0"}),
    Header("ce_id", "With the source: the identity of the event.", True, {"minLength": 1, "maxLength": 128}),
    Header(
        "ce_source",
        "Who tells it: `/cairn/<service>`, without a store also the uuid of its start; an upstream system has its own.",
        True,
        {"format": "uri-reference", "minLength": 1, "maxLength": 256},
    ),
    Header("ce_type", "The type; it names the schema of the value.", True, {}),
    Header("ce_subject", "What it is about; left out, it is the key.", False, {}),
    Header("ce_time", "When it happened (UTC, `Z`); left out, it is Kafka's time.", False, _INSTANT),
    Header("ce_recordedtime", "When the producer wrote it.", False, _INSTANT),
    Header("ce_correlationid", "The story that it belongs to; left out, it begins one.", False, {}),
    Header("ce_causationid", "The one event that led to it: its source, `#`, its id.", False, {}),
    Header("ce_authtype", "Whether a `service`, a `person` or a `system` is responsible for it.", False, {}),
    Header("ce_authid", "Who is responsible for it: a handle, never a name.", False, {}),
    Header(
        "ce_sequence",
        "Its number, dense for each source, topic and subject; services always send it.",
        False,
        {"pattern": "^[0-9]{20}$"},
    ),
    Header("ce_basis", "Of a decision: what had been read and told before it, and the code's version.", False, {}),
    Header(
        "ce_hops",
        "How many services in turn led to it since its story began; from more than 50, a loop, no service goes on.",
        False,
        {"pattern": "^[0-9]{1,9}$"},
    ),
    Header(
        "ce_dataschema",
        "The value's schema, by its `$id`: `urn:cairn:schema:<type>`; in older events the schema's file.",
        False,
        {"format": "uri-reference"},
    ),
    Header("ce_traceparent", "W3C Trace Context.", False, {}),
    Header("ce_keyid", "The name of the key that signed it.", False, {}),
    Header(
        "ce_signature",
        "Ed25519, base64url without padding, over the bytes that docs/events.md spells out.",
        False,
        {"pattern": "^[A-Za-z0-9_-]{86}$"},
    ),
)
"""Every header that Cairn writes, in the order in which people want to read them. Unknown `ce_` ones are admitted."""


def headers_schema() -> dict[str, Any]:
    """What the headers of every event are."""
    return {
        "type": "object",
        "description": "CloudEvents 1.0.2 in Kafka's binary mode: attributes as `ce_` headers, in UTF-8.",
        "properties": {
            header.name: {"type": "string", "description": header.says, **header.rules} for header in HEADERS
        },
        "required": [header.name for header in HEADERS if header.required],
    }
