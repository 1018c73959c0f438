"""How events reach Kafka: in order, once each, and a refusal harms nobody else."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import CreateAclsRequest
from tests.libs.cairn.installations import make_topics, new_installation
from tests.libs.cairn.publisher.samples import all_in_order, heard_events, numbers_by_key, own_kafka, request

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events import DatasetPublished, TrainingRequested
from cairn.events.values import ObjectRef
from cairn.local import kafka as local_kafka
from cairn.publisher import BadEvent, Publisher, seal

DATASET = DatasetPublished(
    dataset="risk.loans",
    version="1",
    files=(ObjectRef(uri="s3://b/1", digest="sha256:" + "0" * 64, bytes=1, media_type="text/csv"),),
    format="csv",
)


@pytest.fixture
async def context(kafka: str, tmp_path: Path) -> Context:
    return await new_installation(kafka, tmp_path, "requests")


class TestManyEvents:
    async def test_of_one_key_keep_their_order_however_they_are_published(self, context: Context) -> None:
        async with Publisher(context) as publisher:
            await publisher.publish_all(request(number) for number in range(500))
            waiting = [asyncio.create_task(publisher.publish(request(number))) for number in range(500, 700)]
            receipts = await publisher.publish_all(request(number) for number in range(700, 1000))
            await asyncio.gather(*waiting)

        assert await numbers_by_key(context) == all_in_order(1000)
        assert len(await heard_events(context)) == 1000
        by_place = {(one.partition, one.offset): one.id for one in receipts}
        lies = {(one.message.record.partition, one.message.record.offset): one for one in await heard_events(context)}
        assert {lies[place].message.envelope.id for place in by_place} == set(by_place.values())

    async def test_larger_than_any_batch_arrive_in_order(self, context: Context) -> None:
        padding = "x" * 1900
        requests = [TrainingRequested(model="risk.loans", reason=f"{number} {padding}") for number in range(600)]

        async with Publisher(context) as publisher:
            await publisher.publish_all(requests)

        assert [one.facts for one in await heard_events(context)] == requests

    async def test_are_not_published_where_one_of_them_is_bad(self, context: Context) -> None:
        bad = TrainingRequested.model_construct(model="Loans", reason="", dataset=None)

        async with Publisher(context) as publisher:
            with pytest.raises(BadEvent, match=r"event 3: .*model: .*Nothing was published"):
                await publisher.publish_all([request(0), request(1), bad])

        assert await heard_events(context) == []

    async def test_sealed_by_their_caller_count_once_when_published_again(self, context: Context) -> None:
        sealed = [seal(context, request(number)) for number in range(50)]

        for _ in range(2):
            async with Publisher(context) as publisher:
                await publisher.publish_all(sealed)

        assert len(await heard_events(context)) == 100
        assert await numbers_by_key(context) == all_in_order(50)


async def test_an_event_whose_caller_gave_up_before_its_turn_is_not_sent(context: Context) -> None:
    async with Publisher(context) as publisher:
        first = asyncio.create_task(publisher.publish(request(0)))
        given_up = asyncio.create_task(publisher.publish(request(5)))
        await asyncio.sleep(0)
        given_up.cancel()
        await first
        await publisher.publish(request(10))

    assert await numbers_by_key(context) == {"risk.m0": [0, 10]}


class TestARefusal:
    async def test_of_a_topic_that_is_not_there_stops_no_other(self, context: Context) -> None:
        async with Publisher(context) as publisher:
            refused = asyncio.create_task(publisher.publish(DATASET))
            await publisher.publish_all(request(number) for number in range(100))
            with pytest.raises(TopicRefused, match="has no topic"):
                await refused
            await publisher.publish_all(request(number) for number in range(100, 200))

        assert await numbers_by_key(context) == all_in_order(200)

    async def test_of_one_event_that_is_too_large_for_the_topic_stops_no_other(
        self, kafka: str, tmp_path: Path
    ) -> None:
        context = await new_installation(kafka, tmp_path)
        name = context.installation.topic("requests")
        await _create(context, NewTopic(name, 4, 1, topic_configs={"max.message.bytes": "1500"}))
        large = TrainingRequested(model="risk.m0", reason="x" * 1900)

        async with Publisher(context) as publisher:
            before = asyncio.create_task(publisher.publish_all(request(number) for number in range(50)))
            await asyncio.sleep(0)
            refused = asyncio.create_task(publisher.publish(large))
            await asyncio.sleep(0)
            after = asyncio.create_task(publisher.publish_all(request(number) for number in range(50, 100)))
            with pytest.raises(TopicRefused, match="refused while publishing to requests"):
                await refused
            await asyncio.gather(before, after)

        assert await numbers_by_key(context) == all_in_order(100)

    async def test_names_the_topic_that_has_too_few_partitions(self, kafka: str, tmp_path: Path) -> None:
        context = await new_installation(kafka, tmp_path)
        await _create(context, NewTopic(context.installation.topic("requests"), 1, 1))

        async with Publisher(context) as publisher:
            with pytest.raises(TopicRefused, match=r"\.requests with 1 partitions: it needs 4"):
                await publisher.publish(request(0))

    async def test_of_a_topic_that_we_may_not_write_is_told_and_stops_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = local_kafka._settings
        guarded = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
        monkeypatch.setattr(local_kafka, "_settings", lambda *arguments: plain(*arguments) | guarded)
        async with own_kafka(tmp_path) as (_, context):
            await make_topics(context.bootstrap_servers, context.installation, ["datasets"])
            await _allow_only_to_describe(context, context.installation.topic("datasets"))
            async with Publisher(context) as publisher:
                refused = asyncio.create_task(publisher.publish(DATASET))
                await publisher.publish_all(request(number) for number in range(100))
                with pytest.raises(TopicRefused, match=r"refused while publishing to datasets: .*Authorization"):
                    await refused
                await publisher.publish_all(request(number) for number in range(100, 200))

            assert await numbers_by_key(context) == all_in_order(200)


async def test_kafka_that_is_killed_and_comes_back_in_time_is_not_noticed(tmp_path: Path) -> None:
    async with own_kafka(tmp_path) as (server, context), Publisher(context, send_seconds=60) as publisher:
        await publisher.publish_all(request(number) for number in range(100))
        await server.kill()
        publishing = asyncio.create_task(publisher.publish_all(request(number) for number in range(100, 200)))
        await asyncio.sleep(1)
        await server.start()
        await publishing

        assert await numbers_by_key(context) == all_in_order(200)


async def test_what_some_of_many_met_is_told_with_how_many_are_confirmed(tmp_path: Path) -> None:
    async with own_kafka(tmp_path) as (server, context), Publisher(context, send_seconds=2) as publisher:
        await publisher.publish(request(0))
        await server.kill()
        with pytest.raises(BrokerUnreachable, match=r"event 1 of 10: .*Kafka has confirmed 0 of them"):
            await publisher.publish_all(request(number) for number in range(10))


async def _create(context: Context, *topics: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=context.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics(list(topics))
    finally:
        await admin.close()


async def _allow_only_to_describe(context: Context, topic: str) -> None:
    """An access rule on a topic; what no rule allows is then refused."""
    a_topic, literal, describe, allow = 2, 3, 8, 3
    admin = AIOKafkaAdminClient(bootstrap_servers=context.bootstrap_servers)
    await admin.start()
    try:
        rule = CreateAclsRequest(a_topic, topic, literal, "User:ANONYMOUS", "*", describe, allow)
        answer = await admin._send_request(rule)
        assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await admin.close()
