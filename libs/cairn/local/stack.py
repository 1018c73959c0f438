"""All of Cairn on one machine: Kafka, the services and a serving process, each its own process."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cairn.context import TRUST_FILE, UP_FILE, Context, Running, load_context
from cairn.events.catalogue import GATEWAY, SERVICES
from cairn.events.identity import Installation
from cairn.local.errors import Missing, StartFailed
from cairn.local.kafka import LocalKafka
from cairn.local.keys import ensure_keys
from cairn.local.ports import kept_ports
from cairn.local.supervisor import Program, Supervised
from cairn.topics import create_topics

_READY_SECONDS = 90.0
_BROKER_WATCH_SECONDS = 0.5
SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Options:
    """How to bring Cairn up."""

    home: Path
    installation: str = "cairn"
    person: str = "user"
    """The handle of the person whose key `keys/user.key` is."""
    bootstrap_servers: str = ""
    """A Kafka that runs elsewhere; empty starts one here."""
    fast_start: bool = False
    log_format: str = "console"
    gateway: Path | None = None
    """The gateway's configuration; without one there is no gateway."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further settings for the services; `<service>.<NAME>` is for one of them alone."""


class Stack:
    """Brings everything up in order, keeps it running, and stops it in reverse."""

    def __init__(self, options: Options, say: Callable[[str, str], None]) -> None:
        """Start nothing yet. `say` is given every line of output: the process's name, and the line."""
        self.options = options
        self._home = options.home.absolute()
        self._installation = Installation(options.installation)
        self._say = say
        self._kafka: LocalKafka | None = None
        self._servers = options.bootstrap_servers
        self._exits = AsyncExitStack()
        self.processes: dict[str, Supervised] = {}

    @property
    def context(self) -> Context:
        """How to reach what runs."""
        return load_context({}, self._home)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def kill(self, name: str) -> None:
        """Kill a service, `serving` or `kafka` without a warning; it is started again."""
        if name == "kafka":
            assert self._kafka, "this Kafka runs elsewhere"
            await self._kafka.kill()
        else:
            await self.processes[name].kill()

    async def _start(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        self._exits.callback(_lock(self._home).close)
        for folder in ("stores", "objects", "logs"):
            (self._home / folder).mkdir(exist_ok=True)
        ensure_keys(
            self._home / "keys",
            self._home / TRUST_FILE,
            self._installation,
            self.options.person,
            gateway=self.options.gateway is not None,
        )
        await self._start_kafka()
        await create_topics(self._servers, self._installation)
        names = (*SERVICES, SERVING, GATEWAY)
        ports = dict(zip(names, kept_ports(self._home / "ports.json", *[0] * len(names)), strict=True))
        for name in names if self.options.gateway else names[:-1]:
            process = Supervised(self._program(name, ports), self._say)
            self.processes[name] = process
            await process.start()
            self._exits.push_async_callback(process.stop)
        await asyncio.gather(*(process.until_ready(_READY_SECONDS) for process in self.processes.values()))
        self._tell_where(ports)

    async def _start_kafka(self) -> None:
        if self._servers:
            return
        self._say("kafka", "starting")
        self._kafka = await self._exits.enter_async_context(
            LocalKafka(self._home / "kafka", fast_start=self.options.fast_start)
        )
        self._servers = self._kafka.bootstrap_servers
        self._say("kafka", f"ready at {self._servers}")
        watch = asyncio.create_task(self._keep_kafka(self._kafka))
        self._exits.push_async_callback(_cancel, watch)

    async def _keep_kafka(self, kafka: LocalKafka) -> None:
        while True:
            await asyncio.sleep(_BROKER_WATCH_SECONDS)
            if not kafka.running:
                self._say("kafka", "ended; started again")
                try:
                    await kafka.start()
                except (StartFailed, Missing, OSError) as error:
                    self._say("kafka", str(error))

    def _program(self, name: str, ports: Mapping[str, int]) -> Program:
        module = "deployer.serving" if name == SERVING else name.replace("-", "_")
        return Program(
            name=name,
            command=(sys.executable, "-P", "-m", module),
            environment=self._environment(name, ports),
            log=self._home / "logs" / f"{name}.log",
            ready=lambda: _is_ready(ports[name]),
        )

    def _environment(self, name: str, ports: Mapping[str, int]) -> dict[str, str]:
        mine = {
            key.partition(".")[2]: value
            for key, value in self.options.environment.items()
            if key.startswith(f"{name}.")
        }
        for_all = {key: value for key, value in self.options.environment.items() if "." not in key}
        return {
            **os.environ,
            "CAIRN_INSTALLATION": self._installation.name,
            "KAFKA_BOOTSTRAP_SERVERS": self._servers,
            "DATABASE_URL": f"sqlite:///{self._home / 'stores' / name}.db",
            "CAIRN_OBJECTS": (self._home / "objects").as_uri(),
            "CAIRN_KEY_FILE": str(self._home / "keys" / f"{name}.key"),
            "CAIRN_TRUST_FILE": str(self._home / TRUST_FILE),
            "CAIRN_HOST": "127.0.0.1",
            "CAIRN_PORT": str(ports[name]),
            "CAIRN_SERVING_URL": f"http://127.0.0.1:{ports[SERVING]}",
            "LOG_FORMAT": self.options.log_format,
            **({"CAIRN_GATEWAY_FILE": str(self.options.gateway.absolute())} if self.options.gateway else {}),
            **for_all,
            **mine,
        }

    def _tell_where(self, ports: Mapping[str, int]) -> None:
        Running(
            pid=os.getpid(),
            installation=self._installation.name,
            bootstrap_servers=self._servers,
            objects=(self._home / "objects").as_uri(),
            services={name: f"http://127.0.0.1:{ports[name]}" for name in self.processes if name != SERVING},
            serving=f"http://127.0.0.1:{ports[SERVING]}",
        ).save(self._home)
        self._exits.callback((self._home / UP_FILE).unlink, missing_ok=True)


def _lock(home: Path) -> IO[str]:
    """Hold the home for this process. Raises StartFailed if another holds it."""
    file = (home / "up.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StartFailed(f"a Cairn runs from {home} already: stop it with `cairn down`") from None
    return file


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _is_ready(port: int) -> bool:
    """Whether the process at this port answers that it is ready."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1)
    except (OSError, TimeoutError):
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = await asyncio.wait_for(reader.readline(), 2)
        return b" 200 " in status
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
