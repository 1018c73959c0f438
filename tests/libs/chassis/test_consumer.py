"""On a real Kafka: a service's consumer gets past everything, and takes each record once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.kafka.raw import in_transactions, send_raw
from tests.libs.chassis import toy as a
from tests.libs.chassis.live import Live
from tests.libs.chassis.looking import digest_of, ledger_rows, positions_of, rows_of
from tests.libs.chassis.toy import Note

from cairn.broker import partition_of
from cairn.objects import StoreUnreachable
from cairn.streaming import RecordBroker
from chassis import ledger
from chassis.consumer import Consumer
from chassis.kafka import Partition
from chassis.ledger import parked_record
from chassis.positions import DECIDER, save_positions
from chassis.wiring import trailing_offsets

BAD = b"\xff\xfe-bad"


@pytest.fixture
async def live(kafka: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with Live.begin(kafka, tmp_path) as begun:
        yield begun


@asynccontextmanager
async def consuming(live: Live, *, replicas: bool = False) -> AsyncIterator[Consumer]:
    """The toy's own consumer, wired as in a service, on the broker that a service has."""

    async def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    database = live.actor.database
    broker = RecordBroker(live.servers, logger=None, allow_auto_create_topics=False, apply_types=False)
    consumer = Consumer(
        name=DECIDER,
        group=f"{live.world.installation.name}.{a.NAME}",
        topics=a.HEARS,
        installation=live.world.installation,
        servers=live.servers,
        take=live.actor.processor.take,
        trailing=lambda: trailing_offsets(database, DECIDER, a.HEARS),
        run_blocking=blocking,
        retries=lambda error: isinstance(error, (OSError, StoreUnreachable)),
        observe=lambda _outcome, _records: None,
        isolation_level="read_committed",
        session_milliseconds=6000,
    )
    consumer.subscribe(broker, replicas=replicas)
    await broker.start()
    consumer.healthy = True
    try:
        yield consumer
    finally:
        await broker.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def notes(live: Live) -> list[str]:
    return [row.text for row in rows_of(live.actor, Note)]


def as_raw(headers: tuple[tuple[str, bytes], ...]) -> list[tuple[bytes, bytes | None]]:
    return [(name.encode(), value) for name, value in headers]


@pytest.mark.parametrize("replicas", [False, True], ids=["assigned by hand", "in a group"])
async def test_a_record_whose_header_names_are_no_text_is_parked_raw_and_those_around_it_are_handled(
    live: Live, replicas: bool
) -> None:
    topic = live.world.installation.topic("labels")
    (where,) = await live.publish(a.labels(value=1.0))
    event = live.written(a.labels(value=2.0))
    hostile = (b"k", b"{}", [(BAD, b"\xff"), (b"empty-header", None)])
    masked = (event.key, event.value, [*as_raw(event.headers), (BAD, b"1")])
    await send_raw(live.servers, topic, where[1], hostile, masked)
    await live.publish(a.labels(value=3.0))
    async with consuming(live, replicas=replicas):
        await until(lambda: positions_of(live.actor).get(where) == 4)
        await live.publish(a.labels(value=4.0))
        await until(lambda: positions_of(live.actor).get(where) == 5)
    assert notes(live) == ["1.0", "3.0", "4.0"]
    parked = [parked_record(dict(row)) for row in ledger_rows(live.actor, ledger.PARKED)]
    assert [row["code"] for row in ledger_rows(live.actor, ledger.PARKED)] == ["header", "header"]
    assert [(record.offset, record.value) for record in parked] == [(1, b"{}"), (2, event.value)]
    assert parked[0].headers == (("\udcff\udcfe-bad", b"\xff"), ("empty-header", None))


async def test_a_store_in_trouble_is_waited_for_and_nothing_is_passed_over(live: Live) -> None:
    take, troubles = live.actor.processor.take, [OSError("the disk is full"), StoreUnreachable("S3 is away")]

    def sometimes(records: Any, beginnings: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return take(records, beginnings)

    async with consuming(live) as consumer:
        consumer.take = sometimes
        (where,) = await live.publish(a.labels(value=1.0))
        await until(lambda: not troubles)
        await until(lambda: consumer.healthy)
    assert positions_of(live.actor)[where] == 1
    assert notes(live) == ["1.0"]


async def test_an_error_that_waiting_cannot_cure_ends_the_consumer_with_its_reason(live: Live) -> None:
    def broken(_records: Any, _beginnings: Any) -> Any:
        raise RuntimeError("nobody mends this")

    async with consuming(live) as consumer:
        consumer.take = broken
        await live.publish(a.labels())
        await until(lambda: consumer.stopped)
        await live.publish(a.labels())
    assert (consumer.stopped, consumer.healthy) == ("nobody mends this", False)
    assert positions_of(live.actor) == {}


async def test_an_answer_is_never_sent_where_a_record_asks_for_it(live: Live) -> None:
    """The framework would publish what the handler returns to the topic that the header `reply_to` names."""
    topic = live.world.installation.topic("labels")
    event = live.written(a.labels())
    headers = [*as_raw(event.headers), (b"reply_to", live.world.installation.topic("requests").encode())]
    await send_raw(live.servers, topic, 0, (event.key, event.value, headers))
    async with consuming(live):
        await until(lambda: notes(live))
    assert await live.lying_on("requests") == []


async def test_what_is_committed_waits_for_what_was_told(live: Live) -> None:
    async with consuming(live) as consumer:
        (where,) = await live.publish(a.labels())
        await until(lambda: notes(live))
        await consumer.commit()
        assert (await live.log.committed([where]))[where] == 0
        await live.relay()
        await consumer.commit()
        assert (await live.log.committed([where]))[where] == 1


async def test_a_log_that_loses_records_while_it_is_heard_ends_the_consumer(live: Live) -> None:
    """What is written next would get offsets that the store has passed."""
    async with consuming(live) as consumer:
        (where,) = await live.publish(a.labels())
        await until(lambda: notes(live))
        await consumer.look()
        assert consumer.unready == ""
        with live.actor.database.begin() as session:
            save_positions(session.connection(), DECIDER, {where: 7})
        await live.relay()
        await consumer.look()
        await live.publish(a.labels())
    assert f"{where[0]}/{where[1]} ends at 1" in consumer.unready
    assert "Kafka has lost records" in consumer.unready
    assert len(notes(live)) == 1


async def test_a_consumer_that_is_behind_and_takes_nothing_is_not_ready_until_it_goes_on(live: Live) -> None:
    going_on, taking = asyncio.Event(), asyncio.Event()

    async def held_up(function: Callable[..., Any], *arguments: Any) -> Any:
        if arguments:
            taking.set()
            await going_on.wait()
        return function(*arguments)

    async with consuming(live) as consumer:
        await consumer.look()
        consumer.run_blocking = held_up
        await live.publish(a.labels(value=1.0))
        await taking.wait()
        await consumer.look()
        assert consumer.unready == "", "it has time"
        consumer.stalled_seconds = 0
        await consumer.look()
        assert "is behind in labels/" in consumer.unready
        going_on.set()
        await until(lambda: notes(live))
        await consumer.look()
        assert consumer.unready == ""


async def write_in_transactions(live: Live, *values: float, spoilt: bool = False) -> Partition:
    """Labels as an upstream system writes them that sends exactly once, each in a transaction of its own."""
    async with in_transactions(live.servers) as producer:
        for value in values:
            event = live.written(a.labels(value=value))
            where = "labels", partition_of("labels", event.key)
            await producer.begin_transaction()
            await producer.send_and_wait(event.topic, event.value, event.key, where[1], headers=list(event.headers))
            await (producer.abort_transaction() if spoilt else producer.commit_transaction())
    return where


@pytest.mark.parametrize("replicas", [False, True], ids=["assigned by hand", "in a group"])
async def test_offsets_that_the_ends_of_transactions_take_are_no_loss_and_what_was_aborted_is_not_heard(
    live: Live, replicas: bool
) -> None:
    await write_in_transactions(live, 1.0, 2.0)
    await write_in_transactions(live, 3.0, spoilt=True)
    async with consuming(live, replicas=replicas) as consumer:
        where = await write_in_transactions(live, 4.0)
        await until(lambda: len(notes(live)) == 3)
        await write_in_transactions(live, 5.0, 6.0)
        await until(lambda: len(notes(live)) == 5)
        consumer.stalled_seconds = 0
        await consumer.look()
        async with asyncio.timeout(60):
            while consumer.unready:  # behind the last record lies the end of its transaction, and nothing else
                await asyncio.sleep(0.05)
                await consumer.look()
    assert notes(live) == ["1.0", "2.0", "4.0", "5.0", "6.0"]
    assert positions_of(live.actor) == {where: 11}


async def test_a_rebuild_leaves_out_what_was_aborted(live: Live) -> None:
    await write_in_transactions(live, 1.0)
    await write_in_transactions(live, 2.0, spoilt=True)
    await write_in_transactions(live, 3.0)
    async with consuming(live):
        await until(lambda: len(notes(live)) == 2)
    await live.settle()
    before = digest_of(live.actor), notes(live), ledger_rows(live.actor, ledger.INBOX)
    await live.rebuild()
    assert (digest_of(live.actor), notes(live), ledger_rows(live.actor, ledger.INBOX)) == before


async def test_records_that_were_deleted_before_they_were_heard_end_the_consumer(live: Live) -> None:
    async with consuming(live) as consumer:
        (where,) = await live.publish(a.labels(value=1.0))
        await until(lambda: notes(live))
    for value in (2.0, 3.0, 4.0):
        await live.publish(a.labels(value=value))
    await delete_before(live, where, 3)
    async with consuming(live) as consumer:
        await until(lambda: consumer.stopped)
    assert f"{where[0]}/{where[1]} continues at 3, the store has seen it to 1" in consumer.stopped
    assert notes(live) == ["1.0"]


async def delete_before(live: Live, where: Partition, offset: int) -> None:
    """What a retention that is too short does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=live.servers)
    await admin.start()
    partition = KafkaPartition(live.world.installation.topic(where[0]), where[1])
    await admin.delete_records({partition: RecordsToDelete(before_offset=offset)})
    await admin.close()
