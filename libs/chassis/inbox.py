"""The events that were applied: each identity counts once."""

from enum import Enum

from sqlalchemy import Connection, bindparam, select

from cairn.events.codec import Message, Record
from cairn.events.values import EventRef
from chassis import ledger
from chassis.upsert import insert_or_ignore

_DIGEST = select(ledger.INBOX.c.digest).where(
    ledger.INBOX.c.source == bindparam("of_source"), ledger.INBOX.c.id == bindparam("of_id")
)


_DIGEST_AT = select(ledger.INBOX.c.digest).where(
    ledger.INBOX.c.topic == bindparam("of_topic"),
    ledger.INBOX.c.partition == bindparam("of_partition"),
    ledger.INBOX.c.offset == bindparam("of_offset"),
)


class Claim(Enum):
    """What an event is to this store."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """Its id was used before, for other content."""


def claim(connection: Connection, message: Message) -> Claim:
    """Take an event in, if it is new."""
    envelope, record = message.envelope, message.record
    row = {
        "source": envelope.source,
        "id": envelope.id,
        "digest": record.digest,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    # Not by its row count: of an insert, psycopg's is -1 through SQLAlchemy.
    taken_in = insert_or_ignore(connection, ledger.INBOX, ledger.INBOX.c.id)
    if connection.execute(taken_in, row).first() is not None:
        return Claim.NEW
    before = connection.execute(_DIGEST, {"of_source": envelope.source, "of_id": envelope.id}).scalar_one()
    return Claim.DUPLICATE if before == row["digest"] else Claim.CONFLICT


def holds(connection: Connection, ref: EventRef) -> bool:
    """Whether an event was applied."""
    found = connection.execute(_DIGEST, {"of_source": ref.source, "of_id": ref.id}).scalar()
    return found is not None


def applied_digest(connection: Connection, record: Record) -> str | None:
    """The digest of the event that was applied from this place in the log; None if none was."""
    place = {"of_topic": record.topic, "of_partition": record.partition, "of_offset": record.offset}
    digest: str | None = connection.execute(_DIGEST_AT, place).scalar()
    return digest
