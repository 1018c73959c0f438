"""The leaf of a Kafka record: the bytes that the audit log commits to.

A leaf is a pure function of what Kafka stored. No time of arrival and no verdict is in it, so a rebuilt auditor, or a
second one that knows nothing of the first, comes to the same roots. Key, headers and value are in it by their digest
alone: what must be erased one day can be, and every proof still holds.

The byte form, version 1. All integers are big-endian and signed (two's complement); -1 is Kafka's own sign for null.

| bytes | field |
|---|---|
| 2, n | version: its length, then `cairn-leaf-v1` |
| 2, n | topic: its length in UTF-8, then itself |
| 4 | partition |
| 8 | offset |
| 8 | timestamp in milliseconds, -1 when there is none |
| 1 | type of the timestamp: 0 set by the producer, 1 by the broker, -1 none; -2: there is no record |
| 4 | length of the key, -1 for null |
| 32 | SHA-256 of the key, zeros for null |
| 32 | SHA-256 of the headers in the form below |
| 4 | length of the value, -1 for null |
| 32 | SHA-256 of the value, zeros for null |

The headers are taken as they are stored, in their order, twins included:

| bytes | field |
|---|---|
| 4 | how many there are |
| 4 each | length of each name, in UTF-8 or whatever it was stored in |
| n | the names, one after the other |
| 4 each | length of each value, -1 for null |
| n | the values, one after the other |

Every field has a fixed length or follows its length, so no two records share a leaf.

The leaf's number is the record's offset. Not every offset holds a record: the end of a transaction takes one, too.
Its leaf is that of a `Hole`: topic, partition and offset, and nothing else.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Protocol

VERSION = b"cairn-leaf-v1"
"""The first field of every leaf; another form will have another version."""

NO_RECORD = -2
"""Instead of the type of a timestamp: the offset holds no record."""
_NULL = -1
_AS_STORED = "surrogateescape"
"""A header's name may hold bytes that are not UTF-8; they are read as surrogates, and are those bytes again here."""
_NO_DIGEST = bytes(32)
_AFTER_PARTITION = struct.Struct(">qqbi32s32si32s")

Headers = Sequence[tuple[str, bytes | None]]
"""A record's headers as Kafka stored them: names may come twice, values may be null."""


class Record(Protocol):
    """What a leaf is made from. aiokafka's `ConsumerRecord` is one."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def partition(self) -> int:
        """The partition's number."""

    @property
    def offset(self) -> int:
        """The place in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, or -1."""

    @property
    def timestamp_type(self) -> int:
        """Who set the timestamp: 0 the producer, 1 the broker, -1 nobody; -2 where there is no record."""

    @property
    def key(self) -> bytes | None:
        """The key's bytes; None is not the empty key."""

    @property
    def headers(self) -> Headers:
        """The headers."""

    @property
    def value(self) -> bytes | None:
        """The value's bytes; None is not the empty value."""


class Hole(NamedTuple):
    """An offset that holds no record."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    timestamp_type: int = NO_RECORD
    key: None = None
    headers: Headers = ()
    value: None = None


def fill_holes(records: Iterable[Record], first: int) -> Iterator[Record]:
    """Records of one partition in order, and a `Hole` for each offset from `first` on that none of them has."""
    following = first
    for record in records:
        for offset in range(following, record.offset):
            yield Hole(record.topic, record.partition, offset)
        yield record
        following = record.offset + 1


def encode_leaf(record: Record) -> bytes:
    """The leaf's bytes, in the form at the top of this file."""
    key, value = record.key, record.value
    return _beginning(record.topic, record.partition) + _AFTER_PARTITION.pack(
        record.offset,
        record.timestamp,
        record.timestamp_type,
        _NULL if key is None else len(key),
        _NO_DIGEST if key is None else sha256(key).digest(),
        sha256(encode_headers(record.headers)).digest(),
        _NULL if value is None else len(value),
        _NO_DIGEST if value is None else sha256(value).digest(),
    )


@lru_cache(maxsize=1024)
def _beginning(topic: str, partition: int) -> bytes:
    return _with_length(VERSION) + _with_length(topic.encode()) + struct.pack(">i", partition)


def _with_length(field: bytes) -> bytes:
    return struct.pack(">h", len(field)) + field


def encode_headers(headers: Headers) -> bytes:
    """The headers' bytes, in the form at the top of this file."""
    # column by column, not header by header: this is where most of a leaf's time goes
    names, values = zip(*headers, strict=False) if headers else ((), ())
    beginning, lengths = _header_names(names)
    try:
        return beginning + lengths.pack(*map(len, values)) + b"".join(values)
    except TypeError:  # a null has no length
        known = [_NULL if value is None else len(value) for value in values]
        return beginning + lengths.pack(*known) + b"".join(filter(None, values))


def decode_headers(stored: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """The headers that `encode_headers` wrote. Raises ValueError for bytes that it did not write."""
    try:
        (count,) = struct.unpack_from(">i", stored)
        names, at = _decode_column(stored, 4, count)
        values, at = _decode_column(stored, at, count)
        headers = tuple(
            (name.decode(errors=_AS_STORED), value)
            for name, value in zip(names, values, strict=True)
            if name is not None
        )
    except struct.error as fault:
        raise ValueError("these bytes are no headers") from fault
    if at != len(stored) or len(headers) != count:
        raise ValueError("these bytes are no headers")
    return headers


def _decode_column(stored: bytes, at: int, count: int) -> tuple[list[bytes | None], int]:
    lengths = struct.unpack_from(f">{count}i", stored, at)
    at += 4 * count
    fields: list[bytes | None] = []
    for length in lengths:
        if length < _NULL:
            raise ValueError("these bytes are no headers")
        fields.append(None if length == _NULL else stored[at : at + length])
        at += max(0, length)
    return fields, at


@lru_cache(maxsize=64)
def _header_names(names: tuple[str, ...]) -> tuple[bytes, struct.Struct]:
    """What a header form begins with, and the form of its values' lengths. Events have few sets of names."""
    encoded = [name.encode(errors=_AS_STORED) for name in names]
    lengths = struct.Struct(f">{len(names)}i")
    return struct.pack(">i", len(names)) + lengths.pack(*map(len, encoded)) + b"".join(encoded), lengths
