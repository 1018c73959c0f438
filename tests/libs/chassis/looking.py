"""What tests of the chassis look at: rows, envelopes and digests of an actor's store."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Table as LedgerTable
from sqlalchemy import select
from sqlmodel import SQLModel
from sqlmodel import select as select_model

from cairn.broker import partition_of
from cairn.events.codec import Message, Outgoing, Record, read
from chassis import ledger
from chassis.digest import combine, digest_tables
from chassis.kafka import Partition
from chassis.positions import DECIDER, load_positions
from chassis.testing import Actor, World

Row = TypeVar("Row", bound=SQLModel)


def rows_of(actor: Actor, table: type[Row]) -> list[Row]:
    """All rows of a domain table, in the order of their keys."""
    keys = table.__table__.primary_key.columns  # type: ignore[attr-defined]  # a mapped table has it
    with actor.database.read() as session:
        return list(session.exec(select_model(table).order_by(*keys)))


def ledger_rows(actor: Actor, table: LedgerTable) -> Sequence[Any]:
    """All rows of one of the chassis's own tables."""
    with actor.database.read() as session:
        return session.execute(select(table).order_by(*table.primary_key.columns)).mappings().all()


def positions_of(actor: Actor) -> dict[Partition, int]:
    """The next record of each partition."""
    with actor.database.read() as session:
        return load_positions(session.connection(), DECIDER)


def told(actor: Actor) -> list[Message]:
    """All that was told, in order, as it will be read from the log."""
    messages = []
    for row in ledger_rows(actor, ledger.TOLD):
        headers = ledger.parse_headers(row["headers"])
        partition = partition_of(row["topic"], row["key"])
        message = read(Record(row["topic"], partition, 0, 0, row["key"], headers, row["value"]))
        assert isinstance(message, Message), message
        messages.append(message)
    return messages


def told_ids(actor: Actor) -> list[str]:
    """The ids of all that was told, in order."""
    return [message.envelope.id for message in told(actor)]


def digest_of(actor: Actor) -> str:
    """One line for all domain tables."""
    return combine(digest_tables(actor.database, actor.definition.tables.metadata))


def everything(actor: Actor) -> dict[str, Any]:
    """The whole store: domain tables and the chassis's own."""
    own = {table.name: list(map(dict, ledger_rows(actor, table))) for table in ledger.METADATA.sorted_tables}
    return {"domain": digest_of(actor), **own}


def write_again(world: World, record: Record, **changes: Any) -> Record:
    """Put a record's bytes on the log once more, as a publisher that is not sure would."""
    fields = {"key": record.key, "headers": record.headers, "value": record.value, **changes}
    return world.append(Outgoing(world.installation.topic(record.topic), **fields))
