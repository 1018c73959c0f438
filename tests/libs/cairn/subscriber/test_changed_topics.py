"""What a subscriber does when somebody changes a topic that it hears: nothing is passed over in silence."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from tests.libs.cairn.installations import as_service, make_topics, new_installation
from tests.libs.cairn.subscriber.promotions import send, told

from cairn.context import Context
from cairn.events import TOPICS, ModelPromoted
from cairn.subscriber import PositionLost, Subscriber

LATER = TOPICS["registry"].partitions
GROUPS = pytest.mark.parametrize("group", [None, "of-the-test"])


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    return as_service(await new_installation(kafka, tmp_path, "registry"), "registry")


@asynccontextmanager
async def administrator(context: Context) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=context.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_anew(context: Context) -> None:
    """Delete the registry's topic and make it again, empty."""
    name = context.installation.topic("registry")
    async with administrator(context) as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.1)
    await make_topics(context.bootstrap_servers, context.installation, ["registry"])


async def add_partition(context: Context) -> None:
    async with administrator(context) as admin:
        await admin.create_partitions({context.installation.topic("registry"): NewPartitions(LATER + 1)})


async def tell(registry: Context, *generations: int) -> None:
    await send(registry, [told(registry, "toy.a", one, f"toy.a-{one}") for one in generations])


async def tell_in_later_partition(registry: Context, generation: int) -> None:
    one = told(registry, "toy.a", generation, f"toy.a-{generation}")
    async with AIOKafkaProducer(bootstrap_servers=registry.bootstrap_servers) as producer:
        for _ in range(50):
            if LATER in await producer.partitions_for(one.topic):
                break
            await producer.client.force_metadata_update()
        await producer.send_and_wait(one.topic, one.value, one.key, headers=list(one.headers), partition=LATER)


def subscriber(context: Context, home: Path, group: str | None) -> Subscriber:
    name = context.installation.name
    return Subscriber(
        context.bootstrap_servers, installation=name, store=home / "store", group=group and f"{name}.{group}"
    )


Hear = Callable[[Subscriber, int, list[int]], Awaitable[None]]


async def run_until(app: Subscriber, generation: int, heard: list[int]) -> None:
    @app.on(ModelPromoted)
    async def note(event: ModelPromoted) -> None:
        heard.append(event.generation)
        if event.generation == generation:
            app.stop()

    async with asyncio.timeout(60):
        await app.run()


async def loop_until(app: Subscriber, generation: int, heard: list[int]) -> None:
    async with asyncio.timeout(60), aclosing(app.events(ModelPromoted)) as events:
        async for received in events:
            heard.append(received.event.generation)
            if heard[-1] == generation:
                return


async def until_hearing(registry: Context, heard: list[int]) -> None:
    """Tell the first generation again and again, until the subscriber has settled at the end and hears it."""
    async with asyncio.timeout(30):
        while not heard:
            await tell(registry, 1)
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("hear", [run_until, loop_until])
async def test_a_topic_that_is_made_anew_ends_the_run(registry: Context, tmp_path: Path, hear: Hear) -> None:
    heard: list[int] = []
    hearing = asyncio.create_task(hear(subscriber(registry, tmp_path, None), 9, heard))
    await until_hearing(registry, heard)
    await tell(registry, 2, 3, 4)
    async with asyncio.timeout(30):
        while 4 not in heard:
            await asyncio.sleep(0.05)

    await make_anew(registry)
    await tell(registry, 5)

    with pytest.raises(PositionLost, match=r"registry\[\d\] at \d+.* the topic was made anew, or records are gone"):
        await hearing


@GROUPS
async def test_a_partition_that_came_while_nobody_heard_is_read_from_its_beginning(
    registry: Context, tmp_path: Path, group: str | None
) -> None:
    heard: list[int] = []
    hearing = asyncio.create_task(run_until(subscriber(registry, tmp_path, group), 2, heard))
    await until_hearing(registry, heard)
    await tell(registry, 2)
    await hearing

    await add_partition(registry)
    await tell_in_later_partition(registry, 3)
    await run_until(subscriber(registry, tmp_path, group), 3, heard)

    assert heard == [1, 2, 3]
