"""The second kind of consumer: takes records raw, by position alone. It neither parses nor decides."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlmodel import Session

from cairn.events.codec import Record
from chassis.database import Database
from chassis.definition import Appender
from chassis.positions import Partition, load_positions, save_positions
from chassis.processor import StoreBehind, is_loss


@contextmanager
def appending(database: Database, consumer: str) -> Iterator[tuple[Session, dict[Partition, int]]]:
    """A transaction of a consumer that only appends; its positions are stored by the caller."""
    with database.begin(appender=consumer) as session, database.projecting(session, "appender"):
        yield session, load_positions(session.connection(), consumer)


def take_raw(
    database: Database, appender: Appender, records: Sequence[Record], beginnings: Mapping[Partition, int]
) -> int:
    """Store raw records of any partitions, each partition in order; `beginnings` as in `Processor.take`.

    Raises StoreBehind.
    """
    with appending(database, appender.name) as (session, positions):
        fresh = _after(positions, records, beginnings)
        for partition, batch in fresh.items():
            appender.append(session, positions.get(partition, 0), batch)
        session.flush()
        moved = {partition: batch[-1].offset + 1 for partition, batch in fresh.items()}
        save_positions(session.connection(), appender.name, moved)
    return len(records)


def _after(
    positions: dict[Partition, int], records: Sequence[Record], beginnings: Mapping[Partition, int]
) -> dict[Partition, list[Record]]:
    """For each partition the records that are not stored yet."""
    fresh: dict[Partition, list[Record]] = {}
    for record in records:
        partition = (record.topic, record.partition)
        batch = fresh.get(partition)
        expected = batch[-1].offset + 1 if batch else positions.get(partition, 0)
        if is_loss(record, expected, beginnings):
            raise StoreBehind(f"{partition[0]}/{partition[1]} continues at {record.offset}, stored is {expected}")
        if record.offset >= expected:
            fresh.setdefault(partition, []).append(record)
    return fresh
