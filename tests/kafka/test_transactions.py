"""On a real Kafka: what others write in transactions, which Cairn never does, is read as it was meant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from tests.kafka.raw import send_raw
from tests.libs.cairn.installations import as_service, new_installation
from tests.libs.cairn.subscriber.promotions import send, told

from cairn.broker import partition_of
from cairn.context import Context
from cairn.events import Heard, ModelPromoted
from cairn.subscriber import Start, Subscriber, log, read_log
from cairn.topics import create_topics

TOPIC, PARTITION = "registry", partition_of("registry", b"model/toy.a")


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    context = await new_installation(kafka, tmp_path)
    await create_topics(kafka, context.installation)
    return as_service(context, "registry")


@asynccontextmanager
async def transaction(context: Context) -> AsyncIterator[AIOKafkaProducer]:
    """A producer in a transaction, which is to be ended within."""
    name = context.installation.topic("writer")
    async with AIOKafkaProducer(bootstrap_servers=context.bootstrap_servers, transactional_id=name) as producer:
        await producer.begin_transaction()
        yield producer


async def tell(context: Context, generation: int, *, kept: bool = True) -> None:
    """Write a promotion in a transaction of its own, which is committed or given up."""
    one = told(context, "toy.a", generation, f"toy.a-{generation}")
    async with transaction(context) as producer:
        await producer.send_and_wait(one.topic, one.value, one.key, headers=list(one.headers))
        await (producer.commit_transaction() if kept else producer.abort_transaction())
    async with asyncio.timeout(15):  # Kafka answers before it has written the mark behind the record
        while await end_of(context, "read_committed") != await end_of(context, "read_uncommitted"):
            await asyncio.sleep(0.05)


async def end_of(context: Context, isolation: log.Isolation) -> list[int]:
    async with log.open_log(context, isolation=isolation) as opened:
        return list((await opened.ends(await opened.partitions([TOPIC]))).values())


async def read_all(context: Context, start: Start = "beginning") -> list[int]:
    async with asyncio.timeout(15):
        entries = [entry.heard async for entry in read_log(context, [TOPIC], start)]
    return [one.facts.generation for one in entries if isinstance(one, Heard) and isinstance(one.facts, ModelPromoted)]


@pytest.mark.parametrize("start", ["beginning", 1, 2])
async def test_a_log_that_ends_in_the_mark_of_a_transaction_comes_to_its_end(
    registry: Context, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_RECORD_SECONDS", 5.0)
    await tell(registry, 1)

    assert await read_all(registry, start) == ([] if start == 1 else [1])


async def test_what_a_transaction_gave_up_is_not_read(registry: Context) -> None:
    await tell(registry, 1)
    await tell(registry, 2, kept=False)
    await tell(registry, 3)

    assert await read_all(registry) == [1, 3]


async def test_what_a_transaction_gave_up_is_not_read_beside_a_header_name_that_is_not_text(registry: Context) -> None:
    await tell(registry, 1, kept=False)
    topic = registry.installation.topic(TOPIC)
    await send_raw(registry.bootstrap_servers, topic, PARTITION, (b"k", b"bad", [(b"\xff\xfe-bad", b"1")]))
    await tell(registry, 2)

    assert await read_all(registry) == [2]


@pytest.mark.parametrize("group", [None, "of-the-test"])
async def test_a_subscriber_handles_what_was_committed_and_misses_nothing(
    registry: Context, tmp_path: Path, group: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    await tell(registry, 1)
    await tell(registry, 2, kept=False)
    await tell(registry, 3)
    await send(registry, [told(registry, "toy.a", 4, "toy.a-4")])
    name = registry.installation.name
    app = Subscriber(
        registry.bootstrap_servers,
        installation=name,
        store=tmp_path / "store",
        start="beginning",
        group=group and f"{name}.{group}",
    )
    heard: list[int] = []

    @app.on(ModelPromoted)
    async def note(event: ModelPromoted) -> None:
        heard.append(event.generation)
        if event.generation == 4:
            app.stop()

    async with asyncio.timeout(30):
        await app.run()

    assert heard == [1, 3, 4]
    assert app.counts == {"handled": 3}
    assert "gone" not in caplog.text
