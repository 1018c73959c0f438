"""Carries the outbox to Kafka, in order, at least once.

A partition's waiting rows go out in the order in which they were told, and none is stepped over: a chunk that is
not acknowledged ends that partition's turn. All that one decision told is in one record batch. With this rule the
order of first occurrence holds even with several relays at once (shown by exhaustive search, tests/chassis).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from cairn.events.identity import Installation
from chassis.backoff import backoff_seconds
from chassis.database import Database
from chassis.failpoints import Failpoints
from chassis.outbox import Waiting, confirm, load_waiting

_CHUNK_BYTES = 512 * 1024
_SEND_SECONDS = 15.0
_STOP_SECONDS = 5.0

log = structlog.get_logger()


def by_partition(rows: Sequence[Waiting]) -> dict[tuple[str, int], list[Waiting]]:
    """Rows for each partition, order kept."""
    partitions: dict[tuple[str, int], list[Waiting]] = {}
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
    """Publishes what waits, woken by each commit."""

    database: Database
    installation: Installation
    new_producer: Callable[[], AIOKafkaProducer]
    run_blocking: Callable[..., Awaitable[Any]]
    """Runs a function of the database in its thread."""
    failpoints: Failpoints
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever Kafka has confirmed something."""
    _producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Publish until cancelled; trouble is retried for ever with backoff."""
        failures = 0
        while True:
            self.woken.clear()
            try:
                more = await self.publish_waiting()
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever went wrong, what waits must still go out
                failures += 1
                log.warning("relay.retry", error=repr(error), failures=failures)
                await self._drop_producer()
                await asyncio.sleep(backoff_seconds(failures, 0.1, 5.0))
                continue
            if not more:
                await _wait_at_most(self.woken, 1.0)

    async def publish_waiting(self) -> bool:
        """Publish what waits now; whether there was anything. Raises the first error after storing what went out."""
        rows = await self.run_blocking(load_waiting, self.database)
        if not rows:
            return False
        producer = await self._connect()
        partitions = by_partition(rows).items()
        results = await asyncio.gather(
            *(self._publish_partition(producer, topic, partition, part) for (topic, partition), part in partitions)
        )
        confirmed = [place for places, _ in results for place in places]
        if confirmed:
            self.failpoints.reach("after-send")
            await self.run_blocking(confirm, self.database, confirmed)
            self.confirmed.set()
        for _, error in results:
            if error is not None:
                raise error
        return True

    async def stop(self) -> None:
        """Publish once more what waits, then let go of the producer; bounded."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.publish_waiting()
        except Exception as error:  # noqa: BLE001 # what could not go out waits in the store for the next start
            log.info("relay.left", error=repr(error))
        await self._drop_producer()

    async def _publish_partition(
        self, producer: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[Waiting]
    ) -> tuple[list[tuple[int, int, int]], Exception | None]:
        confirmed: list[tuple[int, int, int]] = []
        left = by_decision(rows)
        try:
            while left:
                taken, left = _fill(producer, left)
                async with asyncio.timeout(_SEND_SECONDS):
                    sent = await producer.send_batch(taken[0], self.installation.topic(topic), partition=partition)
                    place = await sent
                confirmed += [(row.position, partition, place.offset + n) for n, row in enumerate(taken[1])]
        except Exception as error:  # noqa: BLE001 # reported by the caller once the acknowledged rows are stored
            return confirmed, error
        return confirmed, None

    async def _connect(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self.new_producer()
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await producer.start()
            except BaseException:
                await _stop_producer(producer)
                raise
            self._producer = producer
        return self._producer

    async def _drop_producer(self) -> None:
        """After any error: an idempotent producer may be poisoned by an outage (aiokafka #1017)."""
        producer, self._producer = self._producer, None
        if producer is not None:
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
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except Exception as error:  # noqa: BLE001 # stop() may hang or fail while the broker is away (aiokafka #1101)
        log.debug("relay.producer_dropped", error=repr(error))


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    # Not by wait_for, which before Python 3.12 may lose a cancellation.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
