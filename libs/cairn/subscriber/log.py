"""Reads the log: every record of some topics, checked, without joining a group and without committing anything."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, OffsetOutOfRangeError, UnknownMemberIdError

from cairn.broker import ANSWER_SECONDS, BrokerUnreachable, TopicRefused, reached, see_topics, stopped
from cairn.context import Context
from cairn.events.codec import Heard, Malformed, Record
from cairn.records import RecordConsumer, as_record
from cairn.subscriber.hearing import hear

_POLL_MILLISECONDS = 1000
_RECORD_SECONDS = 20.0
_MOST_HELD = 2000
_PATIENCE_MILLISECONDS = 86_400_000
"""A member of a group that thinks for long about an event stays one: its heart beats beside."""

Offsets = Mapping[tuple[str, int], int]
"""For partitions (topic without prefix, number): the offset of the next record to read."""
Start = Literal["beginning", "end"] | int | datetime | Offsets
"""Where to begin: a number means so many of the last records of each partition, a time what Kafka got from then on."""
Isolation = Literal["read_committed", "read_uncommitted"]


class RecordsGone(TopicRefused):
    """Kafka has not what comes next: the topic was made anew, or its log has lost what was not read yet."""

    @classmethod
    def beyond(cls, offsets: Mapping[TopicPartition, int], servers: str) -> "RecordsGone":
        """For offsets that are outside the log now."""
        places = ", ".join(f"{tp.topic}[{tp.partition}] at {offset}" for tp, offset in offsets.items())
        return cls(f"Kafka at {servers} has nothing to read on from {places}")


class Entry(NamedTuple):
    """One record of the log, and what it says."""

    record: Record
    heard: Heard | Malformed


async def read_log(
    context: Context, topics: Sequence[str], start: Start = "beginning", *, follow: bool = False
) -> AsyncGenerator[Entry, None]:
    """Each record of these topics (without prefix), checked.

    What is there at the start comes oldest first, by Kafka's time across partitions; with `follow` what arrives
    later comes after it, without end, and a broker that goes away is waited for. `start` may name offsets; a
    partition that it does not name is read from its beginning. Raises BrokerUnreachable and TopicRefused.
    """
    async with open_log(context) as log:
        partitions = await log.partitions(topics)
        starts, ends = await log.bounds(partitions, start)
        async for record in log.catch_up(starts, ends):
            yield _entry(record, context)
        if follow:
            async for record in log.follow(ends):
                yield _entry(record, context)


async def end_offsets(context: Context, topics: Sequence[str]) -> Offsets:
    """Where these topics (without prefix) end now: a start for reading all that comes after.

    Raises BrokerUnreachable and TopicRefused.
    """
    async with open_log(context) as log:
        ends = await log.ends(await log.partitions(topics))
        return {(context.installation.bare_topic(tp.topic), tp.partition): end for tp, end in ends.items()}


@asynccontextmanager
async def open_log(
    context: Context, group: str | None = None, isolation: Isolation = "read_committed"
) -> "AsyncIterator[Log]":
    """Connect; with a group its committed offsets can be asked for and set.

    What was written in a transaction that was given up, only those see who read `read_uncommitted`.
    Raises BrokerUnreachable, TopicRefused.
    """
    consumer = RecordConsumer(
        bootstrap_servers=context.bootstrap_servers,
        client_id="cairn-reader",
        group_id=group,
        enable_auto_commit=False,
        isolation_level=isolation,
        auto_offset_reset="none",  # a record that is gone must be told, not stepped over
        max_poll_interval_ms=_PATIENCE_MILLISECONDS,
        request_timeout_ms=int(ANSWER_SECONDS * 1000),
    )
    try:
        await reached(consumer.start(), context.bootstrap_servers, ANSWER_SECONDS, "connecting")
        yield Log(consumer, context)
    finally:
        await stopped(consumer.stop())


def _entry(raw: Any, context: Context) -> Entry:
    record = as_record(raw, context.installation)
    return Entry(record, hear(record, context.installation, context.trust))


class Log:
    """A consumer whose partitions are assigned by hand, and the order in which it is read."""

    def __init__(self, consumer: RecordConsumer, context: Context) -> None:
        self._consumer = consumer
        self._context = context
        self._servers = context.bootstrap_servers

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Every partition of these topics (without prefix)."""
        names = [self._context.installation.topic(topic) for topic in topics]
        # The public ways to a topic's partitions subscribe to it, or need a second connection.
        cluster = await see_topics(self._consumer._client, names, self._servers)  # noqa: SLF001 # no public way
        return [TopicPartition(name, number) for name in names for number in sorted(cluster.partitions_for_topic(name))]

    async def ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record of each."""
        call = self._consumer.end_offsets(partitions)
        return dict(await reached(call, self._servers, ANSWER_SECONDS, "asking where the log ends"))

    async def bounds(
        self, partitions: list[TopicPartition], start: Start
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Where each partition is read from, and where it ends now. Raises TopicRefused for what is not there."""
        ends = await self.ends(partitions)
        call = self._consumer.beginning_offsets(partitions)
        first = dict(await reached(call, self._servers, ANSWER_SECONDS, "asking where the log begins"))
        if isinstance(start, datetime):
            starts = await self._at(partitions, start, ends)
        else:
            self._refuse_strangers(start, partitions)
            starts = {tp: self._start_of(tp, start, first[tp], ends[tp]) for tp in partitions}
        for tp in partitions:
            if not first[tp] <= starts[tp] <= ends[tp]:
                raise RecordsGone(
                    f"Kafka at {self._servers} has {tp.topic}[{tp.partition}] from {first[tp]} to {ends[tp]}: "
                    f"it cannot be read from {starts[tp]}"
                )
        return starts, ends

    async def _at(
        self, partitions: list[TopicPartition], instant: datetime, ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The first record that Kafka got at that time or later."""
        milliseconds = math.ceil(instant.timestamp() * 1000)
        call = self._consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
        found = await reached(call, self._servers, ANSWER_SECONDS, "asking what was written since a time")
        return {tp: found[tp].offset if found[tp] else ends[tp] for tp in partitions}

    def _refuse_strangers(self, start: Start, partitions: list[TopicPartition]) -> None:
        known = {(self._context.installation.bare_topic(tp.topic), tp.partition) for tp in partitions}
        if isinstance(start, Mapping) and (strange := start.keys() - known):
            topic, partition = min(strange)
            raise TopicRefused(f"a start is given for {topic}[{partition}], which is not among what is read")

    def _start_of(
        self, tp: TopicPartition, start: Literal["beginning", "end"] | int | Offsets, first: int, end: int
    ) -> int:
        match start:
            case "beginning":
                return first
            case "end":
                return end
            case int():
                return max(first, end - start)
        return start.get((self._context.installation.bare_topic(tp.topic), tp.partition), first)

    def go_to(self, starts: Mapping[TopicPartition, int]) -> None:
        """Take these partitions, and read each from there."""
        self._consumer.assign(list(starts))
        for tp, offset in starts.items():
            self._consumer.seek(tp, offset)

    def join(self, topics: Sequence[str]) -> None:
        """Leave to the group which partitions of these topics (without prefix) are read, from where it has come to."""
        self._consumer.unsubscribe()
        self._consumer.subscribe([self._context.installation.topic(topic) for topic in topics])

    async def committed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int | None]:
        """What the group has committed; None where it never did."""
        self._consumer.assign(partitions)
        asking = "asking how far the group has come"
        return {
            tp: await reached(self._consumer.committed(tp), self._servers, ANSWER_SECONDS, asking) for tp in partitions
        }

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit for the group; False where it has members, who alone may."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._consumer.commit(dict(offsets))
        except (CommitFailedError, UnknownMemberIdError):
            return False
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnreachable(f"Kafka at {self._servers} did not take the group's offsets: {error!r}") from error
        return True

    async def catch_up(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> AsyncIterator[Any]:
        """Every record up to the ends; of the partitions' next records always the oldest."""
        left = self._open(starts, ends)
        held: dict[TopicPartition, deque[Any]] = {tp: deque() for tp in left}
        while left or any(held.values()):
            if all(held[tp] for tp in left):
                yield min(filter(None, held.values()), key=lambda records: records[0].timestamp).popleft()
                continue
            # A partition far ahead of the others in time must not fill the memory while they catch up.
            self._consumer.pause(*(tp for tp in left if len(held[tp]) > _MOST_HELD))
            self._consumer.resume(*(tp for tp in left if not held[tp]))
            for tp, batch in (await self._advance(left)).items():
                held[tp].extend(batch)

    async def runs(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[Any]]]:
        """Every record up to the ends in runs of one partition, as they come: for those to whom time is no matter."""
        left = self._open(starts, ends)
        while left:
            for tp, batch in (await self._advance(left)).items():
                yield tp, batch

    def _open(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Go to the starts; the ends of the partitions that are not there yet."""
        left = {tp: end for tp, end in ends.items() if starts[tp] < end}
        self.go_to({tp: starts[tp] for tp in left})
        return left

    async def _advance(self, left: dict[TopicPartition, int]) -> dict[TopicPartition, Sequence[Any]]:
        """What comes next before these ends; a partition that has come to its end is taken out.

        Its position says so: what lies last may be no record, but the mark with which a transaction ended.
        """
        before, began = await self._positions(left), time.monotonic()
        while True:
            batches = await self._records(_POLL_MILLISECONDS)
            positions = await self._positions(left)
            if positions != before:
                break
            if time.monotonic() - began > _RECORD_SECONDS:
                raise BrokerUnreachable(
                    f"Kafka at {self._servers} sends nothing for {_RECORD_SECONDS:g} s while reading"
                )
        found: dict[TopicPartition, Sequence[Any]] = {
            tp: [record for record in batch if record.offset < left[tp]] for tp, batch in batches.items()
        }
        for tp, position in positions.items():
            if position >= left[tp]:
                del left[tp]
                self._consumer.pause(tp)
        return found

    async def _positions(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where each goes on."""
        return {
            tp: await reached(self._consumer.position(tp), self._servers, ANSWER_SECONDS, "reading")
            for tp in partitions
        }

    async def follow(self, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Any]:
        """Every record from the ends on, as it arrives."""
        self.go_to(ends)
        async for batch in self.batches():
            for record in batch:
                yield record

    async def batches(self) -> AsyncIterator[Sequence[Any]]:
        """Whatever comes, without end: runs of records, each of one partition."""
        while True:
            for batch in (await self._records(_POLL_MILLISECONDS)).values():
                yield batch

    async def _records(self, milliseconds: int) -> dict[TopicPartition, list[Any]]:
        call = self._poll(milliseconds)
        return dict(await reached(call, self._servers, milliseconds / 1000 + ANSWER_SECONDS, "reading"))

    async def _poll(self, milliseconds: int) -> dict[TopicPartition, list[Any]]:
        try:
            return await self._consumer.getmany(timeout_ms=milliseconds)
        except OffsetOutOfRangeError as error:
            raise RecordsGone.beyond(error.args[0], self._servers) from None
