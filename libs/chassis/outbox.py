"""All that was told, in order. What Kafka has not confirmed yet waits here: that part is the outbox."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from cairn.events.codec import EventTooLarge
from chassis import ledger
from chassis.database import Database
from chassis.kafka import Partition, partition_of
from chassis.upsert import upsert

MOST_ROWS = 500
MOST_DECISION_BYTES = 960 * 1024
"""All that one step tells goes out in one record batch, and Kafka takes a mebibyte."""
_told = ledger.TOLD.c
_KNOWN = select(_told.event_id, _told.type, _told.topic, _told.key, _told.value).where(
    or_(_told.event_id == bindparam("of_event"), _told.cause == bindparam("of_cause"))
)
_LAST_SEQUENCE = select(ledger.SEQUENCE.c.last).where(
    ledger.SEQUENCE.c.topic == bindparam("of_topic"), ledger.SEQUENCE.c.subject == bindparam("of_subject")
)
_LAST_POSITION = select(func.coalesce(func.max(_told.position), 0))
_ADD = insert(ledger.TOLD)
_ALL_WAITING = (
    select(_told.position, _told.topic, _told.key, _told.headers, _told.value, _told.decision)
    .where(_told.offset.is_(None))
    .order_by(_told.position)
)
_WAITING = _ALL_WAITING.limit(bindparam("most"))
_WAITING_OF_DECISION = _ALL_WAITING.where(_told.decision == bindparam("one"))
_CONFIRM = (
    update(ledger.TOLD)
    .where(_told.position == bindparam("row"))
    .values(partition=bindparam("at_partition"), offset=bindparam("at_offset"))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox on its way."""

    position: int
    topic: str
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    decision: int

    @property
    def partition(self) -> int:
        """The partition of its key."""
        return partition_of(self.topic, self.key)


def find_related(connection: Connection, event_id: str, cause: str) -> Sequence[Any]:
    """What was told under this id, and what was told because of the event with that name."""
    return connection.execute(_KNOWN, {"of_event": event_id, "of_cause": cause}).all()


def last_sequence(connection: Connection, topic: str, subject: str) -> int:
    """The last sequence number of a topic and subject; 0 if there is none."""
    return connection.execute(_LAST_SEQUENCE, {"of_topic": topic, "of_subject": subject}).scalar() or 0


def last_position(connection: Connection) -> int:
    """The place of the latest event among all that was told; 0 if there is none."""
    return int(connection.execute(_LAST_POSITION).scalar_one())


def add_told(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Append what is told."""
    connection.execute(_ADD, rows)


def refuse_too_large(rows: Iterable[dict[str, Any]]) -> None:
    """Raise EventTooLarge for a decision that no record batch holds: it would wait here for ever."""
    size = sum(len(row["key"]) + len(row["headers"]) + len(row["value"]) for row in rows)
    if size > MOST_DECISION_BYTES:
        raise EventTooLarge(f"one decision tells {size} bytes; at most {MOST_DECISION_BYTES} go out together")


def save_sequences(connection: Connection, last: dict[tuple[str, str], int]) -> None:
    """Store the last sequence numbers."""
    rows = [{"topic": topic, "subject": subject, "last": number} for (topic, subject), number in last.items()]
    connection.execute(upsert(connection, ledger.SEQUENCE, "topic", "subject"), rows)


def load_waiting(database: Database, limit: int = MOST_ROWS) -> list[Waiting]:
    """The oldest rows that Kafka has not confirmed, in order; a decision is never cut in two."""
    with database.read() as session:
        rows: Sequence[Any] = session.connection().execute(_WAITING, {"most": limit + 1}).all()
        if len(rows) > limit:
            cut = rows[-1].decision
            rows = [row for row in rows if row.decision != cut]
            rows = rows or session.connection().execute(_WAITING_OF_DECISION, {"one": cut}).all()
    return [Waiting(row.position, row.topic, row.key, _sendable(row.headers), row.value, row.decision) for row in rows]


def confirm(database: Database, places: Iterable[tuple[int, int, int]]) -> None:
    """Store where Kafka has put rows: (position, partition, offset)."""
    rows = [{"row": row, "at_partition": partition, "at_offset": offset} for row, partition, offset in places]
    with database.begin(deciding=False) as session:
        session.connection().execute(_CONFIRM, rows)


def count_waiting(database: Database) -> int:
    """How many events Kafka has not confirmed."""
    query = select(func.count()).select_from(ledger.TOLD).where(_told.offset.is_(None))
    with database.read() as session:
        return int(session.execute(query).scalar_one())


def confirmed_ends(connection: Connection) -> dict[Partition, int]:
    """For each own partition: the offset after the last confirmed event."""
    rows = connection.execute(
        select(_told.topic, _told.partition, func.max(_told.offset))
        .where(_told.offset.is_not(None))
        .group_by(_told.topic, _told.partition)
    )
    return {(topic, partition): offset + 1 for topic, partition, offset in rows}


def position_of(connection: Connection, event_id: str) -> int | None:
    """Where an event stands among all that was told; None if it was never told."""
    return connection.execute(select(_told.position).where(_told.event_id == event_id)).scalar()


def earliest_unconfirmed(connection: Connection) -> dict[Partition, int]:
    """For each heard partition: the first record whose answer Kafka has not confirmed."""
    rows = connection.execute(
        select(_told.heard_topic, _told.heard_partition, func.min(_told.heard_offset))
        .where(_told.offset.is_(None), _told.heard_offset.is_not(None))
        .group_by(_told.heard_topic, _told.heard_partition)
    )
    return {(topic, partition): offset for topic, partition, offset in rows}


def _sendable(headers: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value or b"") for name, value in ledger.parse_headers(headers))
