"""Waits: what is due is handled at its time, each in a transaction of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from chassis.backoff import backoff_seconds
from chassis.database import Database
from chassis.definition import Due, Wait
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
                seconds = backoff_seconds(failures, 0.2, _LONGEST_SECONDS)
            # Not by wait_for, which before Python 3.12 may lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.woken.wait()

    def handle_due(self) -> float:
        """Handle every wait that is over; the seconds until the next may be.

        Raises the first error, once all were tried.
        """
        with self.database.read() as session:
            due = self.wait.due(session, self.clock())
        errors = [error for one in due if (error := self._handle(one))]
        if errors:
            raise errors[0]
        with self.database.read() as session:
            next_at = self.wait.next_at(session)
        if next_at is None:
            return _LONGEST_SECONDS
        return min(_LONGEST_SECONDS, max(0.0, (next_at - self.clock()).total_seconds()))

    def _handle(self, due: Due) -> Exception | None:
        try:
            told = self.processor.step(due.origin, lambda step: self.wait.handle(due, step))
        except Exception as error:  # noqa: BLE001 # whatever went wrong, no other wait must wait for it
            return error
        if told or not self._is_still_due(due):  # another replica may have been quicker
            return None
        return SilentWait(f"{self.wait.name} told nothing for {due.origin.id}")

    def _is_still_due(self, one: Due) -> bool:
        with self.database.read() as session:
            return any(left.origin.id == one.origin.id for left in self.wait.due(session, self.clock()))
