"""Waits: what is due is handled at its time, each in a transaction of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from chassis.database import Database
from chassis.definition import Wait
from chassis.processor import Processor

_LONGEST_SECONDS = 30.0
log = structlog.get_logger()


class SilentWait(Exception):
    """A wait's handler told nothing: the wait would be due for ever."""


@dataclass(slots=True)
class Clerk:
    """Watches one kind of wait."""

    wait: Wait
    processor: Processor
    database: Database
    run_blocking: Callable[..., Awaitable[Any]]
    clock: Callable[[], datetime]
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Handle what is due until cancelled."""
        failures = 0
        while True:
            self.woken.clear()
            try:
                seconds = await self.run_blocking(self.handle_due)
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 # a wait must not be forgotten for any trouble
                failures += 1
                log.warning("wait.retry", wait=self.wait.name, error=repr(error))
                seconds = min(_LONGEST_SECONDS, 0.2 * 2**failures)
            try:
                await asyncio.wait_for(self.woken.wait(), seconds)
            except TimeoutError:
                continue

    def handle_due(self) -> float:
        """Handle every wait that is over; the seconds until the next may be."""
        with self.database.read() as session:
            due = self.wait.due(session, self.clock())
        for one in due:
            told = self.processor.step(one.origin, lambda step, one=one: self.wait.handle(one, step))  # type: ignore[misc]  # a default binds the loop's value
            if not told:
                raise SilentWait(f"{self.wait.name} told nothing for {one.origin.id}")
        with self.database.read() as session:
            next_at = self.wait.next_at(session)
        if next_at is None:
            return _LONGEST_SECONDS
        return min(_LONGEST_SECONDS, max(0.0, (next_at - self.clock()).total_seconds()))
