"""Publishes events of the contract: sealed, signed, checked as every reader will, and confirmed by Kafka."""

import asyncio
import time as clock
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypedDict, Unpack

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from cairn.broker import ANSWER_SECONDS, BrokerUnreachable, TopicRefused, reached, see_topics, stopped
from cairn.context import Context
from cairn.events.catalogue import EventType, topic_for, type_of
from cairn.events.codec import Malformed, Outgoing, Record, write
from cairn.events.envelope import Envelope, cause_name, schema_address
from cairn.events.event import Event
from cairn.events.identity import Cause, Installation, fresh_id
from cairn.events.signing import TrustedKey, source_matches
from cairn.events.values import EventRef, format_instant
from cairn.subscriber import hear

SEND_SECONDS = 15.0

_MOST_BYTES = 1024 * 1024


class BadEvent(ValueError):
    """No reader would accept this event; nothing was sent."""


class Options(TypedDict, total=False):
    """What may be said about an event beside its facts."""

    event_id: str
    """Its id, where publishing must be repeatable: readers take a source and id once. Fresh by default."""
    source: str
    """Who says it. By default what the signing key stands for; a system without a key must name itself."""
    time: datetime
    """When it happened, with its time zone. By default now."""
    correlation: str
    """The id of the story that it belongs to. By default it begins one."""
    cause: Cause | EventRef
    """The event that led to it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where Kafka has put an event."""

    topic: str
    """Without the installation's prefix."""
    partition: int
    offset: int
    source: str
    """With `id` the event's identity."""
    id: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event ready to go: final bytes, and its identity."""

    topic: str
    """Without the installation's prefix."""
    source: str
    id: str
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class _Speaker:
    source: str
    authtype: str = ""
    authid: str = ""


class Publisher:
    """Publishes events one by one, each confirmed by Kafka before `publish` returns.

    Use it as an asynchronous context manager; tasks of one event loop may share it.
    """

    def __init__(self, context: Context, *, send_seconds: float = SEND_SECONDS) -> None:
        """Connects to nothing yet. `send_seconds` bounds how long Kafka's confirmation is waited for."""
        self._context = context
        self._servers = context.bootstrap_servers
        self._send_seconds = send_seconds
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._seen: set[str] = set()

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerUnreachable."""
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        if producer:
            await stopped(producer.stop())
            await _give_up(producer)

    async def publish(self, facts: Event, **options: Unpack[Options]) -> Receipt:
        """Publish one event and wait until Kafka has it on all replicas.

        Raises BadEvent and TopicRefused where it was not written. After BrokerUnreachable it may have been written:
        publish it again with the id that the message names.
        """
        sealed = seal(self._context, facts, **options)
        producer = await self._connected()
        if sealed.outgoing.topic not in self._seen:
            await see_topics(producer.client, [sealed.outgoing.topic], self._servers)
            self._seen.add(sealed.outgoing.topic)
        call = _send(producer, sealed.outgoing)
        try:
            placed = await reached(call, self._servers, self._send_seconds, f"publishing to {sealed.topic}")
        except TopicRefused:
            await self._drop(producer)
            raise
        except BrokerUnreachable as error:
            await self._drop(producer)
            raise BrokerUnreachable(
                f"{error}. It may have been written: publish it again with event_id={sealed.id!r}, it counts once"
            ) from error
        return Receipt(sealed.topic, placed.partition, placed.offset, sealed.source, sealed.id)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await _connect(self._servers)
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        """Give up a producer after an error: its sequence numbers may no longer be those that the broker expects."""
        if self._producer is producer:
            self._producer = None
        await _give_up(producer)


def publish_once(context: Context, facts: Event, **options: Unpack[Options]) -> Receipt:
    """Publish one event from code without an event loop. See Publisher.publish."""

    async def publish() -> Receipt:
        async with Publisher(context) as publisher:
            return await publisher.publish(facts, **options)

    return asyncio.run(publish())


def seal(context: Context, facts: Event, **options: Unpack[Options]) -> Sealed:
    """The final bytes of an event, signed where the context has a key, and checked as every reader will.

    Raises BadEvent.
    """
    entry, topic = _catalogued(facts)
    speaker = _speaker(context, options.get("source", ""))
    envelope = _envelope(facts, entry, speaker, options)
    try:
        outgoing = write(facts, envelope, topic, context.installation, context.signer)
    except ValueError as error:  # too large, or text that is none
        raise BadEvent(str(error)) from None
    _refuse_what_readers_would(context, topic, outgoing)
    return Sealed(topic, envelope.source, envelope.id, outgoing)


def _catalogued(facts: Event) -> tuple[EventType, str]:
    """The catalogue's entry for these facts, and their topic."""
    try:
        entry = type_of(facts)
        return entry, topic_for(entry, getattr(facts, "service", "")).name
    except KeyError:
        raise BadEvent(f"the catalogue (cairn.events) has no topic for this {type(facts).__name__}") from None


def _envelope(facts: Event, entry: EventType, speaker: _Speaker, options: Options) -> Envelope:
    now = datetime.now(UTC)
    happened, cause = options.get("time", now), options.get("cause")
    if happened.tzinfo is None:
        raise BadEvent(f"the time {happened.isoformat()} has no time zone: an event's time must be plain to everybody")
    event_id = options.get("event_id") or fresh_id()
    return Envelope(
        id=event_id,
        source=speaker.source,
        type=entry.name,
        subject=entry.subject_of(facts),
        time=format_instant(happened),
        recordedtime=format_instant(now),
        correlationid=options.get("correlation") or event_id,
        causationid=cause_name(cause.source, cause.id) if cause else "",
        authtype=speaker.authtype,
        authid=speaker.authid,
        dataschema=schema_address(entry.name),
    )


def _speaker(context: Context, source: str) -> _Speaker:
    """Who speaks: whom the signing key stands for, under the named source or the one that the key admits."""
    if context.signer is None:
        if not source:
            raise BadEvent("who speaks? There is no key: name a source, or set CAIRN_KEY_FILE (`cairn up` makes a key)")
        return _Speaker(source)
    key = context.trust.key(context.signer.keyid) if context.trust else None
    authtype, _, authid = (key.principal if key else f"person/{context.signer.keyid}").rpartition("/")
    return _Speaker(source or _usual_source(context.installation, authid, key), authtype or "person", authid)


def _usual_source(installation: Installation, authid: str, key: TrustedKey | None) -> str:
    usual = installation.source("person", authid)
    if key is None or not key.sources or any(source_matches(pattern, usual) for pattern in key.sources):
        return usual
    admitted = key.sources[0]
    return admitted[:-1] + authid if admitted.endswith("/*") else admitted


def _refuse_what_readers_would(context: Context, topic: str, outgoing: Outgoing) -> None:
    record = Record(topic, 0, 0, clock.time_ns() // 1_000_000, outgoing.key, outgoing.headers, outgoing.value)
    heard = hear(record, context.installation, context.trust)
    if isinstance(heard, Malformed):
        raise BadEvent(f"no reader would accept this event ({heard.code}): {heard.text}")


async def _connect(servers: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        client_id="cairn-publisher",
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=int(ANSWER_SECONDS * 1000),
        max_request_size=_MOST_BYTES,
    )
    try:
        await reached(producer.start(), servers, ANSWER_SECONDS, "connecting")
    except BaseException:
        await stopped(producer.stop())
        raise
    return producer


async def _give_up(producer: AIOKafkaProducer) -> None:
    """End a producer so that what it still holds never goes out, and whoever waits for it hears so."""
    # By itself it stops only after a broker has taken everything, and there is no public way to have it stop sooner.
    await stopped(producer._sender.close())  # noqa: SLF001 # no public way
    producer._message_accumulator.fail_all(KafkaError("the producer was given up"))  # noqa: SLF001 # as above
    await stopped(producer.stop())
    await stopped(producer.client.close())


async def _send(producer: AIOKafkaProducer, outgoing: Outgoing) -> RecordMetadata:
    # Given a key, the client chooses the partition by murmur2, as Java does: the contract's rule.
    placed: RecordMetadata = await producer.send_and_wait(
        outgoing.topic, outgoing.value, key=outgoing.key, headers=list(outgoing.headers)
    )
    return placed
