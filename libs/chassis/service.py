"""A service as it runs: its parts, made in one place, started in order and stopped in reverse."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
import uvicorn
from faststream.kafka import KafkaBroker

from cairn.children import Children
from cairn.events.codec import Record
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust
from cairn.objects import ObjectStore, StoreUnreachable, open_store, read_s3_settings
from chassis.consumer import Consumer
from chassis.database import Database, is_infrastructure
from chassis.definition import Appender, Definition
from chassis.failpoints import Failpoints
from chassis.health import make_app
from chassis.kafka import KafkaUnreachable, Log, Partition, new_producer, partitions_of
from chassis.metrics import Metrics
from chassis.outbox import count_waiting, earliest_unconfirmed
from chassis.positions import DECIDER, load_positions, save_positions
from chassis.processor import Outcome, Processor, StoreBehind, appending
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.standing import check_standing
from chassis.transaction import Voice
from chassis.waiting import Clerk
from chassis.work import Worker, void_leases

_CONNECT_SECONDS = 60.0
log = structlog.get_logger()


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class AppenderGap(Exception):
    """An appender's partition does not go on where its store ends."""


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
    def group(self) -> str:
        """The consumer group whose offsets say how far the service has come."""
        return f"{self.settings.installation}.{self.definition.name}"

    async def blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of the store in the store's one thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises StoreError, KafkaUnreachable and what ends a part for good."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.database.take_ownership(exclusive=False)
        server = self._make_server()
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
        if not task.done() and self._starting:
            task.cancel()
        await asyncio.gather(task, return_exceptions=task.cancelled())

    async def _start_and_wait(self, stop: asyncio.Event) -> None:
        await self.blocking(self.database.create_tables)
        await self._check_standing()
        children = Children(self.definition.preload)
        if self.definition.works and self.definition.preload:
            children.start()
        if self.database.is_sqlite:
            await self.blocking(self._void_leases)
        relay = self._make_relay()
        workers, clerks = self._make_workers(children), self._make_clerks()
        parts: list[Worker | Clerk] = [*workers, *clerks]
        self._wake = [relay.woken.set, *(one.woken.set for one in parts)]
        loop = asyncio.get_running_loop()
        self.processor.committed = partial(_call_soon, loop, self._committed)
        broker = self._make_broker()
        self._spawn("relay", relay.run())
        await self._start_broker(broker)
        for consumer in self._consumers:
            self._spawn(f"commit {consumer.name}", consumer.keep_committing())
            consumer.healthy = True
        for part in parts:
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
            except KafkaUnreachable as error:
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

    def _make_broker(self) -> KafkaBroker:
        broker = KafkaBroker(
            self.settings.bootstrap_servers,
            client_id=self.definition.name,
            logger=None,
            allow_auto_create_topics=False,
            apply_types=False,
            graceful_timeout=15.0,
            request_timeout_ms=15_000,
        )
        self._consumers = [self._make_decider(), *(self._make_appender(one) for one in self.definition.appenders)]
        for consumer in self._consumers:
            consumer.subscribe(broker, replicas=not self.database.is_sqlite)
        return broker

    async def _start_broker(self, broker: KafkaBroker) -> None:
        try:
            await asyncio.wait_for(broker.start(), _CONNECT_SECONDS)
        except TimeoutError:
            raise KafkaUnreachable(f"Kafka at {self.settings.bootstrap_servers} does not answer") from None

    def _make_decider(self) -> Consumer:
        return self._make_consumer(DECIDER, self.group, self.definition.hears, self.processor.take)

    def _make_appender(self, appender: Appender) -> Consumer:
        take = partial(take_raw, self.database, appender)
        return self._make_consumer(appender.name, f"{self.group}.{appender.name}", appender.topics, take)

    def _make_consumer(
        self, name: str, group: str, topics: tuple[str, ...], take: Callable[[Sequence[Record]], Any]
    ) -> Consumer:
        return Consumer(
            name=name,
            group=group,
            topics=topics,
            installation=self.processor.voice.installation,
            take=take,
            trailing=partial(trailing_offsets, self.database, name, topics),
            run_blocking=self.blocking,
            retries=lambda error: is_infrastructure(error) or isinstance(error, StoreUnreachable),
            observe=self._observe,
            session_milliseconds=self.settings.session_milliseconds,
        )

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

    def _make_relay(self) -> Relay:
        servers, name = self.settings.bootstrap_servers, self.definition.name
        return Relay(
            self.database,
            self.processor.voice.installation,
            lambda: new_producer(servers, f"{name}.relay"),
            self.blocking,
            self.failpoints,
        )

    def _make_workers(self, children: Children) -> list[Worker]:
        return [
            Worker(
                work,
                self.processor,
                self.database,
                self.objects,
                children,
                self.blocking,
                self.failpoints,
                self.settings.lease_seconds,
            )
            for work in self.definition.works
        ]

    def _make_clerks(self) -> list[Clerk]:
        return [
            Clerk(wait, self.processor, self.database, self.blocking, self.processor.clock)
            for wait in self.definition.waits
        ]

    def _make_server(self) -> uvicorn.Server:
        routes = self.definition.routes(self.database) if self.definition.routes else ()
        app = make_app(self.database, self.metrics, self._unready, self._measure, routes)
        config = uvicorn.Config(
            app, host=self.settings.host, port=self.settings.port, log_config=None, lifespan="off", access_log=False
        )
        server = uvicorn.Server(config)
        # Signals are the service's own: it drains before its port closes.
        server.capture_signals = _no_signals  # type: ignore[method-assign]  # uvicorn offers no setting for it
        return server

    def _unready(self) -> list[str]:
        stuck = [
            one.stopped or f"the consumer {one.name} waits for its store" for one in self._consumers if not one.healthy
        ]
        return [*(["starting"] if self._starting else []), *stuck]

    def _measure(self) -> None:
        self.metrics.waiting.set(count_waiting(self.database))


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)


def _no_signals() -> Any:
    return contextlib.nullcontext()


def take_raw(database: Database, appender: Appender, records: Sequence[Record]) -> int:
    """Store raw records of any partitions, each partition in order and without a gap. Raises StoreBehind."""
    with appending(database, appender.name) as (session, positions):
        moved: dict[Partition, int] = {}
        fresh: dict[Partition, list[Record]] = {}
        for record in records:
            where = (record.topic, record.partition)
            expected = moved.get(where, positions.get(where, 0))
            if record.offset < expected:
                continue
            if record.offset > expected:
                raise StoreBehind(f"{where[0]}/{where[1]} continues at {record.offset}, stored is {expected}")
            fresh.setdefault(where, []).append(record)
            moved[where] = record.offset + 1
        for batch in fresh.values():
            appender.append(session, batch)
        session.flush()
        save_positions(session.connection(), appender.name, moved)
    return len(records)


def trailing_offsets(database: Database, consumer: str, topics: tuple[str, ...]) -> dict[Partition, int]:
    """How far the group may say it has come: never past a record whose outbox rows Kafka has not confirmed."""
    with database.read() as session:
        positions = load_positions(session.connection(), consumer)
        waiting = earliest_unconfirmed(session.connection()) if consumer == DECIDER else {}
    offsets = {one: offset for one, offset in positions.items() if one[0] in topics}
    return offsets | {one: min(offset, offsets.get(one, offset)) for one, offset in waiting.items()}
