"""A service as it runs: its parts, made in one place, started in order and stopped in reverse."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from cairn.children import Children
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust
from cairn.objects import ObjectStore, open_store, read_s3_settings
from chassis.consumer import Consumer
from chassis.database import Database
from chassis.definition import Definition
from chassis.failpoints import Failpoints
from chassis.health import make_app
from chassis.kafka import KafkaUnreachable, Log, partitions_of
from chassis.leases import void_leases
from chassis.metrics import Metrics
from chassis.outbox import count_waiting
from chassis.positions import DECIDER
from chassis.processor import Outcome, Processor
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.standing import check_standing
from chassis.transaction import Voice
from chassis.waiting import Clerk
from chassis.wiring import Parts, make_server
from chassis.work import Worker

_CONNECT_SECONDS = 60.0
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
    _starting: bool = True
    _consumers: list[Consumer] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _wake: list[Callable[[], None]] = field(default_factory=list)
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def build(
        cls, definition: Definition, settings: ServiceSettings, clock: Callable[[], datetime] = wall_clock
    ) -> "Service":
        """Make every part; nothing connects before `run`. Raises TrustError, StoreError and what open_store raises."""
        installation = Installation(settings.installation)
        voice = Voice(definition.name, installation, Signer.load(settings.key_file), settings.commit_code)
        database = Database(settings.database_url.get_secret_value(), definition.tables)
        objects = open_store(
            settings.objects, s3=read_s3_settings(os.environ) if settings.objects.startswith("s3:") else None
        )
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
        """Run until SIGTERM or SIGINT. Raises StoreError, KafkaUnreachable and what ends a part for good."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.database.take_ownership(exclusive=False)
        routes = self.definition.routes(self.database) if self.definition.routes else ()
        for collector in self.definition.collectors(self.database) if self.definition.collectors else ():
            self.metrics.registry.register(collector)
        lifespan = self.definition.lifespan
        app = make_app(self.database, self.metrics, self._unready, self._measure, routes, lifespan)
        server = make_server(app, self.settings)
        serving = asyncio.create_task(server.serve())
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
        await self._check_standing()
        children = Children(self.definition.preload)
        if self.definition.works and self.definition.preload:
            children.start()
        if self.database.is_sqlite:
            await self.blocking(self._void_leases)
        parts = self._parts
        relay, broker = parts.make_relay(), parts.make_broker()
        self._consumers = parts.make_consumers(broker, self._observe)
        working: list[Worker | Clerk] = [*parts.make_workers(children), *parts.make_clerks()]
        self._wake = [relay.woken.set, *(one.woken.set for one in working)]
        loop = asyncio.get_running_loop()
        self.processor.committed = partial(_call_soon, loop, self._committed)
        self._spawn("relay", relay.run())
        await self._start_broker(broker)
        for consumer in self._consumers:
            self._spawn(f"commit {consumer.name}", consumer.keep_committing())
            consumer.healthy = True
        for part in working:
            self._spawn(type(part).__name__, part.run())
        self._starting = False
        log.info("service.ready", port=self.settings.port)
        await self._wait_for_end(stop)
        await self._drain(broker, relay)

    async def _wait_for_end(self, stop: asyncio.Event) -> None:
        stopping, failing = asyncio.create_task(stop.wait()), asyncio.create_task(self._failed.wait())
        await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.cancel()

    async def _drain(self, broker: KafkaBroker, relay: Relay) -> None:
        """Take nothing new, end what is under way, tell what waits, commit, let go."""
        log.info("service.stopping")
        broken = [task for task in self._tasks if task.done() and not task.cancelled() and task.exception()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await relay.stop()
        for consumer in self._consumers:
            await consumer.commit()
        try:
            await asyncio.wait_for(broker.stop(), 10)
        except TimeoutError:
            log.warning("service.broker_left")
        for task in broken:
            raise task.exception() or RuntimeError(task.get_name())

    def _spawn(self, name: str, running: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(running, name=name)
        task.add_done_callback(self._part_ended)
        self._tasks.append(task)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("service.part_failed", part=task.get_name(), error=repr(task.exception()))
            self._failed.set()

    def _committed(self) -> None:
        self.failpoints.reach("after-commit")
        for wake in self._wake:
            wake()

    def _void_leases(self) -> None:
        with self.database.begin() as session:
            void_leases(session)

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
                    await self._commit_beginning(kafka)
                return
            except (KafkaUnreachable, KafkaError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("service.waiting_for_kafka", error=str(error))
                await asyncio.sleep(1)

    async def _check_topics(self, kafka: Log) -> None:
        missing = await kafka.missing_topics(self.definition.hears)
        if missing:
            raise KafkaUnreachable(
                f"Kafka has no topic {', '.join(missing[:3])}: `cairn up` makes them, or `cairn prepare`"
            )

    async def _commit_beginning(self, kafka: Log) -> None:
        """The group's offsets are there from the first start on, so that a missing one means something."""
        committed = await kafka.committed(partitions_of(self.definition.hears))
        first = {one: 0 for one, offset in committed.items() if offset is None}
        if first:
            await kafka.commit(first)

    async def _start_broker(self, broker: KafkaBroker) -> None:
        try:
            await asyncio.wait_for(broker.start(), _CONNECT_SECONDS)
        except TimeoutError:
            raise KafkaUnreachable(f"Kafka at {self.settings.bootstrap_servers} does not answer") from None

    def _observe(self, outcome: Any, records: int) -> None:
        if not isinstance(outcome, Outcome):
            self.metrics.records.labels("appended").inc(records)
            return
        for name in ("applied", "skipped", "duplicates"):
            self.metrics.records.labels(name).inc(getattr(outcome, name))
        self.metrics.told.inc(outcome.told)
        for record, reason in outcome.parked:
            self.metrics.parked.labels(reason.code).inc()
            log.warning(
                "record.parked",
                place=f"{record.topic}/{record.partition}/{record.offset}",
                code=reason.code,
                reason=reason.text,
            )

    def _unready(self) -> list[str]:
        stuck = [
            one.stopped or f"the consumer {one.name} waits for its store" for one in self._consumers if not one.healthy
        ]
        return [*(["starting"] if self._starting else []), *stuck]

    def _measure(self) -> None:
        self.metrics.waiting.set(count_waiting(self.database))


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)
