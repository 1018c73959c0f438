"""Events on Kafka: CloudEvents, binary mode out; binary and structured mode in.

Reading is a total function: whatever lies in the log, it answers with a message or with the reason why it is none.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from cairn.events.catalogue import CATALOGUE, OPERATIONS, OUTSIDE, TOPICS, EventType, Topic, carries
from cairn.events.envelope import ATTRIBUTES, Envelope, cause_name, hops_of
from cairn.events.event import Event
from cairn.events.identity import Cause, Installation
from cairn.events.instants import parse_instant
from cairn.events.plain_json import find_ambiguity, find_ambiguity_in_rewritten, find_nul
from cairn.events.record import Headers, Malformed, Record
from cairn.events.signing import Signer, Trust, signed_bytes, source_matches
from cairn.events.structured import STRUCTURED_TYPE, unwrap
from cairn.events.upcasting import VERSIONS, Versions
from cairn.events.values import EventRef, format_instant

JSON_TYPE = "application/json"
_FIELDS = frozenset(ATTRIBUTES) - {"specversion"}
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Stands in a header's name for what was not UTF-8 there."""
_CREATE_TIME = 0
_MOST_HEADERS = 64
_MOST_HOPS = 50


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it was heard: its envelope, its type, its bytes and where it lay."""

    record: Record
    envelope: Envelope
    entry: EventType
    attributes: tuple[tuple[str, str], ...]
    content_type: str
    data: bytes
    """The payload alone, JSON."""

    @property
    def cause(self) -> Cause:
        """This event, as the cause of what follows from it."""
        return Cause(self.record.topic, self.envelope.source, self.envelope.id)

    @property
    def ref(self) -> EventRef:
        """This event, named with its digest."""
        return EventRef(
            source=self.envelope.source, id=self.envelope.id, type=self.envelope.type, digest=self.record.digest
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """A message whose owner, signature and schema were checked."""

    message: Message
    facts: Event
    signed: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as it goes to Kafka: final bytes, signed."""

    topic: str
    """As Kafka knows it, prefix included."""
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


class EventTooLarge(ValueError):
    """An event is larger than its topic admits; what is large belongs into an object."""


def read(record: Record, versions: Versions = VERSIONS) -> Message | Malformed:
    """What a record says. Never raises: a hostile record is `Malformed` with the reason."""
    if record.value is None:
        return Malformed("tombstone", "the record has no value")
    if not record.value:
        return Malformed("empty", "the record's value is empty")
    headers = _text_headers(record.headers)
    if isinstance(headers, Malformed):
        return headers
    if headers.get("content-type", "").startswith(STRUCTURED_TYPE):
        unwrapped = unwrap(record)
        if isinstance(unwrapped, Malformed):
            return unwrapped
        return _message(record, *unwrapped, versions)
    if "ce_id" not in headers and "ce_type" not in headers:
        return Malformed("not-a-cloudevent", "there are neither ce_ headers nor a structured CloudEvent")
    attributes = tuple((name[3:], text) for name, text in headers.items() if name.startswith("ce_"))
    return _message(record, attributes, headers.get("content-type", ""), record.value, versions)


def _text_headers(headers: Headers) -> dict[str, str] | Malformed:
    if len(headers) > _MOST_HEADERS:
        return Malformed("header", f"there are {len(headers)} headers; at most {_MOST_HEADERS} are admitted")
    texts: dict[str, str] = {}
    for name, value in headers:
        if not name.isascii() and _SURROGATE.search(name):
            return Malformed("header", f"the name of the header {name!r} is not UTF-8"[:300])
        if not name.startswith("ce_") and name != "content-type":
            continue
        if value is None or name in texts:
            return Malformed("header", f"the header {name!r} has no value or is there twice")
        try:
            texts[name] = value.decode()
        except UnicodeDecodeError:
            return Malformed("header", f"the header {name!r} is not UTF-8")
    return texts


def _message(
    record: Record, attributes: tuple[tuple[str, str], ...], content_type: str, data: bytes, versions: Versions
) -> Message | Malformed:
    if any(_FORBIDDEN.search(name) or _FORBIDDEN.search(text) for name, text in attributes):
        return Malformed("header", "an attribute holds a character that CloudEvents forbids")
    known: dict[str, str] = {name: text for name, text in attributes if name in _FIELDS}
    event_id, source, type_name = (known.get(name, "") for name in ("id", "source", "type"))
    if not 0 < len(event_id) <= 128 or not 0 < len(source) <= 256:
        return Malformed("identity", "id must have 1 to 128 characters and source 1 to 256")
    if dict(attributes).get("specversion") != "1.0":
        return Malformed("not-a-cloudevent", "specversion must be there and say 1.0")
    entry = versions.find(type_name)
    if entry is None:
        return _unknown_type(type_name, versions)
    known.setdefault("subject", (record.key or b"").decode(errors="replace"))
    if "time" not in known:
        known["time"] = format_instant(appended_at(record))
    return Message(record, Envelope(**known), entry, attributes, content_type, data)  # type: ignore[arg-type]  # only texts are among the known


def _unknown_type(type_name: str, versions: Versions) -> Malformed:
    if versions.knows_another(type_name):
        return Malformed("unsupported-version", f"this version of Cairn cannot read {type_name!r}"[:300])
    return Malformed("unknown-type", f"the catalogue has no type {type_name!r}"[:300])


def check(
    message: Message, installation: Installation, trust: Trust, versions: Versions = VERSIONS
) -> Heard | Malformed:
    """Whether a message counts: topic and owner, signature, schema, key. Never raises."""
    if astray := check_topic(message):
        return astray
    signed = _check_signature(message, installation, trust)
    if isinstance(signed, Malformed):
        return signed
    if unfit := check_payload(message.envelope, message.data, TOPICS[message.record.topic]):
        return unfit
    try:
        facts = versions.parse(message.envelope.type, message.data)
    except ValidationError as error:
        return Malformed("schema", _first_fault(error))
    return _check_key(message, facts) or Heard(message, facts, signed)


def check_payload(envelope: Envelope, data: bytes, topic: Topic, *, rewritten: bool = False) -> Malformed | None:
    """Why an event cannot count on its topic, whoever signed it and whatever its schema says; None if it may.

    `rewritten` says that a JSON library parsed the payload and wrote these bytes.
    """
    if len(data) > topic.max_value_bytes:
        return Malformed("too-large", f"the payload has {len(data)} bytes, {topic.max_value_bytes} are admitted")
    if envelope.causationid == cause_name(envelope.source, envelope.id):
        return Malformed("causation", "the event names itself as its cause")
    if parse_instant(envelope.time) is None:
        return Malformed("time", f"the time {envelope.time!r} is not an RFC 3339 instant with an offset"[:300])
    find = find_nul if topic.owner not in OUTSIDE else find_ambiguity_in_rewritten if rewritten else find_ambiguity
    ambiguity = find(data)
    return Malformed("schema", ambiguity) if ambiguity else None


def check_topic(message: Message) -> Malformed | None:
    """Why a message does not belong where it lies; None if it does."""
    if message.record.topic in TOPICS and carries(message.record.topic, message.entry):
        return None
    return Malformed("wrong-topic", f"{message.entry.name} does not belong on {message.record.topic}")


def check_hops(message: Message) -> Malformed | None:
    """Why no service may go on from an event, though it counts: too many have led to it; None if it may."""
    hops = hops_of(message.envelope)
    if hops <= _MOST_HOPS:
        return None
    return Malformed(
        "causation", f"{hops} services in turn led to this event, more than {_MOST_HOPS}: they are in a loop"
    )


def _check_key(message: Message, facts: Event) -> Malformed | None:
    if message.entry.topic == OPERATIONS and not message.record.topic.endswith(f".{message.entry.entity_of(facts)}"):
        return Malformed("wrong-topic", f"{message.record.topic} tells nothing of {message.entry.entity_of(facts)}")
    subject, key = message.entry.subject_of(facts), message.entry.key_of(facts)
    if message.envelope.subject != subject or message.record.key != key.encode():
        return Malformed(
            "key-mismatch", f"the payload is about {subject}: subject must say so and the key must be {key}"
        )
    return None


def signed_source(record: Record, installation: Installation, trust: Trust) -> str:
    """Who signed a record, whether or not its type is known and its facts can be read; empty where nobody did."""
    headers = _text_headers(record.headers)
    if isinstance(headers, Malformed) or record.value is None:
        return ""
    attributes = tuple((name[3:], text) for name, text in headers.items() if name.startswith("ce_"))
    known = dict.fromkeys(("id", "source", "type", "subject", "time"), "")
    known |= {name: text for name, text in attributes if name in _FIELDS}
    any_type = next(iter(CATALOGUE.values()))  # no signature depends on it
    content_type = headers.get("content-type", "")
    message = Message(record, Envelope(**known), any_type, attributes, content_type, record.value)  # type: ignore[arg-type]  # as in _message
    return message.envelope.source if _check_signature(message, installation, trust) is True else ""


def _check_signature(message: Message, installation: Installation, trust: Trust) -> bool | Malformed:
    envelope, topic = message.envelope, message.record.topic
    if not envelope.signature:
        if trust.admits_unsigned(envelope.source, topic):
            return False
        return Malformed("unsigned", f"{envelope.source} may not speak unsigned on {topic}")
    key = trust.key(envelope.keyid)
    if key is None:
        return Malformed("signature", f"the trust file knows no key {envelope.keyid!r}"[:300])
    if topic not in key.topics or not any(source_matches(one, envelope.source) for one in key.sources):
        return Malformed("not-allowed", f"the key {key.keyid} may not speak for {envelope.source} on {topic}")
    if not key.vouches_for(envelope.authtype, envelope.authid):
        return Malformed(
            "not-allowed", f"the key {key.keyid} of {key.principal} may not speak for {envelope.authid}"[:300]
        )
    if key.not_after_at and message.record.timestamp_type == _CREATE_TIME:
        return Malformed(
            "signature",
            f"the key {key.keyid} has an end, and when this was written only its writer says: the topic must be set "
            "to message.timestamp.type=LogAppendTime",
        )
    if not key.valid_at(appended_at(message.record)):
        return Malformed("signature", f"the key {key.keyid} does not count at that time")
    data = signed_bytes(
        installation.topic(topic), message.record.key, message.content_type, message.attributes, message.data
    )
    if not key.signed(envelope.signature, data):
        return Malformed("signature", "the signature does not fit the event")
    return True


def appended_at(record: Record) -> datetime:
    """When Kafka appended it; what lies outside the calendar is moved to its nearest end."""
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime(9999, 12, 31, tzinfo=UTC) if record.timestamp > 0 else datetime(1970, 1, 1, tzinfo=UTC)


def _first_fault(error: ValidationError) -> str:
    faults: list[Any] = error.errors(include_url=False, include_input=False)
    where = ".".join(str(part) for part in faults[0]["loc"]) or "the payload"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where}: {faults[0]['msg']}{more}"[:1000]


def write(facts: Event, envelope: Envelope, topic: str, installation: Installation, signer: Signer | None) -> Outgoing:
    """The bytes of an event, in binary mode, signed where a signer is given.

    `topic` is without prefix. Raises EventTooLarge.
    """
    value = facts.model_dump_json().encode()
    limit = TOPICS[topic].max_value_bytes
    if len(value) > limit:
        raise EventTooLarge(f"{envelope.type} has {len(value)} bytes, {topic} admits {limit}: put it into an object")
    return write_bytes(value, CATALOGUE[envelope.type].key_of(facts), envelope, topic, installation, signer)


def write_bytes(
    value: bytes, key: str, envelope: Envelope, topic: str, installation: Installation, signer: Signer | None
) -> Outgoing:
    """As `write`, for a payload that is already bytes."""
    attributes = [("specversion", "1.0"), *envelope.extensions]
    attributes += [(name, text) for name in ATTRIBUTES if name in _FIELDS and (text := getattr(envelope, name))]
    if signer:
        attributes = [(name, text) for name, text in attributes if name not in ("keyid", "signature")]
        attributes.append(("keyid", signer.keyid))
        data = signed_bytes(installation.topic(topic), key.encode(), JSON_TYPE, attributes, value)
        attributes.append(("signature", signer.sign(data)))
    headers = (("content-type", JSON_TYPE.encode()), *((f"ce_{name}", text.encode()) for name, text in attributes))
    return Outgoing(installation.topic(topic), key.encode(), headers, value)
