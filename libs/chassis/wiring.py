"""Makes the parts of a running service and joins them: consumers, relay, workers, waits, the HTTP server."""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from faststream.kafka import KafkaBroker

from cairn.broker import BrokerUnreachable, TopicRefused
from cairn.children import Children
from cairn.events.codec import Record
from cairn.objects import ObjectStore, StoreUnreachable, open_store, read_s3_settings
from cairn.streaming import RecordBroker
from chassis.appending import take_raw
from chassis.consumer import Consumer
from chassis.database import Database, is_infrastructure
from chassis.definition import Appender, Definition
from chassis.failpoints import Failpoints
from chassis.kafka import Partition, new_producer
from chassis.outbox import earliest_unconfirmed
from chassis.positions import DECIDER, load_positions
from chassis.processor import Processor
from chassis.relay import Relay
from chassis.settings import ServiceSettings, SettingsError
from chassis.waiting import Clerk
from chassis.work import Worker


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of one service share."""

    definition: Definition
    settings: ServiceSettings
    database: Database
    processor: Processor
    objects: ObjectStore
    failpoints: Failpoints
    blocking: Callable[..., Awaitable[Any]]
    """Runs a function of the store in the store's one thread."""

    @property
    def group(self) -> str:
        """The consumer group whose offsets say how far the service has come."""
        return f"{self.settings.installation}.{self.definition.name}"

    def make_broker(self) -> KafkaBroker:
        """The FastStream broker, not connected."""
        return RecordBroker(
            self.settings.bootstrap_servers,
            client_id=self.definition.name,
            logger=None,
            allow_auto_create_topics=False,
            apply_types=False,
            graceful_timeout=15.0,
            request_timeout_ms=15_000,
        )

    def make_consumers(self, broker: KafkaBroker, observe: Callable[[Any, int], None]) -> list[Consumer]:
        """The decider and the appenders, subscribed."""
        # What was aborted is no event; but the log has it, and what is kept raw is the log.
        decider = self._consumer(
            DECIDER, self.group, self.definition.hears, self.processor.take, observe, "read_committed"
        )
        consumers = [decider, *(self._appender(one, observe) for one in self.definition.appenders)]
        for consumer in consumers:
            consumer.subscribe(broker, replicas=not self.database.is_sqlite)
        return consumers

    def _appender(self, appender: Appender, observe: Callable[[Any, int], None]) -> Consumer:
        take = partial(take_raw, self.database, appender)
        group = f"{self.group}.{appender.name}"
        return self._consumer(appender.name, group, appender.topics, take, observe, "read_uncommitted")

    def _consumer(
        self,
        name: str,
        group: str,
        topics: tuple[str, ...],
        take: Callable[[Sequence[Record], Mapping[Partition, int]], Any],
        observe: Callable[[Any, int], None],
        isolation_level: str,
    ) -> Consumer:
        return Consumer(
            name=name,
            group=group,
            topics=topics,
            installation=self.processor.voice.installation,
            servers=self.settings.bootstrap_servers,
            take=take,
            trailing=partial(trailing_offsets, self.database, name, topics),
            run_blocking=self.blocking,
            retries=_may_pass,
            observe=observe,
            isolation_level=isolation_level,
            session_milliseconds=self.settings.session_milliseconds,
        )

    def make_relay(self) -> Relay:
        """The relay of the outbox."""
        servers, name = self.settings.bootstrap_servers, self.definition.name
        return Relay(
            self.database,
            self.processor.voice.installation,
            lambda: new_producer(servers, f"{name}.relay"),
            self.blocking,
            self.failpoints,
        )

    def make_workers(self, children: Children) -> list[Worker]:
        """One worker for each kind of work."""
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

    def make_clerks(self) -> list[Clerk]:
        """One clerk for each kind of wait."""
        return [
            Clerk(wait, self.processor, self.database, self.blocking, self.processor.clock)
            for wait in self.definition.waits
        ]


def _may_pass(error: BaseException) -> bool:
    return is_infrastructure(error) or isinstance(error, StoreUnreachable | BrokerUnreachable | TopicRefused)


def open_objects(settings: ServiceSettings) -> ObjectStore:
    """The object store that all services share. Raises SettingsError, and StoreUnreachable where no folder can be."""
    place = settings.objects
    try:
        return open_store(place, s3=read_s3_settings(os.environ) if place.startswith("s3:") else None)
    except ValueError as error:
        raise SettingsError(f"CAIRN_OBJECTS: {error}") from None


def open_port(settings: ServiceSettings) -> socket.socket:
    """Open the service's own port; a free one is chosen for 0. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # the address, which follows, is said here
        raise SettingsError(
            f"CAIRN_HOST, CAIRN_PORT: {settings.host}:{settings.port} cannot be opened ({why}): stop what uses it, or "
            "name another"
        ) from None


def make_server(app: Any) -> uvicorn.Server:
    """The HTTP server of the service's own port. Signals stay the service's: it drains before its port closes."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", access_log=False))
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]  # uvicorn offers no setting for it
    return server


def trailing_offsets(database: Database, consumer: str, topics: tuple[str, ...]) -> dict[Partition, int]:
    """How far the group may say it has come: never past a record whose outbox rows Kafka has not confirmed."""
    with database.read() as session:
        positions = load_positions(session.connection(), consumer)
        waiting = earliest_unconfirmed(session.connection()) if consumer == DECIDER else {}
    offsets = {one: offset for one, offset in positions.items() if one[0] in topics}
    return offsets | {one: min(offset, offsets.get(one, offset)) for one, offset in waiting.items()}
