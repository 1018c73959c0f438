"""What reading the log promises: every record, checked, in a sensible order, and an end where one was asked for."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.libs.cairn.installations import as_service, new_installation, write_raw

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events import (
    DatasetPublished,
    Heard,
    Installation,
    Malformed,
    RequestRefused,
    TrainingRequested,
    Trust,
)
from cairn.events.values import EventRef, ObjectRef, Reason
from cairn.local import LocalKafka
from cairn.publisher import Publisher
from cairn.subscriber import Entry, Start, end_offsets, read_log
from cairn.subscriber import log as module

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
A_REQUEST = EventRef(source="/x", id="1", type="cairn.training.requested.v1", digest="sha256:" + "0" * 64)


@pytest.fixture
async def context(kafka: str, tmp_path: Path) -> Context:
    return await new_installation(kafka, tmp_path, "requests", "datasets", "operations.registry")


async def ask_for(context: Context, *models: str) -> None:
    async with Publisher(context) as publisher:
        for model in models:
            await publisher.publish(TrainingRequested(model=model))


async def read_all(context: Context, *topics: str, start: Start = "beginning") -> list[Entry]:
    return [entry async for entry in read_log(context, topics or ("requests",), start)]


def models_of(entries: list[Entry]) -> list[str]:
    return [entry.heard.facts.model for entry in entries if isinstance(entry.heard, Heard)]


class TestWithoutFollowing:
    async def test_everything_is_read_from_the_beginning_and_then_it_ends(self, context: Context) -> None:
        await ask_for(context, "a", "b", "c", "d")

        assert models_of(await read_all(context)) == ["a", "b", "c", "d"]

    async def test_an_empty_log_ends_at_once(self, context: Context) -> None:
        assert await read_all(context) == []

    async def test_the_oldest_comes_first_whatever_topic_it_is_on(self, context: Context) -> None:
        file = ObjectRef(uri="s3://b/1", digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv")
        async with Publisher(context) as publisher:
            for n in range(20):
                await publisher.publish(TrainingRequested(model=f"risk.m{n}"))
                await asyncio.sleep(0.002)  # Kafka's clock counts milliseconds
                await publisher.publish(
                    DatasetPublished(dataset=f"risk.m{n}", version="1", files=(file,), format="csv"), time=NOON
                )
                await asyncio.sleep(0.002)

        entries = await read_all(context, "datasets", "requests")

        assert [entry.record.topic for entry in entries] == ["requests", "datasets"] * 20

    async def test_a_partition_far_ahead_in_time_does_not_fill_the_memory(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MOST_HELD", 3)
        models = [f"risk.m{n}" for n in range(60)]
        await ask_for(context, *models)

        assert sorted(models_of(await read_all(context))) == sorted(models)

    async def test_what_arrives_meanwhile_is_left_for_later(self, context: Context) -> None:
        await ask_for(context, "a", "b")
        seen = []
        async with aclosing(read_log(context, ["requests"])) as log:
            async for entry in log:
                seen.append(entry)
                await ask_for(context, f"late.{len(seen)}")

        assert models_of(seen) == ["a", "b"]


class TestTheStart:
    async def test_may_be_an_offset_of_each_partition(self, context: Context) -> None:
        await ask_for(context, "a", "b")
        start = await end_offsets(context, ["requests"])
        await ask_for(context, "c", "a")

        assert models_of(await read_all(context, start=start)) == ["c", "a"]

    async def test_may_be_so_many_of_the_last_records(self, context: Context) -> None:
        await ask_for(context, "a", "a", "a")

        assert [entry.record.offset for entry in await read_all(context, start=2)] == [1, 2]

    async def test_is_the_beginning_for_a_partition_that_is_not_named(self, context: Context) -> None:
        await ask_for(context, "a", "b")

        assert models_of(await read_all(context, start={})) == ["a", "b"]

    async def test_may_be_the_end(self, context: Context) -> None:
        await ask_for(context, "a")

        assert await read_all(context, start="end") == []

    async def test_must_be_there(self, context: Context) -> None:
        await ask_for(context, "a")

        with pytest.raises(TopicRefused, match=r"it cannot be read from 999"):
            await read_all(context, start={("requests", 0): 999})

    async def test_must_be_of_a_partition_that_is_read(self, context: Context) -> None:
        await ask_for(context, "a")

        with pytest.raises(TopicRefused, match=r"a start is given for requests\[99\], which is not among"):
            await read_all(context, start={("requests", 99): 0})


class TestFollowing:
    async def test_what_is_there_comes_before_what_arrives(self, context: Context) -> None:
        await ask_for(context, "a", "b")
        seen: list[Entry] = []

        async with asyncio.timeout(20), aclosing(read_log(context, ["requests"], follow=True)) as log:
            async for entry in log:
                seen.append(entry)
                if len(seen) == 2:
                    await ask_for(context, "b", "a")
                if len(seen) == 4:
                    break

        assert models_of(seen)[:2] == ["a", "b"]
        assert sorted(models_of(seen)[2:]) == ["a", "b"]

    async def test_from_the_end_only_what_arrives_is_heard(self, context: Context) -> None:
        await ask_for(context, "old")
        start = await end_offsets(context, ["requests"])

        await ask_for(context, "new")

        async with asyncio.timeout(20), aclosing(read_log(context, ["requests"], start, follow=True)) as log:
            assert models_of([await anext(log)]) == ["new"]

    async def test_can_be_left_at_once(self, context: Context) -> None:
        async def follow() -> None:
            async with aclosing(read_log(context, ["requests"], follow=True)) as log:
                async for _ in log:
                    pass

        following = asyncio.create_task(follow())
        await asyncio.sleep(1)
        began = time.monotonic()
        following.cancel()
        await asyncio.wait([following])

        assert following.cancelled()
        assert time.monotonic() - began < 3


class TestARecord:
    async def test_that_is_no_event_comes_with_the_reason_and_reading_goes_on(self, context: Context) -> None:
        await write_raw(context, "requests", b"hello")
        await ask_for(context, "a")

        bad, good = await read_all(context)

        assert bad.heard == Malformed("not-a-cloudevent", "there are neither ce_ headers nor a structured CloudEvent")
        assert bad.record.value == b"hello"
        assert isinstance(good.heard, Heard)

    async def test_that_somebody_else_signed_does_not_count(self, context: Context) -> None:
        forger = as_service(context, "registry")  # a key of the registry's name, which only the forger trusts
        refused = RequestRefused(service="registry", request=A_REQUEST, reason=Reason(code="no", text="No."))
        async with Publisher(forger) as publisher:
            await publisher.publish(refused)

        [entry] = await read_all(context, "operations.registry")

        assert entry.heard == Malformed("signature", "the signature does not fit the event")

    async def test_cannot_be_told_from_a_forgery_without_a_trust_file(self, context: Context) -> None:
        await ask_for(context, "a")

        [entry] = await read_all(replace(context, trust=None))

        assert isinstance(entry.heard, Heard)
        assert not entry.heard.signed
        assert entry.heard.message.envelope.signature

    async def test_without_a_signature_counts_only_where_the_trust_file_says_so(self, context: Context) -> None:
        unsigned = replace(context, signer=None, trust=None)
        async with Publisher(unsigned) as publisher:
            await publisher.publish(TrainingRequested(model="a"), source="/core")

        [entry] = await read_all(replace(context, trust=Trust()))

        assert isinstance(entry.heard, Malformed)
        assert entry.heard.code == "unsigned"


class TestWhenKafka:
    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[LocalKafka]:
        """A Kafka of the test's own, to be killed."""
        async with LocalKafka(tmp_path / "kafka", fast_start=True) as server:
            yield server

    async def test_has_no_such_topic_it_is_said(self, context: Context) -> None:
        with pytest.raises(TopicRefused, match=f"no topic {context.installation.name}.registry"):
            await read_all(context, "requests", "registry")

    async def test_is_not_there_it_is_said_soon(self, tmp_path: Path) -> None:
        nowhere = Context(tmp_path, Installation("cairn"), "127.0.0.1:9")
        began = time.monotonic()

        with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
            await read_all(nowhere)

        assert time.monotonic() - began < 5

    async def test_goes_away_and_comes_back_following_goes_on(self, server: LocalKafka, tmp_path: Path) -> None:
        context = await new_installation(server.bootstrap_servers, tmp_path, "requests")
        await ask_for(context, "before")

        async with asyncio.timeout(60), aclosing(read_log(context, ["requests"], follow=True)) as log:
            before = await anext(log)
            await server.kill()
            await server.start()
            await ask_for(context, "after")
            after = await anext(log)

        assert models_of([before, after]) == ["before", "after"]

    async def test_goes_away_what_is_known_to_be_there_is_not_waited_for_for_ever(
        self, server: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_RECORD_SECONDS", 1.0)
        context = await new_installation(server.bootstrap_servers, tmp_path, "requests")
        for _ in range(40):  # more than one answer of Kafka holds
            await write_raw(context, "requests", b"x" * 60_000)

        async with aclosing(read_log(context, ["requests"])) as log:
            await anext(log)
            await server.kill()
            began = time.monotonic()
            with pytest.raises(BrokerUnreachable, match="while reading"):
                async for _ in log:
                    pass

        assert time.monotonic() - began < 10
