"""Events through a service with its durable transaction, beside bare aiokafka + pydantic on the same records.

The service is the registry. Approvals are checked, verified and remembered; declarations are decided as well, and the
answer is projected, signed and put into the outbox. The floor reads the same topic and validates the same payloads,
and stores nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.printing import show_rate
from cairn.broker import partition_of
from cairn.events import (
    Declaration,
    DeclarationSubmitted,
    Envelope,
    Event,
    Installation,
    PromotionApproved,
    Record,
    type_of,
)
from cairn.events.codec import write
from cairn.events.identity import fresh_id
from cairn.events.values import EventRef, ModelRef, PolicyRef, Reason, format_instant
from cairn.records import as_record
from cairn.topics import create_topics
from chassis import ServiceSettings
from chassis.kafka import new_producer, partitions_of
from chassis.service import wall_clock
from chassis.testing import World
from registry.app import build

EVENTS = 2000
RUNS = 3


@dataclass(frozen=True)
class Kind:
    """A kind of event to measure with."""

    what: str
    topic: str
    owner: str
    make: Callable[[int], Event]


def declaration(number: int) -> Event:
    """A declaration that is not there yet."""
    model = f"model-{number % 100}"
    declared = Declaration(model=model, owner="bench", dataset="data", target="y", seed=number)
    return DeclarationSubmitted(model=model, declaration=declared)


def approval(number: int) -> Event:
    """An approval of a version of its own."""
    digest = "sha256:" + "a" * 64
    return PromotionApproved(
        model=ModelRef(name=f"model-{number % 100}", version=number + 1, digest=digest),
        validation=EventRef(source="/bench", id=str(number), type="cairn.validation.passed.v1", digest=digest),
        policy=PolicyRef(name="default", revision=0, digest=digest),
        checks=(),
        reason=Reason(code="policy", text="the policy is satisfied"),
    )


KINDS = (
    Kind("heard and remembered", "governance", "governance-auditor", approval),
    Kind("heard, decided and told", "requests", "people", declaration),
)


async def run(servers: str, directory: Path) -> None:
    """Print the floor, then the service one by one and in batches, for each kind of event."""
    directory.mkdir(parents=True)
    for kind in KINDS:
        world = World(directory, Installation(f"bench-{uuid4().hex[:8]}"))
        await create_topics(servers, world.installation)
        await _fill(servers, world, kind)
        facts = type(kind.make(0))
        floor = [await _consume(servers, world, kind, partial(_validate, facts)) for _ in range(RUNS)]
        show_rate(f"bare aiokafka + pydantic, {facts.__name__}", floor)
        for what, size in (("one by one", 1), ("in batches of 500", 500)):
            rates = [await _through_service(servers, world, kind, size) for _ in range(RUNS)]
            show_rate(f"  {kind.what}, verified, {what}", rates, floor)


async def _fill(servers: str, world: World, kind: Kind) -> None:
    producer = new_producer(servers, "bench")
    await producer.start()
    for number in range(EVENTS):
        facts = kind.make(number)
        entry = type_of(facts)
        envelope = Envelope(
            id=fresh_id(),
            source=world.installation.source(kind.owner),
            type=entry.name,
            subject=entry.subject_of(facts),
            time=format_instant(wall_clock()),
        )
        out = write(facts, envelope, kind.topic, world.installation, world.signers[kind.owner])
        await producer.send(
            out.topic, out.value, out.key, partition=partition_of(kind.topic, out.key), headers=list(out.headers)
        )
    await producer.flush()
    await producer.stop()


def _validate(facts: type[Event], records: Sequence[Record]) -> None:
    for record in records:
        facts.model_validate_json(record.value or b"")


async def _consume(servers: str, world: World, kind: Kind, take: Callable[[Sequence[Record]], object]) -> float:
    """Events a second from Kafka through `take`."""
    installation = world.installation
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(installation.topic(topic), one) for topic, one in partitions_of([kind.topic])])
    await consumer.start()
    try:
        await consumer.seek_to_beginning()
        done, begin = 0, time.perf_counter()
        while done < EVENTS:
            batches = await consumer.getmany(timeout_ms=1000, max_records=500)
            for batch in batches.values():
                take([as_record(one, installation) for one in batch])
                done += len(batch)
        return done / (time.perf_counter() - begin)
    finally:
        await consumer.stop()


async def _through_service(servers: str, world: World, kind: Kind, size: int) -> float:
    actor = world.add(build(ServiceSettings.model_construct()))
    actor.processor.clock = wall_clock

    def take(records: Sequence[Record]) -> None:
        for start in range(0, len(records), size):
            actor.take(records[start : start + size])

    try:
        return await _consume(servers, world, kind, take)
    finally:
        actor.database.close()
