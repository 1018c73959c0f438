"""From where on a webhook is told of a type: told once, so that no rebuild and no later start begins elsewhere."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlmodel import Session

from cairn.events import WebhookSubscribed
from cairn.events.catalogue import GATEWAY, TOPICS
from chassis import Origin, Task, Transaction, Work
from chassis.work import Job
from gateway.domain import OWN_TOPIC, Webhook, topics_of
from gateway.store import Store

ReadEnds = Callable[[str], Awaitable[Sequence[int]]]
"""The end of each partition of a topic. Raises KafkaUnreachable."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One type on one topic that a webhook wants."""

    webhook: Webhook
    type: str
    topic: str


def pending_subscriptions(webhooks: Sequence[Webhook], session: Session) -> list[Task]:
    """What is configured and not subscribed yet."""
    known = Store(session).subscriptions()
    wanted = [
        Wanted(webhook, entry.name, topic)
        for webhook in webhooks
        for entry in webhook.wanted
        for topic in topics_of(entry)
    ]
    return [_task_of(one) for one in wanted if (one.webhook.name, one.type, one.topic) not in known]


def _task_of(wanted: Wanted) -> Task:
    # No event led to it: the configuration did, and names it.
    name = f"webhook/{wanted.webhook.name}/{wanted.type}/{wanted.topic}"
    return Task(name, Origin(OWN_TOPIC, "", name, "", "sha256:" + "0" * 64, name, ""), wanted)


async def find_start(read_ends: ReadEnds, task: Task, _job: Job) -> tuple[int, ...]:
    """The first record of each partition that the webhook is told of."""
    wanted: Wanted = task.detail
    if wanted.webhook.start == "beginning":
        return (0,) * TOPICS[wanted.topic].partitions
    return tuple(await read_ends(wanted.topic))


def tell_subscribed(task: Task, first_offsets: tuple[int, ...], tx: Transaction) -> None:
    """Subscribed."""
    wanted: Wanted = task.detail
    tx.tell(
        WebhookSubscribed(
            service=GATEWAY,
            webhook=wanted.webhook.name,
            type=wanted.type,
            topic=wanted.topic,
            first_offsets=first_offsets,
        )
    )


def give_up(task: Task, _code: str, text: str, _tx: Transaction) -> None:
    """There is nothing to tell: it stays pending, and is tried again once its lease has run out."""
    raise OSError(f"{task.id} is not subscribed: {text}")


def make_subscribing(webhooks: Sequence[Webhook], read_ends: ReadEnds) -> Work:
    """The work that subscribes webhooks."""
    return Work(
        "subscribe webhooks",
        partial(pending_subscriptions, webhooks),
        partial(find_start, read_ends),
        tell_subscribed,
        give_up,
        most_attempts=10**9,
    )
