"""Carries sealed events to Kafka: in record batches of its own making, one outstanding a partition.

What waits for a partition while a batch is under way goes out in the next one. So order within a partition, and with
it the order of each key, is that of `send`, whatever is tried again; and many at once cost few round trips.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from math import inf

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError, RecordListTooLargeError

from cairn.broker import (
    ANSWER_SECONDS,
    BrokerUnreachable,
    TopicRefused,
    connect,
    give_up,
    partition_of,
    reached,
    see_topics,
)
from cairn.events.catalogue import TOPICS
from cairn.events.codec import Outgoing
from cairn.publisher.sealing import Sealed

_BATCH_BYTES = 512 * 1024
_REQUEST_BYTES = 4 * 1024 * 1024
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_OVERHEAD_BYTES = 1024
"""What headers and key take, about."""
_CLOSED = "the publisher was closed before Kafka confirmed it"
_ABOUT_SOME_RECORD = (InvalidTimestampError, MessageSizeTooLargeError, RecordListTooLargeError)


log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    outgoing: Outgoing
    deadline: float
    """On the loop's clock."""
    confirmed: asyncio.Future[int]
    """Its offset."""


@dataclass(slots=True)
class _Lane:
    """What waits for one partition."""

    topic: str
    """Without the installation's prefix."""
    partition: int
    waiting: deque[_Waiting] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    trouble: str = ""
    """What went wrong last."""


class Sender:
    """Sends what is sealed, again and again until Kafka has it on all replicas, refuses it, or it is too late."""

    def __init__(self, servers: str) -> None:
        """Connects to nothing yet."""
        self._servers = servers
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._seen: set[str] = set()
        self._met = False

    async def meet(self) -> None:
        """Connect, unless that was done before. Raises BrokerUnreachable soon: a wrong address stays wrong."""
        if not self._met:
            await self._connected()

    @property
    def trouble(self) -> str:
        """What went wrong last, where something waits for it; else empty."""
        return next((lane.trouble for lane in self._lanes.values() if lane.task and lane.trouble), "")

    def send(self, sealed: Sealed, seconds: float = inf) -> asyncio.Future[int]:
        """Have an event sent; its offset, once Kafka has confirmed it.

        It fails with TopicRefused; or when `seconds` are over with BrokerUnreachable, and then it may have been written
        all the same. Cancelled before its turn, it is not sent.
        """
        loop = asyncio.get_running_loop()
        lane = self._lane(sealed)
        waiting = _Waiting(sealed.outgoing, loop.time() + seconds, loop.create_future())
        lane.waiting.append(waiting)
        if lane.task is None:
            lane.task = loop.create_task(self._empty(lane))
        return waiting.confirmed

    async def close(self, seconds: float) -> None:
        """Give what was sent so many seconds to arrive, fail the rest with BrokerUnreachable, and disconnect."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        producer, self._producer = self._producer, None
        if producer:
            await give_up(producer)
        if tasks:
            await asyncio.wait(tasks)

    def _lane(self, sealed: Sealed) -> _Lane:
        partition = partition_of(sealed.topic, sealed.outgoing.key)
        place = sealed.outgoing.topic, partition
        if place not in self._lanes:
            self._lanes[place] = _Lane(sealed.topic, partition)
        return self._lanes[place]

    async def _empty(self, lane: _Lane) -> None:
        """Send what waits for a partition, until nothing does."""
        try:
            while lane.waiting:
                if batch := _take(lane.waiting):
                    await self._deliver(lane, batch)
        finally:
            lane.task = None
            _fail(lane.waiting, BrokerUnreachable(_CLOSED))

    async def _deliver(self, lane: _Lane, batch: Sequence[_Waiting]) -> None:
        """Send a batch and tell those who wait what became of it."""
        try:
            async with asyncio.timeout_at(_last(batch)):
                offset = await self._until_sent(lane, batch)
        except TimeoutError:
            _fail(batch, BrokerUnreachable(lane.trouble or self._silence(lane)))
        except TopicRefused as error:
            if len(batch) > 1 and isinstance(error.__cause__, _ABOUT_SOME_RECORD):
                for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                    await self._deliver(lane, half)
            else:
                _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, BrokerUnreachable(_CLOSED))
            raise
        else:
            for number, one in enumerate(batch):
                if not one.confirmed.done():
                    one.confirmed.set_result(offset + number)

    def _silence(self, lane: _Lane) -> str:
        return f"Kafka at {self._servers} did not answer in time while publishing to {lane.topic}"

    async def _until_sent(self, lane: _Lane, batch: Sequence[_Waiting]) -> int:
        """Send a batch, again after trouble; the offset of its first record. Raises TopicRefused."""
        pause, lane.trouble = _FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                return await self._try(lane, batch)
            except TopicRefused:
                raise
            except BrokerUnreachable as error:
                if not lane.trouble:
                    log.warning("%s; trying again", error)
                lane.trouble = str(error)
            except Exception as error:  # whatever it is, Kafka did not refuse the events
                if not lane.trouble:
                    log.exception("publishing to %s failed; trying again", lane.topic)
                lane.trouble = f"publishing to {lane.topic} failed: {error!r}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _try(self, lane: _Lane, batch: Sequence[_Waiting]) -> int:
        try:
            producer = await self._connected()
        except TopicRefused as error:  # it is we who were refused, not what we bring
            raise BrokerUnreachable(str(error)) from error
        try:
            topic = batch[0].outgoing.topic
            await self._see(producer, lane, topic)
            call = _send(producer, topic, lane.partition, batch)
            return await reached(call, self._servers, ANSWER_SECONDS, f"publishing to {lane.topic}")
        except BaseException:
            # After an error its sequence numbers may no longer be those that the broker expects (aiokafka #1017),
            # and what was given up must not go out behind our back.
            await self._drop(producer)
            raise

    async def _see(self, producer: AIOKafkaProducer, lane: _Lane, topic: str) -> None:
        if topic in self._seen:
            return
        cluster = await see_topics(producer.client, [topic], self._servers)
        count, needed = len(cluster.partitions_for_topic(topic)), TOPICS[lane.topic].partitions
        if count < needed:
            raise TopicRefused(f"Kafka at {self._servers} has {topic} with {count} partitions: it needs {needed}")
        self._seen.add(topic)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await connect(_new_producer(self._servers), self._servers)
                self._met = True
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            await give_up(producer)


async def answers_of(sent: Sequence[asyncio.Future[int]]) -> list[int | Exception]:
    """What became of events that were sent together: their offsets, or why there is none."""
    answers: list[int | Exception] = []
    try:
        for one in sent:  # one after another: most are there when the first is, and then cost nothing
            try:
                answers.append(await one)
            except Exception as error:  # noqa: BLE001 # it is the answer
                answers.append(error)
    except asyncio.CancelledError:
        for one in sent:
            one.cancel()
        raise
    return answers


def _last(batch: Sequence[_Waiting]) -> float | None:
    latest = max(one.deadline for one in batch)
    return None if latest == inf else latest


def _take(waiting: deque[_Waiting]) -> list[_Waiting]:
    """From the front, what fits into one record batch."""
    batch: list[_Waiting] = []
    size = 0
    while waiting and size < _BATCH_BYTES:
        one = waiting.popleft()
        if not one.confirmed.done():
            batch.append(one)
            size += len(one.outgoing.value) + _OVERHEAD_BYTES
    return batch


def _fail(waiting: Iterable[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.confirmed.done():
            one.confirmed.set_exception(copy(error))  # each is raised elsewhere, with a traceback of its own


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, batch: Sequence[_Waiting]) -> int:
    records, now = producer.create_batch(), int(time.time() * 1000)
    for one in batch:
        out = one.outgoing
        if records.append(key=out.key, value=out.value, timestamp=now, headers=list(out.headers)) is None:
            raise MessageSizeTooLargeError("too much for one record batch")
    placed = await (await producer.send_batch(records, topic, partition=partition))
    return int(placed.offset)


def _new_producer(servers: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=servers,
        client_id="cairn-publisher",
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=int(ANSWER_SECONDS * 1000),
        max_batch_size=2 * _BATCH_BYTES,
        max_request_size=_REQUEST_BYTES,
    )
