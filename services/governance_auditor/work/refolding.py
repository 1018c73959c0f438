"""Makes the tables anew from the records in the same copy of a store, offline, and compares them row by row."""

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from sqlalchemy import Table, event
from sqlalchemy.exc import IntegrityError

from cairn.audit.leaf import NO_RECORD, decode_headers
from cairn.events.catalogue import topics_owned_by
from cairn.events.codec import Record
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust
from cairn.objects import open_store
from chassis import Definition, ledger
from chassis.database import Database, describe
from chassis.kafka import Partition, partitions_of
from chassis.positions import DECIDER
from chassis.processor import Processor
from chassis.rebuild import Rebuild, RebuildError
from chassis.service import wall_clock
from chassis.transaction import Voice
from governance_auditor.store.log import log_name
from governance_auditor.work.recomputing import OF_RIGHT_TYPE

_RECORDS = f"""SELECT "offset", timestamp, "key", headers, value, timestamp_type FROM entry
    WHERE log = ? AND "offset" >= ? AND "offset" < ? AND timestamp_type != {NO_RECORD} AND {OF_RIGHT_TYPE}
    ORDER BY "offset" """  # noqa: S608 # no input
_LAST_HOLE = f"""SELECT max("offset") FROM entry WHERE log = ? AND timestamp_type = {NO_RECORD}"""  # noqa: S608 # no input
_TRACE = """SELECT 1 FROM chassis_inbox WHERE topic = ? AND "partition" = ? AND "offset" = ?
    UNION ALL SELECT 1 FROM chassis_parked WHERE topic = ? AND "partition" = ? AND "offset" = ?"""
_ENDS = """SELECT min("offset"), max("offset") + 1 FROM entry WHERE log = ? AND typeof("offset") = 'integer'"""
_POSITIONS = """SELECT topic, "partition", next_offset FROM chassis_position
    WHERE consumer = ? AND typeof(next_offset) = 'integer'"""
_WAITING = """SELECT count(*) FROM chassis_told AS told
    WHERE ("offset" IS NULL OR "offset" > (
        SELECT ifnull(max("offset"), -1) FROM entry WHERE log = told.topic || '/' || told."partition"))
    AND NOT EXISTS (
        SELECT 1 FROM entry WHERE log IN (SELECT value FROM json_each(?)) AND "key" = told."key"
        AND value = told.value)"""
_TOLD_ELSEWHERE = """SELECT told.position, told.topic || '/' || told."partition" AS log, told."offset",
    (SELECT ifnull(max("offset") + 1, 0) FROM entry WHERE log = told.topic || '/' || told."partition")
    FROM chassis_told AS told
    LEFT JOIN entry ON entry.log = told.topic || '/' || told."partition" AND entry."offset" = told."offset"
    WHERE told."offset" IS NOT NULL AND entry.value IS NOT told.value"""
_LEDGER = (ledger.TOLD, ledger.INBOX, ledger.SEQUENCE, ledger.PARKED)
_OF_ITS_OWN_LIFE = {
    ledger.TOLD.name: frozenset({"decision", "heard_topic", "heard_partition", "heard_offset", "offset"})
}
"""What only the store that told an event can know of it; of what was sent twice, Kafka has two offsets."""
Row = tuple[object, ...]
Progress = Callable[[str, int, int], None]


class NotComparable(Exception):
    """The copy was made while the service was at work; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class CopiedLog:
    """The log as a copy of the store holds it. See LogReader."""

    store: sqlite3.Connection
    heard: bool = False
    """Whether it is read as the decider did: without what was aborted."""

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """How far the decider has come; 0 where it has taken nothing."""
        stored = self.store.execute(_POSITIONS, (DECIDER,)).fetchall()
        positions = {(topic, partition): offset for topic, partition, offset in stored}
        return {one: positions.get(one, 0) for one in partitions}

    async def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the first record."""
        return {one: self._edges(one)[0] for one in partitions}

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset after the last record."""
        return {one: self._edges(one)[1] for one in partitions}

    async def read(self, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> AsyncIterator[Record]:
        """The records of one partition after the other. Raises RebuildError where one cannot be read."""
        for partition, first in start.items():
            log = log_name(*partition)
            last_hole = self.store.execute(_LAST_HOLE, (log,)).fetchone()[0] if self.heard else None
            for row in self.store.execute(_RECORDS, (log, first, end[partition])):
                if last_hole is None or row[0] > last_hole or self._left_a_trace(partition, row[0]):
                    yield _record_of(partition, *row)

    def _left_a_trace(self, partition: Partition, offset: int) -> bool:
        """Whether the decider took a record: none says itself that it was aborted; a transaction ends in a hole."""
        place = (*partition, offset)
        return self.store.execute(_TRACE, place * 2).fetchone() is not None

    def _edges(self, partition: Partition) -> tuple[int, int]:
        first, end = self.store.execute(_ENDS, (log_name(*partition),)).fetchone()
        return first or 0, end or 0


def _record_of(
    partition: Partition, offset: int, timestamp: int, key: bytes | None, headers: bytes, *rest: object
) -> Record:
    try:
        read = decode_headers(headers)
    except ValueError:
        raise RebuildError(f"the headers of {log_name(*partition)} offset {offset} cannot be read") from None
    value, timestamp_type = rest
    return Record(*partition, offset, timestamp, key, read, value, timestamp_type)  # type: ignore[arg-type]  # see OF_RIGHT_TYPE


@dataclass(frozen=True, slots=True)
class Refolding:
    """Makes the tables anew from a copy's records. `store` reads the copy, in one transaction, and is only read."""

    store: sqlite3.Connection
    definition: Definition
    installation: Installation
    trust: Trust
    progress: Progress

    def compare(self) -> Iterator[str]:
        """What is not as the records have it, a line for each row.

        Raises NotComparable, and RebuildError where the records do not suffice.
        """
        asyncio.run(self._refuse_lag())
        with TemporaryDirectory(prefix="cairn-verify-") as directory:
            file = Path(directory) / "refolded.db"
            tables = self._make_anew(file)
            self.store.execute("ATTACH ? AS refolded", (f"file:{quote(str(file))}?mode=ro",))
            self._refuse_unchecked()
            for table in tables:
                yield from _compare_table(self.store, table)
            yield from _find_told_elsewhere(self.store)

    async def _refuse_lag(self) -> None:
        log, heard = CopiedLog(self.store), partitions_of(self.definition.hears)
        positions, ends = await log.committed(heard), await log.ends(heard)
        own = partitions_of(topic.name for topic in topics_owned_by(self.definition.name))
        logs = json.dumps([log_name(*one) for one in own])
        (waiting,) = self.store.execute(_WAITING, (logs,)).fetchone()
        behind = sum(max(0, (offset or 0) - ends[one]) for one, offset in positions.items())
        missing = [f"{waiting} told events are not in the log yet"] if waiting else []
        missing += [f"{behind} heard records are not appended yet"] if behind else []
        if missing:
            raise NotComparable(f"{', '.join(missing)}; copy the store when it is idle")

    def _make_anew(self, file: Path) -> list[Table]:
        """Fold the records into a fresh store; the tables that are to be compared."""
        definition = replace(self.definition, appenders=())
        database = Database(f"sqlite:///{file}", definition.tables)
        event.listen(database.engine, "connect", _wait_for_no_disk)
        # A rebuild tells nothing and judges nothing: no key signs, no object is read.
        voice = Voice(definition.name, self.installation, Signer.generate("nobody"), "unknown")
        objects = open_store(str(file.parent / "objects"))
        processor = Processor(definition, database, voice, self.trust, objects, wall_clock)
        try:
            log = CopiedLog(self.store)
            heard = CopiedLog(self.store, heard=True)
            asyncio.run(Rebuild(definition, database, processor, log, heard, self.progress).run())
        except IntegrityError as error:
            raise RebuildError(describe(error)) from error
        finally:
            database.close()
        tables = definition.tables.metadata.tables
        fed = [tables[name] for name, topic in sorted(database.domain_tables.items()) if topic != "appender"]
        return [*fed, *_LEDGER]

    def _refuse_unchecked(self) -> None:
        told, known = (
            self.store.execute(f"SELECT count(*) FROM {schema}.chassis_told").fetchone()[0]  # noqa: S608 # no input
            for schema in ("main", "refolded")
        )
        if told and not known:
            raise RebuildError(f"the keys of the trust file vouch for none of the {told} events that were told")


def _wait_for_no_disk(connection: Any, _record: Any) -> None:
    """What is thrown away in the end need not survive a crash."""
    connection.execute("PRAGMA synchronous=OFF")


def _compare_table(store: sqlite3.Connection, table: Table) -> Iterator[str]:
    """The rows of a table that are not those of its namesake that was made anew."""
    columns = [one.name for one in table.columns if one.name not in _OF_ITS_OWN_LIFE.get(table.name, ())]
    keys = [columns.index(one.name) for one in table.primary_key.columns]
    found, expected = (
        _only_in(store, here, there, table.name, columns)
        for here, there in (("main", "refolded"), ("refolded", "main"))
    )
    by_key = {tuple(row[n] for n in keys): row for row in expected}
    for row in found:
        key = tuple(row[n] for n in keys)
        before = by_key.pop(key, None)
        yield f"{_name(table, key)}: {_compare_rows(columns, row, before)}"
    for key in by_key:
        yield f"{_name(table, key)}: missing, though the records lead to this row"


def _only_in(store: sqlite3.Connection, here: str, there: str, table: str, columns: list[str]) -> list[Row]:
    names = ", ".join(f'"{name}"' for name in columns)
    query = f"SELECT {names} FROM {here}.{table} EXCEPT SELECT {names} FROM {there}.{table}"  # noqa: S608 # our own names
    return store.execute(query).fetchall()


def _compare_rows(columns: list[str], row: Row, before: Row | None) -> str:
    if before is None:
        return "no record leads to this row"
    pairs = zip(columns, row, before, strict=True)
    changed = [name for name, now, then in pairs if now != then or type(now) is not type(then)]
    return f"{', '.join(changed)}: not what the records lead to"


def _find_told_elsewhere(store: sqlite3.Connection) -> Iterator[str]:
    elsewhere = store.execute(_TOLD_ELSEWHERE).fetchall()
    beyond: defaultdict[str, list[int]] = defaultdict(list)
    for _, log, offset, end in elsewhere:
        if isinstance(offset, int) and offset >= end:
            beyond[log].append(offset)
    for position, log, offset, end in elsewhere:
        # What was sent again and has not come back yet lies right behind what was appended, each at its own place.
        if offset not in beyond[log] or sorted(beyond[log]) != list(range(end, end + len(beyond[log]))):
            yield f"{_name(ledger.TOLD, (position,))}: offset: another record lies there, or none"


def _name(table: Table, key: Row) -> str:
    parts = (f"{column.name}={value!r}" for column, value in zip(table.primary_key.columns, key, strict=True))
    return f"{table.name} {' '.join(parts)}"
