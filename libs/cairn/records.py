"""Reads whatever lies in Kafka, also what the client library refuses to hand out."""

import struct
from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka import AIOKafkaConsumer, TopicPartition
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
        """The records that are there, at most `max_records`; waits up to `timeout_ms` for the first."""
        before = self._positions(partitions)
        try:
            found: dict[TopicPartition, list[ConsumerRecord]] = await super().getmany(
                *partitions, timeout_ms=timeout_ms, max_records=max_records
            )
        except (UnicodeDecodeError, CorruptRecordException):
            self._seek(before)
            return await self._read(before, max_records)
        return found

    def _positions(self, partitions: tuple[TopicPartition, ...]) -> dict[TopicPartition, int]:
        """The next offset of each partition that is read now."""
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
            records = list(_unpack(tp, await self._fetch(tp, offset), offset))[:left]
            if records:
                found[tp], following[tp] = records, records[-1].offset + 1
                left = None if left is None else left - len(records)
        self._seek(following)
        return {tp: records for tp, records in found.items() if tp in self.assignment()}

    async def _fetch(self, tp: TopicPartition, offset: int) -> bytes:
        """The record batches at an offset; none where its leader cannot send them now."""
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is None or leader == -1:
            return b""
        wanted = [(tp.topic, [(tp.partition, offset, _FETCH_BYTES)])]
        response = await self._client.send(leader, FetchRequest(0, 1, _FETCH_BYTES, 0, wanted))
        ((_topic, ((_partition, error, *_more, batches),)),) = response.topics
        return b"" if error else batches or b""


def _unpack(tp: TopicPartition, data: bytes, offset: int) -> Iterator[ConsumerRecord]:
    """The records in a run of record batches, from an offset on. The last batch may be cut off."""
    at = 0
    while at + _LENGTH.size <= len(data):
        _base, length = _LENGTH.unpack_from(data, at)
        end = at + _LENGTH.size + length
        if end > len(data):
            return
        for record in _records(tp, data[at:end]):
            if record.offset >= offset:
                yield _as_consumed(tp, record)
        at = end


def _records(tp: TopicPartition, data: bytes) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(data)
    if not batch.validate_crc():
        raise CorruptRecordException(f"Invalid CRC - {tp}")
    if not batch.is_control_batch:
        iter(batch)  # takes the records out of their compression
        batch._buffer = _Tolerant(batch._buffer)  # noqa: SLF001 # where its texts are decoded from
        yield from batch


class _Tolerant(bytearray):
    """Bytes whose parts decode to surrogates where they are not UTF-8."""

    def __getitem__(self, part: SupportsIndex | slice) -> Any:
        found = super().__getitem__(part)
        return _Tolerant(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)


def _as_consumed(tp: TopicPartition, record: Any) -> ConsumerRecord:
    return ConsumerRecord(
        tp.topic,
        tp.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        record.checksum,
        -1 if record.key is None else len(record.key),
        -1 if record.value is None else len(record.value),
        tuple(record.headers),
    )
