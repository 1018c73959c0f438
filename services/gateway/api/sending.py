"""Puts events into Kafka by explicit record batches. What comes while a partition's batch is on its way goes into its
next one, so that many small requests cost as little as one large."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaProducer

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
from cairn.events.codec import Outgoing
from cairn.events.identity import Installation
from chassis.kafka import Partition

SEND_SECONDS = 5.0
_BATCH_BYTES = 512 * 1024
_MOST_WAITING_BYTES = 64 * 1024 * 1024
_OVERHEAD_BYTES = 64
"""Of a record beside its key, value and headers, generously."""
log = structlog.get_logger()

Place = tuple[str, int, int]
"""Topic without prefix, partition, offset."""


class Busy(Exception):
    """More waits to be sent than is good; a little later there is room again."""


@dataclass(slots=True)
class _Part:
    """Events of one request for one partition, as many as fit into a record batch."""

    numbers: list[int]
    """Which of the request's events these are."""
    events: list[Outgoing]
    bytes: int
    offset: "asyncio.Future[int]"
    """Of the first of them."""


@dataclass(slots=True)
class _Lane:
    """The way into one partition: one record batch at a time."""

    waiting: deque[_Part] = field(default_factory=deque)
    busy: asyncio.Task[None] | None = None


class Sender:
    """Sends events and waits until Kafka has them on all replicas.

    It connects when the first come, and anew after any failure.
    """

    def __init__(self, servers: str, installation: Installation, new_producer: Callable[[], AIOKafkaProducer]) -> None:
        self._servers, self._installation, self._new_producer = servers, installation, new_producer
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._seen: set[str] = set()
        self._lanes: dict[Partition, _Lane] = {}
        self._waiting_bytes = 0

    async def send(self, events: Sequence[Outgoing]) -> list[Place]:
        """Where Kafka has put each event. Raises Busy where nothing was sent, BrokerUnreachable where some may have
        been, TopicRefused."""
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            raise Busy
        await self._connected({event.topic for event in events})
        parts = [(where, part) for where, group in self._by_partition(events).items() for part in _split(group)]
        for where, part in parts:
            self._enqueue(where, part)
        await asyncio.wait([part.offset for _, part in parts])
        places: dict[int, Place] = {}
        for (topic, partition), part in parts:
            first = part.offset.result()
            places |= {number: (topic, partition, first + n) for n, number in enumerate(part.numbers)}
        return [places[number] for number in range(len(events))]

    async def close(self) -> None:
        """Send what waits, and let go of Kafka; bounded."""
        await asyncio.gather(*(lane.busy for lane in self._lanes.values() if lane.busy))
        producer, self._producer = self._producer, None
        if producer:
            await give_up(producer)

    def _by_partition(self, events: Sequence[Outgoing]) -> dict[Partition, list[tuple[int, Outgoing]]]:
        groups: dict[Partition, list[tuple[int, Outgoing]]] = {}
        for number, event in enumerate(events):
            topic = self._installation.bare_topic(event.topic)
            groups.setdefault((topic, partition_of(topic, event.key)), []).append((number, event))
        return groups

    def _enqueue(self, where: Partition, part: _Part) -> None:
        lane = self._lanes.setdefault(where, _Lane())
        lane.waiting.append(part)
        self._waiting_bytes += part.bytes
        if lane.busy is None or lane.busy.done():
            lane.busy = asyncio.create_task(self._drive(where, lane))

    async def _drive(self, where: Partition, lane: _Lane) -> None:
        """Send what waits. When Kafka does not take a batch, nobody is kept waiting for the next try."""
        while lane.waiting:
            parts = _take(lane)
            try:
                offset = await self._send_batch(where, [event for part in parts for event in part.events])
            except Exception as error:  # noqa: BLE001 # whoever waits is told of it
                parts += lane.waiting
                lane.waiting.clear()
                failure = error if isinstance(error, TopicRefused) else BrokerUnreachable(str(error))
                for part in parts:
                    part.offset.set_exception(failure)
                    part.offset.exception()  # looked at, in case nobody waits any more
            else:
                for part in parts:
                    part.offset.set_result(offset)
                    offset += len(part.events)
            self._waiting_bytes -= sum(part.bytes for part in parts)

    async def _send_batch(self, where: Partition, events: Sequence[Outgoing]) -> int:
        """The offset of the first."""
        producer = await self._connected({events[0].topic})
        try:
            return await self._send_with(producer, where, events)
        except Exception as error:
            log.warning("gateway.kafka", error=str(error))
            await self._drop(producer)
            raise

    async def _send_with(self, producer: AIOKafkaProducer, where: Partition, events: Sequence[Outgoing]) -> int:
        topic, partition = where
        batch = producer.create_batch()
        for event in events:
            if batch.append(key=event.key, value=event.value, timestamp=None, headers=list(event.headers)) is None:
                raise AssertionError("a record batch holds less than was reckoned")
        doing = f"sending to {topic}"
        sent = await reached(
            producer.send_batch(batch, events[0].topic, partition=partition), self._servers, SEND_SECONDS, doing
        )
        return int((await reached(sent, self._servers, SEND_SECONDS, doing)).offset)

    async def _connected(self, topics: set[str]) -> AIOKafkaProducer:
        """The producer, once it is connected and these topics were seen; however many wait for that, each no longer."""
        return await reached(self._connect(topics), self._servers, ANSWER_SECONDS, "connecting")

    async def _connect(self, topics: set[str]) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await connect(self._new_producer(), self._servers)
            if not topics <= self._seen:
                await see_topics(self._producer.client, topics, self._servers)
                self._seen |= topics
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        """After an error a producer's numbers may no longer be those that the broker expects."""
        if self._producer is producer:
            self._producer = None
            await give_up(producer)


def _bytes_of(event: Outgoing) -> int:
    return len(event.key) + len(event.value) + sum(len(a) + len(b) for a, b in event.headers) + _OVERHEAD_BYTES


def _split(group: Sequence[tuple[int, Outgoing]]) -> Iterator[_Part]:
    loop = asyncio.get_running_loop()
    part = _Part([], [], 0, loop.create_future())
    for number, event in group:
        size = _bytes_of(event)
        if part.events and part.bytes + size > _BATCH_BYTES:
            yield part
            part = _Part([], [], 0, loop.create_future())
        part.numbers.append(number)
        part.events.append(event)
        part.bytes += size
    yield part


def _take(lane: _Lane) -> list[_Part]:
    """The parts at the front that go into one record batch."""
    parts = [lane.waiting.popleft()]
    size = parts[0].bytes
    while lane.waiting and size + lane.waiting[0].bytes <= _BATCH_BYTES:
        size += lane.waiting[0].bytes
        parts.append(lane.waiting.popleft())
    return parts
