"""The relay: each partition goes its own way, in order, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError
from sqlalchemy import insert, text
from tests.libs.chassis import toy as a
from tests.libs.chassis.live import Live, blocking
from tests.libs.chassis.toy import Toy, tells

from cairn.broker import partition_of
from chassis import ledger
from chassis.failpoints import Failpoints
from chassis.kafka import Partition, new_producer
from chassis.outbox import MOST_ROWS, count_waiting, load_waiting
from chassis.relay import Relay
from chassis.testing import Actor

FIRST, SECOND = "a", "b"
"""Two models whose events lie in different partitions."""


def partition(model: str) -> Partition:
    return a.OWN, partition_of(a.OWN, f"model/{model}".encode())


@dataclass
class Batch:
    """A record batch in the making."""

    values: list[bytes] = field(default_factory=list)

    def append(self, *, key: bytes, value: bytes, timestamp: None, headers: list[Any]) -> bool:
        self.values.append(value)
        return True


@dataclass
class Broker:
    """Stands in for Kafka: partitions that can be without a leader, or break off after so many batches."""

    log: dict[Partition, list[bytes]] = field(default_factory=dict)
    leaderless: set[Partition] = field(default_factory=set)
    under_way: list[Partition] = field(default_factory=list)
    breaks: Callable[[], bool] = lambda: False

    async def send(self, topic: str, number: int, batch: Batch) -> int:
        where = (topic.removeprefix("cairn."), number)
        assert where not in self.under_way, "two batches of one partition at once"
        self.under_way.append(where)
        try:
            await asyncio.sleep(0)
            if where in self.leaderless:
                await asyncio.sleep(3600)
            if self.breaks():
                raise LeaderNotAvailableError
            records = self.log.setdefault(where, [])
            records += batch.values
            if self.breaks():
                raise KafkaError("the answer was lost")
            return len(records) - len(batch.values)
        finally:
            self.under_way.remove(where)


@dataclass
class Producer:
    """A producer on such a broker."""

    broker: Broker

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        @dataclass
        class Place:
            offset: int

        async def send() -> Place:
            return Place(await self.broker.send(topic, partition, batch))

        return send()


@asynccontextmanager
async def running(actor: Actor, broker: Broker) -> AsyncIterator[Relay]:
    relay = Relay(
        actor.database, actor.world.installation, lambda: Producer(broker), blocking, Failpoints({}), send_seconds=0.05
    )
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def wait_in_line(actor: Actor, model: str, count: int) -> None:
    """So many events of a model wait; how they came to be told does not matter here."""
    _, number = partition(model)
    with actor.database.begin() as session:
        before = count_waiting(actor.database)
        rows = [
            {
                "position": before + n,
                "decision": before + n,
                "event_id": f"{model}-{n}",
                "type": "t",
                "topic": a.OWN,
                "partition": number,
                "key": f"model/{model}".encode(),
                "headers": "[]",
                "value": str(n).encode(),
                "cause": "",
                "recorded_at": "",
            }
            for n in range(1, count + 1)
        ]
        session.execute(insert(ledger.TOLD), rows)


def numbers(count: int) -> list[bytes]:
    return [str(n).encode() for n in range(1, count + 1)]


async def test_a_partition_without_a_leader_holds_up_no_other_however_much_waits_for_it(actor: Actor) -> None:
    wait_in_line(actor, FIRST, MOST_ROWS + 100)
    wait_in_line(actor, SECOND, MOST_ROWS + 100)
    broker = Broker(leaderless={partition(FIRST)})
    async with running(actor, broker):
        await until(lambda: count_waiting(actor.database) == MOST_ROWS + 100)
        assert broker.log == {partition(SECOND): numbers(MOST_ROWS + 100)}
        broker.leaderless.clear()
        await until(lambda: count_waiting(actor.database) == 0)
    assert list(dict.fromkeys(broker.log[partition(FIRST)])) == numbers(MOST_ROWS + 100)


async def test_a_relay_that_can_send_nothing_for_long_says_so_until_it_can(actor: Actor) -> None:
    wait_in_line(actor, FIRST, 1)
    broker = Broker(leaderless={partition(FIRST)})
    async with running(actor, broker) as relay:
        await until(lambda: bool(relay._failing_since))
        assert relay.trouble == "", "it has time"
        relay.stalled_seconds = 0
        topic, number = partition(FIRST)
        assert f"the relay could send nothing to {topic}/{number} for " in relay.trouble
        broker.leaderless.clear()
        await until(lambda: relay.trouble == "")


async def test_while_one_partition_hangs_what_is_told_on_another_goes_out_at_once(actor: Actor) -> None:
    wait_in_line(actor, FIRST, 1)
    broker = Broker(leaderless={partition(FIRST)})
    async with running(actor, broker) as relay:
        relay.send_seconds = 3600
        await until(lambda: broker.under_way == [partition(FIRST)])
        wait_in_line(actor, SECOND, 1)
        relay.woken.set()
        await until(lambda: partition(SECOND) in broker.log)
        assert broker.under_way == [partition(FIRST)]


async def test_whatever_breaks_each_partition_keeps_its_order_and_everything_arrives(actor: Actor) -> None:
    troubles = iter([True, False, False, False, True, False, False, True, False, False, False, False, True])
    wait_in_line(actor, FIRST, 1200)
    wait_in_line(actor, SECOND, 1200)
    broker = Broker(breaks=lambda: next(troubles, False))
    async with running(actor, broker):
        await until(lambda: count_waiting(actor.database) == 0)
    for model in (FIRST, SECOND):
        assert list(dict.fromkeys(broker.log[partition(model)])) == numbers(1200)
    assert len(broker.log[partition(FIRST)]) + len(broker.log[partition(SECOND)]) > 2400  # some went out twice


async def test_a_store_in_trouble_is_waited_for(actor: Actor) -> None:
    wait_in_line(actor, FIRST, 3)
    failing = [True]

    async def sometimes(function: Callable[..., Any], *arguments: Any) -> Any:
        if failing and failing.pop():
            raise OSError("the disk is full")
        return function(*arguments)

    broker = Broker()
    async with running(actor, broker) as relay:
        relay.run_blocking = sometimes
        failing.append(True)
        relay.woken.set()
        await until(lambda: count_waiting(actor.database) == 0)
    assert list(dict.fromkeys(broker.log[partition(FIRST)])) == numbers(3)


def test_of_each_partition_the_oldest_rows_are_loaded(actor: Actor) -> None:
    wait_in_line(actor, FIRST, 20)
    wait_in_line(actor, SECOND, 20)
    rows = load_waiting(actor.database, 5)
    assert [row.value for row in rows] == numbers(5) * 2
    rows = load_waiting(actor.database, 5, busy=[partition(FIRST)])
    assert {(row.topic, row.partition) for row in rows} == {partition(SECOND)}


def test_each_row_says_from_the_beginning_which_partition_it_goes_to(actor: Actor, toy: Toy) -> None:
    toy.on_labels = tells(a.note("a"))
    actor.hear(a.labels("a"))
    (row,) = load_waiting(actor.database)
    assert (row.topic, row.partition) == partition("a")


@pytest.mark.parametrize("statement", ["the next partition", "its oldest rows"])
def test_with_a_large_backlog_an_index_leads_to_the_rows(actor: Actor, statement: str) -> None:
    wait_in_line(actor, FIRST, 3000)
    wait_in_line(actor, SECOND, 3000)
    looked: list[tuple[str, Any]] = []
    remember(actor, looked)
    load_waiting(actor.database, 10)
    query, parameters = looked[0] if statement == "the next partition" else looked[1]
    plan = explain(actor, query, parameters)
    assert "chassis_told_waiting" in plan, plan
    assert not any(word in plan for word in ("SCAN chassis_told\n", "Seq Scan", "TEMP B-TREE", "Sort")), plan


def remember(actor: Actor, looked: list[tuple[str, Any]]) -> None:
    from sqlalchemy import event

    @event.listens_for(actor.database.engine, "before_cursor_execute")
    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            looked.append((statement, parameters))


def explain(actor: Actor, query: str, parameters: Any) -> str:
    with actor.database.engine.connect() as connection:
        if actor.database.is_sqlite:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", parameters).all()
            return "\n".join(str(row[-1]) for row in rows) + "\n"
        connection.execute(text("ANALYZE"))
        return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}", parameters))


async def delete_topic(servers: str, name: str) -> None:
    """Delete a topic and wait until it is gone: Kafka answers before it is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.delete_topics([name])
    while name in await admin.list_topics():
        await asyncio.sleep(0.05)
    await admin.close()


async def test_on_a_real_kafka_a_topic_that_is_gone_holds_up_no_other(kafka: str, tmp_path: Path) -> None:
    async with Live.begin(kafka, tmp_path) as live:
        await delete_topic(kafka, live.world.installation.topic(f"operations.{a.NAME}"))
        await live.hear(a.order("a"), a.order("a"))  # the second is refused, on `operations`
        relay = live.new_relay()
        running = asyncio.create_task(relay.run())
        for _ in range(3):
            await live.hear(a.labels("b"))
            relay.woken.set()
        async with asyncio.timeout(60):
            while len(await live.lying_on(a.OWN)) < 4:
                await asyncio.sleep(0.05)
        running.cancel()
        assert {row.topic for row in load_waiting(live.actor.database)} == {f"operations.{a.NAME}"}


async def test_a_producer_that_waits_for_a_leader_in_vain_is_let_go_of_whole(kafka: str, tmp_path: Path) -> None:
    def leaderless() -> AIOKafkaProducer:
        producer = new_producer(kafka, "leaderless")
        producer.client.cluster.leader_for_partition = lambda _partition: -1
        return producer

    async with Live.begin(kafka, tmp_path) as live:
        await live.hear(a.labels("a"))
        relay = live.new_relay()
        relay.new_producer, relay.send_seconds = leaderless, 0.5
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await relay.publish_waiting()
        assert asyncio.all_tasks() <= before
