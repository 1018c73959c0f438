"""Hearing events: decoded and validated in batches, verified, and handed over effectively once.

The floor is bare aiokafka and pydantic on the same records in the same run: the same class of 1 KB events, without a
look at envelope, key or identity, and nothing is stored.
"""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.printing import show_rate
from cairn.context import Context
from cairn.events import (
    TOPICS,
    Envelope,
    Event,
    Installation,
    PromotionApproved,
    Signer,
    Trust,
    TrustedKey,
    type_of,
)
from cairn.events.codec import write
from cairn.events.envelope import schema_address
from cairn.events.identity import fresh_id
from cairn.events.values import Check, EventRef, ModelRef, PolicyRef, Reason
from cairn.subscriber import Received, Subscriber
from cairn.subscriber.decoding import Decoder
from cairn.topics import create_topics

EVENTS = 30_000
RUNS = 5
TOPIC = "governance"
FACTS = PromotionApproved


def approval(number: int) -> Event:
    """An approval of about 1 KB."""
    digest = "sha256:" + "a" * 64
    checks = tuple(Check(name=f"gate-{n}", asked=">= 0.8", measured="0.8284", passed=True) for n in range(4))
    return PromotionApproved(
        model=ModelRef(name=f"model-{number % 100}", version=number + 1, digest=digest),
        validation=EventRef(source="/bench", id=str(number), type="cairn.validation.passed.v1", digest=digest),
        policy=PolicyRef(name="default", revision=0, digest=digest),
        checks=checks,
        reason=Reason(code="policy", text="the policy is satisfied"),
    )


async def run(servers: str, directory: Path) -> None:
    """Print the floor, then each way of hearing the same records."""
    directory.mkdir(parents=True)
    context = await _fill(servers, directory)
    plain = Decoder.for_types([FACTS], context.installation, trust=None)
    verifying = replace(plain, trust=context.trust)
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "bare aiokafka + pydantic, 1 KB events": partial(_consume, context, _validate),
        "  decoded, checked and validated": partial(_consume, context, partial(_each, plain)),
        "  the same, every signature verified": partial(_consume, context, partial(_each, verifying)),
        "  handed to a handler through FastStream, each marked": partial(_handle, context, directory),
        "  the same, every signature verified ": partial(_handle, context, directory, verify=True),
        "  handed to a plain loop, each marked": partial(_iterate, context, directory),
    }
    rates: dict[str, list[float]] = {what: [] for what in ways}
    for _ in range(RUNS):  # side by side: what else the machine does falls on all of them
        for what, way in ways.items():
            rates[what].append(await way())
    floor, *others = rates
    show_rate(floor, rates[floor])
    for what in others:
        show_rate(what, rates[what], rates[floor])


async def _fill(servers: str, directory: Path) -> Context:
    installation = Installation(f"bench-{uuid4().hex[:8]}")
    await create_topics(servers, installation)
    signer, owner = Signer.generate("bench"), TOPICS[TOPIC].owner
    source, entry = installation.source(owner), type_of(FACTS)
    key = TrustedKey(
        keyid="bench", public_key=signer.public_text, principal=f"service/{owner}", sources=(source,), topics=(TOPIC,)
    )
    trust = Trust(keys=(key,))
    trust.save(directory / "trust.json")
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
    await producer.start()
    sizes = 0
    for number in range(EVENTS):
        facts, event_id = approval(number), fresh_id()
        envelope = Envelope(
            id=event_id,
            source=source,
            type=entry.name,
            subject=entry.subject_of(facts),
            time="2026-11-21T12:00:00.000000Z",
            recordedtime="2026-11-21T12:00:00.000000Z",
            correlationid=event_id,
            authtype="service",
            authid=owner,
            sequence=f"{number:020d}",
            dataschema=schema_address(entry.name),
        )
        out = write(facts, envelope, TOPIC, installation, signer)
        sizes += len(out.value)
        await producer.send(out.topic, out.value, out.key, headers=list(out.headers))
    await producer.flush()
    await producer.stop()
    print(f"{EVENTS} signed events, payloads of {sizes // EVENTS} bytes", flush=True)
    return Context(directory, installation, servers, signer=signer, trust=trust)


def _each(decoder: Decoder, batch: Sequence[Any]) -> None:
    for _ in decoder.decode(batch):
        pass


def _validate(batch: Sequence[Any]) -> None:
    for record in batch:
        FACTS.model_validate_json(record.value)


async def _consume(context: Context, take: Callable[[Sequence[Any]], object]) -> float:
    """Events a second from Kafka through `take`, in batches."""
    consumer = AIOKafkaConsumer(bootstrap_servers=context.bootstrap_servers, enable_auto_commit=False)
    name = context.installation.topic(TOPIC)
    consumer.assign([TopicPartition(name, number) for number in range(TOPICS[TOPIC].partitions)])
    await consumer.start()
    try:
        await consumer.seek_to_beginning()
        done, begin = 0, time.perf_counter()
        while done < EVENTS:
            for batch in (await consumer.getmany(timeout_ms=1000, max_records=500)).values():
                take(batch)
                done += len(batch)
        return done / (time.perf_counter() - begin)
    finally:
        await consumer.stop()


def _subscriber(context: Context, directory: Path, *, verify: bool = False) -> Subscriber:
    return Subscriber(
        context.bootstrap_servers,
        installation=context.installation.name,
        store=directory / f"{random.getrandbits(64):x}.sqlite",
        start="beginning",
        verify=verify,
        keys=directory / "trust.json" if verify else None,
    )


async def _handle(context: Context, directory: Path, *, verify: bool = False) -> float:
    """Events a second into a handler that does nothing, from the first to the last."""
    app, clock = _subscriber(context, directory, verify=verify), Clock()

    @app.on(FACTS)
    async def handle(_event: Event, _received: Received[Any]) -> None:
        if clock.tick():
            app.stop()

    await app.run()
    return clock.rate


async def _iterate(context: Context, directory: Path) -> float:
    clock = Clock()
    async with aclosing(_subscriber(context, directory).events(FACTS)) as events:
        async for _ in events:
            if clock.tick():
                break
    return clock.rate


class Clock:
    """Counts events and takes the time between the first and the last."""

    def __init__(self) -> None:
        self.count = 0
        self.begin = self.rate = 0.0

    def tick(self) -> bool:
        """One event; whether it was the last."""
        self.begin = self.begin or time.perf_counter()
        self.count += 1
        if self.count == EVENTS:
            self.rate = EVENTS / (time.perf_counter() - self.begin)
        return self.count == EVENTS
