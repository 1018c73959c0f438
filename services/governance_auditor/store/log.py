"""Queries about the raw log: records, hashes, checkpoints, findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlmodel import Session, col, func, select

from cairn.audit.leaf import NO_RECORD, Headers, decode_headers
from cairn.audit.merkle import Frontier, SubtreeHash
from cairn.events.codec import Record
from governance_auditor.store.tables import Entry, Finding, Log, Signed, Subtree

LOWEST = 5
"""The lowest level of subtrees that is kept: one row for 16 records, and at most 32 leaves are read for a hash."""
_RECORDS = select(Entry).where(Entry.timestamp_type != NO_RECORD)


class Raw(NamedTuple):
    """A record as Kafka stored it: what its leaf is made from."""

    topic: str
    """As Kafka knows it, prefix included."""
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    headers: Headers
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log has come, and how far it is signed."""

    log: str
    size: int
    signed: Signed | None
    broken: bool
    """Whether what is stored was found not to be what was signed last."""

    @property
    def signed_size(self) -> int:
        """The size of the latest checkpoint; 0 before the first."""
        return self.signed.tree_size if self.signed else 0


def log_name(topic: str, partition: int) -> str:
    """How a log is called in events and in the store."""
    return f"{topic}/{partition}"


def parse_log(log: str) -> tuple[str, int]:
    """Topic and partition of a log."""
    topic, _, partition = log.rpartition("/")
    return topic, int(partition)


class LogStore:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def heads(self) -> Sequence[Head]:
        """Every log, in the order of their names."""
        latest = select(func.max(Signed.tree_size)).where(Signed.log == Log.log).correlate(Log).scalar_subquery()
        breaks = select(Finding.log, Finding.last_offset).where(col(Finding.code).in_(("fork", "truncated")))
        broken = set(self._session.exec(breaks))
        query = (
            select(Log.log, Log.size, Signed)
            .join(Signed, (col(Signed.log) == Log.log) & (col(Signed.tree_size) == latest), isouter=True)
            .order_by(Log.log)
        )
        return [
            Head(log, size, signed, signed is not None and (log, signed.tree_size - 1) in broken)
            for log, size, signed in self._session.exec(query)
        ]

    def head(self, log: str) -> Head | None:
        """One log."""
        return next((head for head in self.heads() if head.log == log), None)

    def frontier(self, log: str) -> Frontier:
        """The right edge of a log's tree."""
        row = self._session.get(Log, log)
        return Frontier.from_bytes(row.frontier) if row else Frontier()

    def subtrees(self, log: str) -> SubtreeHash:
        """The hashes of a log's complete subtrees."""

        def subtree(level: int, position: int) -> bytes:
            if level < LOWEST:
                return Frontier().extend(self._leaves(log, position << level, (position + 1) << level)).root
            row = self._session.get(Subtree, (log, level, position))
            if row is None:
                raise LookupError(f"{log} has no subtree {position} at level {level}")
            return row.hash

        return subtree

    def records(self, log: str, first: int, most: int) -> list[Record]:
        """The next records of a log from an offset on."""
        query = _RECORDS.where(Entry.log == log, Entry.offset >= first)
        return [record_of(row) for row in self._session.exec(query.order_by(col(Entry.offset)).limit(most))]

    def earlier(self, log: str, key: bytes | None, offset: int, most: int) -> list[Record]:
        """The records with this key before an offset, the latest first."""
        query = _RECORDS.where(Entry.log == log, Entry.key == key, Entry.offset < offset)
        return [record_of(row) for row in self._session.exec(query.order_by(col(Entry.offset).desc()).limit(most))]

    def codes_found(self, log: str, offset: int) -> frozenset[str]:
        """What was found already about a record."""
        query = select(Finding.code).where(
            Finding.log == log, Finding.first_offset <= offset, Finding.last_offset >= offset
        )
        return frozenset(self._session.exec(query))

    def findings(self, after: tuple[str, int, str], most: int) -> Sequence[Finding]:
        """Findings in the order of their logs and places, from a cursor on."""
        log, offset, code = after
        later = (
            (col(Finding.log) > log)
            | ((col(Finding.log) == log) & (col(Finding.first_offset) > offset))
            | ((col(Finding.log) == log) & (col(Finding.first_offset) == offset) & (col(Finding.code) > code))
        )
        order = (col(Finding.log), col(Finding.first_offset), col(Finding.code))
        return self._session.exec(select(Finding).where(later).order_by(*order).limit(most)).all()

    def _leaves(self, log: str, start: int, end: int) -> Sequence[bytes]:
        query = select(Entry.leaf).where(Entry.log == log, Entry.offset >= start, Entry.offset < end)
        return self._session.exec(query.order_by(col(Entry.offset))).all()


def record_of(row: Entry) -> Record:
    """A stored record as the codec reads it."""
    topic, partition = parse_log(row.log)
    headers = decode_headers(row.headers)
    return Record(topic, partition, row.offset, row.timestamp, row.key, headers, row.value, row.timestamp_type)
