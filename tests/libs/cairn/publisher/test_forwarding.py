"""What a publisher with a spool promises: safe on the disk at once, and in Kafka once, in order, whatever happens."""

import asyncio
import gc
import logging
import os
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.libs.cairn.installations import new_installation
from tests.libs.cairn.publisher.samples import (
    all_in_order,
    heard_events,
    nowhere_in,
    numbers_by_key,
    own_kafka,
    request,
)

from cairn.broker import BrokerUnreachable
from cairn.context import Context
from cairn.publisher import EventsRefused, Publisher, SpoolBusy, SpoolFull, SyncPublisher, seal, sending
from cairn.publisher.spool import Spool, bytes_of

A_SECOND = 200


@pytest.fixture
async def context(kafka: str, tmp_path: Path) -> Context:
    return await new_installation(kafka, tmp_path, "requests")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "events.spool"


class TestAnEventInTheSpool:
    async def test_is_safe_without_kafka_and_goes_when_it_can_be_reached(
        self, context: Context, tmp_path: Path
    ) -> None:
        offline = Context(tmp_path, context.installation, "127.0.0.1:9", signer=context.signer, trust=context.trust)
        spool = tmp_path / "events.spool"
        async with Publisher(offline, spool=spool) as publisher:
            receipts = [await publisher.publish(request(number)) for number in range(20)]
        assert {receipt.offset for receipt in receipts} == {None}

        async with Publisher(context, spool=spool) as publisher:
            await publisher.flush()

        heard = await heard_events(context)
        assert await numbers_by_key(context) == all_in_order(20)
        assert {(one.message.record.partition, one.message.envelope.id) for one in heard} == {
            (receipt.partition, receipt.id) for receipt in receipts
        }

    async def test_goes_out_as_it_was_sealed_also_under_another_key(self, context: Context, spool: Path) -> None:
        event = seal(context, request(1))
        async with Publisher(context, spool=spool) as publisher:
            await publisher.publish(event)
            await publisher.flush()

        [heard] = await heard_events(context)
        assert (heard.message.record.value, heard.message.record.headers) == (
            event.outgoing.value,
            event.outgoing.headers,
        )

    async def test_keeps_its_place_among_many_callers(self, context: Context, spool: Path) -> None:
        async with Publisher(context, spool=spool) as publisher:
            await asyncio.gather(*(publisher.publish(request(number)) for number in range(300)))
            await publisher.publish_all(request(number) for number in range(300, 600))
            await publisher.flush()

        assert await numbers_by_key(context) == all_in_order(600)

    async def test_is_let_go_of_once_kafka_has_it(self, context: Context, spool: Path) -> None:
        room = 3 * bytes_of(seal(context, request(0)))
        async with Publisher(context, spool=spool, spool_bytes=room) as publisher:
            for number in range(20):
                await publisher.publish(request(number))
                await publisher.flush()

        assert await numbers_by_key(context) == all_in_order(20)

    def test_can_come_from_code_without_an_event_loop(self, kafka: str, tmp_path: Path) -> None:
        context = asyncio.run(new_installation(kafka, tmp_path, "requests"))
        with SyncPublisher(context, spool=tmp_path / "spool") as publisher:
            publisher.publish_all(request(number) for number in range(10))
            publisher.flush()

        assert asyncio.run(numbers_by_key(context)) == all_in_order(10)


class TestASpool:
    async def test_that_is_full_says_so_and_keeps_what_it_has(self, tmp_path: Path, spool: Path) -> None:
        context = nowhere_in(tmp_path)
        room = 3 * bytes_of(seal(context, request(0))) + 10
        async with Publisher(context, spool=spool, spool_bytes=room) as publisher:
            for number in range(3):
                await publisher.publish(request(number))
            with pytest.raises(SpoolFull, match=f"of {room} bytes, and there is no room"):
                await publisher.publish(request(3))

        async with Publisher(context, spool=spool, spool_bytes=room) as publisher:
            with pytest.raises(SpoolFull):
                await publisher.publish(request(3))

    async def test_belongs_to_one_publisher(self, tmp_path: Path, spool: Path) -> None:
        async with Publisher(nowhere_in(tmp_path), spool=spool):
            with pytest.raises(SpoolBusy):
                async with Publisher(nowhere_in(tmp_path), spool=spool):
                    pass

    async def test_that_ends_in_half_a_write_is_told(
        self, tmp_path: Path, spool: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        spool.with_name(spool.name + "-wal").write_bytes(os.urandom(999))
        async with Publisher(nowhere_in(tmp_path), spool=spool):
            pass
        assert "never became whole; its 999 bytes were cut off" in caplog.text

    async def test_that_still_holds_something_is_told_when_it_is_closed(
        self, tmp_path: Path, spool: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Publisher(nowhere_in(tmp_path), spool=spool) as publisher:
            await publisher.publish_all([request(0), request(1)])
        assert f"2 events wait in the spool {spool}" in caplog.text

    async def test_that_cannot_be_emptied_in_time_says_why(self, tmp_path: Path, spool: Path) -> None:
        async with Publisher(nowhere_in(tmp_path), spool=spool) as publisher:
            await publisher.publish(request(0))
            with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 cannot be reached.*wait in the spool"):
                await publisher.flush(seconds=0.5)


async def make_topic(context: Context, name: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=context.bootstrap_servers)
    await admin.start()
    try:
        topic = NewTopic(context.installation.topic(name), 4, 1, topic_configs=config)
        await admin.create_topics([topic])
    finally:
        await admin.close()


class TestWhatKafkaDidNotRefuse:
    async def test_is_tried_again_in_its_order_whatever_went_wrong(
        self, context: Context, spool: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        troubles: list[Exception] = [RuntimeError("a fault of ours"), KeyError("another")]
        send = sending._send

        async def send_at_last(*arguments: Any) -> int:
            if troubles:
                raise troubles.pop()
            return await send(*arguments)

        monkeypatch.setattr(sending, "_send", send_at_last)
        async with Publisher(context, spool=spool) as publisher:
            await publisher.publish_all(request(number, keys=1) for number in range(20))
            await publisher.publish_all(request(number, keys=1) for number in range(20, 40))
            await publisher.flush()

        assert await numbers_by_key(context) == all_in_order(40, keys=1)

    async def test_is_not_sent_again_because_the_disk_is_full(
        self, context: Context, spool: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full = [SpoolFull("the disk is full")] * 2
        settle = Spool.settle

        def settle_at_last(*arguments: Any) -> None:
            if full:
                raise full.pop()
            settle(*arguments)

        monkeypatch.setattr(Spool, "settle", settle_at_last)
        async with Publisher(context, spool=spool) as publisher:
            await publisher.publish_all(request(number, keys=1) for number in range(20))
            await publisher.flush()

        assert full == []
        assert len(await heard_events(context)) == 20


async def test_what_was_damaged_on_the_disk_is_named_and_set_apart_and_the_rest_goes(
    context: Context, tmp_path: Path, spool: Path
) -> None:
    async with Publisher(nowhere_in(tmp_path), spool=spool) as publisher:
        events = [seal(context, request(number)) for number in range(10)]
        await publisher.publish_all(events)
    with sqlite3.connect(spool) as database:
        for position, damage in ((1, "headers = X'ff'"), (2, "headers = CAST(X'ff' AS TEXT)"), (3, "value = 'x'")):
            database.execute(f"UPDATE waiting SET {damage} WHERE position = ?", (position,))
        database.execute("UPDATE waiting SET topic = CAST(X'ff' AS TEXT), id = CAST(X'ff' AS TEXT) WHERE position = 4")
    database.close()

    async with Publisher(context, spool=spool) as publisher:
        with pytest.raises(EventsRefused, match=f"4 of the events .* row 1 of {spool} is damaged"):
            await publisher.flush()
        await publisher.retry_refused()
        with pytest.raises(EventsRefused, match=f"4 of the events .* row 11 of {spool} is damaged"):
            await publisher.flush()

    found = await numbers_by_key(context)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(4, 10))


class TestWhatKafkaRefusesForGood:
    async def test_stands_in_nobodys_way_and_is_named(self, kafka: str, tmp_path: Path, spool: Path) -> None:
        context = await new_installation(kafka, tmp_path)
        await make_topic(context, "requests", **{"max.message.bytes": "1500"})
        large = request(5).model_copy(update={"reason": "x" * 1900})
        async with Publisher(context, spool=spool) as publisher:
            events = [*(request(number) for number in range(5)), large, *(request(number) for number in range(5, 60))]
            receipts = await publisher.publish_all(events)
            with pytest.raises(EventsRefused, match=f"1 of the events .*{receipts[5].id} from .* on requests"):
                await publisher.flush()

        assert await numbers_by_key(context) == all_in_order(60)

    async def test_can_be_retried_once_the_cause_is_mended(self, kafka: str, tmp_path: Path, spool: Path) -> None:
        context = await new_installation(kafka, tmp_path)
        async with Publisher(context, spool=spool) as publisher:
            await publisher.publish_all(request(number) for number in range(10))
            with pytest.raises(EventsRefused, match=r"no topic .*\.requests") as refused:
                await publisher.flush()
        assert len(refused.value.refused) == 10

        await make_topic(context, "requests")
        async with Publisher(context, spool=spool) as publisher:
            with pytest.raises(EventsRefused):
                await publisher.flush()
            await publisher.retry_refused()
            await publisher.flush()

        assert await numbers_by_key(context) == all_in_order(10)

    async def test_can_be_let_go_of(self, kafka: str, tmp_path: Path, spool: Path) -> None:
        context = await new_installation(kafka, tmp_path)
        async with Publisher(context, spool=spool) as publisher:
            await publisher.publish(request(0))
            with pytest.raises(EventsRefused):
                await publisher.flush()
            await publisher.discard_refused()
            await publisher.flush()


async def publish_steadily(publisher: Publisher, until: asyncio.Event) -> int:
    """Publish 200 events a second, each of them alone; how many there were."""
    loop, number = asyncio.get_running_loop(), 0
    began = loop.time()
    waiting: set[asyncio.Task[object]] = set()
    while not until.is_set():
        waiting.add(asyncio.create_task(publisher.publish(request(number))))
        number += 1
        await asyncio.sleep(max(0.0, began + number / A_SECOND - loop.time()))
    await asyncio.gather(*waiting)
    return number


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
async def test_nothing_is_lost_doubled_or_exchanged_while_kafka_is_killed_and_comes_back(
    tmp_path: Path, spool: Path, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with own_kafka(tmp_path) as (server, context), Publisher(context, spool=spool) as publisher:
        enough = asyncio.Event()
        publishing = asyncio.create_task(publish_steadily(publisher, enough))
        await asyncio.sleep(1)
        await server.kill()
        await asyncio.sleep(seconds)
        await server.start()
        await asyncio.sleep(1)
        enough.set()
        count = await publishing
        await publisher.flush()

        assert count > A_SECOND * seconds / 4
        assert await numbers_by_key(context) == all_in_order(count)
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


PUBLISH_FOR_EVER = """
import itertools, os, sys
from cairn.context import load_context
from cairn.events import TrainingRequested
from cairn.publisher import SyncPublisher
with SyncPublisher(load_context(os.environ), spool=sys.argv[1]) as publisher:
    for number in itertools.count():
        publisher.publish(TrainingRequested(model=f"risk.m{number % 5}", reason=str(number)))
        print(number, flush=True)
"""


async def test_what_was_published_before_a_kill_is_sent_by_the_next_process(context: Context, spool: Path) -> None:
    assert context.signer
    assert context.trust
    context.signer.save(context.home / "ada.key")
    context.trust.save(context.home / "trust.json")
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": context.bootstrap_servers,
        "CAIRN_INSTALLATION": context.installation.name,
        "CAIRN_KEY_FILE": str(context.home / "ada.key"),
        "CAIRN_TRUST_FILE": str(context.home / "trust.json"),
    }
    told = 0
    for kill_after in (1, 40, 150):
        command = [sys.executable, "-c", PUBLISH_FOR_EVER, str(spool)]
        child = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        for _ in range(kill_after):
            assert await asyncio.to_thread(child.stdout.readline)
        child.kill()
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        told += kill_after + rest.count("\n")

        async with Publisher(context, spool=spool) as publisher:
            await publisher.flush()

        found = await numbers_by_key(context)
        assert sum(map(len, found.values())) >= told
        told = sum(map(len, found.values()))  # the last one may have been kept and not told
        _each_process_counts_upwards(found)


def _each_process_counts_upwards(found: dict[str, list[int]]) -> None:
    for numbers in found.values():
        for before, after in pairwise(numbers):
            assert after == before + 5 or after < 5
