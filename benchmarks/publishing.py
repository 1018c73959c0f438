"""Publishing with confirmation, events of 1 KB: explicit record batches beside aiokafka's own `send`.

Every path waits until Kafka has confirmed all events on all replicas. The floors and the first path send the same
finished bytes with the same headers, unsigned; then the publisher's whole work is added, from facts to receipts:
sealing, checking as every reader will, signing; at last the spool, whose receipt means an fsync, and Kafka comes after.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from benchmarks.printing import show_rate
from cairn.context import Context
from cairn.events import Event, Installation, LabelsObserved, Signer, Trust, TrustedKey, UnsignedSource
from cairn.events.labels import Label
from cairn.publisher import Publisher, Sealed, seal
from cairn.topics import create_topics
from chassis.service import wall_clock

EVENTS = 10_000
FEW_EVENTS = 1000
LABELS_AN_EVENT = 7
MODELS = 100
RUNS = 5
SOURCE = "/bench"


async def run(servers: str, directory: Path) -> None:
    """Print the floors and every path beside the better of them."""
    directory.mkdir(parents=True)
    unsigned = _context(servers, directory)
    signed = _signing(unsigned)
    await create_topics(servers, unsigned.installation)
    facts = [_facts(number) for number in range(EVENTS)]
    sealed = [seal(unsigned, one, source=SOURCE) for one in facts]
    gc.collect()
    gc.freeze()  # or whoever comes when the collector is due pays for all that lies here
    floor, default, ours = [], [], []
    for _ in range(RUNS):  # in turn, so that what else the machine does meets each of them
        floor.append(await _through_send(servers, sealed, linger_ms=5, max_batch_size=1024 * 1024))
        default.append(await _through_send(servers, sealed))
        ours.append(await _through_publisher(unsigned, sealed))
    show_rate("aiokafka `send`, 5 ms linger, batches of 1 MiB", floor)
    show_rate("aiokafka `send`, its defaults", default, floor)
    show_rate("  publish_all, finished bytes", ours, floor)
    for what, context in (("unsigned", unsigned), ("signed and verified", signed)):
        rates = [await _through_publisher(context, facts, source=SOURCE) for _ in range(RUNS)]
        show_rate(f"  publish_all, from facts, {what}", rates, floor)
    rates = [await _one_by_one(unsigned, sealed[:FEW_EVENTS]) for _ in range(RUNS)]
    show_rate("  publish, one after another, finished bytes", rates, floor)
    kept, flushed = zip(*[await _through_spool(unsigned, sealed, directory) for _ in range(RUNS)], strict=True)
    show_rate("  100 callers, into the spool, fsynced", kept, floor)
    show_rate("  the same, until Kafka has all", flushed, floor)
    gc.unfreeze()


def _facts(number: int) -> Event:
    """Seven labels: some 1000 bytes of JSON."""
    labels = (
        Label(prediction_id=f"prediction-{number:06}-{one}", value=one % 2, observed_at=wall_clock())
        for one in range(LABELS_AN_EVENT)
    )
    return LabelsObserved(model=f"bench.model-{number % MODELS}", target="default", items=tuple(labels))


def _context(servers: str, directory: Path) -> Context:
    trust = Trust(unsigned=(UnsignedSource(source=SOURCE, topics=("labels",)),))
    return Context(directory, Installation(f"bench-{uuid4().hex[:8]}"), servers, trust=trust)


def _signing(context: Context) -> Context:
    signer = Signer.generate("bench")
    key = TrustedKey(
        keyid="bench", public_key=signer.public_text, principal="system/bench", sources=(SOURCE,), topics=("labels",)
    )
    return replace(context, signer=signer, trust=Trust(keys=(key,)))


async def _through_send(servers: str, sealed: Sequence[Sealed], **options: int) -> float:
    """Events a second through the client's own batching."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, **options)
    await producer.start()
    try:

        async def send(events: Sequence[Sealed]) -> None:
            outgoing = (one.outgoing for one in events)
            await asyncio.gather(
                *[await producer.send(out.topic, out.value, out.key, headers=list(out.headers)) for out in outgoing]
            )

        await send(sealed[:MODELS])  # the topic is known, and every partition met
        return await _rate(send(sealed), len(sealed))
    finally:
        await producer.stop()


async def _through_publisher(context: Context, events: Sequence[Event | Sealed], source: str = "") -> float:
    async with Publisher(context) as publisher:
        await publisher.publish_all(events[:MODELS], source=source)
        return await _rate(publisher.publish_all(events, source=source), len(events))


async def _one_by_one(context: Context, sealed: Sequence[Sealed]) -> float:
    async with Publisher(context) as publisher:

        async def publish() -> None:
            for one in sealed:
                await publisher.publish(one)

        await publisher.publish_all(sealed[:MODELS])
        return await _rate(publish(), len(sealed))


async def _through_spool(context: Context, sealed: Sequence[Sealed], directory: Path) -> tuple[float, float]:
    """Events a second until all are on the disk, and until Kafka has all."""
    async with Publisher(context, spool=directory / f"{uuid4().hex}.spool") as publisher:

        async def publish(number: int) -> None:
            for one in sealed[number::MODELS]:
                await publisher.publish(one)

        begin = time.perf_counter()
        kept = await _rate(asyncio.gather(*map(publish, range(MODELS))), len(sealed))
        await publisher.flush()
        return kept, len(sealed) / (time.perf_counter() - begin)


async def _rate(work: Awaitable[object], count: int) -> float:
    begin = time.perf_counter()
    await work
    return count / (time.perf_counter() - begin)
