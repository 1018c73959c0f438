"""Starting a server and waiting until it serves."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cairn.local import processes
from cairn.local.errors import StartFailed
from cairn.local.processes import Child

_PAUSE_SECONDS = 0.1
_TAIL_LINES = 20
_TAIL_BYTES = 8192


@dataclass(frozen=True)
class LogMark:
    """The end of a log file at one moment: what stands behind it was written since."""

    path: Path
    position: int

    @staticmethod
    def of(path: Path) -> "LogMark":
        """The end of this file now; it need not exist."""
        return LogMark(path, path.stat().st_size if path.exists() else 0)

    def last_lines(self) -> str:
        """The last lines that were written since, as a paragraph for an error message."""
        with self.path.open("rb") as file:
            file.seek(max(self.position, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        if not lines:
            return f"It wrote nothing into its log, {self.path}."
        return f"Its last lines in {self.path}:\n" + "\n".join(f"  {line}" for line in lines)


async def start_ready(
    name: str,
    *command: str | Path,
    directory: Path,
    environment: Mapping[str, str],
    log: Path,
    answers: Callable[[], Awaitable[bool]],
    patience_seconds: float,
) -> Child:
    """Start a server and wait until it answers. Whatever goes wrong, none is left running.

    Raises StartFailed when it ends or does not answer in time.
    """
    mark = LogMark.of(log)
    child = await processes.start(name, *command, directory=directory, environment=environment, log=log)
    try:
        await _until_ready(child, mark, answers, patience_seconds)
    except BaseException:
        await child.kill()
        raise
    return child


async def _until_ready(
    child: Child, mark: LogMark, answers: Callable[[], Awaitable[bool]], patience_seconds: float
) -> None:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + patience_seconds
    while child.exit_code is None:
        if await answers():
            return
        if clock.time() > deadline:
            raise StartFailed(
                f"{child.name} does not answer {patience_seconds:g} s after its start. {mark.last_lines()}"
            )
        await asyncio.sleep(_PAUSE_SECONDS)
    raise StartFailed(f"{child.name} ended while starting, with exit code {child.exit_code}. {mark.last_lines()}")
