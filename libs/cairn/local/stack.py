"""All of Cairn on one machine: Kafka, the services and a serving process, each its own process."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cairn.broker import BrokerUnreachable, reached
from cairn.context import TRUST_FILE, UP_FILE, Context, NotRunning, Running, load_context
from cairn.events.catalogue import GATEWAY, SERVICES
from cairn.events.identity import Installation
from cairn.holding import hold
from cairn.local.errors import Missing, StartFailed
from cairn.local.kafka import LocalKafka
from cairn.local.keys import ensure_keys
from cairn.local.packages import package_of, refuse_absent
from cairn.local.ports import kept_ports
from cairn.local.processes import run
from cairn.local.supervisor import Program, Restarts, Say, Supervised
from cairn.topics import create_topics

_READY_SECONDS = 90.0
_BROKER_WATCH_SECONDS = 0.5
_TOPICS_SECONDS = 60.0
_ANSWER_SECONDS = 2.0
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
    objects: str = ""
    """An object store elsewhere, whose bucket exists; empty keeps objects in the home."""
    admitted: tuple[str, ...] = ()
    """Upstream systems whose unsigned events count, by their sources."""
    fast_start: bool = False
    log_format: str = "console"
    gateway: Path | None = None
    """The gateway's configuration; without one there is no gateway."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further settings for the services; `<service>.<NAME>` is for one of them alone."""


class Stack:
    """Brings everything up in order, keeps it running, and stops it in reverse.

    What ends is started again; what goes on ending is given up, and the rest goes on: what is told waits in Kafka.
    """

    def __init__(self, options: Options, say: Say, pass_on: Say = lambda _name, _line: None) -> None:
        """Start nothing yet. `say` is told what becomes of each process, `pass_on` is given their output."""
        self.options = options
        self._home = options.home.absolute()
        self._installation = Installation(options.installation)
        self._say = say
        self._pass_on = pass_on
        self._kafka: LocalKafka | None = None
        self._kafka_keeper: asyncio.Task[None] | None = None
        self._servers = options.bootstrap_servers
        self._running: Running | None = None
        self._exits = AsyncExitStack()
        self.processes: dict[str, Supervised] = {}
        self.given_up: dict[str, str] = {}
        """What is not started again, each with the reason."""

    @property
    def _objects(self) -> str:
        return self.options.objects or (self._home / "objects").as_uri()

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
        self._say("cairn", "stopping in reverse order")
        await self._exits.aclose()

    async def kill(self, name: str) -> None:
        """Kill a service, `serving` or `kafka` without a warning; it is started again."""
        if name == "kafka":
            assert self._kafka, "this Kafka runs elsewhere"
            await self._kafka.kill()
        else:
            await self.processes[name].kill()

    def kill_now(self) -> None:
        """Kill everything, for who does not want to wait for an orderly stop that is under way. Nothing is lost."""
        for process in self.processes.values():
            if process.child:
                process.child.kill_now()
        if self._kafka:
            self._kafka.kill_now()

    async def run(self) -> None:
        """Run until cancelled. Raises StartFailed when Kafka cannot be kept running: without it nothing goes on."""
        await (self._kafka_keeper or asyncio.Event().wait())

    async def run_alone(self, service: str, command: str) -> int:
        """Run one command of a service with nothing but Kafka beside it; gives its exit code.

        Raises HomeHeld while a Cairn runs from this home, NotRunning where none ever did.
        """
        self._refuse_empty_home()
        async with self._exits:
            self._exits.callback((await asyncio.to_thread(hold, self._home)).close)
            await self._start_kafka()
            return await self._run(service, command)

    async def look_at_store(self, service: str, command: str, *flags: str) -> int:
        """Run one command of a service that only looks at its store; gives its exit code. Raises NotRunning."""
        self._refuse_empty_home()
        self._servers = self._servers or "127.0.0.1:9092"  # a setting that every service wants; nobody is asked
        return await self._run(service, command, *flags)

    async def _run(self, service: str, command: str, *flags: str) -> int:
        refuse_absent([service])
        program = self._program(service, self._ports())
        return await run(service, *program.command, command, *flags, environment=program.environment)

    def _refuse_empty_home(self) -> None:
        if not (self._home / "stores").is_dir():
            raise NotRunning(f"no Cairn ever ran from {self._home}: name its home with --home or CAIRN_HOME")

    def _ports(self) -> dict[str, int]:
        names = (*SERVICES, SERVING, GATEWAY)
        return dict(zip(names, kept_ports(self._home / "ports.json", *[0] * len(names)), strict=True))

    async def _start(self) -> None:
        refuse_absent((*SERVICES, *((GATEWAY,) if self.options.gateway else ())))
        self._home.mkdir(parents=True, exist_ok=True)
        self._exits.callback((await asyncio.to_thread(hold, self._home)).close)
        self._tell_nothing()  # a killed one may have left something
        for folder in ("stores", "objects", "logs"):
            (self._home / folder).mkdir(exist_ok=True)
        ensure_keys(
            self._home / "keys",
            self._home / TRUST_FILE,
            self._installation,
            self.options.person,
            admitted=self.options.admitted,
            gateway=self.options.gateway is not None,
        )
        await self._start_kafka()
        await self._make_topics()
        ports = self._ports()
        self._exits.push_async_callback(self._stop_processes)
        for name in (*SERVICES, SERVING, *((GATEWAY,) if self.options.gateway else ())):
            self.processes[name] = Supervised(self._program(name, ports), self._say, self._pass_on, self._give_up)
            await self.processes[name].start()
        await self._until_ready()
        self._tell_where(ports)

    async def _stop_processes(self) -> None:
        """The last that was started first: what is asked for predictions and events, then what hears of them."""
        for process in reversed(self.processes.values()):
            await process.stop()

    async def _until_ready(self) -> None:
        try:
            async with asyncio.TaskGroup() as waiting:
                for process in self.processes.values():
                    waiting.create_task(process.until_ready(_READY_SECONDS))
        except BaseExceptionGroup as failed:  # one that failed says enough
            raise failed.exceptions[0] from None

    async def _start_kafka(self) -> None:
        if self._servers:
            return
        self._say("kafka", "starting")
        self._kafka = LocalKafka(self._home / "kafka", fast_start=self.options.fast_start)
        await self._exits.enter_async_context(self._kafka)
        self._servers = self._kafka.bootstrap_servers
        self._say("kafka", f"ready at {self._servers}")
        self._kafka_keeper = asyncio.create_task(self._keep_kafka(self._kafka))
        self._exits.push_async_callback(_cancel, self._kafka_keeper)

    async def _make_topics(self) -> None:
        making = create_topics(self._servers, self._installation)
        try:
            await reached(making, self._servers, _TOPICS_SECONDS, "making topics")
        except BrokerUnreachable as error:
            if self._kafka:
                raise
            cure = "start that Kafka, correct KAFKA_BOOTSTRAP_SERVERS, or unset it to have one started here"
            raise BrokerUnreachable(f"{error}; {cure}") from None

    async def _keep_kafka(self, kafka: LocalKafka) -> None:
        restarts = Restarts()
        began = time.monotonic()
        while True:
            await asyncio.sleep(_BROKER_WATCH_SECONDS)
            if kafka.running:
                continue
            pause = restarts.pause_seconds(time.monotonic() - began)
            if pause is None:
                raise StartFailed(f"Kafka cannot be kept running; see {kafka.log}")
            self._say("kafka", f"ended; started again in {pause:.1f} s")
            await asyncio.sleep(pause)
            began = time.monotonic()
            try:
                await kafka.start()
            except (StartFailed, Missing, OSError) as error:
                self._say("kafka", str(error))

    def _give_up(self, name: str, why: str) -> None:
        self.given_up[name] = why
        self._say(name, f"given up: {why}")
        if self._running:
            self._running = self._running.model_copy(update={"given_up": dict(self.given_up)})
            self._running.save(self._home)

    def _program(self, name: str, ports: Mapping[str, int]) -> Program:
        module = "deployer.serving" if name == SERVING else package_of(name)
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
            "CAIRN_OBJECTS": self._objects,
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
        self._running = Running(
            installation=self._installation.name,
            bootstrap_servers=self._servers,
            objects=self._objects,
            services={name: f"http://127.0.0.1:{ports[name]}" for name in self.processes if name != SERVING},
            serving=f"http://127.0.0.1:{ports[SERVING]}",
        )
        self._running.save(self._home)
        self._exits.callback(self._tell_nothing)

    def _tell_nothing(self) -> None:
        self._running = None
        (self._home / UP_FILE).unlink(missing_ok=True)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _is_ready(port: int) -> bool:
    """Whether the process at this port answers that it is ready."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
    except OSError:  # as a timeout is
        return False
