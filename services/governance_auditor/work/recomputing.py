"""Recomputes leaves and trees from the raw records of a store's copy."""

import base64
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cairn.audit.leaf import decode_headers, encode_leaf
from cairn.audit.merkle import Frontier, leaf_hash
from cairn.audit.note import NoteError, WrongKeyError
from cairn.audit.walk import Walk, key_name, open_by_any, origin_of
from cairn.events.catalogue import TOPICS
from cairn.events.identity import Installation
from chassis.kafka import partitions_of
from governance_auditor.store import Raw
from governance_auditor.store.log import LOWEST, log_name, parse_log
from governance_auditor.work.report import TAMPERED, TRUNCATED, WRONG_KEY, Report

TYPES = {
    "offset": ("integer",),
    "timestamp": ("integer",),
    "timestamp_type": ("integer",),
    "key": ("blob", "null"),
    "headers": ("blob",),
    "value": ("blob", "null"),
    "entry": ("blob",),
    "leaf": ("blob",),
}
"""The types that each column of a record may have. SQLite itself keeps any type in any column."""
OF_RIGHT_TYPE = " AND ".join(
    f"""typeof("{column}") IN ({", ".join(f"'{one}'" for one in types)})""" for column, types in TYPES.items()
)
_BATCH = 1000
_ENTRIES = f"""SELECT "offset", timestamp, timestamp_type, "key", headers, value, entry, leaf FROM entry
    WHERE log = ? AND {OF_RIGHT_TYPE} ORDER BY "offset" """  # noqa: S608 # no input
_ILL_TYPED = (
    f"""SELECT log, "offset", {", ".join(f'typeof("{name}")' for name in TYPES)} FROM entry """  # noqa: S608 # no input
    f"WHERE NOT ({OF_RIGHT_TYPE})"
)
_NAMES = """SELECT 'log', log FROM log UNION SELECT 'signed', log FROM signed UNION SELECT 'subtree', log FROM subtree
    UNION SELECT DISTINCT 'entry', log FROM entry"""
_AFTER_PARTITION = struct.Struct(">qqbi32s32si32s")
_FIELDS = ("offset", "timestamp", "timestamp type", "key", "key", "headers", "value", "value")


class _Row(NamedTuple):
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    headers: bytes
    value: bytes | None
    entry: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Recomputation:
    """Recomputes every leaf and root of the raw records, and compares them with what is stored and what was signed."""

    store: sqlite3.Connection
    installation: Installation
    keys: tuple[Ed25519PublicKey, ...]
    report: Report

    def run(self) -> None:
        """Verify every log that any table names."""
        known, named = {log_name(*one) for one in partitions_of(TOPICS)}, set()
        for table, log in self.store.execute(_NAMES).fetchall():
            if log in known:
                named.add(log)
            else:
                self.report.add(TAMPERED, f"the table {table} has rows of {log!r}, and there is no such log")
        for log, offset, *types in self.store.execute(_ILL_TYPED).fetchall():
            wrong = [name for name, one in zip(TYPES, types, strict=True) if one not in TYPES[name]]
            self.report.add(TAMPERED, f"{log} offset {offset!r}: not of the type that is stored: {', '.join(wrong)}")
        for log in sorted(named):
            self._verify_log(log)

    def _verify_log(self, log: str) -> None:
        walk = self._signed(log)
        subtrees = {
            (level, position): one
            for level, position, one in self.store.execute(
                "SELECT level, position, hash FROM subtree WHERE log = ?", (log,)
            )
        }
        intact, before, offset = True, Frontier(), 0
        for rows in self._batches(log):
            hashes = [self._leaf_of(log, row) for row in rows]
            intact = self._is_dense(log, offset, rows) and intact
            offset = rows[-1].offset + 1
            for start, end in walk.step([one for one, _ in hashes]):
                self.report.add(TAMPERED, f"{log} offsets {start} to {end - 1}: not what was signed at size {end}")
            intact = intact and all(same for _, same in hashes)
            before, runs = before.grow([one for one, _ in hashes])
            for level, position, one in (
                (run.level, run.first + n, h) for run in runs for n, h in enumerate(run.hashes)
            ):
                if level >= LOWEST and subtrees.pop((level, position), None) != one and intact:
                    self.report.add(TAMPERED, f"{log}: the subtree {position} at level {level} differs")
        self._compare_end(log, walk, intact=intact, left=len(subtrees))

    def _compare_end(self, log: str, walk: Walk, *, intact: bool, left: int) -> None:
        size = walk.size
        stored = self.store.execute("SELECT size, frontier FROM log WHERE log = ?", (log,)).fetchone()
        if intact and (stored != (size, walk.frontier.to_bytes()) or left):
            self.report.add(TAMPERED, f"{log}: the tree's edge is not that of the {size} records")
        if walk.signed_size > size:
            self.report.add(TRUNCATED, f"{log} has {size} records, {walk.signed_size} were signed")
        self.report.logs += 1
        self.report.records += size
        self.report.unsigned += max(0, size - walk.signed_size)

    def _signed(self, log: str) -> Walk:
        walk, name, origin = Walk(), key_name(self.installation), origin_of(self.installation, log)
        rows = self.store.execute("SELECT tree_size, root_hash, note FROM signed WHERE log = ?", (log,))
        for size, root_hash, note in rows.fetchall():
            try:
                checkpoint = open_by_any(str(note), name, self.keys)
            except WrongKeyError as error:
                self.report.add(WRONG_KEY, f"{log}, checkpoint at {size}: {error}")
            except NoteError as error:
                self.report.add(TAMPERED, f"{log}, checkpoint at {size}: {error}")
            else:
                walk.sign(checkpoint)
                said = (checkpoint.origin, checkpoint.size, base64.b64encode(checkpoint.root).decode())
                if said != (origin, size, root_hash):
                    self.report.add(TAMPERED, f"{log}, checkpoint at {size}: the note says otherwise")
        return walk

    def _batches(self, log: str) -> Iterator[list[_Row]]:
        cursor = self.store.execute(_ENTRIES, (log,))
        while rows := cursor.fetchmany(_BATCH):
            yield [_Row(*row) for row in rows]

    def _is_dense(self, log: str, offset: int, rows: list[_Row]) -> bool:
        dense = True
        for row in rows:
            if row.offset != offset:
                self.report.add(TAMPERED, f"{log} offset {offset}: missing, {row.offset} stands in its place")
                dense = False
            offset = row.offset + 1
        return dense

    def _leaf_of(self, log: str, row: _Row) -> tuple[bytes, bool]:
        """The hash of a record's leaf, made anew, and whether the record is as it was."""
        leaf = self._encode(log, row)
        differs = _differences(row, leaf)
        if differs:
            self.report.add(TAMPERED, f"{log} offset {row.offset}: {differs}")
        return leaf_hash(leaf or row.entry), not differs

    def _encode(self, log: str, row: _Row) -> bytes | None:
        topic, partition = parse_log(log)
        try:
            headers = decode_headers(row.headers)
        except ValueError:
            return None
        kafka_topic = self.installation.topic(topic)
        return encode_leaf(Raw(kafka_topic, partition, *row[:3], row.key, headers, row.value))


def _differences(row: _Row, leaf: bytes | None) -> str:
    """What of a record is not as it was appended; empty if nothing."""
    if leaf is None:
        return "the headers differ from what was appended"
    if leaf_hash(leaf) == row.leaf:
        return "" if leaf == row.entry else "the stored leaf differs; the record itself is as it was appended"
    if leaf == row.entry:
        return "the leaf's hash differs; the record itself is as it was appended"
    if leaf_hash(row.entry) != row.leaf:
        return "the record, its leaf and its hash do not fit together"
    pairs = zip(_FIELDS, _fields(leaf), _fields(row.entry), strict=True)
    names = dict.fromkeys(name for name, now, then in pairs if now != then) or ["name of the log"]
    return f"the {' and the '.join(names)} differ{'s' if len(names) == 1 else ''} from what was appended"


def _fields(leaf: bytes) -> tuple[object, ...]:
    return _AFTER_PARTITION.unpack(leaf[-_AFTER_PARTITION.size :])
