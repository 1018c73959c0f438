"""CloudEvents in structured mode: the whole event is one JSON object, as outsiders may send it."""

import base64
import json
from typing import Any

from cairn.events.catalogue import TOPICS
from cairn.events.plain_json import find_ambiguity
from cairn.events.record import Malformed, Record

STRUCTURED_TYPE = "application/cloudevents+json"
_MOST_OVERHEAD = 8 * 1024

Attributes = tuple[tuple[str, str], ...]


def unwrap(record: Record) -> tuple[Attributes, str, bytes] | Malformed:
    """The attributes, the content type and the payload of an event in structured mode. Never raises."""
    value, topic = record.value or b"", TOPICS.get(record.topic)
    if topic and len(value) > topic.max_value_bytes + _MOST_OVERHEAD:
        return Malformed("too-large", f"the event has {len(value)} bytes")
    if ambiguity := find_ambiguity(value):
        return Malformed("schema", ambiguity)
    try:
        content = json.loads(value.decode())  # of bytes, the parser would guess the encoding
    except (ValueError, RecursionError):
        return Malformed("json", "the value is not JSON")
    if not isinstance(content, dict):
        return Malformed("not-a-cloudevent", "the value is not a JSON object")
    payload = _payload(content)
    if isinstance(payload, Malformed):
        return payload
    return tuple((name, text) for name, text in content.items() if isinstance(text, str)), STRUCTURED_TYPE, payload


def _payload(content: dict[str, Any]) -> bytes | Malformed:
    """The payload's bytes; takes it out of the content, so that attributes are left."""
    data, encoded = content.pop("data", None), content.pop("data_base64", None)
    if data is None and isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:  # binascii.Error is one, and what is not ASCII gives a plain one
            return Malformed("not-a-cloudevent", "data_base64 is not base64")
    if not isinstance(data, dict) or encoded is not None:
        return Malformed("not-a-cloudevent", "the value is not a CloudEvent whose data is a JSON object")
    try:
        return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return Malformed("json", "the data cannot be written as JSON")
