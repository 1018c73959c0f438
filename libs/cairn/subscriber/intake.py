"""Hands wanted events over, one at a time, effectively once; counts all the rest."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka import TopicPartition

from cairn.events.codec import Malformed, Message, read
from cairn.events.event import Event
from cairn.records import as_record
from cairn.subscriber.decoding import OTHER_TYPE, Arrived, Decoder
from cairn.subscriber.log import Log, RecordsGone, Start
from cairn.subscriber.received import Received
from cairn.subscriber.store import Place, PositionLost, Store, StoreError, TransactionEnded

Handler = Callable[[Received[Any]], Awaitable[object]]
OnError = Literal["stop", "park"]

HANDLED, PARKED = "handled", "parked"
"""What is counted beside the reasons for which records are skipped."""

_FIRST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 10.0

log = logging.getLogger("cairn.subscriber")


class HandlerFailed(Exception):
    """A handler raised as often as it may; its event is handed over again at the next start."""


def after(raw: Any) -> dict[TopicPartition, int]:
    """The offset that a group commits once this record of the client is done."""
    return {TopicPartition(raw.topic, raw.partition): raw.offset + 1}


@dataclass(slots=True)
class Intake:
    """What stands between the records of Kafka and those who handle events."""

    decoder: Decoder
    store: Store
    counts: Counter[str]
    group: str | None = None
    tries: int = 5
    on_error: OnError = "stop"
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _next: dict[Place, int] = field(default_factory=dict)
    _logged: set[str] = field(default_factory=set)

    async def settle(self, kafka: Log, start: Start) -> dict[TopicPartition, int]:
        """Where each partition goes on: where the store says, else at `start`, which is remembered at once.

        A group that has no offset yet gets them. Raises PositionLost, BrokerUnreachable, TopicRefused.
        """
        partitions = await kafka.partitions(self.decoder.topics)
        committed = await kafka.committed(partitions) if self.group else {}
        starts = await self._starts(kafka, partitions, start, {tp for tp, at in committed.items() if at is not None})
        if self.group:
            fresh = {tp: at for tp, at in starts.items() if committed[tp] is None}
            if fresh and not await kafka.commit(fresh):
                log.info("the group %s has members already: they say where it starts", self.group)
        else:
            positions = {self._place(tp): at for tp, at in starts.items()}
            self._next.update(positions)
            await self.store.advance(positions)
        return starts

    async def _starts(
        self, kafka: Log, partitions: Sequence[TopicPartition], start: Start, begun: Set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where the store says; a partition that its topic got later is read whole, any other unknown from `start`."""
        stored = self.store.positions()
        known = [tp for tp in partitions if self._place(tp) in stored]
        heard = {tp.topic for tp in [*known, *begun]}
        later = [tp for tp in partitions if tp not in known and tp not in begun and tp.topic in heard]
        rest = [tp for tp in partitions if tp not in known and tp not in later]
        found: dict[TopicPartition, int] = {}
        try:
            found |= (await kafka.bounds(known, stored))[0]
        except RecordsGone as error:
            raise self.lost(error) from None
        for unknown, begin in ((later, "beginning"), (rest, start)):
            found |= (await kafka.bounds(unknown, begin))[0]
        return found

    def lost(self, error: RecordsGone) -> PositionLost:
        """What to say where Kafka has not what comes next."""
        memory = f"{self.store.name} and the group {self.group}" if self.group else self.store.name
        return PositionLost(
            f"{error}. So far had {memory} come: either Kafka is another one than before, or the topic was made anew, "
            f"or records are gone that were not read. To go on nevertheless, use a fresh store"
            f"{', another group' if self.group else ''} and say where it starts"
        )

    def decode(self, batch: Sequence[Any]) -> Iterator[Arrived]:
        """The wanted events of a run of records of one partition; what is skipped is counted."""
        expected = self._next.get(self._place(batch[0]), 0)
        if batch[0].offset < expected:  # it was read before
            batch = [raw for raw in batch if raw.offset >= expected]
        for raw, verdict in zip(batch, self.decoder.decode(batch), strict=True):
            if isinstance(verdict, Malformed):
                self._skip(raw, verdict)
            else:
                yield verdict

    def _skip(self, raw: Any, why: Malformed) -> None:
        self.counts[why.code] += 1
        if why.code not in self._logged and why is not OTHER_TYPE:
            self._logged.add(why.code)
            place = (raw.topic, raw.partition, raw.offset)
            log.warning(
                "skipped %s[%d] offset %d: %s; more of the kind (%s) are only counted", *place, why.text, why.code
            )

    async def take(self, batch: Sequence[Any], handlers: Mapping[type[Event], Handler]) -> dict[TopicPartition, int]:
        """Hand over what is wanted of a run of records of one partition; how far it is done, also where stopped."""
        done: dict[TopicPartition, int] = {}
        for arrived in self.decode(batch):
            if not await self.hand(arrived, handlers):
                return done
            done = after(arrived.raw)
            if self.stopping.is_set():
                return done
        return await self.finish(batch)

    async def walk(self, kafka: Log) -> AsyncGenerator[Arrived, None]:
        """The wanted events as they come, each done when the next one is asked for; a group's offset follows."""
        done: dict[TopicPartition, int] = {}
        try:
            async for batch in kafka.batches():
                for arrived in self.decode(batch):
                    yield arrived
                    done = after(arrived.raw)
                done = await self.finish(batch)
                if self.group:
                    await kafka.commit(done)
        except RecordsGone as error:
            raise self.lost(error) from None
        finally:
            if self.group and done:
                await kafka.commit(done)

    async def finish(self, batch: Sequence[Any]) -> dict[TopicPartition, int]:
        """All of this run is done; says how far that is."""
        place, offset = self._place(batch[-1]), batch[-1].offset + 1
        await self.store.advance({place: offset})
        if not self.group:
            self._next[place] = max(offset, self._next.get(place, 0))
        return after(batch[-1])

    @asynccontextmanager
    async def handing(self, arrived: Arrived) -> AsyncIterator[Received[Any] | None]:
        """Hand one event over: what ends well is handled. None where there is nothing to do any more."""
        verdict = self.store.judge(arrived)
        if verdict == "fresh":
            attempt = await self.store.attempt(arrived)
            async with self.store.transaction():
                verdict = self.store.judge(arrived)  # another process on the same store may have been faster
                if verdict == "fresh":
                    yield Received(
                        arrived.facts, self._message(arrived), arrived.signed, attempt, self.store.connection
                    )
                    self.store.mark(arrived)
        if verdict == "fresh":
            self.counts[HANDLED] += 1
        else:
            self.counts[verdict] += 1
            yield None

    async def hand(self, arrived: Arrived, handlers: Mapping[type[Event], Handler]) -> bool:
        """Hand one event to its handler, again and again where it raises; False if stopped before it was done.

        Raises HandlerFailed.
        """
        failures = 0
        while not self.stopping.is_set():
            attempt = 0
            try:
                async with self.handing(arrived) as received:
                    if received is not None:
                        attempt = received.attempt
                        self._refuse_what_kills(attempt)
                        await handlers[type(arrived.facts)](received)
            except TransactionEnded:
                raise HandlerFailed(
                    f"the handler of {self._named(arrived)} ended the transaction that it was lent: "
                    "leave commit and rollback to the subscriber, and raise to undo"
                ) from None
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever a handler raises: tried again, then told
                failures += 1
                await self._after_failure(arrived, attempt, failures, error)
                if self.on_error == "park" and attempt >= self.tries:
                    return True
            else:
                return True
        return False

    def _refuse_what_kills(self, attempt: int) -> None:
        if self.on_error == "park" and attempt > self.tries:
            raise HandlerFailed(f"the process ended during each of {attempt - 1} attempts")

    async def _after_failure(self, arrived: Arrived, attempt: int, failures: int, error: Exception) -> None:
        name = self._named(arrived)
        if self.on_error == "park" and attempt >= self.tries:
            async with self.store.transaction():
                self.store.park(arrived, self._message(arrived), attempt, repr(error)[:1000])
            self.counts[PARKED] += 1
            log.error("parked %s after %d attempts: %r", name, attempt, error, exc_info=error)
            return
        if failures >= self.tries:
            raise HandlerFailed(
                f"the handler of {name} raised {failures} times, at last {error!r}. Nothing is lost: the event is "
                "handed over again at the next start"
            ) from error
        log.warning("the handler of %s raised %r: attempt %d", name, error, attempt)
        await self._pause(min(_LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1)))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return

    def _message(self, arrived: Arrived) -> Message:
        message = read(as_record(arrived.raw, self.decoder.installation))
        assert isinstance(message, Message)  # it was read before
        return message

    def _place(self, where: Any) -> Place:
        return self.decoder.installation.bare_topic(where.topic), where.partition

    def _named(self, arrived: Arrived) -> str:
        raw = arrived.raw
        return f"{type(arrived.facts).__name__} {arrived.id} ({raw.topic}[{raw.partition}] offset {raw.offset})"
