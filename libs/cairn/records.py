"""Reads whatever lies in Kafka, also what the client library refuses to hand out."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, SupportsIndex

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchError, PartitionRecords
from aiokafka.errors import CorruptRecordException, NoOffsetForPartitionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.structs import ConsumerRecord

from cairn.events.codec import Record
from cairn.events.identity import Installation

_FETCH_BYTES = 1024 * 1024
"""Of a larger record batch Kafka sends the whole all the same."""
_LOOK_MILLISECONDS = 200
"""How often is looked at how far each partition has come."""
_BEGIN_MILLISECONDS = 10
"""The same while that is not known of any of them."""
_NOWHERE = TopicPartition("", -1)
"""Asked of no partition, the client would answer for all."""


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
            wait = _LOOK_MILLISECONDS if known or not self.assignment() else _BEGIN_MILLISECONDS
            found = await self._take(known, min(timeout_ms, wait), max_records)
            if found or loop.time() >= until or self._has_passed(known):
                return found

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions end."""
        self._learn_of(partitions)
        return dict(await super().end_offsets(partitions))

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions begin."""
        self._learn_of(partitions)
        return dict(await super().beginning_offsets(partitions))

    async def offsets_for_times(self, timestamps: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """The first record of each partition that Kafka got at its time or later."""
        self._learn_of(timestamps)
        return dict(await super().offsets_for_times(timestamps))

    def _learn_of(self, partitions: Iterable[TopicPartition]) -> None:
        """Have the client ask for all topics at once: by itself it asks for one, and waits 100 ms before the next."""
        for topic in {tp.topic for tp in partitions}:
            self._client.add_topic(topic)

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
                *([*known, *self._refused()] or [_NOWHERE]), timeout_ms=wait, max_records=max_records
            )
        except (UnicodeDecodeError, CorruptRecordException):
            self._seek(known)
            return await self._read(known, max_records)
        except NoOffsetForPartitionError as error:
            await self._begin(*error.args)
            return {}
        return found

    def _refused(self) -> list[TopicPartition]:
        """Partitions of which there is nothing but an error, such as that the group knows no offset."""
        kept, assigned = self._fetcher._records, self.assignment()  # noqa: SLF001 # no public way
        return [tp for tp, one in kept.items() if tp in assigned and isinstance(one, FetchError)]

    async def _begin(self, tp: TopicPartition) -> None:
        """Read a partition from its beginning, of which the group knows nothing: it has come since the group began."""
        if self._group_id is not None and tp in self.assignment():  # without a group, whoever reads says where
            await self.seek_to_beginning(tp)

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
            unpacking = await self._fetch(tp, offset)
            if records := list(islice(unpacking, left)):
                found[tp] = records
                left = None if left is None else left - len(records)
            following[tp] = unpacking.next_fetch_offset
        self._seek(following)
        return {tp: records for tp, records in found.items() if tp in self.assignment()}

    async def _fetch(self, tp: TopicPartition, offset: int) -> PartitionRecords:
        """The records from an offset on; none where its leader cannot send them now."""
        level = READ_COMMITTED if self._isolation_level == "read_committed" else READ_UNCOMMITTED
        batches, aborted = b"", None
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is not None and leader != -1:
            wanted = [(tp.topic, [(tp.partition, offset, _FETCH_BYTES)])]
            response = await self._client.send(leader, FetchRequest(0, 1, _FETCH_BYTES, level, wanted))
            ((_topic, ((_partition, error, _highwater, _stable, _start, given_up, *_more, data),)),) = response.topics
            if not error:
                batches, aborted = data or b"", given_up
        return PartitionRecords(tp, _TolerantRecords(batches), aborted, offset, None, None, True, level)


class _TolerantRecords(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka ships no types
    """Record batches whose texts need not be UTF-8."""

    def next_batch(self) -> "_TolerantBatch":
        data = self._next_slice
        self._cache_next()
        return _TolerantBatch(data)


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka ships no types
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Tolerant(self._buffer)  # where its texts are decoded from


class _Tolerant(bytearray):
    """Bytes whose parts decode to surrogates where they are not UTF-8."""

    def __getitem__(self, part: SupportsIndex | slice) -> Any:
        found = super().__getitem__(part)
        return _Tolerant(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
