"""Reading the deployer's topic: from its beginning to its end, then on, for as long as the process lives."""

import asyncio
from collections.abc import Callable

import structlog

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events.codec import Malformed, Record
from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from cairn.events.hearing import HEARD
from cairn.subscriber import Entry, Offsets, end_offsets, read_log
from deployer.serving.speaking import Ground

RolloutTold = RolloutStarted | RolloutAdvanced | RolloutHeld | RolloutCompleted | RolloutAborted

_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
log = structlog.get_logger()


class Follower:
    """Hands every rollout event that counts to `take`, in the order of its model."""

    def __init__(self, context: Context, take: Callable[[RolloutTold, Ground], None]) -> None:
        self._context, self._take = context, take
        self._next: dict[tuple[str, int], int] = {}

    async def catch_up(self) -> None:
        """Read what is there now; waits for Kafka as long as it takes."""
        ends = await self._ends()
        await self._read(follow=False)
        self._next = {**ends, **self._next}

    async def follow(self) -> None:
        """Read on until cancelled."""
        while True:
            await self._read(follow=True)

    async def is_at_end(self) -> bool:
        """Wait until all was read that is in the log now; False when the log has become shorter than what was read.

        Waits for Kafka as long as it takes. To be asked after `catch_up`, while `follow` runs.
        """
        read = dict(self._next)
        ends = await self._ends()
        if any(ends.get(place, 0) < offset for place, offset in read.items()):
            return False
        while any(self._next.get(place, 0) < end for place, end in ends.items()):
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def _ends(self) -> Offsets:
        while True:
            try:
                return await end_offsets(self._context, HEARD["serving"])
            except (BrokerUnreachable, TopicRefused) as error:
                await _pause(error)

    async def _read(self, *, follow: bool) -> None:
        while True:
            try:
                async for entry in read_log(self._context, HEARD["serving"], dict(self._next), follow=follow):
                    self._hear(entry)
            except (BrokerUnreachable, TopicRefused) as error:
                await _pause(error)
            else:
                return

    def _hear(self, entry: Entry) -> None:
        record, heard = entry
        self._count(record)
        if isinstance(heard, Malformed):
            log.warning("routes.unfit", partition=record.partition, offset=record.offset, reason=heard.text)
        elif isinstance(heard.facts, RolloutTold):
            self._take(heard.facts, Ground(heard.message.ref, heard.message.envelope.story))

    def _count(self, record: Record) -> None:
        """Offsets are dense: a hole is a loss. The next route of a model is whole, so there is nothing to wait for."""
        expected = self._next.get((record.topic, record.partition), 0)
        if record.offset > expected:
            log.error("routes.lost", partition=record.partition, first=expected, last=record.offset - 1)
        self._next[record.topic, record.partition] = record.offset + 1


async def _pause(error: Exception) -> None:
    log.warning("routes.retry", error=str(error))
    await asyncio.sleep(_PAUSE_SECONDS)
