"""What a subscriber promises to those who act on events."""

import asyncio
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from tests.libs.cairn.installations import as_service, new_installation, write_raw
from tests.libs.cairn.subscriber.promotions import promotion, send, told

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events import ModelDeclared, ModelPromoted, RecordParked, TrainingRequested
from cairn.events.codec import Outgoing
from cairn.local import LocalKafka
from cairn.publisher import Publisher
from cairn.subscriber import HandlerFailed, PositionLost, Received, StoreError, Subscriber

Promoted = Received[ModelPromoted]


@pytest.fixture
async def registry(kafka: str, tmp_path: Path) -> Context:
    """The registry's view of an installation of the test's own."""
    context = as_service(await new_installation(kafka, tmp_path, "registry", "requests"), "registry")
    assert context.trust
    context.trust.save(tmp_path / "trust.json")
    return context


def subscriber(context: Context, **options: Any) -> Subscriber:
    options = {"start": "beginning"} | options
    return Subscriber(context.bootstrap_servers, installation=context.installation.name, **options)


async def tell(registry: Context, *generations: int, model: str = "toy.a", **changes: Any) -> None:
    await send(registry, [told(registry, model, one, f"{model}-{one}", **changes) for one in generations])


async def hear(app: Subscriber, until: int, seconds: float = 30) -> list[Promoted]:
    """Run the application until the promotion of that generation was handled; all that its handler got."""
    heard: list[Promoted] = []

    @app.on(ModelPromoted)
    async def note(event: ModelPromoted, received: Promoted) -> None:
        heard.append(received)
        if event.generation == until:
            app.stop()

    async with asyncio.timeout(seconds):
        await app.run()
    return heard


def generations(heard: list[Promoted]) -> list[int]:
    return [one.event.generation for one in heard]


class TestAHandler:
    async def test_gets_the_facts_and_who_told_them_when_and_where(self, registry: Context) -> None:
        await tell(registry, 1, 2)

        first, second = await hear(subscriber(registry), until=2)

        assert first.event == promotion(registry.installation, "toy.a", 1)
        assert (first.source, first.id) == (registry.installation.source("registry"), "toy.a-1")
        assert (first.type, first.subject) == ("cairn.model.promoted.v1", "model/toy.a")
        assert (first.topic, second.offset - first.offset) == ("registry", 1)
        assert first.partition == second.partition
        assert (datetime.now(UTC) - first.time).total_seconds() < 60
        assert first.correlation_id == "toy.a-1"
        assert (first.ref.id, first.ref.type) == (first.id, first.type)
        assert not first.redelivered

    async def test_may_want_the_facts_alone(self, registry: Context) -> None:
        await tell(registry, 1)
        app, heard = subscriber(registry), []

        @app.on(ModelPromoted)
        async def act(event: ModelPromoted) -> None:
            heard.append(event)
            app.stop()

        async with asyncio.timeout(30):
            await app.run()

        assert heard == [promotion(registry.installation, "toy.a", 1)]

    async def test_never_sees_a_generation_that_is_not_higher(self, registry: Context, tmp_path: Path) -> None:
        again = told(registry, "toy.a", 2, "told-anew")
        await tell(registry, 1, 2)
        await send(registry, [again])
        await tell(registry, 1, model="toy.b")
        await tell(registry, 3)
        app = subscriber(registry, store=tmp_path / "store")

        heard = await hear(app, until=3)

        assert [one.event.generation for one in heard if one.event.model.name == "toy.a"] == [1, 2, 3]
        assert app.counts["stale"] == 1

        await send(registry, [told(registry, "toy.a", 2, "told-later")])
        await tell(registry, 4)
        later = subscriber(registry, store=tmp_path / "store")
        assert generations(await hear(later, until=4)) == [4]
        assert later.counts["stale"] == 1

    async def test_gets_what_was_published_twice_once(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        await tell(registry, 1)
        await tell(registry, 2)
        app = subscriber(registry, store=tmp_path / "store")

        assert generations(await hear(app, until=2)) == [1, 2]
        assert app.counts == {"handled": 2, "duplicate": 1}

    async def test_reads_what_a_newer_writer_has_added_to_an_event(self, registry: Context) -> None:
        one = told(registry, "toy.a", 1, "newer")
        await send(registry, [replace(one, value=b'{"shade":"blue",' + one.value[1:])])

        [heard] = await hear(subscriber(registry), until=1)

        assert heard.event == promotion(registry.installation, "toy.a", 1)

    async def test_must_be_one(self) -> None:
        app = Subscriber("127.0.0.1:9")

        with pytest.raises(TypeError, match="no coroutine function"):
            app.on(ModelPromoted)(lambda event: None)
        with pytest.raises(TypeError, match=r"takes 3 arguments: expected \(event\) or \(event, received\)"):

            @app.on(ModelPromoted)
            async def act(_a: object, _b: object, _c: object) -> None: ...

        with pytest.raises(TypeError, match="no class of events"):
            app.on(dict)

    async def test_of_a_class_that_has_one_is_refused(self) -> None:
        app = Subscriber("127.0.0.1:9")

        @app.on(ModelPromoted)
        async def act(_event: ModelPromoted) -> None: ...

        with pytest.raises(ValueError, match="has a handler already"):
            app.on(ModelDeclared, ModelPromoted)

    async def test_needs_faststream_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "faststream", None)
        monkeypatch.delitem(sys.modules, "cairn.subscriber.stream", raising=False)

        with pytest.raises(ModuleNotFoundError, match=r"pip install 'cairn-sdk\[app\]'"):
            await hear(Subscriber("127.0.0.1:9"), until=1)


class TestAHandlerThatRaises:
    async def test_is_tried_again_and_what_it_wrote_is_undone(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        app, attempts = subscriber(registry, store=tmp_path / "store"), []

        @app.on(ModelPromoted)
        async def act(event: ModelPromoted, received: Promoted) -> None:
            received.transaction.execute("CREATE TABLE IF NOT EXISTS live (model, attempt)")
            received.transaction.execute("INSERT INTO live VALUES (?, ?)", (event.model.name, received.attempt))
            attempts.append((received.attempt, received.redelivered))
            if received.attempt < 3:
                raise OSError("the disk is full")
            app.stop()

        async with asyncio.timeout(30):
            await app.run()

        assert attempts == [(1, False), (2, True), (3, True)]
        assert rows(tmp_path / "store", "SELECT * FROM live") == [("toy.a", 3)]

    async def test_too_often_ends_the_run_and_the_event_comes_again(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1, 2)
        app = subscriber(registry, store=tmp_path / "store", tries=2)

        @app.on(ModelPromoted)
        async def act(_event: ModelPromoted) -> None:
            raise OSError("the disk is full")

        with pytest.raises(HandlerFailed, match=r"ModelPromoted toy.a-1 .* raised 2 times.*the disk is full.*Nothing"):
            async with asyncio.timeout(30):
                await app.run()

        first, second = await hear(subscriber(registry, store=tmp_path / "store"), until=2)
        assert (first.id, first.attempt) == ("toy.a-1", 3)
        assert (second.id, second.attempt) == ("toy.a-2", 1)

    async def test_too_often_has_its_event_parked_where_that_was_asked_for(
        self, registry: Context, tmp_path: Path
    ) -> None:
        await tell(registry, 1, 2)
        app = subscriber(registry, store=tmp_path / "store", tries=2, on_error="park")

        @app.on(ModelPromoted)
        async def act(event: ModelPromoted) -> None:
            if event.generation == 1:
                raise OSError("the disk is full")
            app.stop()

        async with asyncio.timeout(30):
            await app.run()

        assert app.counts == {"parked": 1, "handled": 1}
        [(event_id, attempts, error)] = rows(tmp_path / "store", "SELECT id, attempts, error FROM cairn_parked")
        assert (event_id, attempts) == ("toy.a-1", 2)
        assert "the disk is full" in error

    async def test_may_be_stopped_while_it_waits_for_its_next_try(self, registry: Context) -> None:
        await tell(registry, 1)
        app = subscriber(registry, tries=100)

        @app.on(ModelPromoted)
        async def act(_event: ModelPromoted, received: Promoted) -> None:
            if received.attempt == 3:
                app.stop()
            raise OSError("no")

        async with asyncio.timeout(30):
            await app.run()

        assert app.counts == {}

    async def test_may_not_end_the_transaction_itself(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        app = subscriber(registry, store=tmp_path / "store")

        @app.on(ModelPromoted)
        async def act(_event: ModelPromoted, received: Promoted) -> None:
            received.transaction.commit()

        with pytest.raises(HandlerFailed, match="ended the transaction that it was lent"):
            async with asyncio.timeout(30):
                await app.run()


class TestTheStart:
    async def test_is_by_default_what_comes_from_now_on_also_after_a_restart(
        self, registry: Context, tmp_path: Path
    ) -> None:
        await tell(registry, 1)
        app = Subscriber(registry.bootstrap_servers, installation=registry.installation.name, store=tmp_path / "store")
        hearing = asyncio.create_task(hear(app, until=-1))
        await until_settled(tmp_path / "store")
        app.stop()
        assert await hearing == []

        await tell(registry, 2)

        assert generations(await hear(subscriber(registry, store=tmp_path / "store"), until=2)) == [2]

    async def test_may_be_a_time(self, registry: Context) -> None:
        await tell(registry, 1, 2)
        await asyncio.sleep(0.05)
        noon = datetime.now(UTC)
        await asyncio.sleep(0.05)
        await tell(registry, 3)

        assert generations(await hear(subscriber(registry, start=noon), until=3)) == [3]

    async def test_at_a_time_to_come_is_the_end(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        app = subscriber(registry, store=tmp_path / "store", start=datetime(2999, 1, 1, tzinfo=UTC))
        hearing = asyncio.create_task(hear(app, until=2))
        await until_settled(tmp_path / "store")

        await tell(registry, 2)

        assert generations(await hearing) == [2]

    async def test_may_be_offsets(self, registry: Context) -> None:
        await tell(registry, 1, 2, 3)
        first, *_ = await hear(subscriber(registry), until=3)

        app = subscriber(registry, start={("registry", first.partition): first.offset + 1})

        assert generations(await hear(app, until=3)) == [2, 3]

    @pytest.mark.parametrize("start", ["earliest", 5, datetime(2026, 1, 1)])  # noqa: DTZ001 # it is what is refused
    async def test_must_be_one_of_these(self, start: object) -> None:
        with pytest.raises(ValueError, match="start="):
            Subscriber("127.0.0.1:9", start=start)

    async def test_is_where_the_store_says_whatever_else_is_asked_for(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1, 2)
        await hear(subscriber(registry, store=tmp_path / "store"), until=2)
        await tell(registry, 3)

        assert generations(await hear(subscriber(registry, store=tmp_path / "store"), until=3)) == [3]


class TestTheStore:
    async def test_of_another_installation_is_refused(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        await hear(subscriber(registry, store=tmp_path / "store"), until=1)
        other = Subscriber(registry.bootstrap_servers, installation="other", store=tmp_path / "store")

        with pytest.raises(StoreError, match="not to 'other'"):
            await hear(other, until=1)

    async def test_that_is_none_is_told(self, registry: Context, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("not a database, but long enough to be taken for one" * 100)

        with pytest.raises(StoreError, match=r"store cannot be used: file is not a database"):
            await hear(subscriber(registry, store=tmp_path / "store"), until=1)

    async def test_ahead_of_the_log_is_told(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)
        await hear(subscriber(registry, store=tmp_path / "store"), until=1)
        rows(tmp_path / "store", "UPDATE cairn_positions SET next_offset = 999")

        with pytest.raises(PositionLost, match=r"cannot be read from 999\. .* either Kafka is another one"):
            await hear(subscriber(registry, store=tmp_path / "store"), until=1)


class TestWhatIsSkipped:
    async def test_is_counted_and_told_once_a_kind(self, registry: Context, caplog: pytest.LogCaptureFixture) -> None:
        one = told(registry, "toy.a", 1, "x")
        await write_raw(registry, "registry", b"hello")
        await write_raw(registry, "registry", b"hello again")
        await send(
            registry,
            [
                retyped(one, "cairn.model.praised.v1"),
                retyped(one, "cairn.model.promoted.v9"),
                retyped(one, "cairn.model.declared.v1"),
                replace(one, value=b"{}"),
                replace(one, key=b"model/toy.b"),
            ],
        )
        await tell(registry, *range(1, 3))
        app = subscriber(registry)

        with caplog.at_level(logging.INFO, "cairn.subscriber"):
            hearing = asyncio.create_task(hear(app, until=-1))
            async with asyncio.timeout(30):
                while sum(app.counts.values()) < 9:
                    await asyncio.sleep(0.05)
            app.stop()

        assert generations(await hearing) == [1, 2]
        assert app.counts == {
            "not-a-cloudevent": 2,
            "unknown-type": 1,
            "unsupported-version": 1,
            "other-type": 1,
            "schema": 1,
            "key-mismatch": 1,
            "handled": 2,
        }
        assert sum("not-a-cloudevent" in message for message in caplog.messages) == 1


class TestVerifying:
    async def test_believes_what_the_registry_has_signed(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1)

        [heard] = await hear(verifying(registry, tmp_path), until=1)

        assert heard.signed

    async def test_refuses_what_was_changed_since_or_signed_by_somebody_else_or_not_at_all(
        self, registry: Context, tmp_path: Path
    ) -> None:
        one = told(registry, "toy.a", 1, "x")
        forger = as_service(registry, "registry")
        unsigned = tuple(header for header in one.headers if header[0] not in ("ce_signature", "ce_keyid"))
        await send(
            registry,
            [
                replace(one, value=one.value.replace(b'"generation":1,', b'"generation":9,')),
                told(forger, "toy.a", 8, "y"),
                replace(one, headers=unsigned),
            ],
        )
        await tell(registry, 1)
        app = verifying(registry, tmp_path)

        assert generations(await hear(app, until=1)) == [1]
        assert app.counts == {"signature": 2, "unsigned": 1, "handled": 1}

    async def test_refuses_a_receipt_that_does_not_hold(
        self, registry: Context, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        package = promotion(registry.installation, "toy.a", 1).report.model_dump(mode="json")
        await tell(registry, 1, package=package)
        await tell(registry, 2)
        app = verifying(registry, tmp_path)

        assert generations(await hear(app, until=2)) == [2]
        assert app.counts["receipt"] == 1
        assert "package.digest is" in caplog.text

    async def test_needs_to_know_whom_to_trust(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="belong together"):
            Subscriber("127.0.0.1:9", verify=True)
        with pytest.raises(ValueError, match="belong together"):
            Subscriber("127.0.0.1:9", keys=tmp_path / "trust.json")


class TestAGroup:
    async def test_goes_on_where_it_was_without_any_store(self, registry: Context) -> None:
        await tell(registry, 1, 2)
        assert generations(await hear(subscriber(registry, group="tests"), until=2)) == [1, 2]
        await tell(registry, 3)

        assert generations(await hear(subscriber(registry, group="tests"), until=3)) == [3]

    async def test_is_not_touched_by_a_replay(self, registry: Context, tmp_path: Path) -> None:
        await tell(registry, 1, 2)
        await hear(subscriber(registry, group=registry.installation.name, store=tmp_path / "store"), until=2)
        before = await offsets_of(registry)
        assert before

        assert generations(await hear(subscriber(registry), until=2)) == [1, 2]
        async with aclosing(subscriber(registry).events(ModelPromoted)) as events:
            assert [(await anext(events)).event.generation for _ in range(2)] == [1, 2]

        assert await offsets_of(registry) == before


class TestThePlainLoop:
    async def test_gets_each_event_once_and_an_event_is_handled_when_the_next_is_asked_for(
        self, registry: Context, tmp_path: Path
    ) -> None:
        await tell(registry, 1, 1, 2, 3)

        async def hear_one_after_another(count: int) -> list[Promoted]:
            heard = []
            app = subscriber(registry, store=tmp_path / "store")
            async with asyncio.timeout(30), aclosing(app.events(ModelPromoted)) as events:
                async for received in events:
                    heard.append(received)
                    if len(heard) == count:
                        break
            return heard

        assert generations(await hear_one_after_another(2)) == [1, 2]
        second, third = await hear_one_after_another(2)
        assert (second.event.generation, second.attempt) == (2, 2)
        assert (third.event.generation, third.attempt) == (3, 1)

    async def test_may_be_of_a_group(self, registry: Context) -> None:
        await tell(registry, 1)
        app = subscriber(registry, group="tests")
        async with asyncio.timeout(30), aclosing(app.events(ModelPromoted)) as events:
            assert (await anext(events)).event.generation == 1
            await tell(registry, 2)
            assert (await anext(events)).event.generation == 2
        async with asyncio.timeout(30), aclosing(app.events(ModelPromoted)) as events:
            assert (await anext(events)).event.generation == 2  # it was left before it was handled

    async def test_hears_all_topics_of_a_type(self, registry: Context) -> None:
        with pytest.raises(TopicRefused, match=r"no topic .*\.operations\."):
            await anext(subscriber(registry).events(RecordParked))

    async def test_and_handlers_do_not_run_at_the_same_time(self, registry: Context) -> None:
        await tell(registry, 1)
        app = subscriber(registry)
        async with aclosing(app.events(ModelPromoted)) as events:
            await anext(events)
            with pytest.raises(RuntimeError, match="runs already"):
                await hear(app, until=1)


class TestWhenKafka:
    async def test_is_not_there_it_is_said(self) -> None:
        with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
            await hear(Subscriber("127.0.0.1:9"), until=1)

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[LocalKafka]:
        """A Kafka of the test's own, to be killed."""
        async with LocalKafka(tmp_path / "kafka", fast_start=True) as server:
            yield server

    async def test_goes_away_and_comes_back_hearing_goes_on(self, server: LocalKafka, tmp_path: Path) -> None:
        context = await new_installation(server.bootstrap_servers, tmp_path, "registry")
        registry = as_service(context, "registry")
        await tell(registry, 1)
        app = subscriber(registry, store=tmp_path / "store")
        hearing = asyncio.create_task(hear(app, until=2, seconds=90))
        async with asyncio.timeout(30):
            while not app.counts.get("handled"):
                await asyncio.sleep(0.05)

        await server.kill()
        await server.start()
        await tell(registry, 2)

        assert generations(await hearing) == [1, 2]


async def test_requests_are_heard_as_well(registry: Context) -> None:
    async with Publisher(replace(registry, signer=None, trust=None)) as publisher:
        await publisher.publish(TrainingRequested(model="toy.a"), source="/core")

    async with aclosing(subscriber(registry).events(TrainingRequested)) as events:
        assert (await anext(events)).event.model == "toy.a"


def verifying(context: Context, home: Path) -> Subscriber:
    return subscriber(context, verify=True, keys=home / "trust.json")


def retyped(one: Outgoing, name: str) -> Outgoing:
    headers = dict(one.headers) | {"ce_type": name.encode()}
    return replace(one, headers=tuple(headers.items()))


def rows(store: Path, question: str) -> list[Any]:
    database = sqlite3.connect(store, timeout=10)
    try:
        found = database.execute(question).fetchall()
        database.commit()
        return found
    finally:
        database.close()


async def until_settled(store: Path) -> None:
    async with asyncio.timeout(30):
        while not store.exists() or not tables(store) or not rows(store, "SELECT * FROM cairn_positions"):
            await asyncio.sleep(0.05)


def tables(store: Path) -> list[Any]:
    return rows(store, "SELECT * FROM sqlite_master WHERE name = 'cairn_positions'")


async def offsets_of(registry: Context) -> dict[TopicPartition, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=registry.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(registry.installation.name)
        return {tp: one.offset for tp, one in found.items()}
    finally:
        await admin.close()
