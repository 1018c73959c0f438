"""The service's store: one engine, one lock, and the guard that lets only projections write domain tables."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Session, SQLModel

from chassis import ledger

_WRITE = re.compile(
    r"""\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:WITH\b.*?\b)?
    (?:(?:INSERT(?:\s+OR\s+\w+)?|REPLACE|MERGE)\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+"?(\w+)"?""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_DECIDER_LOCK = 7_203_001
_REPLICA_LOCK = 7_203_002
_CONSUMER_LOCK = 7_203_003
_POSTGRES_OPTIONS = "-c lock_timeout=60s -c idle_in_transaction_session_timeout=120s -c tcp_keepalives_idle=30"
"""A replica that freezes inside a transaction must not hold up the others for ever."""


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do."""


class ForbiddenWrite(Exception):
    """Code other than the right projection tried to change a domain table."""


class Database:
    """A service's store on SQLite (embedded, one process) or PostgreSQL (replicas)."""

    def __init__(self, url: str, tables: type[SQLModel]) -> None:
        self._tables = tables
        self.engine = _make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._topic_of = {
            mapper.local_table.name: mapper.class_.topic  # type: ignore[attr-defined]  # a mapped table has a name
            for mapper in tables._sa_registry.mappers  # noqa: SLF001 # SQLModel offers no public way to its registry
        }
        self._lock_file: Any = None
        event.listen(self.engine, "before_cursor_execute", self._guard)

    @property
    def domain_tables(self) -> dict[str, str]:
        """Each domain table's name and the topic that feeds it."""
        return dict(self._topic_of)

    def create_tables(self) -> None:
        """Make all tables that are not there yet."""
        with self.engine.begin() as connection:
            self._lock_decider(connection)  # two replicas may start at once
            ledger.METADATA.create_all(connection)
            self._tables.metadata.create_all(connection)

    def drop_tables(self) -> None:
        """Delete everything."""
        self._tables.metadata.drop_all(self.engine)
        ledger.METADATA.drop_all(self.engine)

    def take_ownership(self, *, exclusive: bool) -> None:
        """Hold the store for this process; alone if `exclusive`. Raises StoreError if somebody else holds it."""
        if self.is_sqlite:
            self._lock_sqlite_file()
        else:
            self._lock_replica(exclusive=exclusive)

    def close(self) -> None:
        """Let go of the store."""
        if self._lock_file is not None:
            self._lock_file.close()
        self.engine.dispose()

    @contextmanager
    def begin(self, *, deciding: bool = True) -> Iterator[Session]:
        """One transaction, committed at the end. One that decides holds the service's lock from its start."""
        with Session(self.engine, expire_on_commit=False, autoflush=True) as session, session.begin():
            if deciding:
                self._lock_decider(session.connection())
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

    def lock_consumer(self, session: Session, consumer: str) -> None:
        """Let one transaction of this consumer run at a time, on whatever replica."""
        if not self.is_sqlite:
            keys = {"kind": _CONSUMER_LOCK, "consumer": crc32(consumer.encode()) - 2**31}
            session.execute(text("SELECT pg_advisory_xact_lock(:kind, :consumer)"), keys)

    def _lock_decider(self, connection: Connection) -> None:
        # On SQLite the transaction was begun IMMEDIATE, which is the same lock.
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DECIDER_LOCK})

    def _guard(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        match = _WRITE.match(statement)
        if match is None or match[1].startswith(ledger.PREFIX):
            return
        fed_by, projecting = self._topic_of.get(match[1]), connection.info.get("cairn_projecting")
        if fed_by is None or fed_by != projecting:
            doing = f"a projection of {projecting}" if projecting else "code that is no projection"
            raise ForbiddenWrite(f"the table {match[1]} is fed by {fed_by} alone; {doing} tried to change it")

    def _lock_sqlite_file(self) -> None:
        path = self.engine.url.database
        if not path or path == ":memory:":
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = Path(f"{path}.lock").open("w")  # noqa: SIM115 # held as long as the process lives
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"another process uses {path}: stop it first (a file has one owner; replicas need PostgreSQL)"
            ) from None

    def _lock_replica(self, *, exclusive: bool) -> None:
        self._lock_file = self.engine.connect()
        name = "pg_try_advisory_lock" if exclusive else "pg_try_advisory_lock_shared"
        held = self._lock_file.execute(text(f"SELECT {name}(:key)"), {"key": _REPLICA_LOCK}).scalar()
        self._lock_file.commit()
        if not held:
            raise StoreError("another process uses this database: stop all replicas first, or the rebuild that runs")


def is_infrastructure(error: BaseException) -> bool:
    """Whether trying again later may help: the store, the disk or the network is in trouble, not the event."""
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError) or error.connection_invalidated
    return isinstance(error, OSError)


def _make_engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"check_same_thread": False, "timeout": 30})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if address.get_backend_name() == "postgresql":
        driver = address.set(drivername="postgresql+psycopg")
        return create_engine(driver, isolation_level="READ COMMITTED", connect_args={"options": _POSTGRES_OPTIONS})
    raise StoreError(f"DATABASE_URL: {address.get_backend_name()} is not a store; use sqlite:///… or postgresql://…")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # pysqlite would begin late and break savepoints, so the transaction is begun here.
    read_only = connection.get_execution_options().get("cairn_read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
