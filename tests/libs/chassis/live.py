"""The toy on a real Kafka, in this process: wired as a running service is, one step at a time."""

import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from tests.libs.chassis.toy import HEARS, NAME, Toy

from cairn.broker import partition_of
from cairn.events.codec import Outgoing, Record
from cairn.events.event import Event
from cairn.events.identity import Installation
from cairn.topics import create_topics
from chassis import ledger
from chassis.failpoints import Failpoints
from chassis.kafka import Log, Partition, new_producer, partitions_of
from chassis.positions import DECIDER, load_positions
from chassis.processor import Outcome
from chassis.rebuild import Rebuild
from chassis.relay import Relay
from chassis.standing import check_standing
from chassis.testing import Actor, World
from chassis.wiring import trailing_offsets


async def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function of the store right here."""
    return function(*arguments)


@dataclass
class Live:
    """The toy, its store, its place in Kafka."""

    servers: str
    world: World
    """Its keys, its clock, and how events are written; nothing lies on the world's own log."""
    toy: Toy
    actor: Actor
    log: Log
    """The log, opened with the service's group."""
    producer: AIOKafkaProducer
    relays: list[Relay] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def begin(cls, servers: str, folder: Path, database_url: str | None = None) -> "AsyncIterator[Live]":
        """A new installation with its topics, and the toy on an empty store; its group begins at 0."""
        world = World(folder, Installation(f"test-{secrets.token_hex(6)}"))
        await create_topics(servers, world.installation)
        toy = Toy()
        actor = world.add(toy.definition(), database_url or f"sqlite:///{folder / 'toy.db'}")
        producer = new_producer(servers, "tests")
        await producer.start()
        async with Log.open(servers, world.installation, f"{world.installation.name}.{NAME}") as log:
            live = cls(servers, world, toy, actor, log, producer)
            try:
                await live.commit(dict.fromkeys(partitions_of(HEARS), 0))
                yield live
            finally:
                for relay in live.relays:
                    await relay.stop()
                await producer.stop()
                actor.database.close()

    async def publish(self, *events: Event, **attributes: Any) -> list[Partition]:
        """Have the owners of their topics publish events; where they lie."""
        return [await self.send(self.written(event, **attributes)) for event in events]

    def written(self, event: Event, **attributes: Any) -> Outgoing:
        """An event as its owner writes it."""
        record = self.world.publish(event, **attributes)
        self.world.log.clear()
        assert record.key is not None
        assert record.value is not None
        headers = tuple((name, value or b"") for name, value in record.headers)
        return Outgoing(self.world.installation.topic(record.topic), record.key, headers, record.value)

    async def send(self, outgoing: Outgoing) -> Partition:
        """Write bytes to Kafka."""
        topic = self.world.installation.bare_topic(outgoing.topic)
        partition = partition_of(topic, outgoing.key)
        await self.producer.send_and_wait(
            outgoing.topic, outgoing.value, outgoing.key, partition, headers=list(outgoing.headers)
        )
        return topic, partition

    async def hear(self, *events: Event, **attributes: Any) -> Outcome:
        """Publish events, one after another, and take each from Kafka in a batch of its own."""
        whole = Outcome()
        for event in events:
            await self.publish(event, **attributes)
            outcome = await self.take_new()
            whole.add(outcome)
            whole.parked += outcome.parked
        return whole

    async def take_new(self) -> Outcome:
        """Take what lies beyond the store's positions, as one batch."""
        with self.actor.database.read() as session:
            positions = load_positions(session.connection(), DECIDER)
        ends = await self.log.ends(partitions_of(HEARS))
        start = {one: positions.get(one, 0) for one in ends}
        return self.actor.take([record async for record in self.log.read(start, ends)])

    async def lying_on(self, *topics: str) -> list[Record]:
        """All that lies on these topics."""
        ends = await self.log.ends(partitions_of(topics))
        return [record async for record in self.log.read(dict.fromkeys(ends, 0), ends)]

    async def work(self) -> None:
        """Do what slow work is pending."""
        await self.actor._work()

    def new_relay(self) -> Relay:
        """One more relay on this store."""
        relay = Relay(
            self.actor.database,
            self.world.installation,
            lambda: new_producer(self.servers, f"{NAME}.relay"),
            blocking,
            Failpoints({}),
        )
        self.relays.append(relay)
        return relay

    async def relay(self) -> None:
        """Carry the whole outbox to Kafka."""
        relay = self.relays[0] if self.relays else self.new_relay()
        while await relay.publish_waiting():
            pass

    async def commit(self, offsets: dict[Partition, int] | None = None) -> None:
        """Commit what may be committed."""
        await self.log.commit(trailing_offsets(self.actor.database, DECIDER, HEARS) if offsets is None else offsets)

    async def settle(self) -> None:
        """Carry out what waits and commit."""
        await self.relay()
        await self.commit()

    async def check(self) -> None:
        """What a start asks of the store."""
        await check_standing(self.actor.database, self.actor.processor, self.log, {DECIDER: HEARS})

    async def rebuild(
        self, progress: Callable[[str, int, int], None] = lambda *_: None, log: Log | None = None
    ) -> None:
        """Make the store anew, and start again."""
        actor = self.actor
        async with Log.open(self.servers, self.world.installation, isolation_level="read_committed") as heard:
            log = log or self.log
            await Rebuild(actor.definition, actor.database, actor.processor, log, heard, progress).run()
        actor.processor = replace(actor.processor)

    def lose_store(self) -> None:
        """Delete all that the store held."""
        for metadata in (self.actor.definition.tables.metadata, ledger.METADATA):
            metadata.drop_all(self.actor.database.engine)
        self.actor.database.create_tables()

    def copy_store(self, name: str) -> Path:
        """A copy of the store as it is now; it lies on SQLite."""
        copy = self.world.directory / name
        with self.actor.database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql(f"VACUUM INTO '{copy}'")
        return copy

    def put_back_store(self, copy: Path) -> None:
        """Go on from a copy."""
        self.actor.database.engine.dispose()
        store = self.world.directory / "toy.db"
        for ending in ("-wal", "-shm"):
            store.with_name(store.name + ending).unlink(missing_ok=True)
        shutil.copy(copy, store)
