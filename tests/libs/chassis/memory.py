"""Rebuilds without Kafka: the world's log, read as a rebuild reads the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace

from cairn.events.codec import Record
from chassis.kafka import Log, Partition
from chassis.rebuild import Rebuild
from chassis.testing import Actor, World


class MemoryLog(Log):
    """The log in memory, with the offsets that a group has committed."""

    def __init__(self, world: World, offsets: Mapping[Partition, int], choose: Callable[[int], int]) -> None:
        self._world = world
        self._offsets = offsets
        self._choose = choose
        """Which of so many partitions the next record comes from."""

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        return {one: self._offsets.get(one, 0) for one in partitions}

    async def beginnings(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return {one: len(self._world.log.get(one, [])) for one in partitions}

    async def read(self, start: Mapping[Partition, int], end: Mapping[Partition, int]) -> AsyncIterator[Record]:
        left = {one: self._world.log[one][first : end[one]] for one, first in start.items() if first < end[one]}
        while left := {one: records for one, records in left.items() if records}:
            yield left[list(left)[self._choose(len(left))]].pop(0)


def rebuild(
    actor: Actor, committed: Mapping[Partition, int] | None = None, choose: Callable[[int], int] = lambda count: 0
) -> None:
    """Lose the actor's store and make it anew from the log; its group has come to `committed`, or to where it was.

    A rebuild is a process of its own, so the service starts after it.
    """
    offsets = dict(actor.offsets if committed is None else committed)
    log = MemoryLog(actor.world, offsets, choose)
    asyncio.run(Rebuild(actor.definition, actor.database, actor.processor, log, log, lambda *_: None).run())
    actor.offsets = offsets
    actor.processor = replace(actor.processor)
