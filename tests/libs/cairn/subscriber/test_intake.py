"""What stands between Kafka and a handler, where a broker cannot be made to do it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from tests.libs.cairn.installations import as_service, user_key
from tests.libs.cairn.subscriber.promotions import told

from cairn.context import Context
from cairn.events import Installation, ModelPromoted, Signer, Trust
from cairn.subscriber.decoding import Decoder
from cairn.subscriber.intake import Intake
from cairn.subscriber.received import Received
from cairn.subscriber.store import Store

CAIRN = Installation("cairn")
REGISTRY = as_service(
    Context(Path(), CAIRN, "127.0.0.1:9", trust=Trust(keys=(user_key(Signer.generate("ada"), "/x"),))), "registry"
)
TOPIC = "cairn.registry"


def promoted(offset: int) -> ConsumerRecord:
    """A promotion as the client gives it, its generation one more than its offset."""
    out = told(REGISTRY, "toy.a", offset + 1, f"promotion-{offset}")
    return ConsumerRecord(TOPIC, 0, offset, 1_790_000_000_000, 1, out.key, out.value, None, 0, 0, out.headers)


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    store = Store(tmp_path / "store", CAIRN, durable=False)
    yield Intake(Decoder.for_types([ModelPromoted], CAIRN, None), store, Counter(), on_error="park", tries=3)
    store.close()


@pytest.fixture
def heard() -> list[int]:
    return []


@pytest.fixture
def handlers(heard: list[int]):
    async def note(received: Received[ModelPromoted]) -> None:
        heard.append(received.offset)

    return {ModelPromoted: note}


async def test_offsets_at_which_there_are_no_records_are_no_loss(intake, handlers, heard, caplog) -> None:
    await intake.take([promoted(0), promoted(1)], handlers)
    done = await intake.take([promoted(5)], handlers)  # between them lie marks of transactions

    assert heard == [0, 1, 5]
    assert intake.counts == {"handled": 3}
    assert not caplog.messages
    assert done == {TopicPartition(TOPIC, 0): 6}


async def test_what_comes_again_from_kafka_is_not_handled_again(intake, handlers, heard) -> None:
    await intake.take([promoted(0), promoted(1)], handlers)
    await intake.take([promoted(1), promoted(2)], handlers)

    assert heard == [0, 1, 2]


async def test_a_member_of_a_group_believes_the_store_that_it_shares(intake, handlers, heard) -> None:
    other = replace(intake, group="tests")
    await other.take([promoted(0), promoted(1)], handlers)
    await replace(intake, group="tests").take([promoted(0), promoted(1), promoted(2)], handlers)

    assert heard == [0, 1, 2]
    assert intake.counts == {"handled": 3, "behind": 2}


async def test_an_event_during_which_the_process_ends_every_time_is_parked_unhandled(intake, handlers, heard) -> None:
    [arrived] = intake.decoder.decode([promoted(0)])
    for _ in range(3):  # three processes that did not live to say how it went
        await intake.store.attempt(arrived)

    await intake.take([promoted(0), promoted(1)], handlers)

    assert heard == [1]
    [(error,)] = intake.store.connection.execute("SELECT error FROM cairn_parked")
    assert "the process ended during each of 3 attempts" in error
