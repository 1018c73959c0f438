"""From raw records to the events that are wanted: decoded, checked, and where asked for verified."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from cairn.events.catalogue import CATALOGUE, OUTSIDE, TOPICS, EventType, carries, type_of
from cairn.events.codec import JSON_TYPE, STRUCTURED_TYPE, Malformed
from cairn.events.envelope import ATTRIBUTES, cause_name
from cairn.events.event import Event
from cairn.events.identity import Installation
from cairn.events.instants import parse_instant
from cairn.events.predictions import PredictionsServed
from cairn.events.registry import ModelPromoted
from cairn.events.signing import Trust
from cairn.records import as_record
from cairn.subscriber.hearing import hear
from cairn.subscriber.receipt import receipt_faults

OTHER_TYPE = Malformed("other-type", "nobody asked for events of this type")
"""An event of the catalogue that is not wanted; whether it counts was not looked at."""

_HEADERS = frozenset(("content-type", *(f"ce_{name}" for name in ATTRIBUTES)))
_PRINTABLE = bytes(range(0x20, 0x7F))
_STRUCTURED = STRUCTURED_TYPE.encode()
_JSON = JSON_TYPE.encode()
_KNOWN = frozenset(name.encode() for name in CATALOGUE)


class Wanted(NamedTuple):
    """A type that is wanted, and what its usual record looks like."""

    entry: EventType
    validate: Callable[..., Any]
    """Makes the facts from JSON."""
    topic: str
    """As Kafka knows it; empty where events of the type lie on several, or are written by programs of any kind."""
    most_bytes: int
    keyed_by_subject: bool
    """Whether its key is its subject, as that of almost every type."""

    @classmethod
    def of(cls, facts: type[Event], installation: Installation) -> "Wanted":
        """What the catalogue says of a class of events."""
        entry = type_of(facts)
        topic = TOPICS.get(entry.topic)
        usual = topic is not None and topic.owner not in OUTSIDE
        name, most_bytes = (installation.topic(topic.name), topic.max_value_bytes) if topic and usual else ("", 0)
        return cls(entry, TypeAdapter(facts).validator.validate_json, name, most_bytes, facts is not PredictionsServed)


class Arrived(NamedTuple):
    """A wanted event that counts."""

    raw: Any
    """The client's record."""
    facts: Event
    source: str
    id: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decides for each record whether it is a wanted event that counts."""

    installation: Installation
    trust: Trust | None
    """Whose signatures count; without it none is checked."""
    wanted: Mapping[bytes, Wanted]
    """The types that are wanted, by their names on the wire."""

    @classmethod
    def for_types(cls, types: Iterable[type[Event]], installation: Installation, trust: Trust | None) -> "Decoder":
        """A decoder for these classes of events."""
        wanted = [Wanted.of(facts, installation) for facts in types]
        return cls(installation, trust, {one.entry.name.encode(): one for one in wanted})

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on which the wanted events lie, without prefix."""
        return tuple(topic for topic in TOPICS if any(carries(topic, one.entry) for one in self.wanted.values()))

    def decode(self, batch: Sequence[Any]) -> Iterator[Arrived | Malformed]:
        """What each record of the client is, one by one: what is not kept costs no memory. Never raises."""
        if self.trust is not None:
            yield from map(self._any, batch)
            return
        usual, judge = self._usual, self._any
        for raw in batch:
            yield usual(raw) or judge(raw)

    def _usual(self, raw: Any) -> Arrived | Malformed | None:
        """The verdict on a record as our own publishers write it; None for any other, which `_any` judges.

        It never differs from that of `_any`: only a verdict that needs no more than these looks is given here.
        """
        headers: dict[str, Any] = dict(raw.headers)
        wanted = self.wanted.get(headers.get("ce_type", b""))
        if wanted is None or not wanted.topic or len(headers) != len(raw.headers) or not headers.keys() <= _HEADERS:
            return None
        entry, validate, topic, most_bytes, keyed_by_subject = wanted
        value = raw.value
        try:
            if b"".join(headers.values()).translate(None, _PRINTABLE):
                return None
            source, event_id = headers["ce_source"].decode(), headers["ce_id"].decode()
            facts = validate(value, strict=True, extra="ignore")
            subject = entry.subject_of(facts).encode()
            usual = (
                headers["content-type"] == _JSON
                and headers["ce_specversion"] == b"1.0"
                and raw.topic == topic
                and len(value) <= most_bytes
                and b"\\u0000" not in value
                and 0 < len(source) <= 256
                and 0 < len(event_id) <= 128
                and subject == headers["ce_subject"]
                and raw.key == (subject if keyed_by_subject else entry.key_of(facts).encode())
                and parse_instant(headers["ce_time"].decode()) is not None
                and headers.get("ce_causationid") != cause_name(source, event_id).encode()
            )
        except (KeyError, TypeError, ValidationError):
            return None
        return Arrived(raw, facts, source, event_id, False) if usual else None

    def _any(self, raw: Any) -> Arrived | Malformed:
        if self._is_other(raw):
            return OTHER_TYPE
        record = as_record(raw, self.installation)
        heard = hear(record, self.installation, self.trust)
        if isinstance(heard, Malformed):
            return heard
        envelope = heard.message.envelope
        if heard.message.entry.name.encode() not in self.wanted:
            return OTHER_TYPE
        if self.trust is not None and isinstance(heard.facts, ModelPromoted):
            faults = receipt_faults(heard.facts, self.installation)
            if faults:
                return Malformed("receipt", f"the receipt does not hold: {'; '.join(faults)}"[:1000])
        return Arrived(raw, heard.facts, envelope.source, envelope.id, heard.signed)

    def _is_other(self, raw: Any) -> bool:
        """Whether a record in binary mode names a type of the catalogue that is not wanted."""
        headers = dict(raw.headers)
        if (headers.get("content-type") or b"").startswith(_STRUCTURED):
            return False
        type_name = headers.get("ce_type")
        return type_name in _KNOWN and type_name not in self.wanted
