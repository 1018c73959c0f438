"""The appender: keeps every record raw, in order, and grows its log's Merkle tree. It parses nothing.

An offset that holds no record has its leaf and its row, too: so the number of a leaf is an offset.
"""

from collections.abc import Callable, Sequence
from itertools import repeat

from sqlalchemy import insert
from sqlmodel import Session

from cairn.audit.leaf import Record as LeafRecord
from cairn.audit.leaf import encode_headers, encode_leaf, fill_holes
from cairn.audit.merkle import leaf_hash
from cairn.events.codec import Record
from cairn.events.identity import Installation
from chassis.upsert import upsert
from governance_auditor.store import AuditorTable, LogStore, Raw
from governance_auditor.store.log import LOWEST, log_name

_ENTRY, _SUBTREE, _LOG = (AuditorTable.metadata.tables[name] for name in ("entry", "subtree", "log"))
_ADD_ENTRY, _ADD_SUBTREE = insert(_ENTRY), insert(_SUBTREE)


class OutOfStep(Exception):
    """A log's records and its tree do not fit together: somebody else has changed the store."""


def make_append(installation: Installation) -> Callable[[Session, int, Sequence[Record]], None]:
    """The function that stores new records of one partition; leaves name topics as Kafka does."""

    def append(session: Session, first: int, records: Sequence[Record]) -> None:
        log = log_name(records[0].topic, records[0].partition)
        before = LogStore(session).frontier(log)
        if before.size != first:
            raise OutOfStep(f"{log} goes on at {first}, but its tree has {before.size} leaves")
        raws = list(fill_holes((raw_of(record, installation) for record in records), first))
        leaves = list(map(encode_leaf, raws))
        hashes = [leaf_hash(leaf) for leaf in leaves]
        frontier, runs = before.grow(hashes)
        connection = session.connection()
        connection.execute(_ADD_ENTRY, list(map(_row, repeat(log), raws, leaves, hashes)))
        subtrees = [
            {"log": log, "level": run.level, "position": position, "hash": one}
            for run in runs
            if run.level >= LOWEST
            for position, one in enumerate(run.hashes, start=run.first)
        ]
        if subtrees:
            connection.execute(_ADD_SUBTREE, subtrees)
        row = {"log": log, "size": frontier.size, "frontier": frontier.to_bytes()}
        connection.execute(upsert(connection, _LOG, "log"), row)

    return append


def raw_of(record: Record, installation: Installation) -> Raw:
    """A record with its topic as Kafka knows it."""
    return Raw(
        installation.topic(record.topic),
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.headers,
        record.value,
    )


def _row(log: str, record: LeafRecord, leaf: bytes, leaf_digest: bytes) -> dict[str, object]:
    return {
        "log": log,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestamp_type": record.timestamp_type,
        "leaf": leaf_digest,
        "entry": leaf,
        "key": record.key,
        "headers": encode_headers(record.headers),
        "value": record.value,
    }
