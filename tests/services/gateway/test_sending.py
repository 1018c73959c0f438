"""How the gateway's sender goes on after a failure, on a real Kafka."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from tests.libs.cairn.installations import new_installation
from tests.libs.cairn.publisher.samples import request

from cairn.broker import BrokerUnreachable, partition_of
from cairn.events.codec import Outgoing
from cairn.events.identity import Installation
from cairn.publisher import seal
from chassis.kafka import new_producer
from gateway.api.sending import Sender


def hold(producer: AIOKafkaProducer) -> list[asyncio.Future[Any]]:
    """Have a producer answer nothing by itself: the answers that it owes, which the test gives."""
    owed: list[asyncio.Future[Any]] = []

    async def send_batch(*_: Any, **__: Any) -> asyncio.Future[Any]:
        owed.append(asyncio.get_running_loop().create_future())
        return owed[-1]

    producer.send_batch = send_batch
    return owed


async def test_while_kafka_is_mute_nobody_waits_for_the_attempts_of_those_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.api.sending.ANSWER_SECONDS", 0.5)
    event = Outgoing("cairn.labels", b"model/risk.loans", (), b"{}")

    async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as mute:
        servers = f"127.0.0.1:{mute.sockets[0].getsockname()[1]}"
        sender = Sender(servers, Installation(), lambda: new_producer(servers, "tests"))
        async with asyncio.timeout(30):  # one after another they would take 60 s
            ended = await asyncio.gather(*(sender.send([event]) for _ in range(120)), return_exceptions=True)
        await sender.close()
    assert {type(one) for one in ended} == {BrokerUnreachable}


async def test_a_producer_that_failed_takes_no_later_one_with_it(kafka: str, tmp_path: Path):
    context = await new_installation(kafka, tmp_path, "requests")
    made: list[AIOKafkaProducer] = []
    owed: list[list[asyncio.Future[Any]]] = []

    def make() -> AIOKafkaProducer:
        made.append(new_producer(kafka, "tests"))
        owed.extend([hold(made[0])] if len(made) == 1 else [])
        return made[-1]

    sender = Sender(kafka, context.installation, make)
    by_partition: dict[int, Outgoing] = {}
    for number in range(40):
        outgoing = seal(context, request(number, keys=40)).outgoing
        by_partition.setdefault(partition_of("requests", outgoing.key), outgoing)
    one, other, *_ = by_partition.values()
    try:
        first, second = (asyncio.create_task(sender.send([event])) for event in (one, other))
        async with asyncio.timeout(60):
            while not owed or len(owed[0]) < 2:
                await asyncio.sleep(0.01)
            for waiting, answer in zip((first, second), owed[0], strict=True):
                answer.set_exception(KafkaError("lost"))
                assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], BrokerUnreachable)
                await sender.send([one])
    finally:
        await sender.close()
    assert len(made) == 2
