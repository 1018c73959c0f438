"""What a handler gets beside the facts: who told them, when, where they lay, and the transaction to act in."""

from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection
from typing import Generic, TypeVar

from cairn.events.codec import Message, appended_at
from cairn.events.envelope import Envelope
from cairn.events.event import Event
from cairn.events.instants import parse_instant
from cairn.events.values import EventRef

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Received(Generic[E]):
    """An event that is handed over now."""

    event: E
    """The facts."""
    message: Message
    """The event as it lay in the log: its record, its envelope, its bytes."""
    signed: bool
    """Whether its signature was checked and fits."""
    attempt: int
    """The how manieth time it is handed over; counted through restarts."""
    transaction: Connection
    """The transaction that will mark it as handled.

    What is written here is there exactly once, whatever is killed. It ends when the handler does: never commit it or
    roll it back.
    """

    @property
    def redelivered(self) -> bool:
        """Whether an attempt before did not end well: effects elsewhere may be there already."""
        return self.attempt > 1

    @property
    def envelope(self) -> Envelope:
        """The CloudEvents attributes."""
        return self.message.envelope

    @property
    def source(self) -> str:
        """Who told it. With `id` the event's identity."""
        return self.envelope.source

    @property
    def id(self) -> str:
        """Its id, unique for its source."""
        return self.envelope.id

    @property
    def type(self) -> str:
        """Its type, e.g. `cairn.model.promoted.v1`."""
        return self.envelope.type

    @property
    def subject(self) -> str:
        """What it is about, e.g. `model/risk.loans`."""
        return self.envelope.subject

    @property
    def time(self) -> datetime:
        """When it happened, as its source says."""
        return parse_instant(self.envelope.time) or self.appended_at

    @property
    def appended_at(self) -> datetime:
        """When Kafka got it."""
        return appended_at(self.message.record)

    @property
    def correlation_id(self) -> str:
        """The story that it belongs to."""
        return self.envelope.story

    @property
    def topic(self) -> str:
        """Where it lay, without the installation's prefix."""
        return self.message.record.topic

    @property
    def partition(self) -> int:
        """The partition that it lay in."""
        return self.message.record.partition

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        return self.message.record.offset

    @property
    def ref(self) -> EventRef:
        """Its name and digest: the cause of what you publish because of it."""
        return self.message.ref
