"""Reading the deployer's topic: from its beginning to its end, then on, for as long as the process lives."""

import asyncio
from collections.abc import Callable

import structlog

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.context import Context
from cairn.events.codec import Malformed
from cairn.events.deployment import RolloutAborted, RolloutAdvanced, RolloutCompleted, RolloutHeld, RolloutStarted
from cairn.events.hearing import HEARD
from cairn.subscriber import Entry, read_log
from deployer.serving.speaking import Ground

RolloutTold = RolloutStarted | RolloutAdvanced | RolloutHeld | RolloutCompleted | RolloutAborted

_PAUSE_SECONDS = 1.0
log = structlog.get_logger()


class Follower:
    """Hands every rollout event that counts to `take`, in the order of its model."""

    def __init__(self, context: Context, take: Callable[[RolloutTold, Ground], None]) -> None:
        self._context, self._take = context, take
        self._next: dict[tuple[str, int], int] = {}

    async def catch_up(self) -> None:
        """Read what is there now; waits for Kafka as long as it takes."""
        await self._read(follow=False)

    async def follow(self) -> None:
        """Read on until cancelled."""
        while True:
            await self._read(follow=True)

    async def _read(self, *, follow: bool) -> None:
        while True:
            try:
                async for entry in read_log(self._context, HEARD["serving"], dict(self._next), follow=follow):
                    self._hear(entry)
            except (BrokerUnreachable, TopicRefused) as error:
                log.warning("routes.retry", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    def _hear(self, entry: Entry) -> None:
        record, heard = entry
        self._next[record.topic, record.partition] = record.offset + 1
        if isinstance(heard, Malformed):
            log.warning("routes.unfit", partition=record.partition, offset=record.offset, reason=heard.text)
        elif isinstance(heard.facts, RolloutTold):
            self._take(heard.facts, Ground(heard.message.ref, heard.message.envelope.story))
