"""The chassis's own tables: what was heard, what was told, what is parked, who works on what."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from cairn.broker import partition_of
from cairn.events.codec import Message, Outgoing, Record
from cairn.events.envelope import cause_name, hops_of
from cairn.events.identity import Cause
from cairn.events.values import EventRef

PREFIX = "chassis_"
METADATA = MetaData()

META = Table(
    f"{PREFIX}meta", METADATA, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
"""Small facts about the store itself, e.g. that a rebuild is under way."""

POSITION = Table(
    f"{PREFIX}position",
    METADATA,
    Column("consumer", String(64), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The next record to take, for each consumer and partition."""

INBOX = Table(
    f"{PREFIX}inbox",
    METADATA,
    Column("source", String(256), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("digest", String(71), nullable=False),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The events that were applied."""

_HEARD = ("heard_topic", "heard_partition", "heard_offset")
_ONLY_WAITING: dict[str, Any] = {f"{dialect}_where": text('"offset" IS NULL') for dialect in ("sqlite", "postgresql")}

TOLD = Table(
    f"{PREFIX}told",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("type", String(128), nullable=False),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("decision", BigInteger, nullable=False),
    Column("cause", String(400), nullable=False),
    Column("heard_topic", String(249)),
    Column("heard_partition", Integer),
    Column("heard_offset", BigInteger),
    Column("recorded_at", String(32), nullable=False),
    Column("offset", BigInteger),
    # The first four columns lead the relay to each partition's rows; the others say alone what holds back the group.
    Index(f"{PREFIX}told_waiting", "topic", "partition", "decision", "position", *_HEARD, "offset", **_ONLY_WAITING),
    Index(f"{PREFIX}told_cause", "cause"),
)
"""All that was told, in order: the outbox is what has no offset yet."""

SEQUENCE = Table(
    f"{PREFIX}sequence",
    METADATA,
    Column("topic", String(249), primary_key=True),
    Column("subject", String(256), primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The last sequence number told, for each topic and subject."""

PARKED = Table(
    f"{PREFIX}parked",
    METADATA,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("timestamp", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("headers", Text, nullable=False),
    Column("value", LargeBinary),
    Column("code", String(128), nullable=False),
    Column("text", Text, nullable=False),
    Column("parking", Integer, nullable=False),
    Column("state", String(16), nullable=False),
)
"""Records that could not be handled, raw. State: parked, redriven or discarded."""

LEASE = Table(
    f"{PREFIX}lease",
    METADATA,
    Column("work", String(64), primary_key=True),
    Column("task", String(256), primary_key=True),
    Column("token", String(36)),
    Column("attempt", Integer, nullable=False),
    Column("expires_at", Float, nullable=False),
    UniqueConstraint("token"),
)
"""Who works on what, until when (seconds since 1970)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An event as a row remembers it, so that what follows later can name it as its cause."""

    topic: str
    source: str
    id: str
    type: str
    digest: str
    story: str
    time: str
    traceparent: str = ""
    principal: str = ""
    """Who is responsible: `person/ada`, `service/registry`; empty where nobody is named."""
    keyid: str = ""
    """The key that signed it; empty where none did."""
    hops: int = 0
    """How many services in turn led to it since its story began."""

    @property
    def cause(self) -> Cause:
        """The event as a cause."""
        return Cause(self.topic, self.source, self.id)

    @property
    def name(self) -> str:
        """The event as `causationid` names it."""
        return cause_name(self.source, self.id)

    @property
    def ref(self) -> EventRef:
        """The event as other events name it."""
        return EventRef(source=self.source, id=self.id, type=self.type, digest=self.digest)

    def dump(self) -> str:
        """As a column keeps it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """From a column."""
        return cls(**json.loads(text))

    @classmethod
    def of(cls, message: Message) -> "Origin":
        """From an event that was heard."""
        envelope = message.envelope
        return cls(
            topic=message.record.topic,
            source=envelope.source,
            id=envelope.id,
            type=envelope.type,
            digest=message.record.digest,
            story=envelope.story,
            time=envelope.time,
            traceparent=envelope.traceparent,
            principal=envelope.principal,
            keyid=envelope.keyid,
            hops=hops_of(envelope),
        )


def dump_headers(headers: tuple[tuple[str, bytes | None], ...]) -> str:
    """Headers as a column keeps them: any bytes survive."""
    return json.dumps([[name, None if value is None else value.decode("latin-1")] for name, value in headers])


def parse_headers(text: str) -> tuple[tuple[str, bytes | None], ...]:
    """Headers from a column."""
    return tuple((name, None if value is None else value.encode("latin-1")) for name, value in json.loads(text))


def told_row(outgoing: Outgoing, bare_topic: str) -> dict[str, object]:
    """The columns of what is told that come from its bytes."""
    return {
        "topic": bare_topic,
        "partition": partition_of(bare_topic, outgoing.key),
        "key": outgoing.key,
        "headers": dump_headers(outgoing.headers),
        "value": outgoing.value,
    }


def parked_record(row: dict[str, object]) -> Record:
    """A parked row as the record that it was."""
    return Record(
        topic=str(row["topic"]),
        partition=int(row["partition"]),  # type: ignore[call-overload]  # a row's columns are typed by the table
        offset=int(row["offset"]),  # type: ignore[call-overload]  # as above
        timestamp=int(row["timestamp"]),  # type: ignore[call-overload]  # as above
        key=row["key"],  # type: ignore[arg-type]  # as above
        headers=parse_headers(str(row["headers"])),
        value=row["value"],  # type: ignore[arg-type]  # as above
    )
