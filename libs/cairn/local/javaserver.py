"""A server on Java as a child process: what Kafka and the S3 server have in common."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cairn.local.classes import ClassArchive
from cairn.local.jars import Jar, fetch, jar_cache
from cairn.local.java import find_java, java_environment
from cairn.local.ports import kept_ports, refuse_taken_ports
from cairn.local.processes import Child
from cairn.local.readiness import start_ready


class JavaServer(ABC):
    """One server on 127.0.0.1, with all that it keeps in one directory.

    Started again in the same directory it has the same content and the same address. A subclass says what it is
    called and how patient to be with it, and how it is started.
    """

    name: ClassVar[str]
    log_name: ClassVar[str]
    patience_seconds: ClassVar[float]
    """How long it may take until it answers."""
    grace_seconds: ClassVar[float]
    """How long it may take to stop in order."""

    def __init__(self, directory: Path, *wanted_ports: int) -> None:
        """Start nothing yet. A port of 0 is a free one, chosen at the first start and kept."""
        self.directory = directory.absolute()
        self._wanted_ports = wanted_ports
        self._ports: tuple[int, ...] = ()
        self._child: Child | None = None
        self._classes: ClassArchive | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens; the first is the one for clients. Raises RuntimeError before the first start."""
        if not self._ports:
            raise RuntimeError(f"{self.name} has no address before its first start: await start() first")
        return self._ports

    @property
    def log(self) -> Path:
        """The file that its own log goes to."""
        return self.directory / self.log_name

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.exit_code is None

    async def start(self) -> None:
        """Start it and return when it serves; at the first use it is fetched.

        Raises Missing without Java or jars, StartFailed with the last lines of its log, RuntimeError while it runs.
        """
        if self.running:
            raise RuntimeError(f"{self.name} runs already, at 127.0.0.1:{self.ports[0]}")
        java = (await asyncio.to_thread(find_java)).path
        files = await self._fetch()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports = kept_ports(self.directory / "ports.json", *self._wanted_ports)
        refuse_taken_ports(self.name, self._ports)
        self._classes = ClassArchive.of(java, files, self.directory)
        command = await self.prepare(java, files, self._classes)
        self._child = await start_ready(
            self.name,
            *command,
            directory=self.directory,
            environment=java_environment(),
            log=self.log,
            answers=self.answers,
            patience_seconds=self.patience_seconds,
        )

    async def _fetch(self) -> list[Path]:
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(fetch, self.jars(), jar_cache(), given_up)
        finally:
            given_up.set()  # a thread is not cancelled, and the end of the program waits for it

    async def stop(self) -> None:
        """Stop it in order: it writes what it holds. Does nothing when it does not run."""
        if self._child is not None:
            exit_code = await self._child.terminate(self.grace_seconds)
            if self._classes and exit_code >= 0:  # who was killed may have left half of it
                await asyncio.to_thread(self._classes.keep)

    async def kill(self) -> None:
        """Kill it without a warning (SIGKILL), for tests. Does nothing when it does not run."""
        if self._child is not None:
            await self._child.kill()

    def kill_now(self) -> None:
        """Kill it in the middle of whatever it does, for who cannot wait. Does nothing when it does not run."""
        if self._child is not None:
            self._child.kill_now()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @abstractmethod
    def jars(self) -> Sequence[Jar]:
        """What it consists of."""

    @abstractmethod
    async def prepare(self, java: Path, files: Sequence[Path], classes: ClassArchive) -> Sequence[str | Path]:
        """Write what it reads at its start into its directory, and give the command that starts it there."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it serves."""
