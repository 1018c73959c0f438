"""One step of a service: what it knows, what it decides, what it tells; committed whole or not at all."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection
from sqlmodel import Session

from cairn.broker import partition_of
from cairn.events.catalogue import OPERATIONS, TOPICS, topic_for, type_of
from cairn.events.codec import Record, write
from cairn.events.envelope import Envelope, format_sequence, hops_of, schema_address
from cairn.events.event import Event
from cairn.events.identity import Cause, Installation, told_id
from cairn.events.monitoring import RetrainingAdvised
from cairn.events.operations import RequestRefused
from cairn.events.signing import Signer
from cairn.events.values import EventRef, Reason, format_instant
from chassis import ledger, outbox
from chassis.ledger import Origin

_REFUSED = type_of(RequestRefused).name


class NotOwner(Exception):
    """A service tried to tell what only another may tell."""


class TwoDecisions(Exception):
    """One step told events with different keys: they could not be told as one."""


@dataclass(frozen=True, slots=True)
class Voice:
    """In whose name a service speaks."""

    service: str
    installation: Installation
    signer: Signer
    code: str
    """The version of the code, for `basis`."""

    @property
    def source(self) -> str:
        """Its CloudEvents source."""
        return self.installation.source(self.service)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a heard record lay."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def of(cls, record: Record) -> "Place":
        """Where this one lay."""
        return cls(record.topic, record.partition, record.offset)


@dataclass(slots=True)
class Told:
    """An event that this step tells, with its final bytes."""

    facts: Event
    origin: Origin
    subject: str
    sequence: int
    row: dict[str, object]


@dataclass
class Transaction:
    """What a handler is given. It reads the store through `session`, and tells; it never writes."""

    session: Session
    now: datetime
    """The clock, read once for the whole transaction."""
    voice: Voice
    cause: Origin
    """The event that led to this step."""
    positions: dict[tuple[str, int], int]
    """The next offset of each heard partition."""
    place: Place | None = None
    """Where the record at hand lies: the group does not pass it before Kafka has confirmed what this step tells."""
    attempt: int | None = None
    """Of work that is tried again: which attempt this is."""
    told: list[Told] = field(default_factory=list)
    told_before: int = 0
    """How many events the service had told before this step; looked up when it tells."""
    _counted: dict[tuple[str, str], int] = field(default_factory=dict)

    @cached_property
    def connection(self) -> Connection:
        """The session's connection, for the chassis's own tables."""
        return self.session.connection()

    def tell(self, facts: Event, n: int | str | None = None, *, fenced: bool = False) -> EventRef:
        """Tell the world, if and only if this transaction commits; returns how the event is named.

        `n` sets apart several events of one type and subject from one cause; it is counted unless given. Telling
        what was told already tells nothing; nor does another decision on a key on which the cause led to one in an
        earlier life of the store, unless it is `fenced`: the store itself shows the handler that it was told, whatever
        led to it, and the cause may have led to something else first. Raises NotOwner, TwoDecisions, EventTooLarge.
        """
        entry = type_of(facts)
        topic = topic_for(entry, self.voice.service)
        if topic.owner != self.voice.service:
            raise NotOwner(f"{self.voice.service} may not tell {entry.name}: {topic.name} belongs to {topic.owner}")
        subject, key = entry.subject_of(facts), entry.key_of(facts)
        event_id = self._id_for(entry.name, subject, n)
        known = self._known(event_id, entry.name, topic.name, key, fenced=fenced)
        if known is not None:
            return known
        self._refuse_second_key(topic.name, key)
        sequence = self._next_sequence(topic.name, subject)
        envelope = self._envelope(facts, event_id, entry.name, subject, sequence)
        outgoing = write(facts, envelope, topic.name, self.voice.installation, self.voice.signer)
        origin = self._origin(topic.name, envelope, outgoing.value)
        self.told.append(Told(facts, origin, subject, sequence, self._row(envelope, topic.name, outgoing)))
        return origin.ref

    def store_told(self) -> None:
        """Append what was told to all that the service has told; it waits there for Kafka. Raises EventTooLarge."""
        if not self.told:
            return
        before = self.told_before
        rows = [
            {**told.row, "position": before + n, "decision": before + 1} for n, told in enumerate(self.told, start=1)
        ]
        outbox.refuse_too_large(rows)
        outbox.add_told(self.connection, rows)
        last = {(str(told.row["topic"]), told.subject): told.sequence for told in self.told}
        outbox.save_sequences(self.connection, last)

    def refuse(self, code: str, text: str) -> EventRef:
        """Answer the request at hand with a refusal."""
        reason = Reason(code=code, text=text)
        return self.tell(RequestRefused(service=self.voice.service, request=self.cause.ref, reason=reason))

    def log_origin(self, topic: str, subject: str) -> str:
        """The audit log in which what is told on a topic about a subject can be proved."""
        partition = partition_of(topic, subject.encode())
        return f"{self.voice.installation.name}/{topic}/{partition}"

    def _id_for(self, type_name: str, subject: str, n: int | str | None) -> str:
        if n is None:
            n = self._counted.get((type_name, subject), 0)
            self._counted[type_name, subject] = n + 1
        if self.attempt is not None:
            n = f"{self.attempt}.{n}"
        voice = self.voice
        return told_id(voice.installation.namespace, voice.source, self.cause.cause, type_name, subject, n)

    def _known(self, event_id: str, type_name: str, topic: str, key: str, *, fenced: bool) -> EventRef | None:
        """What was told already under this id; or what this cause led to on this key in an earlier life of the store:
        decided is decided."""
        for told in self.told:
            if told.origin.id == event_id:
                return told.origin.ref
        for row in outbox.find_related(self.connection, event_id, self.cause.name):
            same = self.place is not None and not fenced and _is_same_decision(row, type_name, topic, key)
            if same or row.event_id == event_id:
                return _ref(self.voice.source, row.event_id, row.type, row.value)
        return None

    def _refuse_second_key(self, topic: str, key: str) -> None:
        mine = (topic, key.encode())
        others = {(str(told.row["topic"]), told.row["key"]) for told in self.told}
        clash = {other for other in others | {mine} if not other[0].startswith(OPERATIONS)}
        if len(clash) > 1:
            raise TwoDecisions(f"one step told on {sorted(clash, key=str)}: make it two steps")

    def _next_sequence(self, topic: str, subject: str) -> int:
        self.told_before, last = outbox.last_numbers(self.connection, topic, subject)
        return last + sum(1 for one in self.told if (one.row["topic"], one.subject) == (topic, subject)) + 1

    def _envelope(self, facts: Event, event_id: str, type_name: str, subject: str, sequence: int) -> Envelope:
        instant = format_instant(self.now)
        return Envelope(
            id=event_id,
            source=self.voice.source,
            type=type_name,
            subject=subject,
            time=instant,
            recordedtime=instant,
            correlationid=event_id if isinstance(facts, RetrainingAdvised) else self.cause.story,
            causationid=self.cause.name,
            authtype="service",
            authid=self.voice.service,
            sequence=format_sequence(sequence),
            basis=self._basis(),
            hops=self._hops(facts),
            dataschema=schema_address(type_name),
            traceparent=self.cause.traceparent,
        )

    def _hops(self, facts: Event) -> str:
        """One more where another's event led to this: what a service makes of its own events is no loop."""
        if isinstance(facts, RetrainingAdvised):  # begins a story
            return "0"
        return str(self.cause.hops + (self.cause.source != self.voice.source))

    def _basis(self) -> str:
        positions: dict[str, list[int]] = {}
        for (topic, partition), position in sorted(self.positions.items()):
            positions.setdefault(topic, [0] * TOPICS[topic].partitions)[partition] = position
        heard = " ".join(f"{topic}={'.'.join(map(str, offsets))}" for topic, offsets in positions.items())
        return f"{heard};told={self.told_before + len(self.told)};code={self.voice.code}"

    def _origin(self, topic: str, envelope: Envelope, value: bytes) -> Origin:
        ref = _ref(envelope.source, envelope.id, envelope.type, value)
        return Origin(
            topic=topic,
            source=envelope.source,
            id=envelope.id,
            type=envelope.type,
            digest=ref.digest,
            story=envelope.story,
            time=envelope.time,
            traceparent=envelope.traceparent,
            principal=envelope.principal,
            keyid=self.voice.signer.keyid,
            hops=hops_of(envelope),
        )

    def _row(self, envelope: Envelope, topic: str, outgoing: object) -> dict[str, object]:
        return {
            "event_id": envelope.id,
            "type": envelope.type,
            **ledger.told_row(outgoing, topic),  # type: ignore[arg-type]  # write() returned it
            "cause": envelope.causationid,
            "heard_topic": self.place.topic if self.place else None,
            "heard_partition": self.place.partition if self.place else None,
            "heard_offset": self.place.offset if self.place else None,
            "recorded_at": envelope.recordedtime,
        }


def _is_same_decision(row: Any, type_name: str, topic: str, key: str) -> bool:
    """Whether what one cause led to before stands where this would: on the same key, or as a request's one answer."""
    if _REFUSED in (row.type, type_name):
        return True
    return not topic.startswith(OPERATIONS) and (row.topic, row.key) == (topic, key.encode())


def _ref(source: str, event_id: str, type_name: str, value: bytes) -> EventRef:
    return EventRef(source=source, id=event_id, type=type_name, digest="sha256:" + hashlib.sha256(value).hexdigest())


def unreadable_cause(place: Place) -> Origin:
    """A record that could not be read, as a cause: named by its place."""
    cause = Cause.unreadable(place.topic, place.partition, place.offset)
    return Origin(
        topic=cause.topic,
        source=cause.source,
        id=cause.id,
        type="",
        digest="sha256:" + "0" * 64,
        story=cause.id,
        time="",
    )
