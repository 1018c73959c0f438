"""What a subscriber remembers: how far it has come, what it has handled, the highest generation of each model.

One SQLite file, written in the transactions in which events are handled. Tables of ours begin with `cairn_`; who
handles events may keep tables of his own beside them. What was handled is kept for ever, some 150 bytes an event,
because the log is too, and a duplicate may come at any time.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

from cairn.events.codec import Message
from cairn.events.identity import Installation
from cairn.events.registry import ModelPromoted
from cairn.subscriber.decoding import Arrived

Verdict = Literal["fresh", "behind", "duplicate", "stale"]
"""What the store says of an event: behind is what lies before the position."""
Place = tuple[str, int]
"""A topic without prefix, and a partition."""

_OPEN_SECONDS = 10.0
_LOCKED_PAUSE_SECONDS = 0.02
_TABLES = """
CREATE TABLE IF NOT EXISTS cairn_store (installation TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cairn_positions (
    topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cairn_handled (source TEXT, id TEXT, PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cairn_generations (model TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cairn_parked (
    topic TEXT, partition INTEGER, offset INTEGER, source TEXT, id TEXT, type TEXT, attempts INTEGER, error TEXT,
    PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
"""
_ADVANCE = """
INSERT INTO cairn_positions VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET
    attempts = CASE WHEN next_offset < excluded.next_offset THEN 0 ELSE attempts END,
    next_offset = MAX(next_offset, excluded.next_offset)
"""
_ATTEMPT = "UPDATE cairn_positions SET attempts = attempts + 1 WHERE (topic, partition) = (?, ?) RETURNING attempts"
_GENERATION = """
INSERT INTO cairn_generations VALUES (?, ?) ON CONFLICT DO UPDATE SET generation = excluded.generation
"""


class StoreError(Exception):
    """The store cannot be used; the message says which, why and what to do."""


class PositionLost(StoreError):
    """Kafka has not the record that the store says comes next."""


class TransactionEnded(Exception):
    """A handler has ended the transaction that it was only lent."""


class Store:
    """A subscriber's memory. Processes may share one file: whoever comes second finds what the first has done."""

    def __init__(self, path: Path | None, installation: Installation, *, durable: bool) -> None:
        """Open the file, or without a path a store that ends with the process.

        What is `durable` survives the loss of power at once; else the last transactions may be lost with it,
        position and marks together. Raises StoreError.
        """
        self._installation = installation
        self.name = str(path) if path else "the store in memory"
        with self._told():
            self.connection = sqlite3.connect(path or ":memory:", timeout=_OPEN_SECONDS, isolation_level=None)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.connection.executescript(_TABLES)
            self._belong()
            self.connection.execute("PRAGMA busy_timeout = 0")  # waiting is done without blocking the event loop

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def _belong(self) -> None:
        name = self._installation.name
        self.connection.execute(
            "INSERT INTO cairn_store SELECT ? WHERE NOT EXISTS (SELECT * FROM cairn_store)", (name,)
        )
        [(owner,)] = self.connection.execute("SELECT installation FROM cairn_store")
        if owner != name:
            self.connection.close()
            raise StoreError(f"{self.name} is the store of a subscriber to {owner!r}, not to {name!r}: name another")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.name} cannot be used: {error}") from error

    def positions(self) -> dict[Place, int]:
        """For each partition that was read: the offset that comes next."""
        with self._told():
            rows = self.connection.execute("SELECT topic, partition, next_offset FROM cairn_positions")
            return {(topic, partition): offset for topic, partition, offset in rows}

    def judge(self, arrived: Arrived) -> Verdict:
        """Whether an event is to be handled."""
        place = self._place(arrived)
        with self._told():
            row = self.connection.execute(
                "SELECT next_offset FROM cairn_positions WHERE (topic, partition) = (?, ?)", place
            ).fetchone()
            if row and arrived.raw.offset < row[0]:
                return "behind"
            if self.connection.execute(
                "SELECT 1 FROM cairn_handled WHERE (source, id) = (?, ?)", (arrived.source, arrived.id)
            ).fetchone():
                return "duplicate"
            return "stale" if self._is_stale(arrived) else "fresh"

    def _is_stale(self, arrived: Arrived) -> bool:
        facts = arrived.facts
        if not isinstance(facts, ModelPromoted):
            return False
        row = self.connection.execute("SELECT generation FROM cairn_generations WHERE model = ?", (facts.model.name,))
        known = row.fetchone()
        return known is not None and facts.generation <= known[0]

    def _place(self, arrived: Arrived) -> Place:
        return self._installation.bare_topic(arrived.raw.topic), arrived.raw.partition

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Write within; all of it or nothing. Waits while another process writes."""
        await self._begin()
        try:
            yield
            if not self.connection.in_transaction:
                raise TransactionEnded
            with self._told():
                self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    async def _begin(self) -> None:
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise StoreError(f"the store {self.name} cannot be written: {error}") from error
                await asyncio.sleep(_LOCKED_PAUSE_SECONDS)
            else:
                return

    async def advance(self, positions: Mapping[Place, int]) -> None:
        """All before these offsets is done. A position never goes back."""
        async with self.transaction():
            with self._told():
                self.connection.executemany(_ADVANCE, [(*place, offset) for place, offset in positions.items()])

    async def attempt(self, arrived: Arrived) -> int:
        """Note that an event is about to be handed over; the how manieth time it is, through restarts."""
        place = self._place(arrived)
        async with self.transaction():
            with self._told():
                self.connection.execute(_ADVANCE, (*place, arrived.raw.offset))
                [(attempts,)] = self.connection.execute(_ATTEMPT, place).fetchall()
        return int(attempts)

    def mark(self, arrived: Arrived) -> None:
        """Within a transaction: the event is handled."""
        with self._told():
            self.connection.execute("INSERT INTO cairn_handled VALUES (?, ?)", (arrived.source, arrived.id))
            self.connection.execute(_ADVANCE, (*self._place(arrived), arrived.raw.offset + 1))
            if isinstance(arrived.facts, ModelPromoted):
                self.connection.execute(_GENERATION, (arrived.facts.model.name, arrived.facts.generation))

    def park(self, arrived: Arrived, message: Message, attempts: int, error: str) -> None:
        """Within a transaction: the event could not be handled, and is never tried again."""
        record, envelope = message.record, message.envelope
        row = (record.topic, record.partition, record.offset, envelope.source, envelope.id, envelope.type)
        with self._told():
            self.connection.execute("INSERT INTO cairn_parked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, attempts, error))
        self.mark(arrived)
