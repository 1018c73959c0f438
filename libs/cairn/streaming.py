"""FastStream for raw records in batches: what its broker, parser and decoder must be so that none is held back."""

from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage

from cairn.records import RecordConsumer

PAUSE_MILLISECONDS = 10
"""How long the framework rests each time that it was handed no record."""
_WAIT_MILLISECONDS = 60_000


async def parse_batch(records: Any) -> KafkaMessage:
    """A message around raw records. Unlike the framework's own parser it cannot raise, whatever the headers hold."""
    return KafkaMessage(body=b"", raw_message=records, consumer=FAKE_CONSUMER)


async def decode_batch(message: KafkaMessage) -> Any:
    """The raw records themselves."""
    return message.raw_message


class PatientConsumer(RecordConsumer):
    """Waits until there is a record: whatever came while the framework rests would come late."""

    async def getmany(
        self,
        *partitions: TopicPartition,
        timeout_ms: int = 0,  # noqa: ARG002 # the framework's own: as long as it rests
        max_records: int | None = None,
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """The records that are there, as soon as there are any; after a minute, or past a gap, perhaps none."""
        return await super().getmany(*partitions, timeout_ms=_WAIT_MILLISECONDS, max_records=max_records)


class RecordBroker(KafkaBroker):
    """The framework's broker, whose consumers hand out every record."""

    consumer: Callable[..., PatientConsumer] = PatientConsumer
    """Makes them."""

    async def _connect(self) -> Callable[..., PatientConsumer]:
        make = await super()._connect()
        assert isinstance(make, partial)
        config = self.config.broker_config
        config.builder = partial(self.consumer, *make.args, **make.keywords)
        return config.builder
