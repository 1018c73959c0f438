"""FastStream for raw records in batches: what its broker, parser and decoder must be so that none is held back."""

from collections.abc import Callable
from functools import partial
from typing import Any

from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage

from cairn.records import RecordConsumer


async def parse_batch(records: Any) -> KafkaMessage:
    """A message around raw records. Unlike the framework's own parser it cannot raise, whatever the headers hold."""
    return KafkaMessage(body=b"", raw_message=records, consumer=FAKE_CONSUMER)


async def decode_batch(message: KafkaMessage) -> Any:
    """The raw records themselves."""
    return message.raw_message


class RecordBroker(KafkaBroker):
    """The framework's broker, whose consumers hand out every record."""

    consumer: Callable[..., RecordConsumer] = RecordConsumer
    """Makes them."""

    async def _connect(self) -> Callable[..., RecordConsumer]:
        make = await super()._connect()
        assert isinstance(make, partial)
        config = self.config.broker_config
        config.builder = partial(self.consumer, *make.args, **make.keywords)
        return config.builder
