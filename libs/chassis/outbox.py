"""All that was told, in order. What Kafka has not confirmed yet waits here: that part is the outbox."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, tuple_, update

from cairn.events.codec import EventTooLarge
from chassis import ledger
from chassis.database import Database
from chassis.kafka import Partition
from chassis.upsert import upsert

MOST_ROWS = 500
MOST_DECISION_BYTES = 960 * 1024
"""All that one step tells goes out in one record batch, and Kafka takes a mebibyte."""
_told = ledger.TOLD.c
_KNOWN = select(_told.event_id, _told.type, _told.topic, _told.key, _told.value).where(
    or_(_told.event_id == bindparam("of_event"), _told.cause == bindparam("of_cause"))
)
_LAST_NUMBERS = select(
    select(func.coalesce(func.max(_told.position), 0)).scalar_subquery(),
    select(ledger.SEQUENCE.c.last)
    .where(ledger.SEQUENCE.c.topic == bindparam("of_topic"), ledger.SEQUENCE.c.subject == bindparam("of_subject"))
    .scalar_subquery(),
)
_ADD = insert(ledger.TOLD)
_FIRST_PARTITION = (
    select(_told.topic, _told.partition).where(_told.offset.is_(None)).order_by(_told.topic, _told.partition).limit(1)
)
_NEXT_PARTITION = _FIRST_PARTITION.where(
    tuple_(_told.topic, _told.partition) > tuple_(bindparam("topic"), bindparam("number"))
)
_ALL_WAITING = (
    select(_told.position, _told.topic, _told.partition, _told.key, _told.headers, _told.value, _told.decision)
    .where(_told.topic == bindparam("topic"), _told.partition == bindparam("number"), _told.offset.is_(None))
    .order_by(_told.decision, _told.position)  # the order of positions, and one that only the right index offers
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
    partition: int
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    decision: int


def find_related(connection: Connection, event_id: str, cause: str) -> Sequence[Any]:
    """What was told under this id, and what was told because of the event with that name."""
    return connection.execute(_KNOWN, {"of_event": event_id, "of_cause": cause}).all()


def find_told(connection: Connection, *type_names: str) -> list[tuple[str, bytes]]:
    """All that was told of these types, in order: type and value."""
    query = select(_told.type, _told.value).where(_told.type.in_(type_names)).order_by(_told.position)
    return [(type_name, value) for type_name, value in connection.execute(query)]


def last_numbers(connection: Connection, topic: str, subject: str) -> tuple[int, int]:
    """The place of the latest event among all that was told, and the last sequence number of a topic and subject.

    Each is 0 if there is none.
    """
    position, sequence = connection.execute(_LAST_NUMBERS, {"of_topic": topic, "of_subject": subject}).one()
    return position, sequence or 0


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


def load_waiting(database: Database, limit: int = MOST_ROWS, busy: Collection[Partition] = ()) -> list[Waiting]:
    """Of each partition that is not busy the oldest rows that Kafka has not confirmed, in order.

    A decision is never cut in two within a partition.
    """
    with database.read() as session:
        connection = session.connection()
        rows = [
            row
            for partition in _waiting_partitions(connection)
            if partition not in busy
            for row in _oldest(connection, partition, limit)
        ]
    rows.sort(key=lambda row: row.position)
    return [
        Waiting(row.position, row.topic, row.partition, row.key, _sendable(row.headers), row.value, row.decision)
        for row in rows
    ]


def _waiting_partitions(connection: Connection) -> Iterator[Partition]:
    """The partitions that something waits for. A step from one to the next costs the same however much waits."""
    found = connection.execute(_FIRST_PARTITION).first()
    while found is not None:
        yield found.topic, found.partition
        found = connection.execute(_NEXT_PARTITION, {"topic": found.topic, "number": found.partition}).first()


def _oldest(connection: Connection, partition: Partition, limit: int) -> Sequence[Any]:
    where = {"topic": partition[0], "number": partition[1]}
    rows = connection.execute(_WAITING, {**where, "most": limit + 1}).all()
    if len(rows) <= limit:
        return rows
    cut = rows[-1].decision
    whole = [row for row in rows if row.decision != cut]
    return whole or connection.execute(_WAITING_OF_DECISION, {**where, "one": cut}).all()


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
