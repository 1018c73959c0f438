"""Carries the outbox to Kafka, in order, at least once.

A partition's waiting rows go out in the order in which they were told, and none is stepped over: a batch that is
not acknowledged ends that partition's turn. All that one decision told is in one record batch. With this rule the
order of first occurrence holds even with several relays at once (shown by exhaustive search, tests/chassis).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from cairn.events.identity import Installation
from chassis.backoff import backoff_seconds
from chassis.database import Database
from chassis.failpoints import Failpoints
from chassis.kafka import Partition
from chassis.outbox import MOST_ROWS, Waiting, confirm, load_waiting

_CHUNK_BYTES = 512 * 1024
_CONNECT_SECONDS = 15.0
_STOP_SECONDS = 5.0

log = structlog.get_logger()


def by_partition(rows: Sequence[Waiting]) -> dict[Partition, list[Waiting]]:
    """Rows for each partition, order kept."""
    partitions: dict[Partition, list[Waiting]] = {}
    for row in rows:
        partitions.setdefault((row.topic, row.partition), []).append(row)
    return partitions


def by_decision(rows: Sequence[Waiting]) -> list[list[Waiting]]:
    """Rows of one partition, those of one decision together, order kept."""
    decisions: list[list[Waiting]] = []
    for row in rows:
        if decisions and decisions[-1][0].decision == row.decision:
            decisions[-1].append(row)
        else:
            decisions.append([row])
    return decisions


@dataclass(slots=True)
class Relay:
    """Publishes what waits, woken by each commit. Each partition has its own turns: none waits for another."""

    database: Database
    installation: Installation
    new_producer: Callable[[], AIOKafkaProducer]
    run_blocking: Callable[..., Awaitable[Any]]
    """Runs a function of the database in its thread."""
    failpoints: Failpoints
    send_seconds: float = 15.0
    """How long a record batch may take."""
    stalled_seconds: float = 60.0
    """One that could send nothing to a partition for so long is in trouble."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    _producer: AIOKafkaProducer | None = None
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turns: dict[Partition, asyncio.Task[None]] = field(default_factory=dict)
    _acknowledged: list[tuple[int, int, int]] = field(default_factory=list)
    """What Kafka has, and the store does not know yet: (position, partition, offset)."""
    _failures: Counter[Partition] = field(default_factory=Counter)
    _failing_since: dict[Partition, float] = field(default_factory=dict)
    """By the loop's clock."""

    @property
    def trouble(self) -> str:
        """Why what was told does not go out, if that has been so for long."""
        now = asyncio.get_running_loop().time()
        for (topic, partition), since in sorted(self._failing_since.items()):
            if now - since >= self.stalled_seconds:
                return f"the relay could send nothing to {topic}/{partition} for {now - since:.0f} s"
        return ""

    async def run(self) -> None:
        """Publish until cancelled; trouble is retried for ever with backoff."""
        failures = 0
        async with asyncio.TaskGroup() as group:
            while True:
                self.woken.clear()
                try:
                    await self._begin_turns(group)
                    failures = 0
                except Exception as error:  # noqa: BLE001 # whatever the store's trouble is, what waits must still go out
                    failures += 1
                    log.warning("relay.retry", error=repr(error), failures=failures)
                    await asyncio.sleep(backoff_seconds(failures, 0.1, 5.0))
                await _wait_at_most(self.woken, 1.0)

    async def publish_waiting(self) -> bool:
        """Publish what waits now; whether there was anything. Raises the first error after storing what went out."""
        parts = by_partition(await self.run_blocking(load_waiting, self.database))
        results = await asyncio.gather(
            *(self._publish(partition, rows) for partition, rows in parts.items()), return_exceptions=True
        )
        await self._confirm()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return bool(parts)

    async def stop(self) -> None:
        """Publish once more what waits, then let go of the producer; bounded."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.publish_waiting()
        except Exception as error:  # noqa: BLE001 # what could not go out waits in the store for the next start
            log.info("relay.left", error=repr(error))
        await self._drop(self._producer)

    async def _begin_turns(self, group: asyncio.TaskGroup) -> None:
        """Store what the turns that ended have brought out, and begin one for each partition that has none."""
        ended = [partition for partition, turn in self._turns.items() if turn.done()]
        await self._confirm()
        for partition in ended:
            del self._turns[partition]
        rows = await self.run_blocking(load_waiting, self.database, MOST_ROWS, tuple(self._turns))
        for partition, part in by_partition(rows).items():
            self._turns[partition] = group.create_task(self._take_turn(partition, part))

    async def _take_turn(self, partition: Partition, rows: Sequence[Waiting]) -> None:
        """Publish some rows of a partition; after trouble, wait a while before it has its next turn."""
        try:
            await self._publish(partition, rows)
            del self._failures[partition]
            self._failing_since.pop(partition, None)
        except Exception as error:  # noqa: BLE001 # whatever went wrong, what waits must still go out
            self._failures[partition] += 1
            self._failing_since.setdefault(partition, asyncio.get_running_loop().time())
            failures = self._failures[partition]
            log.warning("relay.retry", topic=partition[0], partition=partition[1], error=repr(error), failures=failures)
            self.woken.set()  # what went out before the trouble can be confirmed
            await asyncio.sleep(backoff_seconds(failures, 0.1, 5.0))
        self.woken.set()

    async def _publish(self, partition: Partition, rows: Sequence[Waiting]) -> None:
        """Send rows of one partition, batch after batch. Raises what stops it: then nothing more is sent."""
        topic, number = self.installation.topic(partition[0]), partition[1]
        left = by_decision(rows)
        producer = await self._connect()
        try:
            while left:
                (batch, taken), left = _fill(producer, left)
                async with asyncio.timeout(self.send_seconds):
                    place = await (await producer.send_batch(batch, topic, partition=number))
                self._acknowledged += [(row.position, number, place.offset + n) for n, row in enumerate(taken)]
        except Exception:
            await self._drop(producer)
            raise

    async def _confirm(self) -> None:
        """Store what Kafka has acknowledged."""
        places = self._acknowledged.copy()
        if places:
            self.failpoints.reach("after-send")
            await self.run_blocking(confirm, self.database, places)
            del self._acknowledged[: len(places)]

    async def _connect(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = self.new_producer()
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        await producer.start()
                except BaseException:
                    await _stop_producer(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer | None) -> None:
        """After any error: an idempotent producer may be poisoned by an outage (aiokafka #1017)."""
        if producer is not None and producer is self._producer:
            self._producer = None
            await _stop_producer(producer)


def _fill(
    producer: AIOKafkaProducer, decisions: list[list[Waiting]]
) -> tuple[tuple[Any, list[Waiting]], list[list[Waiting]]]:
    """A record batch of whole decisions from the front, and what is left."""
    taken: list[Waiting] = []
    batch, size = producer.create_batch(), 0
    for n, decision in enumerate(decisions):
        size += sum(
            len(row.value) + len(row.key) + sum(len(a) + len(b) for a, b in row.headers) + 64 for row in decision
        )
        if taken and size > _CHUNK_BYTES:
            return (batch, taken), decisions[n:]
        for row in decision:
            if batch.append(key=row.key, value=row.value, timestamp=None, headers=list(row.headers)) is None:
                raise ValueError(f"the decision at {row.position} does not fit into one record batch")
            taken.append(row)
    return (batch, taken), []


async def _stop_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer, whatever it waits for."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if not stopping.done():
        # An idempotent producer would wait for a leader for ever, and go on asking for one (aiokafka #1101).
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 # no public way
        await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if stopping.cancel():
        log.warning("relay.producer_left")
    elif not stopping.cancelled() and (error := stopping.exception()):
        log.debug("relay.producer_dropped", error=repr(error))


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    # Not by wait_for, which before Python 3.12 may lose a cancellation.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
