"""Keeps child processes running: starts them, restarts what dies with backoff, carries their output, stops them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cairn.local import processes
from cairn.local.errors import StartFailed
from cairn.local.processes import Child

_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_GRACE_SECONDS = 20.0
_GIVE_UP = frozenset({2})
"""Exit codes that a restart cannot cure: the process said what a person must do."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to know that it serves."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Supervised:
    """One program that is kept running."""

    program: Program
    say: Callable[[str, str], None]
    """Given each line of its output: the program's name, and the line."""
    child: Child | None = None
    starts: int = 0
    given_up: str = ""
    """Why it is not started again, if it is not."""
    last_lines: list[str] = field(default_factory=list)
    _keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and keep it running from now on."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def until_ready(self, patience_seconds: float) -> None:
        """Wait until it serves. Raises StartFailed with its last lines."""
        deadline = time.monotonic() + patience_seconds
        while not await self.program.ready():
            if self.given_up or time.monotonic() > deadline:
                said = "\n  ".join(self.last_lines[-8:])
                raise StartFailed(f"{self.program.name} did not get ready. Its last words:\n  {said}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop it in order, and do not start it again."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self.child:
            await self.child.terminate(_GRACE_SECONDS)

    async def kill(self) -> None:
        """Kill it without a warning; it is started again."""
        if self.child:
            await self.child.kill()

    async def _launch(self) -> None:
        self.starts += 1
        self.child = await processes.start(
            self.program.name, *self.program.command, environment=self.program.environment
        )

    async def _keep(self) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            assert self.child
            began = time.monotonic()
            await self._carry(self.child)
            code = await self.child.wait()
            if code in _GIVE_UP:
                self.given_up = f"it ended with exit code {code}"
                self.say(self.program.name, f"not started again: {self.given_up}")
                return
            backoff = _FIRST_BACKOFF_SECONDS if time.monotonic() - began > _STEADY_SECONDS else backoff
            self.say(self.program.name, f"ended with exit code {code}; started again in {backoff:.1f} s")
            await asyncio.sleep(backoff)
            backoff = min(_LONGEST_BACKOFF_SECONDS, 2 * backoff)
            await self._launch()

    async def _carry(self, child: Child) -> None:
        with self.program.log.open("a") as log:
            async for line in child.lines():
                with contextlib.suppress(OSError):  # a full disk must not block the child at its own output
                    log.write(line + "\n")
                    log.flush()
                self.last_lines = [*self.last_lines[-19:], line]
                self.say(self.program.name, line)
