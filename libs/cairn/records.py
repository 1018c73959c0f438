"""Reads whatever lies in Kafka, also what the client library refuses to hand out."""

import asyncio
import struct
from itertools import islice
from typing import Any, Self, SupportsIndex

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.structs import ConsumerRecord

from cairn.events.codec import Record
from cairn.events.identity import Installation

_FETCH_BYTES = 1024 * 1024
"""Of a larger record batch Kafka sends the whole all the same."""
_LENGTH = struct.Struct(">qi")
"""How a record batch begins: base offset, bytes that follow."""
_LOOK_MILLISECONDS = 50
"""How often is looked at how far each partition has come."""
_NOWHERE = TopicPartition("", -1)
"""Asked of no partition, the client would answer for all."""
_WITH_REPLICA = 11
"""From this version on an answer names a replica to read from, after the aborted transactions."""


def as_record(raw: ConsumerRecord, installation: Installation) -> Record:
    """A record of the client as the codec reads it."""
    return Record(
        topic=installation.bare_topic(raw.topic),
        partition=raw.partition,
        offset=raw.offset,
        timestamp=raw.timestamp,
        key=raw.key,
        headers=raw.headers,
        value=raw.value,
        timestamp_type=raw.timestamp_type,
    )


class RecordConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer whose `getmany` hands out every record.

    A header's name need not be UTF-8, for the broker does not look. aiokafka does while it unpacks: it raises, would
    do so at each further call, and has by then let go of what it had unpacked of other partitions. Here the bytes that
    are not UTF-8 come as surrogates (PEP 383), which UTF-8 text cannot hold: so nothing is lost, and who reads such a
    name can tell.
    """

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """The records that are there, at most `max_records`; waits up to `timeout_ms` for the first.

        Gives none earlier, too, where it has come past offsets that hold no record: perhaps there is nothing more.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        while True:
            # Who asks for a partition whose position is not known yet would not know what it lets go of.
            known = self._positions(partitions)
            found = await self._take(known, min(timeout_ms, _LOOK_MILLISECONDS), max_records)
            if found or loop.time() >= until or self._has_passed(known):
                return found

    def known_positions(self) -> dict[TopicPartition, int]:
        """The offset up to which each assigned partition was handed out, where that is known."""
        return self._positions(())

    def _has_passed(self, known: dict[TopicPartition, int]) -> bool:
        now = self._positions(())
        return any(now.get(tp, 0) > offset for tp, offset in known.items())

    async def _take(
        self, known: dict[TopicPartition, int], wait: int, max_records: int | None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        try:
            found: dict[TopicPartition, list[ConsumerRecord]] = await super().getmany(
                *(known or [_NOWHERE]), timeout_ms=wait, max_records=max_records
            )
        except (UnicodeDecodeError, CorruptRecordException):
            self._seek(known)
            return await self._read(known, max_records)
        return found

    def _positions(self, partitions: tuple[TopicPartition, ...]) -> dict[TopicPartition, int]:
        """The next offset of each partition that is read now, where it is known."""
        subscription = self._subscription.subscription
        assignment = subscription.assignment if subscription else None
        if assignment is None:
            return {}
        states = {tp: assignment.state_value(tp) for tp in partitions or assignment.tps if tp in assignment.tps}
        return {tp: state.position for tp, state in states.items() if state.has_valid_position and not state.paused}

    def _seek(self, offsets: dict[TopicPartition, int]) -> None:
        assigned = self.assignment()
        for tp, offset in offsets.items():
            if tp in assigned:  # else a rebalance has taken it away
                self.seek(tp, offset)

    async def _read(
        self, offsets: dict[TopicPartition, int], max_records: int | None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Records from these offsets on, unpacked here. Raises CorruptRecordException where bytes have changed."""
        left, following = max_records, dict[TopicPartition, int]()
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        for tp, offset in offsets.items():
            batches, aborted = await self._fetch(tp, offset)
            unpacked = PartitionRecords(tp, batches, aborted, offset, None, None, True, self._isolation)
            if records := list(islice(unpacked, left)):
                found[tp] = records
                left = None if left is None else left - len(records)
            following[tp] = unpacked.next_fetch_offset
        self._seek(following)
        return {tp: records for tp, records in found.items() if tp in self.assignment()}

    @property
    def _isolation(self) -> int:
        return int(READ_COMMITTED if self._isolation_level == "read_committed" else READ_UNCOMMITTED)

    async def _fetch(self, tp: TopicPartition, offset: int) -> "tuple[_Batches, Any]":
        """The record batches at an offset, and the transactions that were aborted; none where its leader has none."""
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is None or leader == -1:
            return _Batches(b""), None
        wanted = [(tp.topic, [(tp.partition, offset, _FETCH_BYTES)])]
        response = await self._client.send(leader, FetchRequest(0, 1, _FETCH_BYTES, self._isolation, wanted))
        ((_topic, ((_partition, error, *more, batches),)),) = response.topics
        aborted = more[-2] if response.API_VERSION >= _WITH_REPLICA else more[-1]
        return _Batches(b"" if error else batches or b""), aborted


class _Batches:
    """A run of record batches, as the client takes them apart. The last one may be cut off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def has_next(self) -> bool:
        return self._at + _LENGTH.size <= len(self._data) and self._end <= len(self._data)

    def next_batch(self) -> "_TolerantBatch":
        start, self._at = self._at, self._end
        return _TolerantBatch(self._data[start : self._at])

    @property
    def _end(self) -> int:
        _base, length = _LENGTH.unpack_from(self._data, self._at)
        return self._at + _LENGTH.size + int(length)


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka ships no types
    """A record batch whose texts need not be UTF-8."""

    _buffer: bytearray

    def __iter__(self) -> Self:
        super().__iter__()  # takes the records out of their compression
        self._buffer = _Tolerant(self._buffer)  # where the texts are decoded from
        return self


class _Tolerant(bytearray):
    """Bytes whose parts decode to surrogates where they are not UTF-8."""

    def __getitem__(self, part: SupportsIndex | slice) -> Any:
        found = super().__getitem__(part)
        return _Tolerant(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
