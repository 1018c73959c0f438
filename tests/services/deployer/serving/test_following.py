import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs
from tests.libs.cairn.installations import as_service, new_installation
from tests.services.deployer.serving.plane import arm_of
from tests.services.deployer.serving.test_activating import told

from cairn.broker import partition_of
from cairn.publisher import Publisher
from deployer.serving.following import Follower


class Route:
    """The deployer's topic, and what a follower takes of it."""

    def __init__(self, context) -> None:
        self.context = as_service(context, "deployer")
        self.taken: list[int] = []

    def follower(self) -> Follower:
        return Follower(self.context, lambda facts, _ground: self.taken.append(facts.route.revision))

    async def tell(self, *revisions: int) -> None:
        async with Publisher(self.context) as publisher:
            for revision in revisions:
                event = told(revision, arm_of(1))
                await publisher.publish(event, source=self.context.installation.source("deployer"))

    async def lose(self, before: int) -> None:
        """Have Kafka forget the records before this offset."""
        topic = self.context.installation.topic("deployment")
        partition = TopicPartition(topic, partition_of("deployment", b"model/risk.loans"))
        admin = AIOKafkaAdminClient(bootstrap_servers=self.context.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()


@pytest.fixture
async def route(kafka, tmp_path) -> Route:
    return Route(await new_installation(kafka, tmp_path, "deployment"))


async def following(follower: Follower, seconds: float = 20) -> bool:
    """Whether it is found to have read all, while it follows."""
    going = asyncio.create_task(follower.follow())
    try:
        async with asyncio.timeout(seconds):
            return await follower.is_at_end()
    except TimeoutError:
        return False
    finally:
        going.cancel()
        await asyncio.wait({going})


async def test_an_empty_log_is_read_to_its_end(route):
    follower = route.follower()
    await follower.catch_up()
    assert await following(follower)


async def test_what_is_told_later_is_heard_before_the_end_is_reached(route):
    await route.tell(1)
    follower = route.follower()
    await follower.catch_up()
    await route.tell(2, 3)
    assert await following(follower)
    assert route.taken == [1, 2, 3]


async def test_what_the_log_lost_before_it_was_heard_leaves_a_follower_short_of_the_end(route):
    await route.tell(1)
    follower = route.follower()
    await follower.catch_up()
    await route.tell(2, 3)
    await route.lose(before=2)
    assert not await following(follower, 3)
    assert route.taken == [1]


async def test_a_start_takes_what_is_left_of_the_log_and_says_what_is_lost(route):
    await route.tell(1, 2, 3)
    await route.lose(before=2)
    follower = route.follower()
    with capture_logs() as logs:
        await follower.catch_up()
    assert route.taken == [3]
    assert [(one["event"], one["first"], one["last"]) for one in logs] == [("routes.lost", 0, 1)]
    assert await following(follower)
