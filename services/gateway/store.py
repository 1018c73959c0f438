"""What the gateway remembers. Each table is fed by one topic; queries never change anything."""

from collections.abc import Sequence
from types import new_class
from typing import ClassVar

from sqlalchemy import BigInteger, and_, exists, func
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events.catalogue import TOPICS
from chassis import Table
from gateway.domain import OWN_TOPIC, Webhook, topics_of

MOST_PENDING = 200
"""Deliveries to one webhook that a query gives at most: what is retried at the same time; the rest waits its turn."""
DELIVERED, FAILED, REDRIVEN = "delivered", "failed", "redriven"


class GatewayTable(Table, registry=registry()):
    """The gateway's own tables."""


class HeardEvent(GatewayTable):
    """An event that some webhook wants or may want later, by its place. The event itself stays in the log."""

    partition: int = Field(primary_key=True)
    offset: int = Field(primary_key=True, sa_type=BigInteger)
    type: str
    subject: str
    told_at: str
    origin: str


def _table_of(topic: str) -> type[HeardEvent]:
    name = "Heard" + "".join(word.title() for word in topic.replace("-", ".").split("."))
    content = {"__module__": __name__, "__doc__": f"Heard on {topic}.", "topic": topic}
    return new_class(name, (HeardEvent,), {"table": True}, lambda body: body.update(content))


HEARD: dict[str, type[HeardEvent]] = {topic: _table_of(topic) for topic in TOPICS if topic != OWN_TOPIC}
"""One table for each topic: all alike, and made from the catalogue, because any type may be wanted."""


class Subscription(GatewayTable, table=True):
    """From which record on a webhook is told of a type."""

    topic: ClassVar[str] = "operations.gateway"

    webhook: str = Field(primary_key=True)
    type: str = Field(primary_key=True)
    on: str = Field(primary_key=True)
    """The topic."""
    partition: int = Field(primary_key=True)
    first_offset: int = Field(sa_type=BigInteger)


class Delivery(GatewayTable, table=True):
    """What became of an event that a webhook was to be told of."""

    topic: ClassVar[str] = "operations.gateway"

    webhook: str = Field(primary_key=True)
    on: str = Field(primary_key=True)
    """The topic."""
    partition: int = Field(primary_key=True)
    offset: int = Field(primary_key=True, sa_type=BigInteger)
    state: str
    attempts: int
    redrives: int
    """How often it was wanted again."""
    ended_at: str


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pending(self, webhook: Webhook, limit: int = MOST_PENDING) -> list[tuple[str, HeardEvent]]:
        """The events that a webhook is to be told of, each with its topic; each topic's oldest first."""
        found = [
            (topic, row)
            for topic in _topics_of(webhook)
            for row in self._session.exec(_pending(webhook, topic).limit(limit)).all()
        ]
        return sorted(found, key=lambda one: (one[1].told_at, one[0], one[1].partition, one[1].offset))[:limit]

    def waiting(self, webhook: Webhook) -> tuple[int, str]:
        """How many deliveries to a webhook wait, and when the oldest of those events was told; empty for none."""
        count, oldest = 0, ""
        for topic in _topics_of(webhook):
            rows = _pending(webhook, topic).order_by(None).subquery()
            number, first = self._session.exec(select(func.count(), func.min(rows.c.told_at)).select_from(rows)).one()
            count, oldest = count + number, min(filter(None, (oldest, first)), default="")
        return count, oldest

    def ended(self, webhook: str) -> dict[str, int]:
        """How many deliveries to a webhook ended, by how."""
        query = select(Delivery.state, func.count()).where(Delivery.webhook == webhook).group_by(Delivery.state)
        return dict(self._session.exec(query).all())

    def subscriptions(self) -> set[tuple[str, str, str]]:
        """Webhook, type and topic of each subscription."""
        query = select(Subscription.webhook, Subscription.type, Subscription.on).distinct()
        return set(self._session.exec(query).all())

    def redrives(self, webhook: str, topic: str, partition: int, offset: int) -> int:
        """How often the delivery of a record was wanted again."""
        row = self._session.get(Delivery, (webhook, topic, partition, offset))
        return row.redrives if row else 0

    def failed_at(self, topic: str, partition: int, offset: int) -> Sequence[Delivery]:
        """The deliveries of a record that failed."""
        place = (Delivery.on == topic, Delivery.partition == partition, Delivery.offset == offset)
        return self._session.exec(select(Delivery).where(*place, Delivery.state == FAILED)).all()


def _topics_of(webhook: Webhook) -> tuple[str, ...]:
    return tuple(dict.fromkeys(topic for entry in webhook.wanted for topic in topics_of(entry)))


def _pending(webhook: Webhook, topic: str):  # type: ignore[no-untyped-def]  # SQLAlchemy's type of it says nothing more
    table = HEARD[topic]
    subscribed = and_(
        col(Subscription.webhook) == webhook.name,
        col(Subscription.on) == topic,
        col(Subscription.type) == table.type,
        col(Subscription.partition) == table.partition,
        col(Subscription.first_offset) <= table.offset,
    )
    ended = exists().where(
        col(Delivery.webhook) == webhook.name,
        col(Delivery.on) == topic,
        col(Delivery.partition) == table.partition,
        col(Delivery.offset) == table.offset,
        col(Delivery.state) != REDRIVEN,
    )
    about = webhook.subject.removesuffix("*")
    fits = (
        col(table.subject).startswith(about, autoescape=True)
        if webhook.subject.endswith("*")
        else table.subject == about
    )
    return (
        select(table)
        .join(Subscription, subscribed)
        .where(col(table.type).in_(webhook.types), fits, ~ended)
        .order_by(col(table.offset), col(table.partition))
    )
