"""On a real Kafka: no record keeps any of those who read the log from what lies behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from tests.kafka.raw import send_raw
from tests.libs.cairn.installations import as_service, new_installation
from tests.libs.cairn.subscriber.promotions import send, told

from cairn.audit.leaf import encode_leaf
from cairn.audit.merkle import Frontier, leaf_hash
from cairn.audit.note import Checkpoint, sign_checkpoint
from cairn.audit.walk import key_name, origin_of
from cairn.broker import partition_of
from cairn.cli.auditing import audit
from cairn.context import Context
from cairn.events import CheckpointSigned, Heard, Malformed, ModelPromoted, Signer
from cairn.publisher import Publisher
from cairn.records import RecordConsumer
from cairn.subscriber import Subscriber, read_log
from cairn.topics import create_topics
from chassis.kafka import Log

NOT_TEXT = b"\xff\xfe-bad"
PLACE = "registry", partition_of("registry", b"model/toy.a")


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    context = await new_installation(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    return as_service(context, "registry")


@asynccontextmanager
async def consuming(context: Context) -> AsyncIterator[RecordConsumer]:
    consumer = RecordConsumer(bootstrap_servers=context.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(context.installation.topic(PLACE[0]), PLACE[1])])
        yield consumer
    finally:
        await consumer.stop()


async def read_as_consumer(context: Context, count: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    async with consuming(context) as consumer:
        while len(values) < count:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                values += [record.value for record in batch]
    return values


async def read_as_service(context: Context, count: int) -> list[bytes | None]:
    async with Log.open(context.bootstrap_servers, context.installation) as log:
        return [record.value async for record in log.read({PLACE: 0}, {PLACE: count})]


async def read_as_user(context: Context, _count: int) -> list[bytes | None]:
    return [entry.record.value async for entry in read_log(context, [PLACE[0]])]


Read = Callable[[Context, int], Awaitable[list[bytes | None]]]
READERS = [read_as_consumer, read_as_service, read_as_user]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_record_is_read_however_it_is_compressed(registry: Context, codec: str, read: Read) -> None:
    topic, partition = registry.installation.topic(PLACE[0]), PLACE[1]
    producer = AIOKafkaProducer(bootstrap_servers=registry.bootstrap_servers, compression_type=codec)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"1" * 1000, partition=partition)
        await producer.send_and_wait(topic, b"2" * 1000, partition=partition)
    finally:
        await producer.stop()

    async with asyncio.timeout(30):
        assert await read(registry, 2) == [b"1" * 1000, b"2" * 1000]


async def test_a_partition_of_which_a_group_knows_nothing_is_read_from_its_beginning(registry: Context) -> None:
    await send(registry, [told(registry, "toy.a", 1, "toy.a-1")])
    topic, group = registry.installation.topic(PLACE[0]), f"{registry.installation.name}.of-the-test"
    consumer = RecordConsumer(
        topic, bootstrap_servers=registry.bootstrap_servers, group_id=group, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while not (found := await consumer.getmany(timeout_ms=500)):
                pass
    finally:
        await consumer.stop()

    assert [record.offset for batch in found.values() for record in batch] == [0]


async def tell_around_what_is_not_text(registry: Context) -> None:
    """A promotion, a record with a header whose name is not UTF-8, another promotion: all in one partition."""
    topic = registry.installation.topic(PLACE[0])
    await send(registry, [told(registry, "toy.a", 1, "toy.a-1")])
    await send_raw(registry.bootstrap_servers, topic, PLACE[1], (b"k", b"bad", [(NOT_TEXT, b"1")]))
    await send(registry, [told(registry, "toy.a", 2, "toy.a-2")])


@pytest.mark.parametrize("read", READERS)
async def test_a_header_name_that_is_not_text_is_read_past(registry: Context, read: Read) -> None:
    await tell_around_what_is_not_text(registry)

    async with asyncio.timeout(30):
        values = await read(registry, 3)

    assert [value == b"bad" for value in values] == [False, True, False]


async def test_a_header_name_that_is_not_text_is_shown_as_malformed(registry: Context) -> None:
    await tell_around_what_is_not_text(registry)

    async with asyncio.timeout(30):
        first, bad, last = [entry.heard async for entry in read_log(registry, [PLACE[0]])]

    assert isinstance(first, Heard)
    assert isinstance(bad, Malformed)
    assert (bad.code, "is not UTF-8" in bad.text) == ("header", True)
    assert isinstance(last, Heard)


@pytest.mark.parametrize("group", [None, "of-the-test"])
async def test_a_subscriber_counts_a_header_name_that_is_not_text_and_goes_on(
    registry: Context, tmp_path: Path, group: str | None
) -> None:
    assert registry.trust
    registry.trust.save(tmp_path / "trust.json")
    await tell_around_what_is_not_text(registry)
    name = registry.installation.name
    app = Subscriber(
        registry.bootstrap_servers, installation=name, start="beginning", group=group and f"{name}.{group}"
    )
    heard: list[int] = []

    @app.on(ModelPromoted)
    async def act(event: ModelPromoted) -> None:
        heard.append(event.generation)
        if event.generation == 2:
            app.stop()

    async with asyncio.timeout(60):
        await app.run()

    assert heard == [1, 2]
    assert app.counts["header"] == 1


async def test_an_audit_reads_past_a_header_name_that_is_not_text_and_has_its_bytes_in_the_leaf(
    registry: Context,
) -> None:
    await tell_around_what_is_not_text(registry)
    auditor = as_service(registry, "governance-auditor")
    log = f"{PLACE[0]}/{PLACE[1]}"
    async with consuming(registry) as consumer:
        tree = Frontier()
        while tree.size < 3:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                tree = tree.extend([leaf_hash(encode_leaf(record)) for record in batch])
    assert auditor.signer
    await sign(auditor, auditor.signer, log, tree)

    async with asyncio.timeout(60):
        found = await audit(auditor, [auditor.signer.private_key.public_key()], lambda _done, _total: None)

    (audited,) = [one for one in found.logs if one.log == log]
    assert (audited.records, audited.signed, audited.verdict, audited.problems) == (3, 3, "ok", [])


async def sign(auditor: Context, signer: Signer, log: str, tree: Frontier) -> None:
    """Tell the checkpoint that the auditor would sign."""
    checkpoint = Checkpoint(origin_of(auditor.installation, log), tree.size, tree.root)
    note = sign_checkpoint(checkpoint, key_name(auditor.installation), signer.private_key)
    async with Publisher(auditor) as publisher:
        await publisher.publish(
            CheckpointSigned(log=log, origin=checkpoint.origin, tree_size=tree.size, root_hash="", note=note)
        )
