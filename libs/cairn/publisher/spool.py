"""Events on their way to Kafka, kept in a local SQLite file until it has them."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cairn.broker import partition_of
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Outgoing
from cairn.publisher.sealing import Sealed

Lane = tuple[str, int]
"""A topic without prefix, and a partition: what has one lane keeps its order."""

_FORMAT = 1
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24  # https://www.sqlite.org/walformat.html
_CONTENT = "topic, partition, source, id, kafka_topic, key, headers, value, checksum"
_FIELDS = f"position, {_CONTENT}"
_TABLE = """
CREATE TABLE IF NOT EXISTS {} (
    position INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, source TEXT NOT NULL,
    id TEXT NOT NULL, kafka_topic TEXT NOT NULL, key BLOB NOT NULL, headers TEXT NOT NULL, value BLOB NOT NULL,
    checksum INTEGER NOT NULL, reason TEXT
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS waiting_by_lane ON waiting (topic, partition, position)"
_NEXT = """
SELECT position, topic, source, id, kafka_topic, CAST(key AS BLOB), CAST(headers AS BLOB), CAST(value AS BLOB), checksum
FROM waiting WHERE topic = CAST(? AS TEXT) AND partition = ? AND position > ? ORDER BY position LIMIT ?
"""
_ROW_BYTES = 64


class SpoolError(Exception):
    """The spool cannot be used; the message says why and what to do."""


class SpoolBusy(SpoolError):
    """Another publisher has the spool open."""


class SpoolFull(SpoolError):
    """There is no room: the event was not kept."""


class SpoolDamaged(SpoolError):
    """The file is no spool, or no longer one."""


class Kept(NamedTuple):
    """An event in the spool."""

    position: int
    """Later events have higher ones."""
    sealed: Sealed | None
    """None where its bytes on the disk are not those that were kept."""


class Refused(NamedTuple):
    """An event that Kafka refused for good; it is kept apart."""

    topic: str
    """Without the installation's prefix."""
    source: str
    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id} from {self.source} on {self.topic}: {self.reason}"


class Spool:
    """A spool file. One process owns it; calls block, and come from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open it, make it where there is none, and let go of a write that a crash cut short.

        Raises SpoolBusy, SpoolDamaged, SpoolError.
        """
        self._path = path
        log_bytes = _size_of(path.with_name(path.name + "-wal"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"the spool {path} cannot be opened: {error}") from None
        self._database.text_factory = lambda text: text.decode(errors="surrogateescape")  # it may be damaged
        try:
            with self._explained():
                found = self._look()
                self._lock()
                self.cut_bytes = self._cut(log_bytes)
                if found != _FORMAT:
                    self._make()
                self._next = 1 + max(self._highest("waiting"), self._highest("refused"))
        except BaseException:
            self._database.close()
            raise

    cut_bytes: int
    """What was let go of at opening: a write that never became whole, so nobody was told that it was kept."""

    def keep(self, events: Sequence[Sealed]) -> list[int]:
        """Keep events in this order, all or none, and return once they are on the disk; their positions.

        Raises SpoolFull where the disk is, SpoolError.
        """
        positions = list(range(self._next, self._next + len(events)))
        rows = [_row(position, sealed) for position, sealed in zip(positions, events, strict=True)]
        with self._transaction():
            self._database.executemany(f"INSERT INTO waiting ({_FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)  # noqa: S608 # no word of it comes from outside
        self._next += len(events)
        return positions

    def load(self, lane: Lane, after: int, most: int) -> list[Kept]:
        """The next events of a lane after a position, at most so many."""
        with self._explained():
            rows = self._database.execute(_NEXT, (_raw(lane[0]), lane[1], after, most)).fetchall()
        return [_kept(row) for row in rows]

    def lanes(self) -> dict[Lane, int]:
        """The lanes in which something waits, each with its last position."""
        query = "SELECT topic, partition, max(position) FROM waiting GROUP BY topic, partition"
        with self._explained():
            return {(topic, partition): last for topic, partition, last in self._database.execute(query)}

    def settle(self, confirmed: Iterable[int], refused: Iterable[tuple[int, str]]) -> None:
        """Let go of what Kafka has, and set apart what it refused, with the reasons."""
        with self._transaction() as ask:
            for position, reason in refused:
                ask(
                    f"INSERT INTO refused ({_FIELDS}, reason) SELECT {_FIELDS}, ? FROM waiting WHERE position = ?",  # noqa: S608 # as above
                    (reason, position),
                )
                ask("DELETE FROM waiting WHERE position = ?", (position,))
            self._database.executemany("DELETE FROM waiting WHERE position = ?", ((one,) for one in confirmed))

    def refused(self) -> list[Refused]:
        """What is kept apart, oldest first."""
        with self._explained():
            rows = self._database.execute("SELECT topic, source, id, reason FROM refused ORDER BY position").fetchall()
        return [Refused(*map(_shown, row)) for row in rows]

    def retry_refused(self) -> None:
        """Put what is kept apart behind all that waits."""
        with self._transaction() as ask:
            again = f"SELECT ? + row_number() OVER (ORDER BY position) - 1, {_CONTENT} FROM refused ORDER BY position"  # noqa: S608 # as above
            moved = ask(f"INSERT INTO waiting ({_FIELDS}) {again}", (self._next,)).rowcount
            ask("DELETE FROM refused")
        self._next += moved

    def discard_refused(self) -> int:
        """Let go of what is kept apart; how many bytes it took."""
        with self._transaction() as ask:
            freed = self._bytes_in("refused")
            ask("DELETE FROM refused")
        return freed

    def bytes_held(self) -> int:
        """How many bytes of events are in it, what is kept apart included."""
        with self._explained():
            return self._bytes_in("waiting") + self._bytes_in("refused")

    def count(self) -> int:
        """How many events wait."""
        with self._explained():
            return int(self._database.execute("SELECT count(*) FROM waiting").fetchone()[0])

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._database.close()

    def _look(self) -> int:
        """The format that is found, 0 where nothing is there yet; reads only."""
        ask = self._database.execute
        ask("PRAGMA locking_mode = EXCLUSIVE")
        found = int(ask("PRAGMA user_version").fetchone()[0])
        if found not in (0, _FORMAT):
            raise SpoolError(f"the spool {self._path} has format {found}; this version of Cairn reads {_FORMAT}")
        if found == 0 and ask("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise SpoolDamaged(f"{self._path} is a database of something else, not a spool: name another file")
        return found

    def _lock(self) -> None:
        ask = self._database.execute
        ask("PRAGMA journal_mode = WAL")
        ask("PRAGMA synchronous = FULL")
        # So its log holds nothing but what was committed, or what a crash has cut short.
        ask("PRAGMA journal_size_limit = 0")
        ask("PRAGMA cache_spill = OFF")
        ask("BEGIN EXCLUSIVE")
        ask("COMMIT")

    def _cut(self, log_bytes: int) -> int:
        """Empty the log into the file; how many bytes at its end were no part of any commit."""
        _, frames, _ = self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        page_bytes = self._database.execute("PRAGMA page_size").fetchone()[0]
        used = _LOG_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes) if frames > 0 else 0
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        verdict = self._database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise SpoolDamaged(self._damage(verdict))
        return max(0, log_bytes - used)

    def _make(self) -> None:
        with self._transaction() as ask:
            ask(_TABLE.format("waiting"))
            ask(_TABLE.format("refused"))
            ask(_INDEX)
            ask(f"PRAGMA user_version = {_FORMAT}")

    def _highest(self, table: str) -> int:
        return int(self._database.execute(f"SELECT coalesce(max(position), 0) FROM {table}").fetchone()[0])  # noqa: S608 # as above

    def _bytes_in(self, table: str) -> int:
        query = f"SELECT coalesce(sum(length(key) + length(headers) + length(value) + ?), 0) FROM {table}"  # noqa: S608 # as above
        return int(self._database.execute(query, (_ROW_BYTES,)).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """One transaction, all or nothing; gives what executes in it."""
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database.execute
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in our words what SQLite complains of."""
        try:
            yield
        except sqlite3.Error as error:
            match getattr(error, "sqlite_errorcode", None):
                case sqlite3.SQLITE_BUSY:
                    said: SpoolError = SpoolBusy(
                        f"the spool {self._path} is in use by another publisher: give each process a spool of its own"
                    )
                case sqlite3.SQLITE_FULL:
                    said = SpoolFull(f"the disk of the spool {self._path} is full: make room")
                case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                    said = SpoolDamaged(self._damage(str(error)))
                case _:
                    said = SpoolError(f"the spool {self._path} cannot be used: {error}")
            raise said from error

    def _damage(self, verdict: str) -> str:
        return (
            f"the spool {self._path} is damaged or is none ({verdict}). Move it and its -wal aside and start "
            "again; what can still be read of it, `sqlite3 FILE .recover` shows"
        )


def bytes_of(sealed: Sealed) -> int:
    """What an event takes in a spool, about."""
    out = sealed.outgoing
    return len(out.key) + len(_headers(out)) + len(out.value) + _ROW_BYTES


def _row(position: int, sealed: Sealed) -> tuple[object, ...]:
    out = sealed.outgoing
    headers = _headers(out)
    place = sealed.topic, partition_of(sealed.topic, out.key), sealed.source, sealed.id, out.topic
    return position, *place, out.key, headers, out.value, _checksum(out.key, headers.encode(), out.value)


def _kept(row: tuple[Any, ...]) -> Kept:
    position, topic, source, event_id, kafka_topic, key, headers, value, checksum = row
    if topic not in TOPICS or _checksum(key, headers, value) != checksum:
        return Kept(position, None)
    pairs = tuple((name, text.encode()) for name, text in json.loads(headers))
    return Kept(position, Sealed(topic, source, event_id, Outgoing(kafka_topic, key, pairs, value)))


def _headers(outgoing: Outgoing) -> str:
    return json.dumps([(name, value.decode()) for name, value in outgoing.headers], separators=(",", ":"))


def _checksum(key: bytes, headers: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(headers, zlib.crc32(key)))


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _shown(text: str) -> str:
    return _raw(text).decode(errors="backslashreplace")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
