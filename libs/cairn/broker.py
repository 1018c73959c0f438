"""What publisher and subscriber share: how Kafka is reached, in bounded time, and what is said when it is not."""

import asyncio
from collections.abc import Awaitable, Collection
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import MessageAccumulator

from cairn.events.catalogue import TOPICS

ANSWER_SECONDS = 10.0
"""An answer that needs no work of Kafka comes within this time, or none comes."""
STOP_SECONDS = 5.0

_LOOKS = 5
_PAUSE_SECONDS = 0.2

_REFUSALS = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

T = TypeVar("T")


class BrokerUnreachable(Exception):
    """Kafka does not answer in time."""


class TopicRefused(Exception):
    """Kafka answers, but has no such topic or does not let us use it."""


@lru_cache(maxsize=4096)  # murmur2 is pure Python: it costs more than all else about a record
def partition_of(topic: str, key: bytes) -> int:
    """The partition of a key, the topic without prefix: murmur2, as Java and aiokafka do."""
    return int(murmur2(key) & 0x7FFFFFFF) % TOPICS[topic].partitions


async def reached(call: Awaitable[T], servers: str, seconds: float, doing: str) -> T:
    """What a call to Kafka gives, within so many seconds.

    Raises BrokerUnreachable or TopicRefused; `doing` says in the message what was tried.
    """
    try:
        async with asyncio.timeout(seconds):  # wait_for may lose a cancellation before Python 3.12
            return await call
    except TimeoutError:
        raise BrokerUnreachable(f"Kafka at {servers} did not answer within {seconds:g} s while {doing}") from None
    except _REFUSALS as error:
        raise TopicRefused(f"Kafka at {servers} refused while {doing}: {describe(error)}") from error
    except (KafkaError, OSError) as error:
        raise BrokerUnreachable(f"Kafka at {servers} cannot be reached while {doing}: {describe(error)}") from error


async def stopped(stop: Awaitable[None], seconds: float = STOP_SECONDS) -> None:
    """Wait for a client to stop, but not for long: without a broker, some never do. How it fails is of no interest."""
    # As a task, because clients let the cancellation of their own tasks escape, which must not look like ours.
    task = asyncio.ensure_future(stop)
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PAUSE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()


async def connect(producer: AIOKafkaProducer, servers: str) -> AIOKafkaProducer:
    """Start a producer. Raises BrokerUnreachable and TopicRefused; then nothing of it is left."""
    try:
        await reached(producer.start(), servers, ANSWER_SECONDS, "connecting")
    except BaseException:
        await stopped(producer.stop())
        raise
    return producer


async def give_up(producer: AIOKafkaProducer) -> None:
    """End a producer so that what it still holds never goes out, and whoever waits for it hears so."""
    # By itself it stops only after a broker has taken everything, and there is no public way to have it stop sooner.
    await stopped(producer._sender.close())  # noqa: SLF001 # no public way
    _fail_held(producer._message_accumulator)  # noqa: SLF001 # as above
    await stopped(producer.stop())
    await stopped(producer.client.close())


def _fail_held(accumulator: MessageAccumulator) -> None:
    """Fail all that a producer holds, quietly: of what nobody waits for, asyncio would write a traceback."""
    pending = accumulator._pending_batches  # noqa: SLF001 # no public way
    pending.update(chain(*accumulator._batches.values()))  # noqa: SLF001 # what is to be sent again would miss itself there
    held = list(pending)
    accumulator.fail_all(KafkaError("the producer was given up"))
    for batch in held:
        for future in (batch.future, batch._drain_waiter):  # noqa: SLF001 # as above
            if future.done() and not future.cancelled():
                future.exception()


def describe(error: BaseException) -> str:
    """An error of the client in words."""
    if isinstance(error, KafkaConnectionError):  # its own words are the same for a wrong password
        return "nobody answers there, or we are not let in"
    return " ".join(str(error).split()) or type(error).__name__


async def see_topics(client: AIOKafkaClient, topics: Collection[str], servers: str) -> ClusterMetadata:
    """What Kafka says of its topics, once all of these (prefix included) are there.

    Raises BrokerUnreachable, and TopicRefused within seconds: a client asks for a topic until it runs out of time.
    """
    for _ in range(_LOOKS):  # what was made a moment ago may not be known to this broker yet
        call = client.fetch_all_metadata()
        cluster = await reached(call, servers, ANSWER_SECONDS, "asking for topics")
        missing = sorted(set(topics) - cluster.topics())
        if not missing:
            return cluster
        await asyncio.sleep(_PAUSE_SECONDS)
    raise TopicRefused(
        f"Kafka at {servers} has no topic {missing[0]}: `cairn up` makes the topics; is CAIRN_INSTALLATION right?"
    )
