"""The service's store: its transactions, and the guard that lets only projections write domain tables."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, create_engine, delete, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlmodel import Session, SQLModel

from chassis import ledger
from chassis.holding import LIFE, FileHold, Hold, ServerHold, StoreError, StoreHeld
from chassis.positions import DECIDER

_WRITE = re.compile(
    r"""\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:WITH\b.*?\b)?
    (?:(?:INSERT(?:\s+OR\s+\w+)?|REPLACE|MERGE)\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+"?(\w+)"?""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_UNFINISHED = "rebuilding"
_READ_ONLY = "25006"
"""PostgreSQL's code for a server that only reads: a standby, until it takes over."""
_POSTGRES = {
    "options": "-c lock_timeout=60s -c idle_in_transaction_session_timeout=120s -c tcp_keepalives_idle=30",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "tcp_user_timeout": 60_000,
}
"""A replica that freezes inside a transaction must not hold up the others for ever, nor a dead network a replica."""


class ForbiddenWrite(Exception):
    """Code other than the right projection tried to change a domain table."""


class Database:
    """A service's store on SQLite (embedded, one process) or PostgreSQL (replicas)."""

    def __init__(self, url: str, tables: type[SQLModel]) -> None:
        """Connect to nothing yet. Raises StoreError."""
        self._tables = tables
        self.engine = _make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._topic_of = {
            mapper.local_table.name: mapper.class_.topic  # type: ignore[attr-defined]  # a mapped table has a name
            for mapper in tables._sa_registry.mappers  # noqa: SLF001 # SQLModel offers no public way to its registry
        }
        self._hold: Hold = FileHold(self.engine) if self.is_sqlite else ServerHold(self.engine)
        event.listen(self.engine, "before_cursor_execute", self._guard)

    @property
    def domain_tables(self) -> dict[str, str]:
        """Each domain table's name and the topic that feeds it."""
        return dict(self._topic_of)

    def take_ownership(self, *, exclusive: bool) -> None:
        """Hold the store for this process; alone if `exclusive`. Raises StoreError if somebody else holds it."""
        self._hold.take(exclusive=exclusive)

    def keep_ownership(self) -> None:
        """Look whether the store is held still, and take it again if not.

        Raises StoreHeld while a rebuild runs, StoreReplaced when one has run.
        """
        self._hold.keep()

    def create_tables(self) -> None:
        """Make all tables that are not there yet. Raises StoreHeld, and StoreError where that is not allowed."""
        with Session(self._hold.bind) as session, session.begin():
            connection = session.connection()
            self._hold.enter_first(connection, DECIDER)  # two replicas may start at once
            try:
                self._create_all(connection)
            except ProgrammingError as error:
                raise StoreError(f"the tables of the store cannot be made: {describe(error)}") from None
            self._hold.life = connection.scalar(LIFE)

    def has_tables(self) -> bool:
        """Whether a service has ever begun on this store."""
        return inspect(self.engine).has_table(ledger.META.name)

    def make_anew(self) -> None:
        """Delete all that the store holds: a new life of it begins, unfinished until `finish`."""
        life = str(uuid4())
        marks = [{"name": "life", "value": life}, {"name": _UNFINISHED, "value": "yes"}]
        with Session(self._hold.bind) as session, session.begin():
            connection = session.connection()
            # In one transaction: nobody may find an empty store without its marks.
            self._tables.metadata.drop_all(connection)
            ledger.METADATA.drop_all(connection)
            self._create_all(connection)
            connection.execute(insert(ledger.META), marks)
        self._hold.life = life

    def finish(self) -> None:
        """The store that was made anew is whole."""
        with self.begin() as session:
            session.execute(delete(ledger.META).where(ledger.META.c.name == _UNFINISHED))

    def is_unfinished(self) -> bool:
        """Whether the store was being made anew, and that never ended."""
        with self.read() as session:
            mark = select(ledger.META.c.value).where(ledger.META.c.name == _UNFINISHED)
            return session.execute(mark).scalar() is not None

    def close(self) -> None:
        """Let go of the store."""
        self._hold.release()
        self.engine.dispose()

    @contextmanager
    def begin(self, *, deciding: bool = True, appender: str = "") -> Iterator[Session]:
        """One transaction, committed at the end.

        One that decides is the only one that does, on whatever replica; one of an `appender` that appender's only
        one. Raises StoreHeld and StoreReplaced.
        """
        with Session(self._hold.bind, expire_on_commit=False, autoflush=True) as session, session.begin():
            self._hold.enter(session.connection(), appender or (DECIDER if deciding else ""))
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with Session(self.engine) as session:
            session.connection(execution_options={"cairn_read_only": True})
            yield session

    @contextmanager
    def projecting(self, session: Session, topic: str) -> Iterator[None]:
        """Within it the tables that this topic feeds may be changed."""
        session.flush()
        info = session.connection().info
        before, info["cairn_projecting"] = info.get("cairn_projecting"), topic
        try:
            yield
            session.flush()
        finally:
            info["cairn_projecting"] = before

    def _create_all(self, connection: Connection) -> None:
        ledger.METADATA.create_all(connection)
        self._tables.metadata.create_all(connection)

    def _guard(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        match = _WRITE.match(statement)
        if match is None or match[1].startswith(ledger.PREFIX):
            return
        fed_by, projecting = self._topic_of.get(match[1]), connection.info.get("cairn_projecting")
        if fed_by is None or fed_by != projecting:
            doing = f"a projection of {projecting}" if projecting else "code that is no projection"
            raise ForbiddenWrite(f"the table {match[1]} is fed by {fed_by} alone; {doing} tried to change it")


def is_infrastructure(error: BaseException) -> bool:
    """Whether trying again later may help: the store, the disk or the network is in trouble, not the event."""
    if isinstance(error, DBAPIError):
        read_only = getattr(error.orig, "sqlstate", None) == _READ_ONLY
        return isinstance(error, OperationalError) or error.connection_invalidated or read_only
    return isinstance(error, (OSError, StoreHeld, NoConnectionInTime))


def describe(error: BaseException) -> str:
    """An error of the store in words, without the statement that met it."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(said).split()) or type(error).__name__


def _make_engine(url: str) -> Engine:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # what they say may hold the password
        raise StoreError(
            "DATABASE_URL is not the address of a database: use sqlite:///path or postgresql://user:password@host/name"
        ) from None
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"check_same_thread": False, "timeout": 30})
        event.listen(engine, "connect", partial(_prepare_sqlite, address.database))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if address.get_backend_name() == "postgresql":
        driver = address.set(drivername="postgresql+psycopg")
        return create_engine(driver, isolation_level="READ COMMITTED", connect_args=_POSTGRES)
    raise StoreError(f"DATABASE_URL: {address.get_backend_name()} is not a store; use sqlite:///… or postgresql://…")


def _prepare_sqlite(path: str | None, connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        raise StoreError(
            f"DATABASE_URL: {path} is damaged, or no SQLite file. A store can be rebuilt from the log alone: move the "
            "file away, then run the service's command rebuild"
        ) from None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # pysqlite would begin late and break savepoints, so the transaction is begun here.
    read_only = connection.get_execution_options().get("cairn_read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
