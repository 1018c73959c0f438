"""Telling the log something in the name of this start of the process."""

from typing import NamedTuple, Protocol

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.events.event import Event
from cairn.events.values import EventRef
from cairn.publisher import BadEvent, Publisher


class CannotTell(Exception):
    """Kafka did not confirm an event. It may be in the log all the same."""


class Ground(NamedTuple):
    """The event that led to another, and the story that both belong to."""

    event: EventRef
    story: str


class Tell(Protocol):
    """Tells one event; returns when Kafka has it."""

    async def __call__(self, facts: Event, ground: Ground | None = None, event_id: str = "") -> None:
        """Tell it. Raises CannotTell; telling it again with the same id counts once."""
        ...


def make_tell(publisher: Publisher, source: str) -> Tell:
    """A voice on this publisher."""

    async def tell(facts: Event, ground: Ground | None = None, event_id: str = "") -> None:
        try:
            if ground:
                await publisher.publish(
                    facts, source=source, event_id=event_id, cause=ground.event, correlation=ground.story
                )
            else:
                await publisher.publish(facts, source=source, event_id=event_id)
        except (BrokerUnreachable, TopicRefused, BadEvent) as error:
            raise CannotTell(str(error)) from error

    return tell
