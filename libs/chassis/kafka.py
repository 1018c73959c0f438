"""What the chassis asks of Kafka beside the stream itself: ends, committed offsets, runs of the log."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError

from cairn.broker import BrokerUnreachable, TopicRefused, reached, stopped
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Record
from cairn.events.identity import Installation
from cairn.records import RecordConsumer, as_record

PATIENCE_SECONDS = 30.0
"""A broker that is restarted, or loses its leader, is back within this time."""
_FETCH_BYTES = 4 * 1024 * 1024
_UNTIL_CUT_OFF_MILLISECONDS = 86_400_000
T = TypeVar("T")
Partition = tuple[str, int]
"""A topic without prefix, and a partition."""


class KafkaUnreachable(Exception):
    """Kafka does not answer, or has not the topics that it should have."""


class GroupInUse(Exception):
    """The group has members: nobody else may commit for it."""


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


def partitions_of(topics: Iterable[str]) -> list[Partition]:
    """Every partition of these topics."""
    return [(topic, partition) for topic in topics for partition in range(TOPICS[topic].partitions)]


class LogReader(Protocol):
    """What a rebuild asks of the log: Kafka's own, or a copy that somebody keeps. `Log` says what each call means."""

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """How far the service has come."""
        ...

    async def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where each partition begins."""
        ...

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where each partition ends."""
        ...

    def read(self, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> AsyncIterator[Record]:
        """The records between."""
        ...


class Log:
    """Reads the log by hand: no group is joined, nothing is committed but through `commit`.

    Each call raises KafkaUnreachable when Kafka refuses it, or gives nothing for `PATIENCE_SECONDS`.
    """

    def __init__(self, consumer: RecordConsumer, installation: Installation, servers: str) -> None:
        self._consumer = consumer
        self._installation = installation
        self._servers = servers

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        bootstrap_servers: str,
        installation: Installation,
        group: str | None = None,
        *,
        isolation_level: str = "read_uncommitted",
    ) -> "AsyncIterator[Log]":
        """Connect. What lies in the log is read as it is, also what was aborted. Raises KafkaUnreachable."""
        consumer = RecordConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation_level,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=10,  # all that is asked for is there: who waits for more only holds up the next question
        )
        log = cls(consumer, installation, bootstrap_servers)
        try:
            await log._answer(consumer.start(), "connecting")
            yield log
        finally:
            await stopped(consumer.stop())

    async def _answer(self, call: Awaitable[T], doing: str) -> T:
        try:
            return await reached(call, self._servers, PATIENCE_SECONDS, doing)
        except (BrokerUnreachable, TopicRefused) as error:
            raise KafkaUnreachable(str(error)) from error

    def _kafka(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._installation.topic(partition[0]), partition[1])

    async def missing_topics(self, topics: Iterable[str]) -> list[str]:
        """The topics that are not there, prefix included."""
        there = await self._answer(self._consumer.topics(), "asking for topics")
        return [name for topic in topics if (name := self._installation.topic(topic)) not in there]

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset after the last record of each partition."""
        wanted = {self._kafka(one): one for one in partitions}
        found = await self._answer(self._consumer.end_offsets(list(wanted)), "asking where the log ends")
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the first record that is still there."""
        wanted = {self._kafka(one): one for one in partitions}
        found = await self._answer(self._consumer.beginning_offsets(list(wanted)), "asking where the log begins")
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """What the group has committed; None where it never did."""
        wanted = [(one, self._kafka(one)) for one in partitions]
        self._consumer.assign([tp for _, tp in wanted])
        doing = "asking what the group has committed"
        return {one: await self._answer(self._consumer.committed(tp), doing) for one, tp in wanted}

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit for the group from outside. Raises GroupInUse: the members of a group commit for themselves."""
        wanted = {self._kafka(one): offset for one, offset in offsets.items()}
        self._consumer.assign(list(wanted))
        await self._answer(self._commit(wanted), "committing for the group")

    async def _commit(self, wanted: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(wanted)
        except CommitFailedError as error:
            raise GroupInUse(str(error)) from error

    async def read(self, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> AsyncGenerator[Record]:
        """Every record from `start` up to, not including, `end`; order is kept within a partition.

        Where only what is committed is read, `end` must not lie past what is.
        """
        left = {self._kafka(one): end[one] for one, first in start.items() if first < end[one]}
        if not left:
            return
        self._consumer.assign(list(left))
        for one, first in start.items():
            if (tp := self._kafka(one)) in left:
                self._consumer.seek(tp, first)
        while left:
            batches = await self._answer(
                self._consumer.getmany(*left, timeout_ms=_UNTIL_CUT_OFF_MILLISECONDS, max_records=2000),
                f"reading {self._describe(left)}",
            )
            for tp, batch in batches.items():
                for raw in batch:
                    if tp in left and raw.offset < left[tp]:
                        yield as_record(raw, self._installation)
            for tp in list(left):
                if await self._answer(self._consumer.position(tp), f"reading {tp.topic}/{tp.partition}") >= left[tp]:
                    del left[tp]
                    self._consumer.pause(tp)

    def _describe(self, left: Mapping[TopicPartition, int]) -> str:
        names = [f"{tp.topic}/{tp.partition} to {end}" for tp, end in left.items()]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
