"""Child processes that never outlive their parent."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

LINE_BYTES = 2**20
"""Longest line that `Child.lines` holds together; what is longer arrives in pieces."""

_CHUNK_BYTES = 2**16
_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    """A running process in a session of its own: a Ctrl-C in the terminal reaches the parent alone."""

    name: str
    pid: int
    _process: asyncio.subprocess.Process = field(repr=False)

    @property
    def exit_code(self) -> int | None:
        """None while it runs, then its exit code: negative is the number of the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end and give its exit code. Output that is not logged must be read meanwhile (`lines`)."""
        return await self._process.wait()

    async def terminate(self, grace_seconds: float) -> int:
        """Ask it to end (SIGTERM), and after the grace kill it with all that it started. Gives its exit code."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self.wait()
            self._kill_group()
        return await self.wait()

    async def kill(self) -> int:
        """Kill it with all that it started (SIGKILL), and wait for its end. Gives its exit code."""
        self.kill_now()
        return await self.wait()

    def kill_now(self) -> None:
        """Kill it with all that it started (SIGKILL); whoever waits for its end need not wait any more."""
        if self.exit_code is None:
            self._kill_group()

    async def lines(self) -> AsyncIterator[str]:
        """The lines of its output and errors as they come, without their ends. Only for a child without a log file."""
        if self._process.stdout is None:
            raise ValueError(f"{self.name} writes to its log file: there are no lines to read here")
        rest = b""
        while chunk := await self._process.stdout.read(_CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                whole, rest = [*whole, rest], b""
            for line in whole:
                yield line.decode(errors="replace").removesuffix("\r")
        if rest:
            yield rest.decode(errors="replace")

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


async def start(
    name: str,
    *command: str | Path,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    shown: bool = False,
) -> Child:
    """Start a program in a session of its own, with output and errors appended to `log` or readable as `Child.lines`.

    With `shown` they go where those of this process go.

    On Linux the kernel kills it when the thread that started it ends, however that ends: start children from the
    main thread. Elsewhere that protection does not exist, and a killed parent leaves its children running.
    Raises OSError when the program or the directory does not exist.
    """
    with ExitStack() as files:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None if shown else files.enter_context(log.open("ab")) if log else asyncio.subprocess.PIPE,
            stderr=None if shown else asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_death_with_parent(),
        )
    return Child(name, process.pid, process)


async def run(name: str, *command: str | Path, environment: Mapping[str, str]) -> int:
    """Run a program whose output goes where ours goes; gives its exit code. Cancelled, it ends the program first."""
    child = await start(name, *command, environment=environment, shown=True)
    try:
        return await child.wait()
    finally:
        await child.terminate(_STOP_SECONDS)


def _death_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Looked up here: between fork and exec another thread's lock (the loader's, the allocator's) may be held for ever.
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew: no signal will come any more
            os._exit(128 + signal.SIGKILL)

    return ask_the_kernel
