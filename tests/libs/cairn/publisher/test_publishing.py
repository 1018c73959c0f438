"""What publishing promises: an event that readers accept, confirmed by Kafka, or a clear error in bounded time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.installations import USER_TOPICS, as_service, new_installation, user_key

from cairn import broker
from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events import (
    CATALOGUE,
    Cause,
    DatasetPublished,
    Event,
    Heard,
    Installation,
    LabelsObserved,
    Malformed,
    ModelDeclared,
    RequestRefused,
    Signer,
    TrainingRequested,
    Trust,
    UnsignedSource,
)
from cairn.events.declaration import Declaration
from cairn.events.labels import Label
from cairn.events.values import EventRef, ObjectRef, Reason
from cairn.local import LocalKafka
from cairn.publisher import BadEvent, Publisher, Receipt, SyncPublisher, seal
from cairn.subscriber import end_offsets, read_log

REQUEST = TrainingRequested(model="risk.loans", reason="new data")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def context(kafka: str, tmp_path: Path) -> Context:
    return await new_installation(kafka, tmp_path, *USER_TOPICS)


@pytest.fixture
def nowhere(tmp_path: Path) -> Context:
    """An installation of which nothing is running."""
    signer = Signer.generate("ada-1")
    return Context(tmp_path, Installation("cairn"), "127.0.0.1:9", signer=signer)


async def heard_events(context: Context, topic: str = "requests") -> list[Heard]:
    events = [heard async for _, heard in read_log(context, [topic])]
    assert not [one for one in events if isinstance(one, Malformed)]
    return [one for one in events if isinstance(one, Heard)]


def envelope_of(context: Context, facts: Event = REQUEST, **options: Any) -> Any:
    """The envelope with which these facts would be published."""
    outgoing = seal(context, facts, **options).outgoing
    names = {name.removeprefix("ce_"): value.decode() for name, value in outgoing.headers}
    return type("Envelope", (), names)


class TestAnEventThatWasPublished:
    async def test_lies_where_its_receipt_says(self, context: Context) -> None:
        async with Publisher(context) as publisher:
            receipt = await publisher.publish(REQUEST)

        [heard] = await heard_events(context)
        record, envelope = heard.message.record, heard.message.envelope
        assert receipt == Receipt(record.topic, record.partition, record.offset, envelope.source, envelope.id)

    async def test_is_accepted_by_every_reader(self, context: Context) -> None:
        async with Publisher(context) as publisher:
            await publisher.publish(REQUEST)

        [heard] = await heard_events(context)
        assert heard.facts == REQUEST
        assert heard.signed

    async def test_is_there_once_for_each_of_many_at_the_same_time(self, context: Context) -> None:
        requests = [TrainingRequested(model=f"risk.model-{n}") for n in range(200)]

        async with Publisher(context) as publisher:
            receipts = await asyncio.gather(*(publisher.publish(request) for request in requests))

        heard = await heard_events(context)
        assert sorted(one.facts.model for one in heard) == sorted(request.model for request in requests)
        assert len({(receipt.partition, receipt.offset) for receipt in receipts}) == 200

    def test_can_come_from_code_without_an_event_loop(self, kafka: str, tmp_path: Path) -> None:
        context = asyncio.run(new_installation(kafka, tmp_path, "requests"))

        with SyncPublisher(context) as publisher:
            receipt = publisher.publish(REQUEST, event_id="once")

        [heard] = asyncio.run(heard_events(context))
        assert heard.message.envelope.id == receipt.id == "once"

    @pytest.mark.parametrize(
        ("model", "murmur2_of_key"),  # as Kafka's own Utils.murmur2 says
        [("21", -935_541_238), ("foobar", -541_131_742), ("risk.loans", 1_631_658_820)],
    )
    async def test_lies_in_the_partition_that_java_would_choose(
        self, context: Context, model: str, murmur2_of_key: int
    ) -> None:
        async with Publisher(context) as publisher:
            receipt = await publisher.publish(TrainingRequested(model=model))

        assert receipt.partition == (murmur2_of_key & 0x7FFF_FFFF) % 4


class TestItsEnvelope:
    def test_names_the_person_whose_key_it_is(self, nowhere: Context) -> None:
        assert nowhere.signer
        trusted = replace(nowhere, trust=Trust(keys=(user_key(nowhere.signer, "/cairn/person/ada"),)))

        envelope = envelope_of(trusted)

        assert (envelope.source, envelope.authtype, envelope.authid) == ("/cairn/person/ada", "person", "ada")

    def test_has_a_source_that_the_key_admits(self, nowhere: Context) -> None:
        assert nowhere.signer
        for admitted, source in [("/ci/loans", "/ci/loans"), ("/ci/*", "/ci/ada"), ("*", "/cairn/person/ada")]:
            trusted = replace(nowhere, trust=Trust(keys=(user_key(nowhere.signer, admitted),)))

            assert envelope_of(trusted).source == source

    def test_names_the_key_where_there_is_no_trust_file_to_tell_whose_it_is(self, nowhere: Context) -> None:
        assert envelope_of(nowhere).source == "/cairn/person/ada-1"

    def test_names_the_system_that_speaks_without_a_key(self, nowhere: Context) -> None:
        labels = LabelsObserved(
            model="risk.loans",
            target="default",
            items=(Label(prediction_id="p-1", value=1, observed_at=NOON),),
        )
        trust = Trust(unsigned=(UnsignedSource(source="/loans-core", topics=("labels",)),))

        envelope = envelope_of(replace(nowhere, signer=None, trust=trust), labels, source="/loans-core")

        assert envelope.source == "/loans-core"
        assert not hasattr(envelope, "signature")

    def test_carries_what_was_said_beside_the_facts(self, nowhere: Context) -> None:
        envelope = envelope_of(
            nowhere, event_id="e-1", time=NOON, correlation="story", cause=Cause("datasets", "/core", "d-1")
        )

        assert (envelope.id, envelope.correlationid, envelope.causationid) == ("e-1", "story", "/core#d-1")
        assert envelope.time == "2026-11-21T12:00:00.000000Z"

    def test_begins_a_story_of_its_own(self, nowhere: Context) -> None:
        first, second = envelope_of(nowhere), envelope_of(nowhere)

        assert first.correlationid == first.id
        assert first.id != second.id
        assert not hasattr(first, "causationid")

    def test_says_where_the_schema_is_and_when_it_was_written(self, nowhere: Context) -> None:
        envelope = envelope_of(nowhere)

        assert envelope.dataschema == "urn:cairn:schema:cairn.training.requested.v1"
        assert abs(datetime.fromisoformat(envelope.recordedtime) - datetime.now(UTC)).total_seconds() < 60


class TestABadEvent:
    def test_is_refused_when_it_is_too_large(self, nowhere: Context) -> None:
        file = ObjectRef(uri="s3://b/" + "x" * 1900, digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv")
        facts = DatasetPublished(dataset="risk.loans", version="1", files=(file,) * 60, format="csv")

        with pytest.raises(BadEvent, match="put it into an object"):
            seal(nowhere, facts)

    def test_is_refused_when_its_time_has_no_zone(self, nowhere: Context) -> None:
        with pytest.raises(BadEvent, match="no time zone"):
            seal(nowhere, REQUEST, time=datetime(2026, 11, 21))  # noqa: DTZ001 # the fault

    def test_is_refused_when_nobody_speaks(self, nowhere: Context) -> None:
        with pytest.raises(BadEvent, match="who speaks"):
            seal(replace(nowhere, signer=None), REQUEST)

    def test_is_refused_when_it_is_none_of_the_catalogue(self, nowhere: Context) -> None:
        request = EventRef(source="/x", id="1", type="x", digest="sha256:" + "0" * 64)
        by_nobody = RequestRefused(service="nobody", request=request, reason=Reason(code="no", text="No."))

        for facts in (Event(), by_nobody):
            with pytest.raises(BadEvent, match="has no topic for"):
                seal(nowhere, facts)

    def test_is_refused_when_its_id_is_too_long(self, nowhere: Context) -> None:
        with pytest.raises(BadEvent, match="1 to 128 characters"):
            seal(nowhere, REQUEST, event_id="x" * 129)

    def test_is_refused_when_only_somebody_else_may_say_it(self, nowhere: Context) -> None:
        assert nowhere.signer
        declaration = Declaration(model="risk.loans", owner="team", dataset="d", target="t")
        facts = ModelDeclared(model="risk.loans", revision=1, declaration=declaration, digest="sha256:" + "0" * 64)
        trust = Trust(keys=(user_key(nowhere.signer, "*"),))

        with pytest.raises(BadEvent, match="not-allowed"):
            seal(replace(nowhere, trust=trust), facts)

    def test_is_refused_when_it_must_be_signed_and_is_not(self, nowhere: Context) -> None:
        with pytest.raises(BadEvent, match="unsigned"):
            seal(replace(nowhere, signer=None, trust=Trust()), REQUEST, source="/core")

    def test_is_refused_when_nobody_knows_its_key(self, nowhere: Context) -> None:
        with pytest.raises(BadEvent, match="knows no key 'ada-1'"):
            seal(replace(nowhere, trust=Trust()), REQUEST)

    async def test_is_not_sent(self, context: Context) -> None:
        async with Publisher(context) as publisher:
            with pytest.raises(BadEvent):
                await publisher.publish(REQUEST, source="/somebody-else")

        assert set((await end_offsets(context, ["requests"])).values()) == {0}


def test_a_service_tells_of_itself_on_its_own_operations(nowhere: Context) -> None:
    request = EventRef(source="/x", id="1", type=next(iter(CATALOGUE)), digest="sha256:" + "0" * 64)
    refused = RequestRefused(service="registry", request=request, reason=Reason(code="no", text="No."))
    context = as_service(replace(nowhere, trust=Trust()), "registry")

    sealed = seal(context, refused)

    assert (sealed.topic, sealed.source) == ("operations.registry", "/cairn/registry")


class TestWhenKafka:
    async def test_has_no_such_topic_it_is_said_soon_and_the_publisher_goes_on(
        self, kafka: str, tmp_path: Path
    ) -> None:
        context = await new_installation(kafka, tmp_path, "requests")
        dataset = DatasetPublished(
            dataset="risk.loans",
            version="1",
            files=(ObjectRef(uri="s3://b/1", digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv"),),
            format="csv",
        )

        async with Publisher(context) as publisher:
            with took_less_than(5), pytest.raises(TopicRefused, match=f"no topic {context.installation.name}.datasets"):
                await publisher.publish(dataset)
            assert await publisher.publish(REQUEST)

    async def test_is_not_there_it_is_said_soon(self, nowhere: Context) -> None:
        with took_less_than(5), pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
            await Publisher(nowhere).publish(REQUEST)

    async def test_accepts_but_never_answers_it_is_said_in_bounded_time(
        self, nowhere: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker, "ANSWER_SECONDS", 0.5)
        async with silent_server() as servers:
            with took_less_than(8), pytest.raises(BrokerUnreachable, match=r"within 0\.5 s while connecting"):
                async with Publisher(replace(nowhere, bootstrap_servers=servers)):
                    pass

    async def test_goes_away_and_comes_back_an_event_published_again_counts_once(self, tmp_path: Path) -> None:
        server = LocalKafka(tmp_path / "kafka", fast_start=True)
        await server.start()
        try:
            context = await new_installation(server.bootstrap_servers, tmp_path, "requests")
            async with Publisher(context, send_seconds=2) as publisher:
                await publisher.publish(REQUEST, event_id="before")
                await server.kill()
                with (
                    took_less_than(15),
                    pytest.raises(BrokerUnreachable, match="publish it again with event_id='lost'"),
                ):
                    await publisher.publish(REQUEST, event_id="lost")
                with took_less_than(15), pytest.raises(BrokerUnreachable):
                    await publisher.publish(REQUEST)
                await server.start()
                await publisher.publish(REQUEST, event_id="lost")
                await publisher.publish(REQUEST, event_id="after")
            assert [one.message.envelope.id for one in await heard_events(context)] == ["before", "lost", "after"]
        finally:
            await server.stop()

    async def test_is_gone_a_publisher_still_closes(self, tmp_path: Path) -> None:
        server = LocalKafka(tmp_path / "kafka", fast_start=True)
        await server.start()
        try:
            context = await new_installation(server.bootstrap_servers, tmp_path, "requests")
            async with Publisher(context) as publisher:
                await publisher.publish(REQUEST)
                pending = asyncio.create_task(publisher.publish(REQUEST))
                await server.kill()
                began = time.monotonic()
            assert time.monotonic() - began < 8
            pending.cancel()
        finally:
            await server.stop()


@contextmanager
def took_less_than(seconds: float) -> Iterator[None]:
    """Fails when the block takes longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A server that accepts connections and says nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
