"""What the gateway remembers of each event: event in, rows out."""

from collections.abc import Collection

from cairn.events import RecordRedriven, WebhookDelivered, WebhookFailed, WebhookSubscribed
from cairn.events.catalogue import CATALOGUE, carries, type_of
from cairn.events.event import Event
from chassis import Projections, Rows
from gateway.domain import OWN_TOPIC
from gateway.store import DELIVERED, FAILED, HEARD, REDRIVEN, Delivery, Store, Subscription

projections = Projections()


@projections.of(WebhookSubscribed)
def remember_subscription(event: WebhookSubscribed, rows: Rows) -> None:
    """Keep from where on a webhook is told of a type."""
    for partition, offset in enumerate(event.first_offsets):
        rows.put(
            Subscription(
                webhook=event.webhook, type=event.type, on=event.topic, partition=partition, first_offset=offset
            )
        )


@projections.of(WebhookDelivered, WebhookFailed)
def remember_end(event: WebhookDelivered | WebhookFailed, rows: Rows) -> None:
    """Keep how a delivery ended."""
    known = rows.get(Delivery, event.webhook, event.topic, event.partition, event.offset)
    rows.put(
        Delivery(
            webhook=event.webhook,
            on=event.topic,
            partition=event.partition,
            offset=event.offset,
            state=DELIVERED if isinstance(event, WebhookDelivered) else FAILED,
            attempts=event.attempts,
            redrives=known.redrives if known else 0,
            ended_at=rows.origin.time,
        )
    )


@projections.of(RecordRedriven)
def remember_redrive(event: RecordRedriven, rows: Rows) -> None:
    """Deliveries of this record that failed are wanted again."""
    if rows.origin.topic == OWN_TOPIC:
        for failed in Store(rows.session).failed_at(event.topic, event.partition, event.offset):
            failed.state, failed.redrives = REDRIVEN, failed.redrives + 1
            rows.put(failed)
    else:
        remember_heard(event, rows)


def remember_heard(event: Event, rows: Rows) -> None:
    """Keep where an event lies."""
    if rows.origin.topic == OWN_TOPIC:
        return  # a type that other services tell too
    assert rows.partition is not None
    assert rows.offset is not None
    rows.put(
        HEARD[rows.origin.topic](
            partition=rows.partition,
            offset=rows.offset,
            type=rows.origin.type,
            subject=type_of(event).subject_of(event),
            told_at=rows.origin.time,
            origin=rows.origin.dump(),
        )
    )


def with_heard(topics: Collection[str]) -> Projections:
    """All projections, with those of every type on the topics heard: any may be wanted later, from its beginning on."""
    heard = [entry.facts for entry in CATALOGUE.values() if any(carries(topic, entry) for topic in topics)]
    made = Projections()
    made.by_type |= dict.fromkeys(heard, remember_heard) | projections.by_type
    return made
