"""Brings records to handlers through FastStream: a batch subscriber that nobody acknowledges but us."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TopicPartition

from cairn.broker import ANSWER_SECONDS, STOP_SECONDS, reached, stopped
from cairn.context import Context
from cairn.events.event import Event
from cairn.streaming import PAUSE_MILLISECONDS, PatientConsumer, RecordBroker, decode_batch, parse_batch
from cairn.subscriber.intake import Handler, Intake
from cairn.subscriber.log import RecordsGone

_MOST_RECORDS = 500
_PATIENCE_MILLISECONDS = 86_400_000
"""A handler may take its time: while it is tried again, nothing is asked of Kafka."""

log = logging.getLogger("cairn.subscriber")


class _EndingConsumer(PatientConsumer):
    """Ends the run where Kafka has not what comes next: the framework would ask for it again and again."""

    def __init__(self, end: Callable[[Mapping[KafkaPartition, int]], None], *topics: str, **options: Any) -> None:
        super().__init__(*topics, **options)
        self._end = end

    async def getmany(
        self, *partitions: KafkaPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[KafkaPartition, list[ConsumerRecord]]:
        try:
            return await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        except OffsetOutOfRangeError as error:
            self._end(error.args[0])
            return {}


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
        broker.consumer = partial(_EndingConsumer, self._lose)
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
            "batch_timeout_ms": PAUSE_MILLISECONDS,
            "max_records": _MOST_RECORDS,
            "ack_policy": AckPolicy.MANUAL,
            "auto_offset_reset": "none",  # a record that is gone must be told, not stepped over
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
            self._fail(error)

    def _lose(self, offsets: Mapping[KafkaPartition, int]) -> None:
        self._fail(self.intake.lost(RecordsGone.beyond(offsets, self.context.bootstrap_servers)))

    def _fail(self, error: Exception) -> None:
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
