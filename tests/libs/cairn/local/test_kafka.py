import asyncio
import time
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import RecordMetadata

from cairn.local import LocalKafka, StartFailed

AWKWARD_NAME = "Käse, 漢字 = a\\b"


async def publish(servers: str, topic: str, *values: bytes) -> list[RecordMetadata]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    await producer.start()
    told = [await producer.send_and_wait(topic, value, partition=0, timestamp_ms=1) for value in values]
    await producer.stop()
    return told


async def records(servers: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


async def test_a_restarted_broker_keeps_its_records_and_its_address(tmp_path: Path) -> None:
    directory = tmp_path / AWKWARD_NAME
    async with LocalKafka(directory, fast_start=True) as kafka:
        address = kafka.bootstrap_servers
        await publish(address, "trail", b"one", b"two")
    async with LocalKafka(directory, fast_start=True) as kafka:
        assert kafka.bootstrap_servers == address
        assert await records(address, "trail") == [b"one", b"two"]


async def test_a_killed_broker_comes_back_with_its_records_at_its_address(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, fast_start=True)
    await kafka.start()
    address = kafka.bootstrap_servers
    await publish(address, "trail", b"one", b"two")
    await kafka.kill()
    async with kafka:
        assert kafka.bootstrap_servers == address
        assert await records(address, "trail") == [b"one", b"two"]


async def test_the_broker_stamps_records_with_its_own_clock(kafka: str) -> None:
    before = time.time() * 1000
    (told,) = await publish(kafka, f"test-{uuid.uuid4()}", b"claims to be of 1970")
    assert told.timestamp_type == 1
    assert told.timestamp >= int(before)


async def test_a_second_broker_in_the_same_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with LocalKafka(tmp_path, fast_start=True) as first:
        second = LocalKafka(tmp_path)
        with pytest.raises(StartFailed, match="perhaps this very server"):
            await second.start()
        await second.stop()
        with pytest.raises(RuntimeError, match="runs already"):
            await first.start()
        await publish(first.bootstrap_servers, "trail", b"one")


async def test_a_broker_that_ends_while_starting_shows_its_last_words(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, fast_start=True)
    await kafka.start()
    await kafka.stop()
    (tmp_path / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(StartFailed, match=r"ended while starting, with exit code 1(.|\n)*Stored node id 7"):
        await kafka.start()


async def test_a_broker_that_cannot_format_its_storage_says_so(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"cannot be formatted(.|\n)*Invalid maximum heap size"):
        await LocalKafka(tmp_path, heap_mebibytes=-1).start()
    assert not (tmp_path / "data").exists()


async def test_a_start_that_is_given_up_leaves_no_broker_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = asyncio.Event()

    async def never_answers(_: LocalKafka) -> bool:
        probed.set()
        return False

    with monkeypatch.context() as context:
        context.setattr(LocalKafka, "answers", never_answers)
        starting = asyncio.create_task(LocalKafka(tmp_path, fast_start=True).start())
        await asyncio.wait([starting, asyncio.create_task(probed.wait())], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(2)  # by now it holds its ports
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    async with LocalKafka(tmp_path, fast_start=True) as kafka:
        await publish(kafka.bootstrap_servers, "trail", b"one")


def test_a_broker_has_no_address_before_its_first_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no address before"):
        _ = LocalKafka(tmp_path).bootstrap_servers
    assert not list(tmp_path.iterdir())
