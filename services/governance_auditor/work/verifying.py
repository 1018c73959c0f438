"""`verify`: whether a copy of the store still holds what was appended, and what was appended is what was signed."""

import argparse
import asyncio
import base64
import sqlite3
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cairn.audit.leaf import decode_headers, encode_leaf, fill_holes
from cairn.audit.merkle import Frontier, leaf_hash
from cairn.audit.note import NoteError, WrongKeyError
from cairn.audit.walk import Walk, checkpoint_keys, key_name, open_by_any, origin_of
from cairn.events.identity import Installation
from cairn.events.signing import Trust
from chassis import Definition, ServiceSettings
from chassis.kafka import Log
from governance_auditor.store import Raw
from governance_auditor.store.log import LOWEST, parse_log
from governance_auditor.work.appending import raw_of

OK, TAMPERED, USAGE, UNREACHABLE, TRUNCATED, WRONG_KEY = range(6)
_COVERED = (
    "looked at: every raw record, the trees over them and the signed checkpoints (tables entry, log, subtree, signed). "
    "The other tables are made from these: rebuild a store from the log, and compare what `digest` says of both"
)
_BATCH = 1000
_MOST_SHOWN = 100
_ENTRIES = (
    'SELECT "offset", timestamp, timestamp_type, "key", headers, value, entry, leaf FROM entry WHERE log = ? '
    'ORDER BY "offset"'
)
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


@dataclass(slots=True)
class Report:
    """What was found."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    logs: int = 0
    records: int = 0
    unsigned: int = 0

    def add(self, code: int, text: str) -> None:
        """Note something that is wrong."""
        self.problems.append((code, text))

    @property
    def code(self) -> int:
        """The exit code: what was changed weighs more than what is missing, that more than what nobody can check."""
        return min((code for code, _ in self.problems), default=OK)


def verify(_definition: Definition, settings: ServiceSettings, *arguments: str) -> int:
    """Recompute every leaf and root of a store's copy; name what differs. Raises KafkaUnreachable and TrustError."""
    parser = argparse.ArgumentParser(prog="python -P -m governance_auditor verify", description=verify.__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file, or a copy of it; only read")
    parser.add_argument("--bootstrap", default="", help="Kafka's addresses: compare with what lies there, too")
    asked = parser.parse_args(arguments)
    installation, report = Installation(settings.installation), Report()
    try:
        store = _open(asked.store)
    except sqlite3.OperationalError as error:
        return _say(f"{asked.store} cannot be read: {error}", UNREACHABLE)
    except sqlite3.DatabaseError as error:
        return _say(f"{asked.store} is damaged, or no SQLite file: {error}", TAMPERED)
    try:
        _Verification(store, installation, checkpoint_keys(Trust.load(settings.trust_file)), report).run()
        if asked.bootstrap:
            asyncio.run(_compare_with_kafka(store, asked.bootstrap, installation, report))
    except sqlite3.OperationalError as error:
        return _say(f"{asked.store} is not a governance-auditor's store: {error}", USAGE)
    except sqlite3.DatabaseError as error:
        report.add(TAMPERED, f"the file is damaged: {error}")
    finally:
        store.close()
    return _show(report)


def _open(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _connect(address)
    except sqlite3.OperationalError:
        # SQLite cannot make its lock beside a copy on a medium that cannot be written.
        return _connect(f"{address}&immutable=1")


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True)
    connection.execute("SELECT count(*) FROM sqlite_master")
    return connection


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201 # a message to a person
    return code


def _show(report: Report) -> int:
    for _, text in report.problems[:_MOST_SHOWN]:
        print(text)  # noqa: T201 # the command's output
    if len(report.problems) > _MOST_SHOWN:
        print(f"… and {len(report.problems) - _MOST_SHOWN} more")  # noqa: T201 # as above
    words = {OK: "ok", TAMPERED: "TAMPERED", TRUNCATED: "TRUNCATED", WRONG_KEY: "WRONG KEY"}
    counts = f"{report.logs} logs, {report.records} records, {report.unsigned} not yet signed"
    print(f"verify: {words[report.code]}, {counts}")  # noqa: T201 # as above
    if report.code == OK:
        print(_COVERED, file=sys.stderr)  # noqa: T201 # a message to a person
    return report.code


@dataclass(frozen=True, slots=True)
class _Verification:
    store: sqlite3.Connection
    installation: Installation
    keys: tuple[Ed25519PublicKey, ...]
    report: Report

    def run(self) -> None:
        """Verify every log that any table names."""
        names = "SELECT log FROM log UNION SELECT log FROM signed UNION SELECT DISTINCT log FROM entry ORDER BY log"
        for (log,) in self.store.execute(names).fetchall():
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
                checkpoint = open_by_any(note, name, self.keys)
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


async def _compare_with_kafka(
    store: sqlite3.Connection, servers: str, installation: Installation, report: Report
) -> None:
    sizes = {parse_log(log): size for log, size in store.execute("SELECT log, size FROM log").fetchall()}
    async with Log.open(servers, installation) as kafka:
        first, ends = await kafka.beginnings(sizes), await kafka.ends(sizes)
        for (topic, partition), size in sizes.items():
            there = f"{first[topic, partition]} to {ends[topic, partition]}"
            if first[topic, partition] > 0 or ends[topic, partition] < size:
                report.add(
                    TRUNCATED, f"{topic}/{partition}: Kafka has {there} of the {size} records that were appended"
                )
        following = dict(first)
        async for record in kafka.read(first, {one: min(size, ends[one]) for one, size in sizes.items()}):
            one, log = (record.topic, record.partition), f"{record.topic}/{record.partition}"
            for raw in fill_holes([raw_of(record, installation)], following[one]):
                query = 'SELECT leaf FROM entry WHERE log = ? AND "offset" = ?'
                if store.execute(query, (log, raw.offset)).fetchone() != (leaf_hash(encode_leaf(raw)),):
                    report.add(TAMPERED, f"{log} offset {raw.offset}: Kafka has another record than was appended")
            following[one] = record.offset + 1
