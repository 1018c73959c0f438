"""A service as it runs: its parts, made in one place, started in order and stopped in reverse."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from faststream.kafka import KafkaBroker

from cairn.broker import BrokerUnreachable, TopicRefused, reached
from cairn.children import Children
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust
from cairn.objects import ObjectStore
from chassis.consumer import Consumer
from chassis.database import Database, describe, is_infrastructure
from chassis.definition import Definition
from chassis.failpoints import Failpoints
from chassis.health import make_app
from chassis.kafka import KafkaUnreachable, Log
from chassis.leases import void_leases
from chassis.metrics import Metrics
from chassis.outbox import count_waiting
from chassis.positions import DECIDER
from chassis.processor import Processor
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.standing import begin_group, check_standing, refuse_unfinished
from chassis.transaction import Voice
from chassis.waiting import Clerk
from chassis.wiring import Parts, make_server, open_objects, open_port
from chassis.work import Worker

_CONNECT_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 5.0
"""How often a replica looks whether it holds its store still."""
log = structlog.get_logger()


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Service:
    """One process of one service."""

    definition: Definition
    settings: ServiceSettings
    database: Database
    processor: Processor
    objects: ObjectStore
    failpoints: Failpoints
    metrics: Metrics
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "store"))
    _port: int = 0
    _starting: bool = True
    _loading: bool = False
    _store_trouble: str = ""
    _relay: Relay | None = None
    _consumers: list[Consumer] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _wake: list[Callable[[], None]] = field(default_factory=list)
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(
        cls, definition: Definition, settings: ServiceSettings, clock: Callable[[], datetime] = wall_clock
    ) -> "Service":
        """Make every part; nothing connects before `run`.

        Raises TrustError, StoreError, SettingsError, and StoreUnreachable for objects that have no place.
        """
        installation = Installation(settings.installation)
        voice = Voice(definition.name, installation, Signer.load(settings.key_file), settings.commit_code)
        database = Database(settings.database_url.get_secret_value(), definition.tables)
        objects = open_objects(settings)
        trust = Trust.load(settings.trust_file)
        processor = Processor(definition, database, voice, trust, objects, clock)
        failpoints = Failpoints.parse(settings.failpoints, settings.failpoints_spent)
        return cls(definition, settings, database, processor, objects, failpoints, Metrics())

    @property
    def _parts(self) -> Parts:
        return Parts(
            self.definition,
            self.settings,
            self.database,
            self.processor,
            self.objects,
            self.failpoints,
            self.blocking,
        )

    @property
    def group(self) -> str:
        """The consumer group whose offsets say how far the service has come."""
        return self._parts.group

    async def blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of the store in the store's one thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises StoreError, KafkaUnreachable, SettingsError and what ends a part for good.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.database.take_ownership(exclusive=False)
        port = open_port(self.settings)
        self._port = port.getsockname()[1]
        routes = self.definition.routes(self.database) if self.definition.routes else ()
        for collector in self.definition.collectors(self.database) if self.definition.collectors else ():
            self.metrics.registry.register(collector)
        app = make_app(self.database, self.metrics, self._unready, self._measure, routes, self.definition.lifespan)
        server = make_server(app)
        serving = asyncio.create_task(server.serve([port]))
        try:
            await self._until_stopped(stop, self._start_and_wait(stop))
        finally:
            server.should_exit = True
            await serving
            self.database.close()
            self._threads.shutdown()

    async def _until_stopped(self, stop: asyncio.Event, running: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(running)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        given_up = not task.done() and self._starting
        if given_up:
            task.cancel()
        await asyncio.gather(task, return_exceptions=given_up)

    async def _start_and_wait(self, stop: asyncio.Event) -> None:
        await self.blocking(self.database.create_tables)
        await self.blocking(refuse_unfinished, self.database, self.definition.name)
        await self._check_standing()
        if self.database.is_sqlite:
            await self.blocking(self._void_leases)
        relay, broker = await self._start_parts()
        self._starting = False
        log.info("service.started", port=self._port)
        await self._wait_for_end(stop)
        await self._drain(broker, relay)

    async def _start_parts(self) -> tuple[Relay, KafkaBroker]:
        """Start all that must run; gives those two that are stopped by hand."""
        children = Children(self.definition.preload)
        if self.definition.works and self.definition.preload:
            children.start()
            self._spawn("children", self._load_children(children))
        parts = self._parts
        self._relay = relay = parts.make_relay()
        broker = parts.make_broker()
        self._consumers = parts.make_consumers(broker, self.metrics.observe)
        working: list[Worker | Clerk] = [*parts.make_workers(children), *parts.make_clerks()]
        self._wake = [relay.woken.set, *(one.woken.set for one in working)]
        self.processor.committed = partial(asyncio.get_running_loop().call_soon_threadsafe, self._committed)
        self._spawn("store", self._keep_store())
        self._spawn("relay", relay.run())
        await self._start_broker(broker)
        for consumer in self._consumers:
            self._spawn(f"consumer {consumer.name}", consumer.keep_going())
            consumer.healthy = True
        for part in working:
            self._spawn(type(part).__name__, part.run())
        return relay, broker

    async def _wait_for_end(self, stop: asyncio.Event) -> None:
        stopping, failing = asyncio.create_task(stop.wait()), asyncio.create_task(self._failed.wait())
        await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.cancel()

    async def _drain(self, broker: KafkaBroker, relay: Relay) -> None:
        """Take nothing new, end what is under way, tell what waits, commit, let go."""
        log.info("service.stopping")
        ended = [task for task in self._tasks if task.done() and not task.cancelled()]
        errors = [error for task in ended if (error := task.exception())]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await relay.stop()
        errors += [error for one in self._consumers if (error := await self._commit_last(one))]
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await broker.stop()
        except TimeoutError:
            log.warning("service.broker_left")
        for error in errors:
            raise error

    async def _commit_last(self, consumer: Consumer) -> Exception | None:
        """Commit once more; gives the error that no later start makes good."""
        try:
            await consumer.commit()
        except Exception as error:  # noqa: BLE001 # raised once all has ended
            log.warning("service.not_committed", consumer=consumer.name, error=repr(error))
            return None if consumer.retries(error) else error
        return None

    def _spawn(self, name: str, running: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(running, name=name)
        task.add_done_callback(self._part_ended)
        self._tasks.append(task)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("service.part_failed", part=task.get_name(), error=repr(task.exception()))
            self._failed.set()

    def _committed(self) -> None:
        if self.failpoints.is_armed("after-commit") and count_waiting(self.database):
            self.failpoints.reach("after-commit")
        for wake in self._wake:
            wake()

    def _void_leases(self) -> None:
        with self.database.begin() as session:
            void_leases(session)

    async def _keep_store(self) -> None:
        """Hold the store as long as the service runs; not ready while a rebuild has it. Raises StoreReplaced."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.blocking(self.database.keep_ownership)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                self._store_trouble = describe(error)
                log.warning("service.store_lost", error=self._store_trouble)
            else:
                self._store_trouble = ""

    async def _check_standing(self) -> None:
        """Wait for Kafka, then refuse to go on from a store that is behind the log."""
        deadline = asyncio.get_running_loop().time() + _CONNECT_SECONDS
        while True:
            try:
                async with Log.open(
                    self.settings.bootstrap_servers, self.processor.voice.installation, self.group
                ) as kafka:
                    await self._check_topics(kafka)
                    consumers = {DECIDER: self.definition.hears}
                    consumers |= {one.name: one.topics for one in self.definition.appenders}
                    await check_standing(self.database, self.processor, kafka, consumers)
                    await begin_group(self.database, kafka, self.definition.hears, self.blocking)
                return
            except KafkaUnreachable as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("service.waiting_for_kafka", error=str(error))
                await asyncio.sleep(1)

    async def _check_topics(self, kafka: Log) -> None:
        if missing := await kafka.missing_topics(self.definition.hears):
            raise KafkaUnreachable(
                f"Kafka has no topic {', '.join(missing[:3])}: `cairn up` makes them, or `cairn prepare`"
            )

    async def _load_children(self, children: Children) -> None:
        """Ready only with children to work at once: else the first work would wait for what they load."""
        self._loading = True
        await children.load()
        self._loading = False

    async def _start_broker(self, broker: KafkaBroker) -> None:
        try:
            await reached(broker.start(), self.settings.bootstrap_servers, _CONNECT_SECONDS, "subscribing")
        except (BrokerUnreachable, TopicRefused) as error:
            raise KafkaUnreachable(str(error)) from error

    def _unready(self) -> list[str]:
        starting = "starting" if self._starting else "loading what work needs" if self._loading else ""
        relay = self._relay.trouble if self._relay else ""
        consumers = [one.unready for one in self._consumers]
        return list(filter(None, [starting, self._store_trouble, *consumers, relay]))

    def _measure(self) -> None:
        self.metrics.waiting.set(count_waiting(self.database))
