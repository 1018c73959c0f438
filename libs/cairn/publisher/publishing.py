"""Publishes events: straight to Kafka, or by way of a spool on the local disk."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from cairn.broker import STOP_SECONDS, BrokerUnreachable, TopicRefused, partition_of
from cairn.context import Context
from cairn.events.event import Event
from cairn.publisher.forwarding import Forwarder
from cairn.publisher.sealing import BadEvent, Options, Sealed, seal
from cairn.publisher.sending import Sender, answers_of

SEND_SECONDS = 15.0
SPOOL_BYTES = 1024**3

_SEALED_IN_A_ROW = 100


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where Kafka has put an event, or will."""

    topic: str
    """Without the installation's prefix."""
    partition: int
    offset: int | None
    """None where only the spool has the event yet."""
    source: str
    """With `id` the event's identity."""
    id: str


class Publisher:
    """Publishes events. Use it as an asynchronous context manager; tasks of one event loop may share it.

    Without a spool, `publish` returns once Kafka has the event on all replicas. With one, it returns once the event is
    on the local disk; it goes to Kafka as soon as that can be reached, also after a crash of this process, once it or
    another opens the spool again.

    Events of one key are in the log in the order in which they were published. An event may be written twice, where an
    answer of Kafka was lost; readers take a source and id once.
    """

    def __init__(
        self,
        context: Context,
        *,
        send_seconds: float = SEND_SECONDS,
        spool: Path | str | None = None,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        """Connects to nothing and opens nothing yet.

        `send_seconds` bounds how long an event is tried without a spool. `spool` is a file on a local disk, made where
        there is none, for one publisher at a time; it holds at most `spool_bytes` of events.
        """
        self._context = context
        self._send_seconds = send_seconds
        self._sender = Sender(context.bootstrap_servers)
        self._forwarder = Forwarder(Path(spool), spool_bytes, self._sender) if spool is not None else None

    async def __aenter__(self) -> Self:
        """Connect, or open the spool. Raises BrokerUnreachable; with a spool instead SpoolBusy and SpoolError."""
        if self._forwarder:
            await self._forwarder.open()
        else:
            await self._sender.meet()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forwarder:
            await self._forwarder.close(0 if self._sender.trouble else STOP_SECONDS)
        await self._sender.close(0 if self._forwarder else STOP_SECONDS)

    async def publish(self, event: Event | Sealed, **options: Unpack[Options]) -> Receipt:
        """Publish one event and wait until it is safe: on all replicas of Kafka, or in the spool.

        Raises BadEvent and TopicRefused where it was not written. After BrokerUnreachable it may have been written:
        publish it again with the id that the message names. With a spool: SpoolFull and SpoolError, nothing was kept.
        """
        sealed = event if isinstance(event, Sealed) else seal(self._context, event, **options)
        if self._forwarder:
            await self._forwarder.keep([sealed])
            return _receipt(sealed, None)
        await self._sender.meet()
        try:
            return _receipt(sealed, await self._sender.send(sealed, self._send_seconds))
        except BrokerUnreachable as error:
            raise BrokerUnreachable(
                f"{error}. It may have been written: publish it again with event_id={sealed.id!r}, it counts once"
            ) from error

    async def publish_all(self, events: Iterable[Event | Sealed], **options: Unpack[Options]) -> list[Receipt]:
        """Publish many events, in few round trips; their receipts in the same order.

        All are sealed before the first is sent: after BadEvent nothing was published. Otherwise it raises as `publish`,
        for the first that failed, and others may have been written; what the caller sealed it may publish again.
        """
        sealed = await self._seal_all(events, options)
        if self._forwarder:
            await self._forwarder.keep(sealed)
            return [_receipt(one, None) for one in sealed]
        await self._sender.meet()
        sent = [self._sender.send(one, self._send_seconds) for one in sealed]
        offsets = _offsets(await answers_of(sent))
        return [_receipt(one, offset) for one, offset in zip(sealed, offsets, strict=True)]

    async def flush(self, seconds: float | None = None) -> None:
        """Return once Kafka has all that was published before; without a spool it has.

        Raises EventsRefused, which names those that Kafka refused for good, until they are retried or discarded; and
        BrokerUnreachable when `seconds` are over: what waits stays in the spool and goes on being sent.
        """
        if not self._forwarder:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._forwarder.flush()
        except TimeoutError:
            trouble = self._sender.trouble or "Kafka did not take all"
            raise BrokerUnreachable(
                f"{trouble}. After {seconds:g} s events wait in the spool, and go on being sent"
            ) from None

    async def retry_refused(self) -> None:
        """Send once more what Kafka refused, behind what waits. Raises SpoolError."""
        if self._forwarder:
            await self._forwarder.retry_refused()

    async def discard_refused(self) -> None:
        """Let go for ever of what Kafka refused. Raises SpoolError."""
        if self._forwarder:
            await self._forwarder.discard_refused()

    async def _seal_all(self, events: Iterable[Event | Sealed], options: Options) -> list[Sealed]:
        sealed: list[Sealed] = []
        for number, event in enumerate(events, start=1):
            try:
                sealed.append(event if isinstance(event, Sealed) else seal(self._context, event, **options))
            except BadEvent as error:
                raise BadEvent(f"event {number}: {error}. Nothing was published") from None
            if number % _SEALED_IN_A_ROW == 0:
                await asyncio.sleep(0)  # others have a turn
        return sealed


def _receipt(sealed: Sealed, offset: int | None) -> Receipt:
    partition = partition_of(sealed.topic, sealed.outgoing.key)
    return Receipt(sealed.topic, partition, offset, sealed.source, sealed.id)


def _offsets(answers: Sequence[int | Exception]) -> list[int]:
    """The offsets of events that were sent together. Raises for the first that failed."""
    offsets = [answer for answer in answers if not isinstance(answer, Exception)]
    for number, answer in enumerate(answers, start=1):
        if isinstance(answer, BrokerUnreachable | TopicRefused):
            told = f"event {number} of {len(answers)}: {answer}. Kafka has confirmed {len(offsets)} of them"
            raise type(answer)(told) from answer
        if isinstance(answer, Exception):
            raise answer
    return offsets
