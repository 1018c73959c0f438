"""The page of events for people: who tells and hears what, and every event field by field."""

import re
from collections.abc import Mapping
from typing import Any

from cairn.events.catalogue import ALL_SERVICES, CATALOGUE, GATEWAY, OPERATIONS, TOPICS, EventType, Topic
from cairn.events.hearing import AUDITOR, HEARD, hearers_of
from cairn.schemas.addresses import key_template, schema_file
from cairn.schemas.fields import field_rows, type_of
from cairn.schemas.headers import HEADERS
from cairn.schemas.markdown import table
from cairn.schemas.publishing import publishing

_OUTSIDE = ("upstream", "people", "serving")
_INTRODUCTION = """\
# Events

Everything that happens in Cairn is one of these events. This page is generated from the catalogue in
`libs/cairn/events` by `make schemas`; the same is said for programs by [asyncapi.yaml](../schemas/asyncapi.yaml) and
the [JSON Schemas](../schemas/json), and shown by [recorded messages](../schemas/examples).

A field with a question mark may be absent: it is then its default, and null where none is named (a map: empty). Null
may be sent only where the type says so. Readers ignore fields that they do not know; writers may not send any.
Integers lie between -(2^53 - 1) and 2^53 - 1, so that every reader keeps them; the characters of texts are those of
Unicode. A unit is the end of a field's name: `_seconds`, `_bytes`, `_ratio` (0 to 1), `_at` (an instant in UTC).
Periods are half-open. Personal fields can hold personal data.
"""
_MAP_NOTE = """\
## Who tells, who hears

An arrow is labelled with the topics on which its beginning tells and its end hears. The governance-auditor hears
every topic but its own, and so may the gateway, which hears what its webhooks want (both dotted). Topics are prefixed
with the installation's name: `cairn.registry`.
"""


def events_page(schemas: Mapping[str, Any]) -> str:
    """docs/events.md, whole, from every type's JSON Schema."""
    parts = [_INTRODUCTION, _MAP_NOTE, _map(), _topics(), _headers(), publishing()]
    parts += [_topic(topic, schemas) for topic in _sections()]
    parts.append(_values(schemas))
    return "\n".join(parts)


def _sections() -> list[Topic]:
    """Every topic; what all services tell of their operations is one, and beside it what only one of them tells."""
    each = [topic for topic in TOPICS.values() if not topic.name.startswith(OPERATIONS)]
    more = [topic for topic in TOPICS.values() if topic.name.startswith(OPERATIONS) and _entries(topic)]
    return [*each, Topic(f"{OPERATIONS}.{{service}}", "each service"), *more]


def _map() -> str:
    lines = ["```mermaid", "flowchart LR"]
    lines += [f"    {_node(who)}([{who}])" for who in _OUTSIDE]
    lines += [f"    {_node(service)}[{service}]" for service in ALL_SERVICES]
    for teller in dict.fromkeys(topic.owner for topic in TOPICS.values()):
        for hearer, heard in HEARD.items():
            shared = [topic for topic in heard if TOPICS[topic].owner == teller]
            if shared:
                arrow = "-.->" if hearer in (AUDITOR, GATEWAY) else "-->"
                lines.append(f'    {_node(teller)} {arrow}|"{"<br/>".join(shared)}"| {_node(hearer)}')
    return "\n".join([*lines, "```", ""])


def _node(who: str) -> str:
    return who.replace("-", "_")


def _topics() -> str:
    rows = (
        (_link(topic.name), topic.owner, ", ".join(_hearers(topic)), key, str(topic.partitions), _size(topic))
        for topic in _sections()
        for key in [", ".join(dict.fromkeys(f"`{key_template(entry)}`" for entry in _entries(topic)))]
    )
    return table(("topic", "told by", "heard by", "key", "partitions", "largest value"), rows)


def _headers() -> str:
    rows = (
        (f"`{header.name}`", type_of({"type": "string", **header.rules}, _anchor), required, header.says)
        for header in HEADERS
        for required in ["yes" if header.required else ""]
    )
    return "## The headers of every event\n\n" + table(("header", "type", "required", "says"), rows)


def _topic(topic: Topic, schemas: Mapping[str, Any]) -> str:
    entries = _entries(topic)
    asked = any(entry.judge for entry in entries)
    columns = ("event", "says", "judge") if asked else ("event", "says")
    rows = (
        (_link(entry.name), entry.facts.__doc__ or "", *((entry.judge or "",) if asked else ())) for entry in entries
    )
    about = f"Told by {topic.owner}; heard by {', '.join(_hearers(topic))}."
    parts = [f"## {topic.name}\n", f"{about}\n", table(columns, rows)]
    return "\n".join(parts + [_event(entry, schemas[entry.name]) for entry in entries])


def _event(entry: EventType, schema: Mapping[str, Any]) -> str:
    files = f"[schema](../{schema_file(entry.name)}) · [examples](../schemas/examples/{entry.name})"
    where = f"Key `{key_template(entry)}` · {files}"
    return "\n".join([f"### {entry.name}\n", f"{entry.facts.__doc__}\n", f"{where}\n", _fields(schema)])


def _values(schemas: Mapping[str, Any]) -> str:
    found = {name: one for schema in schemas.values() for name, one in schema.get("$defs", {}).items()}
    objects = {name: one for name, one in sorted(found.items()) if "properties" in one}
    parts = ["## Value objects\n", "The same wherever they appear.\n"]
    return "\n".join(parts + [f"### {name}\n\n{one['description']}\n\n{_fields(one)}" for name, one in objects.items()])


def _fields(schema: Mapping[str, Any]) -> str:
    rows = (
        (row.name, row.type, row.unit, "yes" if row.personal else "", row.example, row.says)
        for row in field_rows(schema, _anchor)
    )
    return table(("field", "type", "unit", "personal", "example", "meaning"), rows)


def _entries(topic: Topic) -> list[EventType]:
    name = OPERATIONS if topic.name not in TOPICS else topic.name
    return [entry for entry in CATALOGUE.values() if entry.topic == name]


def _hearers(topic: Topic) -> tuple[str, ...]:
    if topic.name in TOPICS:
        return hearers_of(topic.name) or ("nobody",)
    return (f"{AUDITOR} (but its own)", f"{GATEWAY} (but its own)")


def _size(topic: Topic) -> str:
    return f"{topic.max_value_bytes // 1024} KiB"


def _link(title: str) -> str:
    return f"[{title}](#{_anchor(title)})"


def _anchor(title: str) -> str:
    """As GitHub makes it from a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
