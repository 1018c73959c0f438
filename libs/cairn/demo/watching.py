"""Watches the log in the background, so that the story can wait for what it expects."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from cairn.broker import BrokerUnreachable
from cairn.context import Context
from cairn.events import Event
from cairn.events.codec import Heard
from cairn.subscriber import end_offsets, read_log

Facts = TypeVar("Facts", bound=Event)
_PAUSE_SECONDS = 0.5


class StoryStuck(Exception):
    """What was expected did not happen in time, or its opposite did."""


@dataclass(slots=True)
class Watch:
    """All that was told on some topics since the watch began."""

    context: Context
    topics: tuple[str, ...]
    heard: list[Heard] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin at the log's present end."""
        self._task = asyncio.create_task(self._follow(dict(await end_offsets(self.context, self.topics))))

    async def stop(self) -> None:
        """End the watch."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def told(self, kind: type[Facts], fits: Callable[[Facts], bool] = lambda _facts: True) -> list[Heard]:
        """What was told of this type so far."""
        return [one for one in self.heard if isinstance(one.facts, kind) and fits(one.facts)]

    async def until(
        self,
        kind: type[Facts],
        fits: Callable[[Facts], bool] = lambda _facts: True,
        *,
        never: Sequence[type[Event]] = (),
        seconds: float,
    ) -> Heard:
        """Wait for such an event; if it was told already, the first. Raises StoryStuck after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._news:
                while True:
                    if found := self.told(kind, fits):
                        return found[0]
                    self._refuse(never)
                    await self._news.wait()
        except TimeoutError:
            last = ", ".join(type(one.facts).__name__ for one in self.heard[-5:])
            raise StoryStuck(
                f"{kind.__name__} was not told within {seconds:g} s; the last events were {last or 'none'}"
            ) from None

    def _refuse(self, never: Sequence[type[Event]]) -> None:
        for one in self.heard:
            if isinstance(one.facts, tuple(never)):
                raise StoryStuck(f"{type(one.facts).__name__}: {one.facts.model_dump_json(exclude_none=True)[:1500]}")

    async def _follow(self, position: dict[tuple[str, int], int]) -> None:
        seen: set[tuple[str, str]] = set()
        while True:
            try:
                async with aclosing(read_log(self.context, self.topics, position, follow=True)) as log:
                    async for record, heard in log:
                        position[record.topic, record.partition] = record.offset + 1
                        if isinstance(heard, Heard) and _identity(heard) not in seen:
                            seen.add(_identity(heard))
                            async with self._news:
                                self.heard.append(heard)
                                self._news.notify_all()
            except BrokerUnreachable:
                await asyncio.sleep(_PAUSE_SECONDS)


def _identity(heard: Heard) -> tuple[str, str]:
    return heard.message.envelope.source, heard.message.envelope.id
