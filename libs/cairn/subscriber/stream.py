"""Brings records to handlers through FastStream: a batch subscriber that nobody acknowledges but us."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TopicPartition

from cairn.broker import ANSWER_SECONDS, STOP_SECONDS, reached, stopped
from cairn.context import Context
from cairn.events.event import Event
from cairn.streaming import RecordBroker, decode_batch, parse_batch
from cairn.subscriber.intake import Handler, Intake

_BATCH_WAIT_MILLISECONDS = 10
_MOST_RECORDS = 500
_PATIENCE_MILLISECONDS = 86_400_000
"""A handler may take its time: while it is tried again, nothing is asked of Kafka."""

log = logging.getLogger("cairn.subscriber")


@dataclass(slots=True)
class Stream:
    """One run of a subscriber's handlers."""

    context: Context
    intake: Intake
    handlers: Mapping[type[Event], Handler]
    stop_seconds: float
    """How long a handler may go on when it is to stop."""
    _failure: Exception | None = None
    _subscriber: Any = None

    async def run(self, starts: Mapping[KafkaPartition, int]) -> None:
        """Hear and handle until the intake is stopped. Raises what ended it: HandlerFailed, StoreError, …"""
        broker = RecordBroker(
            self.context.bootstrap_servers,
            client_id="cairn-subscriber",
            consumer_only=True,  # reading needs no more rights than to read
            logger=None,
            allow_auto_create_topics=False,
            apply_types=False,
            graceful_timeout=self.stop_seconds,
        )
        self._subscribe(broker, list(starts))
        try:
            await reached(broker.start(), self.context.bootstrap_servers, 2 * ANSWER_SECONDS, "subscribing")
            if not self.intake.group:
                for tp, offset in starts.items():
                    self._subscriber.consumer.seek(tp, offset)
            await self.intake.stopping.wait()
        finally:
            self.intake.stopping.set()
            await stopped(broker.stop(), self.stop_seconds + STOP_SECONDS)
        if self._failure:
            raise self._failure

    def _subscribe(self, broker: KafkaBroker, partitions: Sequence[KafkaPartition]) -> None:
        common: dict[str, Any] = {
            "group_id": self.intake.group,
            "batch": True,
            "batch_timeout_ms": _BATCH_WAIT_MILLISECONDS,
            "max_records": _MOST_RECORDS,
            "ack_policy": AckPolicy.MANUAL,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "no_reply": True,
            "max_poll_interval_ms": _PATIENCE_MILLISECONDS,
            "parser": parse_batch,
            "decoder": decode_batch,
        }
        if self.intake.group:
            self._subscriber = broker.subscriber(*sorted({tp.topic for tp in partitions}), **common)
        else:
            assigned = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
            self._subscriber = broker.subscriber(partitions=assigned, **common)
        self._subscriber(self._consume)

    async def _consume(self, records: Any) -> None:
        try:
            for _, run in groupby(records, attrgetter("topic", "partition")):
                if self.intake.stopping.is_set():
                    return
                await self._commit(await self.intake.take(list(run), self.handlers))
        except Exception as error:  # noqa: BLE001 # the framework would swallow it: it ends the run instead
            self._failure = error
            self.intake.stopping.set()

    async def _commit(self, offsets: Mapping[KafkaPartition, int]) -> None:
        if not self.intake.group or not offsets:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._subscriber.consumer.commit(dict(offsets))
        except (KafkaError, TimeoutError) as error:
            # Made good by the next one, or the partition is another member's now.
            log.debug("the group's offset was not taken: %r", error)
