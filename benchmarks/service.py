"""Events through a service with its durable transaction, beside bare aiokafka + pydantic on the same records.

The service is the registry, hearing declarations: each is checked, verified, decided, projected, signed and put into
the outbox. The floor reads the same topic and validates the same payloads, and stores nothing.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.printing import show_rate
from cairn.events import Declaration, DeclarationSubmitted, Envelope, Installation, Record, type_of
from cairn.events.codec import write
from cairn.events.identity import fresh_id
from cairn.events.values import format_instant
from cairn.topics import create_topics
from chassis import ServiceSettings
from chassis.kafka import as_record, new_producer, partition_of, partitions_of
from chassis.service import wall_clock
from chassis.testing import World
from registry.app import build

EVENTS = 2000
RUNS = 3


async def run(servers: str, directory: Path) -> None:
    """Print the floor, then the service one by one and in batches."""
    directory.mkdir(parents=True)
    installation = Installation(f"bench-{uuid4().hex[:8]}")
    world = World(directory, installation)
    await create_topics(servers, installation)
    await _fill(servers, world)
    floor = [await _consume(servers, installation, _validate) for _ in range(RUNS)]
    show_rate("bare aiokafka + pydantic", floor)
    for what, size in (("one by one", 1), ("in batches of 500", 500)):
        rates = [await _through_service(servers, world, size) for _ in range(RUNS)]
        show_rate(f"through the registry, {what}, verified and signed", rates, floor)


async def _fill(servers: str, world: World) -> None:
    producer = new_producer(servers, "bench")
    await producer.start()
    for number in range(EVENTS):
        model = f"model-{number % 100}"
        declaration = Declaration(model=model, owner="bench", dataset="data", target="y", seed=number)
        facts = DeclarationSubmitted(model=model, declaration=declaration)
        now = format_instant(wall_clock())
        envelope = Envelope(
            id=fresh_id(), source="/bench", type=type_of(facts).name, subject=f"model/{model}", time=now
        )
        out = write(facts, envelope, "requests", world.installation, world.signers["people"])
        await producer.send(
            out.topic, out.value, out.key, partition=partition_of("requests", out.key), headers=list(out.headers)
        )
    await producer.flush()
    await producer.stop()


def _validate(records: Sequence[Record]) -> None:
    for record in records:
        DeclarationSubmitted.model_validate_json(record.value or b"")


async def _consume(servers: str, installation: Installation, take: Callable[[Sequence[Record]], object]) -> float:
    """Events a second from Kafka through `take`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(installation.topic(topic), one) for topic, one in partitions_of(["requests"])])
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


async def _through_service(servers: str, world: World, size: int) -> float:
    actor = world.add(build(ServiceSettings.model_construct()))
    actor.processor.clock = wall_clock

    def take(records: Sequence[Record]) -> None:
        for start in range(0, len(records), size):
            actor.take(records[start : start + size])

    try:
        return await _consume(servers, world.installation, take)
    finally:
        actor.database.close()
