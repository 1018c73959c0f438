"""The next record that each consumer takes from each partition."""

from sqlalchemy import Connection, bindparam, select

from chassis import ledger
from chassis.upsert import upsert

Partition = tuple[str, int]
"""A topic without prefix, and a partition."""

DECIDER = "decider"
"""The consumer that handles; others only append."""

_LOAD = select(ledger.POSITION.c.topic, ledger.POSITION.c.partition, ledger.POSITION.c.next_offset).where(
    ledger.POSITION.c.consumer == bindparam("of")
)


def load_positions(connection: Connection, consumer: str) -> dict[Partition, int]:
    """The next offset of each partition."""
    return {(topic, partition): offset for topic, partition, offset in connection.execute(_LOAD, {"of": consumer})}


def save_positions(connection: Connection, consumer: str, moved: dict[Partition, int]) -> None:
    """Store the next offset of each partition that moved."""
    rows = [
        {"consumer": consumer, "topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in moved.items()
    ]
    if rows:
        connection.execute(upsert(connection, ledger.POSITION, "consumer", "topic", "partition"), rows)
