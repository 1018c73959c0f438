"""Keeps child processes running: starts them, restarts what dies with backoff, carries their output, stops them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cairn.local import processes
from cairn.local.errors import StartFailed
from cairn.local.processes import Child

MOST_RESTARTS = 5
"""So often in a row is something started again that always ends soon; then it is given up."""

_FIRST_PAUSE_SECONDS = 0.2
_STEADY_SECONDS = 30.0
_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.05
_LAST_LINES_SECONDS = 1.0
_SHOWN_LINES = 8
_USAGE = 2
"""An exit code that a restart cannot cure: the process said what a person must do."""

Say = Callable[[str, str], None]
"""Given a line about a process: its name, and the line."""


@dataclass(slots=True)
class Restarts:
    """How often something has ended soon after its start, in a row."""

    count: int = 0

    def pause_seconds(self, ran_seconds: float) -> float | None:
        """It ended again: how long to wait before it is started again, None when it is given up."""
        self.count = 1 if ran_seconds > _STEADY_SECONDS else self.count + 1
        return None if self.count > MOST_RESTARTS else _FIRST_PAUSE_SECONDS * 2 ** (self.count - 1)


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
    say: Say
    """Told what becomes of it."""
    pass_on: Say
    """Given its output."""
    give_up: Say
    """Told why it is not started again."""
    child: Child | None = None
    starts: int = 0
    given_up: bool = False
    _last_lines: list[str] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and keep it running from now on."""
        self._stopping.clear()
        self.given_up = False
        self._keeper = asyncio.create_task(self._keep())

    async def until_ready(self, patience_seconds: float) -> None:
        """Wait until it serves. Raises StartFailed with its last lines."""
        deadline = time.monotonic() + patience_seconds
        while not await self.program.ready():
            if self.given_up or time.monotonic() > deadline:
                said = "\n  ".join(self._last_lines) or "nothing"
                raise StartFailed(f"{self.program.name} did not get ready. Its last words:\n  {said}")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop it in order, pass its last lines on, and do not start it again."""
        self._stopping.set()
        await self._terminate()
        if self._keeper:
            await asyncio.wait({self._keeper}, timeout=_LAST_LINES_SECONDS)
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._terminate()  # one that was just being started
        self.say(self.program.name, "stopped")

    async def kill(self) -> None:
        """Kill it without a warning; it is started again."""
        if self.child:
            await self.child.kill()

    async def _terminate(self) -> None:
        if self.child:
            await self.child.terminate(_GRACE_SECONDS)

    async def _keep(self) -> None:
        restarts = Restarts()
        while True:
            began = time.monotonic()
            code, ended = await self._run()
            if self._stopping.is_set():
                return
            pause = None if code == _USAGE else restarts.pause_seconds(time.monotonic() - began)
            if pause is None:
                self.given_up = True
                self.give_up(self.program.name, f"it {ended}, which a restart does not cure; see {self.program.log}")
                return
            self.say(self.program.name, f"{ended}; started again in {pause:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _run(self) -> tuple[int | None, str]:
        """Run it once to its end; its exit code, and how it ended, in words."""
        self.starts += 1
        program = self.program
        try:
            with program.log.open("a") as log:
                self.child = await processes.start(program.name, *program.command, environment=program.environment)
                await self._carry(self.child, log)
        except OSError as error:  # no memory, no process, no disk for its log
            return None, f"could not be run: {error}"
        code = await self.child.wait()
        return code, f"ended with exit code {code}"

    async def _carry(self, child: Child, log: IO[str]) -> None:
        async for line in child.lines():
            with contextlib.suppress(OSError):  # a full disk must not block the child at its own output
                log.write(line + "\n")
                log.flush()
            self._last_lines = [*self._last_lines, line][-_SHOWN_LINES:]
            self.pass_on(self.program.name, line)
