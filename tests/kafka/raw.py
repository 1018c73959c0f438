"""Records as only strangers write them: header names that are any bytes, as the broker admits; transactions."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

RawHeaders = list[tuple[bytes, bytes | None]]
_CRC = struct.Struct(">I")
_CRC_AT, _AFTER_CRC = 17, 21


async def send_raw(
    servers: str, topic: str, partition: int, *records: tuple[bytes | None, bytes | None, RawHeaders]
) -> int:
    """Write key, value and headers of records as one record batch; the offset of the first."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        batch = producer.create_batch()
        names: list[tuple[bytes, bytes]] = []
        for key, value, headers in records:
            written = []
            for name, content in headers:
                standing_in = f"<{len(names)}>".ljust(len(name), "#").encode()
                assert len(standing_in) == len(name), f"make the name {name!r} longer"
                names.append((standing_in, name))
                written.append((standing_in.decode(), content))
            batch.append(key=key, value=value, timestamp=None, headers=written)
        data = bytes(batch._build())
        for standing_in, name in names:
            assert data.count(standing_in) == 1
            data = data.replace(standing_in, name)
        checked = data[:_CRC_AT] + _CRC.pack(calc_crc32c(data[_AFTER_CRC:])) + data[_AFTER_CRC:]
        batch._buffer = bytearray(checked)
        sent = await (await producer.send_batch(batch, topic, partition=partition))
        return sent.offset
    finally:
        await producer.stop()


@asynccontextmanager
async def in_transactions(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer whose records count only where their transaction ends well: Flink's, or Kafka Connect's."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"upstream-{uuid4()}")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
