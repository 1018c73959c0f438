"""One line that says what the domain tables hold: equal lines, equal rows."""

import hashlib
import json
from typing import Any

from sqlalchemy import MetaData, Table, select
from sqlmodel import Session

from chassis.database import Database


def digest_table(session: Session, table: Table) -> tuple[str, int]:
    """SHA-256 over a table's rows, sorted, and their number."""
    columns = sorted(table.columns, key=lambda column: column.name)
    rows = sorted(
        json.dumps([_plain(value) for value in row], ensure_ascii=False, sort_keys=True)
        for row in session.execute(select(*columns))
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest(), len(rows)


def digest_tables(database: Database, metadata: MetaData) -> dict[str, tuple[str, int]]:
    """The digest and number of rows of each domain table."""
    with database.read() as session:
        return {name: digest_table(session, table) for name, table in sorted(metadata.tables.items())}


def combine(tables: dict[str, tuple[str, int]]) -> str:
    """One digest over all tables."""
    lines = "".join(f"{name} {digest} {count}\n" for name, (digest, count) in tables.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    return value if isinstance(value, (str, int, float, bool, type(None), list, dict)) else str(value)
