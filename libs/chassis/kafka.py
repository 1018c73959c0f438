"""What the chassis asks of Kafka beside the stream itself: ends, committed offsets, runs of the log."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from cairn.broker import stopped
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Record
from cairn.events.identity import Installation

_FETCH_BYTES = 4 * 1024 * 1024
Partition = tuple[str, int]
"""A topic without prefix, and a partition."""


class KafkaUnreachable(Exception):
    """Kafka does not answer, or has not the topics that it should have."""


def new_producer(bootstrap_servers: str, client_id: str) -> AIOKafkaProducer:
    """A producer that loses nothing: all replicas, idempotent, batches made by hand."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        request_timeout_ms=15_000,
        max_batch_size=1024 * 1024,
        max_request_size=4 * 1024 * 1024,
    )


def partition_of(topic: str, key: bytes) -> int:
    """The partition of a key: murmur2, as Java and aiokafka do."""
    return int(murmur2(key) & 0x7FFFFFFF) % TOPICS[topic].partitions


def partitions_of(topics: Iterable[str]) -> list[Partition]:
    """Every partition of these topics."""
    return [(topic, partition) for topic in topics for partition in range(TOPICS[topic].partitions)]


def as_record(raw: object, installation: Installation) -> Record:
    """A record of the client as the codec reads it."""
    return Record(
        topic=installation.bare_topic(raw.topic),  # type: ignore[attr-defined]  # aiokafka ships no types
        partition=raw.partition,  # type: ignore[attr-defined]  # as above
        offset=raw.offset,  # type: ignore[attr-defined]  # as above
        timestamp=raw.timestamp,  # type: ignore[attr-defined]  # as above
        key=raw.key,  # type: ignore[attr-defined]  # as above
        headers=raw.headers,  # type: ignore[attr-defined]  # as above
        value=raw.value,  # type: ignore[attr-defined]  # as above
        timestamp_type=raw.timestamp_type,  # type: ignore[attr-defined]  # as above
    )


class Log:
    """Reads the log by hand: no group is joined, nothing is committed but through `commit`."""

    def __init__(self, consumer: AIOKafkaConsumer, installation: Installation) -> None:
        self._consumer = consumer
        self._installation = installation

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bootstrap_servers: str, installation: Installation, group: str | None = None
    ) -> "AsyncIterator[Log]":
        """Connect. Raises KafkaUnreachable."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=10,  # all that is asked for is there: who waits for more only holds up the next question
        )
        try:
            await asyncio.wait_for(consumer.start(), 15)
        except (KafkaError, OSError, TimeoutError) as error:
            await stopped(consumer.stop())
            raise KafkaUnreachable(f"Kafka at {bootstrap_servers} does not answer: {error}") from None
        try:
            yield cls(consumer, installation)
        finally:
            await stopped(consumer.stop())

    def _kafka(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._installation.topic(partition[0]), partition[1])

    async def missing_topics(self, topics: Iterable[str]) -> list[str]:
        """The topics that are not there, prefix included."""
        there = await self._consumer.topics()
        return [name for topic in topics if (name := self._installation.topic(topic)) not in there]

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset after the last record of each partition."""
        wanted = {self._kafka(one): one for one in partitions}
        found = await self._consumer.end_offsets(list(wanted))
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the first record that is still there."""
        wanted = {self._kafka(one): one for one in partitions}
        found = await self._consumer.beginning_offsets(list(wanted))
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """What the group has committed; None where it never did."""
        wanted = [(one, self._kafka(one)) for one in partitions]
        self._consumer.assign([tp for _, tp in wanted])
        return {one: await self._consumer.committed(tp) for one, tp in wanted}

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit for the group."""
        wanted = {self._kafka(one): offset for one, offset in offsets.items()}
        self._consumer.assign(list(wanted))
        await self._consumer.commit(wanted)

    async def read(self, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> AsyncGenerator[Record]:
        """Every record from `start` up to, not including, `end`; order is kept within a partition."""
        left = {self._kafka(one): end[one] for one, first in start.items() if first < end[one]}
        if not left:
            return
        self._consumer.assign(list(left))
        for one, first in start.items():
            if (tp := self._kafka(one)) in left:
                self._consumer.seek(tp, first)
        while left:
            batches = await self._consumer.getmany(*left, timeout_ms=1000, max_records=2000)
            for tp, batch in batches.items():
                for raw in batch:
                    if tp in left and raw.offset < left[tp]:
                        yield as_record(raw, self._installation)
            for tp in list(left):
                if await self._consumer.position(tp) >= left[tp]:
                    del left[tp]
                    self._consumer.pause(tp)
