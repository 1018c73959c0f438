"""The log on a real Kafka: every question ends, with an answer or with a message."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from cairn.events.identity import Installation
from cairn.local import LocalKafka
from cairn.topics import create_topics
from chassis.kafka import GroupInUse, KafkaUnreachable, Log

PARTITION = ("labels", 0)


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
def lose_patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr("chassis.kafka.PATIENCE_SECONDS", 2.0)


async def read(log: Log, end: int) -> list[object]:
    return [record async for record in log.read({PARTITION: 0}, {PARTITION: end})]


QUESTIONS: dict[str, Callable[[Log], Awaitable[object]]] = {
    "reading .*labels/0 to 1": lambda log: read(log, 1),
    "asking where the log ends": lambda log: log.ends([PARTITION]),
    "asking where the log begins": lambda log: log.beginnings([PARTITION]),
    "asking what the group has committed": lambda log: log.committed([PARTITION]),
    "committing for the group": lambda log: log.commit({PARTITION: 0}),
    "asking for topics": lambda log: log.missing_topics(["labels"]),
}


async def test_no_question_to_a_broker_that_froze_is_waited_for_for_ever(
    tmp_path: Path, lose_patience: Callable[[], None]
) -> None:
    installation = Installation("frozen")
    async with LocalKafka(tmp_path, fast_start=True) as server:
        await create_topics(server.bootstrap_servers, installation)
        async with Log.open(server.bootstrap_servers, installation, "frozen") as log:
            for ask in list(QUESTIONS.values())[1:]:
                await ask(log)
            os.kill(server._child.pid, signal.SIGSTOP)
            lose_patience()
            try:
                for doing, ask in QUESTIONS.items():
                    with pytest.raises(KafkaUnreachable, match=f"{server.bootstrap_servers} did not answer .*{doing}"):
                        async with asyncio.timeout(60):
                            await ask(log)
            finally:
                os.kill(server._child.pid, signal.SIGCONT)


async def test_a_record_that_kafka_does_not_have_is_not_waited_for_for_ever(
    log: Log, lose_patience: Callable[[], None]
) -> None:
    lose_patience()
    with pytest.raises(KafkaUnreachable, match=r"did not answer within 2 s while reading .*labels/0 to 1"):
        async with asyncio.timeout(60):
            await read(log, 1)


async def test_what_kafka_refuses_is_a_message_too(log: Log) -> None:
    with pytest.raises(KafkaUnreachable, match=r"Kafka at .* refused while reading .*labels/0 to 6"):
        async with asyncio.timeout(60):
            [record async for record in log.read({PARTITION: 5}, {PARTITION: 6})]


async def test_a_group_that_has_members_lets_nobody_else_commit(
    kafka: str, installation: Installation, log: Log
) -> None:
    topic = installation.topic("labels")
    member = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id=installation.name, enable_auto_commit=False)
    await member.start()
    try:
        with pytest.raises(GroupInUse):
            await log.commit({PARTITION: 0})
    finally:
        await member.stop()
    assert await log.committed([PARTITION]) == {PARTITION: None}
    await log.commit({PARTITION: 0})
    assert await log.committed([PARTITION]) == {PARTITION: 0}
