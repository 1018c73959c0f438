"""How events look, for people and for programs."""

import json
from typing import Any

from cairn.cli.asking import place_of
from cairn.cli.output import cell, emit, emit_line
from cairn.cli.wanted import short
from cairn.events.codec import Heard, Malformed, Message, appended_at, read
from cairn.events.values import format_instant
from cairn.subscriber import Entry


def emit_entry(entry: Entry, *, as_json: bool) -> None:
    """Write one event as a line."""
    if as_json:
        emit_line(as_object(entry))
    else:
        emit(as_line(entry))


def as_line(entry: Entry) -> str:
    """An event in one line for people: when Kafka got it, what happened, to what, where it lies, who told it."""
    record, heard = entry
    when, place = appended_at(record).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], place_of(record)
    if isinstance(heard, Malformed):
        return f"{when}  {'malformed':20} {place:22} {cell(f'{heard.code}: {heard.text}')}"
    envelope = heard.message.envelope
    told = f"{cell(envelope.subject):30} {place:22} {cell(envelope.source)}"
    return f"{when}  {short(envelope.type):20} {told}"


def as_object(entry: Entry) -> dict[str, Any]:
    """An event for programs: where it lies, its attributes, its payload; and what is wrong with it, if so."""
    record, heard = entry
    found: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended_at": format_instant(appended_at(record)),
    }
    message = heard.message if isinstance(heard, Heard) else read(record)
    if isinstance(message, Message):
        found |= {"attributes": dict(message.attributes), "data": _json_or_text(message.data)}
    if isinstance(heard, Heard):
        return {**found, "signed": heard.signed}
    return {**found, "malformed": {"code": heard.code, "text": heard.text}}


def _json_or_text(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # what is malformed may be anything
        return data.decode(errors="replace")
