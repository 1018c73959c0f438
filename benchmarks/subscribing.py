"""Hearing events: decoded and validated in batches, verified, and handed over effectively once.

The floor is bare aiokafka and pydantic on the same records in the same run: the same class of 1 KB events, without a
look at envelope, key or identity, and nothing is stored. Rates are given by the clock, and by the processor time of the
reading process, which what else runs on the machine disturbs less.
"""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import count
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

EVENTS = 20_000
RUNS = 3
TOPIC = "governance"
FACTS = PromotionApproved


Rates = tuple[float, float]
"""Events a second by the clock, and by processor time."""


class Watch:
    """Takes the time of a run from now on."""

    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def rates(self) -> Rates:
        """The rates of a run that ends now."""
        clock, processor = self._begin
        return EVENTS / (time.perf_counter() - clock), EVENTS / (time.process_time() - processor)


def approval(number: int) -> Event:
    """An approval of about 1 KB."""
    digest = "sha256:" + "a" * 64
    checks = tuple(Check(name=f"gate-{n}", asked=">= 0.8", measured="0.8284", passed=True) for n in range(5))
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
    plain, signed = await _fill(servers, directory, signs=False), await _fill(servers, directory, signs=True)
    decoder = Decoder.for_types([FACTS], plain.installation, trust=None)
    verifier = Decoder.for_types([FACTS], signed.installation, signed.trust)
    ways: dict[str, Callable[[], Awaitable[Rates]]] = {
        "bare aiokafka + pydantic, 1 KB events": partial(_consume, plain, _validate),
        "  decoded, checked and validated": partial(_consume, plain, partial(_each, decoder)),
        "  the same of signed events, verified": partial(_consume, signed, partial(_each, verifier)),
        "  handed to a handler through FastStream, each marked": partial(_handle, plain, directory),
        "  the same of signed events, verified ": partial(_handle, signed, directory, verify=True),
        "  handed to a plain loop, each marked": partial(_iterate, plain, directory),
    }
    rates: dict[str, list[Rates]] = {what: [] for what in ways}
    for _ in range(RUNS):  # side by side: what else the machine does falls on all of them
        for what, way in ways.items():
            rates[what].append(await way())
    for number, measure in enumerate(("by the clock", "by processor time")):
        print(measure, flush=True)
        floor, *others = ([one[number] for one in found] for found in rates.values())
        for what, found in zip(ways, (floor, *others), strict=True):
            show_rate(what, found, None if found is floor else floor)


async def _fill(servers: str, directory: Path, *, signs: bool) -> Context:
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
        out = write(facts, envelope, TOPIC, installation, signer if signs else None)
        sizes += len(out.value)
        await producer.send(out.topic, out.value, out.key, headers=list(out.headers))
    await producer.flush()
    await producer.stop()
    print(f"{EVENTS} {'signed' if signs else 'unsigned'} events, payloads of {sizes // EVENTS} bytes", flush=True)
    return Context(directory, installation, servers, signer=signer, trust=trust)


def _each(decoder: Decoder, batch: Sequence[Any]) -> None:
    for _ in decoder.decode(batch):
        pass


def _validate(batch: Sequence[Any]) -> None:
    for record in batch:
        FACTS.model_validate_json(record.value)


async def _consume(context: Context, take: Callable[[Sequence[Any]], object]) -> Rates:
    """Events a second from Kafka through `take`, in batches."""
    consumer = AIOKafkaConsumer(bootstrap_servers=context.bootstrap_servers, enable_auto_commit=False)
    name = context.installation.topic(TOPIC)
    consumer.assign([TopicPartition(name, number) for number in range(TOPICS[TOPIC].partitions)])
    await consumer.start()
    try:
        await consumer.seek_to_beginning()
        done, watch = 0, Watch()
        while done < EVENTS:
            for batch in (await consumer.getmany(timeout_ms=1000, max_records=500)).values():
                take(batch)
                done += len(batch)
        return watch.rates()
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


async def _handle(context: Context, directory: Path, *, verify: bool = False) -> Rates:
    """Events a second into a handler that does nothing, connecting and stopping included."""
    app, watch, left = _subscriber(context, directory, verify=verify), Watch(), count(EVENTS - 1, -1)

    @app.on(FACTS)
    async def handle(_event: Event, _received: Received[Any]) -> None:
        if not next(left):
            app.stop()

    await app.run()
    return watch.rates()


async def _iterate(context: Context, directory: Path) -> Rates:
    watch, left = Watch(), count(EVENTS - 1, -1)
    async with aclosing(_subscriber(context, directory).events(FACTS)) as events:
        async for _ in events:
            if not next(left):
                break
    return watch.rates()
