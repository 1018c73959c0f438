"""What a projection works with: tables that say which topic feeds them, and the event at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from sqlalchemy import inspect
from sqlmodel import Session, SQLModel

from cairn.events.values import ObjectRef
from chassis.ledger import Origin
from chassis.upsert import upsert

Row = TypeVar("Row", bound="Table")


class Table(SQLModel):
    """A domain table. It is fed by one topic, and only by projections.

    Each service derives its own base from it with a registry of its own, so that no service can see, or create,
    the tables of another.
    """

    topic: ClassVar[str]
    """The topic that feeds it, without prefix; `appender` for the auditor's raw log."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One event on its way into the tables."""

    session: Session
    origin: Origin
    """The event itself."""
    sequence: int
    """Its number in its topic and subject; 0 where its source counts none."""
    partition: int | None
    """Where it was heard; None for what this service tells."""
    offset: int | None
    read_object: Callable[[ObjectRef], bytes]
    """The verified content of an object that the event names."""

    def get(self, table: type[Row], *key: Any) -> Row | None:
        """The row with this primary key."""
        return self.session.get(table, key if len(key) > 1 else key[0])

    def put(self, row: Table) -> None:
        """Insert the row, or replace the one with its primary key; what is done to `row` later is not kept."""
        self.session.flush()
        connection, mapper = self.session.connection(), inspect(type(row))
        table = mapper.local_table
        keys = (column.name for column in mapper.primary_key)
        values = {column.name: getattr(row, column.name) for column in table.columns}
        connection.execute(upsert(connection, table, *keys), values)
        held = self.session.identity_map.get(mapper.identity_key_from_instance(row))
        if held is not None:
            self.session.expire(held)

    def add(self, row: Table) -> None:
        """Insert a row that cannot be there yet."""
        self.session.add(row)
