"""What a posted CloudEvent must be, beside its payload: its attributes, and the envelope that is made of them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cairn.events.catalogue import EventType
from cairn.events.codec import Malformed
from cairn.events.envelope import Envelope, schema_address
from cairn.events.instants import parse_instant
from cairn.events.plain_json import find_ambiguity
from gateway.domain.configuration import INWARD

MOST_EXTENSIONS = 16
_LONGEST_EXTENSION = 1024
_OURS = ("authid", "authtype", "basis", "hops", "keyid", "recordedtime", "signature")
"""Attributes that the gateway alone can know."""
_FORWARDED = ("causationid", "correlationid", "sequence", "traceparent")
_OF_EVERY_EVENT = frozenset(
    (*_OURS, "datacontenttype", "dataschema", "id", "source", "specversion", "subject", "time", "type")
)
_KNOWN = _OF_EVERY_EVENT.union(_FORWARDED)
_KEPT = frozenset((*_FORWARDED, "id", "source", "time"))
_NAME = re.compile(r"[a-z0-9]{1,64}")
_SEQUENCE = re.compile("[0-9]{20}")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_JSON = re.compile(r"application/(json|[a-z0-9.+-]+\+json)(;.*)?", re.IGNORECASE)

_FRAGMENT = "!$&'()*+,;=:@?"
"""What a URI fragment holds as it is, beside letters, digits and -._~ (RFC 3986, 3.5)."""

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a posted event."""

    attribute: str
    """The attribute; empty where it is in the payload."""
    text: str
    location: Location = ()
    """In the payload: the way to the field."""


@dataclass(frozen=True, slots=True)
class Given:
    """An event as it was posted, not yet judged."""

    attributes: Mapping[str, object]
    data: bytes
    """The payload alone, JSON."""
    rewritten: bool = False
    """Whether these bytes were written here, from what was parsed."""


def find_faults(attributes: Mapping[str, object]) -> Iterator[Fault]:
    """What is wrong with an event's attributes."""
    if attributes.get("specversion") != "1.0":
        yield Fault("specversion", "must be 1.0")
    for name, longest in (("id", 128), ("source", 256), ("type", 128)):
        value = attributes.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            yield Fault(name, f"is needed: a text of 1 to {longest} characters" + _WHY.get(name, ""))
    if isinstance(attributes.get("type"), str) and attributes["type"] not in INWARD:
        yield Fault("type", f"is not taken here; {', '.join(INWARD)} are")
    yield from _find_unreadable(attributes)
    time = attributes.get("time")
    if isinstance(time, str) and parse_instant(time) is None:
        yield Fault("time", "must be an RFC 3339 instant with an offset")
    sequence = attributes.get("sequence")
    if isinstance(sequence, str) and _SEQUENCE.fullmatch(sequence) is None:
        yield Fault("sequence", "must be twenty digits, or left out")
    yield from _find_foreign(attributes)


_WHY = {"id": ". With its source it names the event, so that posting it again does no harm"}


def _find_unreadable(attributes: Mapping[str, object]) -> Iterator[Fault]:
    for name, value in attributes.items():
        if name not in _KNOWN and _NAME.fullmatch(name) is None:
            yield Fault(name[:64], "is no name of an attribute: a-z and 0-9 are")
        elif isinstance(value, str):
            if not value.isprintable() and _FORBIDDEN.search(value):
                yield Fault(name, "holds a character that CloudEvents forbids")
        elif name in _KNOWN or not isinstance(value, bool | int):
            yield Fault(name, "must be a text")


def _find_foreign(attributes: Mapping[str, object]) -> Iterator[Fault]:
    for name in _OURS:
        if name in attributes:
            yield Fault(name, "is set by the gateway alone: leave it out")
    content_type = attributes.get("datacontenttype", "application/json")
    if isinstance(content_type, str) and _JSON.fullmatch(content_type) is None:
        yield Fault("datacontenttype", "must be JSON")
    carried = [name for name in attributes if name not in _OF_EVERY_EVENT]
    extensions = [name for name in carried if name not in _KNOWN]
    if len(extensions) > MOST_EXTENSIONS:
        yield Fault(min(extensions), f"is one of {len(extensions)} extensions; at most {MOST_EXTENSIONS} are carried")
    for name in carried:
        if len(str(attributes[name])) > _LONGEST_EXTENSION:
            yield Fault(name, f"is too long: at most {_LONGEST_EXTENSION} characters are carried")


def innermost(faults: Sequence[Fault]) -> list[Fault]:
    """Faults in a payload, without those of a whole (such as of a list's length) that follow from one inside it."""
    wholes = {fault.location[:depth] for fault in faults for depth in range(len(fault.location))}
    return [fault for fault in faults if fault.location not in wholes]


def fault_of(malformed: Malformed, content: object) -> Fault:
    """What readers would say of an event, at its place."""
    if malformed.code == "causation":
        return Fault("causationid", malformed.text)
    return Fault("", malformed.text, _locate_ambiguity(content) or ())


def _locate_ambiguity(content: object, location: Location = ()) -> Location | None:
    """The way to the first text that holds a character which may not stand in texts."""
    if isinstance(content, str):
        return location if find_ambiguity(json.dumps(content).encode()) else None
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found = (_locate_ambiguity(child, (*location, name)) for name, child in children)
    return next((one for one in found if one is not None), None)


def make_envelope(given: Mapping[str, object], entry: EventType, subject: str, principal: str, now: str) -> Envelope:
    """The envelope of an event without faults. The source stays the caller's."""
    known: dict[str, str] = {name: value for name, value in given.items() if name in _KEPT}  # type: ignore[misc]  # no fault: texts
    authtype, _, authid = principal.partition("/")
    known.setdefault("time", now)
    known["correlationid"] = known.get("correlationid") or known["id"]
    return Envelope(
        type=entry.name,
        subject=subject,
        recordedtime=now,
        authtype=authtype,
        authid=authid,
        dataschema=schema_address(entry.name),
        extensions=tuple((name, _text(value)) for name, value in given.items() if name not in _KNOWN),
        **known,
    )


def _text(value: object) -> str:
    """As CloudEvents writes an attribute's value as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pointer_to(location: Location, content: object) -> str:
    """A JSON Pointer (RFC 6901), as a URI fragment, to a field, or to where it is missing.

    What a location holds beyond the content, such as the name of an alternative, is left out.
    """
    steps: list[str] = []
    for part in location:
        if isinstance(content, dict) and isinstance(part, str):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            break
        steps.append(quote(str(part).replace("~", "~0").replace("/", "~1"), safe=_FRAGMENT, errors="replace"))
    return "#" + "".join(f"/{step}" for step in steps)
