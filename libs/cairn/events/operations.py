"""What every service tells of its own running."""

from typing import Annotated

from pydantic import Field

from cairn.events.event import Event
from cairn.events.values import Count, Digest, EventRef, Instant, Number, Reason, Service, Value, Word

TopicName = Annotated[str, Field(max_length=249)]


class _RecordTold(Event):
    service: Service
    """The service that tells it."""
    topic: TopicName
    """The record's topic, without the installation's prefix."""
    partition: Count
    """Its partition."""
    offset: Count
    """Its offset."""
    digest: Digest
    """SHA-256 of its value bytes."""
    reason: Reason
    """Why."""
    parking: Number
    """Which parking of this record, from 1."""


class RecordParked(_RecordTold):
    """A record cannot be handled. It is kept and can be driven again."""

    applied: bool = False
    """Whether it was applied all the same: then not it was at fault, but the work that it asked for."""


class RecordRedriven(_RecordTold):
    """A parked record was handled after all, at this event's `basis`."""


class RecordDiscarded(_RecordTold):
    """A parked record was given up by a person."""


class RequestRefused(Event):
    """A request is not granted."""

    service: Service
    """The service that judged it."""
    request: EventRef
    """The request."""
    reason: Reason
    """Why not."""


class TopicCensus(Value):
    """What a service told on one topic."""

    topic: Word
    """The topic, without the installation's prefix."""
    told: Count
    """Events told since the beginning."""
    waiting: Count
    """Of these: not yet confirmed by Kafka."""
    oldest_at: Instant | None = None
    """When the oldest of those was told."""


class CensusReported(Event):
    """How much a service has told, so that a lost event can be missed."""

    service: Service
    """The service."""
    topics: Annotated[tuple[TopicCensus, ...], Field(max_length=100)]
    """Each topic it writes."""


class WebhookSubscribed(Event):
    """A webhook is told of one type from here on."""

    service: Service
    """The service that tells it: the gateway."""
    webhook: Service
    """The webhook's name."""
    type: Word
    """The type of event."""
    topic: TopicName
    """The topic on which it is told, without the installation's prefix."""
    first_offsets: Annotated[tuple[Count, ...], Field(min_length=1, max_length=100)]
    """For each of the topic's partitions: the first record that counts."""


class _Delivery(Event):
    service: Service
    """The service that tells it: the gateway."""
    webhook: Service
    """The webhook's name."""
    event: EventRef
    """The event."""
    topic: TopicName
    """The topic on which it lies, without the installation's prefix."""
    partition: Count
    """Its partition."""
    offset: Count
    """Its offset."""
    attempts: Number
    """How often it was sent, since the store was last made."""


class WebhookDelivered(_Delivery):
    """A webhook took an event. It may have been sent before without an answer: receivers know it by `webhook-id`."""

    status: Annotated[int, Field(ge=200, le=299)]
    """How the receiver answered (HTTP)."""


class WebhookFailed(_Delivery):
    """A webhook did not take an event for so long that its record is parked."""

    reason: Reason
    """How the last attempt ended."""
