"""Record batches that no client library would write: header names are any bytes, as the broker admits them."""

import struct

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
