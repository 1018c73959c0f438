"""The first start of a group, on a real Kafka: each replica may begin it, none may set it back."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from tests.libs.chassis.toy import HEARS, ToyTable

from cairn.events.identity import Installation
from cairn.topics import create_topics
from chassis.database import Database
from chassis.kafka import Log, Partition, partitions_of
from chassis.positions import DECIDER, load_positions, save_positions
from chassis.standing import begin_group

ALL = partitions_of(HEARS)
BUSY = ("labels", 2)


@pytest.fixture
async def installation(kafka: str) -> Installation:
    fresh = Installation(f"test-{secrets.token_hex(6)}")
    await create_topics(kafka, fresh)
    return fresh


@pytest.fixture
async def log(kafka: str, installation: Installation) -> AsyncIterator[Log]:
    async with Log.open(kafka, installation, installation.name) as opened:
        yield opened


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url, ToyTable)
    made.create_tables()
    yield made
    made.close()


async def begin(database: Database, log: Log) -> None:
    async with asyncio.timeout(60):
        await begin_group(database, log, HEARS, asyncio.to_thread)


def positions_in(database: Database) -> dict[Partition, int]:
    with database.read() as session:
        return load_positions(session.connection(), DECIDER)


async def until_somebody_waits(url: str) -> None:
    def waits() -> bool:
        with psycopg.connect(url) as connection:
            return bool(connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())

    async with asyncio.timeout(60):
        while not await asyncio.to_thread(waits):
            await asyncio.sleep(0.05)


async def test_the_first_start_commits_the_beginning_of_every_partition(database: Database, log: Log) -> None:
    await begin(database, log)
    assert await log.committed(ALL) == dict.fromkeys(ALL, 0)
    assert positions_in(database) == dict.fromkeys(ALL, 0)


async def test_a_later_start_commits_nothing_and_waits_for_nobody(postgres_url: str, log: Log) -> None:
    first, second = Database(postgres_url, ToyTable), Database(postgres_url, ToyTable)
    first.create_tables()
    await begin(first, log)
    await log.commit({BUSY: 3})
    with first.begin():
        await begin(second, log)
    assert await log.committed([BUSY]) == {BUSY: 3}
    first.close()
    second.close()


async def test_what_another_replica_committed_meanwhile_is_not_set_back(
    kafka: str, installation: Installation, postgres_url: str, log: Log
) -> None:
    quick, slow = Database(postgres_url, ToyTable), Database(postgres_url, ToyTable)
    quick.create_tables()
    async with Log.open(kafka, installation, installation.name) as log_of_quick:
        with quick.begin() as session:
            beginning = asyncio.create_task(begin(slow, log))
            await until_somebody_waits(postgres_url)
            save_positions(session.connection(), DECIDER, {BUSY: 3})
            await log_of_quick.commit({BUSY: 3})
    await beginning
    assert await log.committed(ALL) == dict.fromkeys(ALL, 0) | {BUSY: 3}
    quick.close()
    slow.close()


async def test_what_the_store_has_taken_and_nobody_committed_is_left_to_the_members(
    database: Database, log: Log
) -> None:
    with database.begin() as session:
        save_positions(session.connection(), DECIDER, {BUSY: 3})
    await begin(database, log)
    assert await log.committed(ALL) == dict.fromkeys(ALL, 0) | {BUSY: None}
    assert positions_in(database)[BUSY] == 3


async def test_a_group_whose_members_are_at_work_is_begun_by_them(
    kafka: str, installation: Installation, database: Database, log: Log
) -> None:
    topic = installation.topic("labels")
    member = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id=installation.name, enable_auto_commit=False)
    await member.start()
    try:
        await begin(database, log)
        assert await log.committed(ALL) == dict.fromkeys(ALL)
    finally:
        await member.stop()
    assert positions_in(database) == dict.fromkeys(ALL, 0), "they commit what is stored"
