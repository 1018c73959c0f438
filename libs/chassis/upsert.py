"""Inserts that meet an existing row, on both databases. The statements are made once for each table."""

from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(connection: Connection, table: Table, *keys: str) -> Any:
    """An insert that replaces the row with the same key."""
    return _upsert(connection.dialect.name, table, keys)


def insert_or_ignore(connection: Connection, table: Table, returning: Column[Any] | None = None) -> Any:
    """An insert that leaves an existing row as it is; it may return a column of what it inserted."""
    return _insert_or_ignore(connection.dialect.name, table, returning)


@cache
def _upsert(dialect: str, table: Table, keys: tuple[str, ...]) -> Any:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    if not changed:
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changed)


@cache
def _insert_or_ignore(dialect: str, table: Table, returning: Column[Any] | None) -> Any:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table).on_conflict_do_nothing()
    return statement if returning is None else statement.returning(returning)
