"""On a real Kafka: no record can keep a consumer from those behind it, however it was written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord
from tests.kafka.raw import in_transactions, send_raw

from cairn.records import RecordConsumer
from cairn.streaming import PatientConsumer

BAD = b"\xff\xfe-bad"
AS_READ = "\udcff\udcfe-bad"


@pytest.fixture
async def topic(kafka: str) -> str:
    """A topic of two partitions."""
    name = f"records-{uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()
    return name


async def write(kafka: str, topic: str, partition: int, *values: bytes, **options: Any) -> None:
    """Records as anybody writes them."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, **options)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value, b"k", partition, headers=[("name", b"x")])
    await producer.stop()


@asynccontextmanager
async def consuming(
    kafka: str, *partitions: TopicPartition, kind: Callable[..., AIOKafkaConsumer] = RecordConsumer, **options: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = kind(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False, **options)
    await consumer.start()
    consumer.assign(list(partitions))
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: AIOKafkaConsumer, count: int, **options: Any) -> list[ConsumerRecord]:
    """So many records, as they come."""
    records: list[ConsumerRecord] = []
    for _ in range(40):
        found = await consumer.getmany(timeout_ms=500, **options)
        assert not options or sum(map(len, found.values())) <= options["max_records"]
        records += [record for batch in found.values() for record in batch]
        if len(records) >= count:
            return records
    raise AssertionError(f"only {len(records)} came")


async def test_the_client_s_own_consumer_never_gets_past_a_header_name_that_is_not_text(kafka: str, topic: str) -> None:
    """The day that this fails the class under test here is needed no more."""
    await send_raw(kafka, topic, 0, (b"k", b"bad", [(BAD, b"1")]))
    async with consuming(kafka, TopicPartition(topic, 0), kind=AIOKafkaConsumer) as consumer:
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError):
                await read(consumer, 1)


async def test_a_record_is_read_whatever_its_header_names_hold_and_so_are_those_around_it(
    kafka: str, topic: str
) -> None:
    await write(kafka, topic, 0, b"0", b"1")
    good, null = (b"good-name", b"1"), (b"without-a-value", None)
    first = await send_raw(
        kafka, topic, 0, (b"k", b"2", [good]), (None, b"3", [(BAD, b"\xff"), null, good]), (b"k", None, [good])
    )
    await write(kafka, topic, 0, b"5", b"6")
    async with consuming(kafka, TopicPartition(topic, 0)) as consumer:
        records = await read(consumer, 7)
    assert first == 2
    assert [record.offset for record in records] == list(range(7))
    assert [record.value for record in records] == [b"0", b"1", b"2", b"3", None, b"5", b"6"]
    bad = records[3]
    assert bad.headers == ((AS_READ, b"\xff"), ("without-a-value", None), ("good-name", b"1"))
    assert bad.headers[0][0].encode(errors="surrogateescape") == BAD
    assert (bad.topic, bad.partition, bad.key, bad.serialized_key_size) == (topic, 0, None, -1)
    assert {type(record) for record in records} == {ConsumerRecord}
    assert bad.timestamp_type == records[0].timestamp_type
    assert records[0].timestamp <= bad.timestamp <= records[-1].timestamp


async def test_what_other_partitions_hold_comes_once_and_in_order(kafka: str, topic: str) -> None:
    values = [str(n).encode() for n in range(50)]
    await write(kafka, topic, 0, *values)
    await write(kafka, topic, 1, *values[:25])
    await send_raw(kafka, topic, 1, (b"k", b"bad", [(BAD, b"1")]))
    await write(kafka, topic, 1, *values[25:])
    async with consuming(kafka, TopicPartition(topic, 0), TopicPartition(topic, 1)) as consumer:
        records = await read(consumer, 101)
        await write(kafka, topic, 1, b"later")
        records += await read(consumer, 1)
    assert [record.value for record in records if record.partition == 0] == values
    assert [record.value for record in records if record.partition == 1] == [
        *values[:25], b"bad", *values[25:], b"later"
    ]  # fmt: skip


@pytest.mark.parametrize("most", [1, 2, 7])
async def test_no_more_records_come_at_once_than_were_asked_for(kafka: str, topic: str, most: int) -> None:
    for number in (0, 1):
        await send_raw(kafka, topic, number, *((b"k", str(n).encode(), [(BAD, b"1")]) for n in range(10)))
    async with consuming(kafka, TopicPartition(topic, 0), TopicPartition(topic, 1)) as consumer:
        records = await read(consumer, 20, max_records=most)
    for number in (0, 1):
        assert [record.offset for record in records if record.partition == number] == list(range(10))


async def test_a_partition_that_is_paused_gives_nothing(kafka: str, topic: str) -> None:
    for number in (0, 1):
        await send_raw(kafka, topic, number, (b"k", b"bad", [(BAD, b"1")]))
    async with consuming(kafka, TopicPartition(topic, 0), TopicPartition(topic, 1)) as consumer:
        consumer.pause(TopicPartition(topic, 0))
        assert [record.partition for record in await read(consumer, 1)] == [1]
        assert await consumer.getmany(timeout_ms=200) == {}
        consumer.resume(TopicPartition(topic, 0))
        assert [record.partition for record in await read(consumer, 1)] == [0]


async def test_reading_may_begin_anywhere(kafka: str, topic: str) -> None:
    await send_raw(kafka, topic, 0, *((b"k", str(n).encode(), [(BAD, b"1")]) for n in range(10)))
    async with consuming(kafka, TopicPartition(topic, 0)) as consumer:
        consumer.seek(TopicPartition(topic, 0), 6)
        assert [record.offset for record in await read(consumer, 4)] == [6, 7, 8, 9]
        assert await consumer.position(TopicPartition(topic, 0)) == 10


async def test_compressed_records_are_read_too(kafka: str, topic: str) -> None:
    await write(kafka, topic, 0, b"0" * 1000, b"1" * 1000, compression_type="gzip")
    await send_raw(kafka, topic, 0, (b"k", b"bad", [(BAD, b"1")]))
    await write(kafka, topic, 0, b"3" * 1000, compression_type="gzip")
    async with consuming(kafka, TopicPartition(topic, 0)) as consumer:
        assert [record.value[:3] for record in await read(consumer, 4)] == [b"000", b"111", b"bad", b"333"]


@pytest.mark.parametrize(
    ("isolation_level", "seen"),
    [("read_committed", [b"0", b"3", b"bad", b"5"]), ("read_uncommitted", [b"0", b"1", b"3", b"bad", b"5"])],
)
async def test_what_was_aborted_is_left_out_around_such_a_name_where_that_is_wanted(
    kafka: str, topic: str, isolation_level: str, seen: list[bytes]
) -> None:
    async with in_transactions(kafka) as producer:
        for value, end in ((b"0", "commit"), (b"1", "abort"), (b"3", "commit")):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, b"k", 0)
            await getattr(producer, f"{end}_transaction")()
        await send_raw(kafka, topic, 0, (b"k", b"bad", [(BAD, b"1")]))
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"5", b"k", 0)
        await producer.commit_transaction()
    async with consuming(kafka, TopicPartition(topic, 0), isolation_level=isolation_level) as consumer:
        assert [record.value for record in await read(consumer, len(seen))] == seen
        assert await consumer.position(TopicPartition(topic, 0)) in (8, 9)


async def test_a_patient_consumer_waits_for_a_record_however_short_it_was_told_to_wait(kafka: str, topic: str) -> None:
    async with consuming(kafka, TopicPartition(topic, 0), kind=PatientConsumer) as consumer:
        waiting = asyncio.create_task(consumer.getmany(timeout_ms=10))
        await asyncio.sleep(1)
        assert not waiting.done()
        await write(kafka, topic, 0, b"late")
        ((record,),) = (await waiting).values()
    assert record.value == b"late"
