"""Tells webhooks: each event is posted until its receiver takes it, or the schedule ends; then its record is parked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlmodel import Session

from cairn.events import WebhookDelivered, WebhookFailed
from cairn.events.catalogue import GATEWAY
from cairn.events.codec import Message, Record, read
from cairn.events.values import Reason
from chassis import Origin, Task, Transaction, Work
from chassis.parking import park_applied
from chassis.transaction import Place
from chassis.work import Job, WorkFailed, WorkPostponed
from gateway.domain import GONE, Answer, Webhook, compose_body, sign, wait_seconds, webhook_id
from gateway.store import Store

AT_ONCE = 8
"""So many events are on their way to one webhook."""

ReadRecord = Callable[[Place], Awaitable[Record | None]]
"""What lies at a place in the log; None where it lies there no more. Raises KafkaUnreachable."""
Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer | str]]
"""Posts a body with headers to a URL: the answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class Courier:
    """All that it takes to tell a webhook."""

    namespace: UUID
    """Of the installation's ids."""
    schedule: Sequence[int]
    """Seconds between the attempts."""
    read_record: ReadRecord
    post: Post
    now: Callable[[], datetime]
    chance: Callable[[], float]
    """From 0 to 1."""

    async def deliver(self, webhook: Webhook, secrets: Sequence[bytes], task: Task, job: Job) -> int:
        """The status with which the receiver took the event. Raises WorkPostponed and WorkFailed."""
        message = await self._message(task)
        name = webhook_id(self.namespace, message.envelope.source, message.envelope.id)
        body = compose_body(message)
        headers = {"content-type": "application/cloudevents+json", **sign(secrets, name, self.now(), body)}
        answer = await self.post(webhook.url, body, headers)
        job.progress()
        if isinstance(answer, Answer) and answer.took:
            return answer.status
        said = answer if isinstance(answer, str) else f"it answered {answer.status}"
        if isinstance(answer, Answer) and answer.status == GONE:
            raise WorkFailed("gone", f"{webhook.name} wants no more: {said}")
        retry_after = answer.retry_after if isinstance(answer, Answer) else ""
        wait = wait_seconds(self.schedule, job.attempt, self.chance(), retry_after, self.now())
        if wait is None:
            raise WorkFailed("undelivered", f"{webhook.name} was told {job.attempt} times, at last {said}")
        raise WorkPostponed(wait, said)

    async def _message(self, task: Task) -> Message:
        """The event itself, from the log. Raises WorkFailed where it is not what was heard."""
        place: Place = task.detail
        record = await self.read_record(place)
        if record is None:
            raise WorkFailed("record-gone", "its record is in the log no more")
        message = read(record)
        if not isinstance(message, Message) or record.digest != task.origin.digest:
            raise WorkFailed("record-other", "another record lies in its place in the log")
        return message


def pending_deliveries(webhook: Webhook, session: Session) -> list[Task]:
    """The events that a webhook wants and has not had."""
    return [
        Task(
            f"{topic}/{row.partition}/{row.offset}",
            Origin.parse(row.origin),
            Place(topic, row.partition, row.offset),
        )
        for topic, row in Store(session).pending(webhook)
    ]


def tell_delivered(webhook: Webhook, task: Task, status: int, tx: Transaction) -> None:
    """The webhook took it."""
    place: Place = task.detail
    tx.tell(
        WebhookDelivered(
            service=GATEWAY,
            webhook=webhook.name,
            event=task.origin.ref,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
            attempts=tx.attempt or 1,
            status=status,
        ),
        _which(webhook, place, tx),
    )


def tell_failed(webhook: Webhook, task: Task, code: str, text: str, tx: Transaction) -> None:
    """The webhook did not take it: the record is parked, from where somebody may have it driven again."""
    place: Place = task.detail
    reason = Reason(code=code, text=text)
    tx.tell(
        WebhookFailed(
            service=GATEWAY,
            webhook=webhook.name,
            event=task.origin.ref,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
            attempts=tx.attempt or 1,
            reason=reason,
        ),
        _which(webhook, place, tx),
    )
    park_applied(tx, place, task.origin.digest, reason)


def _which(webhook: Webhook, place: Place, tx: Transaction) -> str:
    """Sets apart what is told of one event: of each webhook, and each time that it was wanted again."""
    return f"{webhook.name}.{Store(tx.session).redrives(webhook.name, place.topic, place.partition, place.offset)}"


def make_delivering(webhook: Webhook, secrets: Sequence[bytes], courier: Courier) -> Work:
    """The work that tells one webhook; no other waits for it."""
    return Work(
        f"to {webhook.name}",
        partial(pending_deliveries, webhook),
        partial(courier.deliver, webhook, secrets),
        partial(tell_delivered, webhook),
        partial(tell_failed, webhook),
        at_once=AT_ONCE,
        most_attempts=len(courier.schedule) + 1,
    )
