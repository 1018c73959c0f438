"""Services without Kafka, for tests: a log in memory, and hands that carry the outbox to the handlers."""

import asyncio
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from sqlmodel import Session

from cairn.broker import partition_of
from cairn.children import ChildFailed, Children, Limits
from cairn.events.catalogue import ALL_SERVICES, GATEWAY, OPERATIONS, OUTSIDE, TOPICS, type_of
from cairn.events.codec import CATALOGUE, Outgoing, Record, write
from cairn.events.envelope import Envelope
from cairn.events.event import Event
from cairn.events.identity import Installation
from cairn.events.signing import DELEGATE, Signer, Trust, TrustedKey, UnsignedSource
from cairn.events.values import format_instant
from cairn.objects import ObjectStore, open_store
from chassis import ledger
from chassis.appending import take_raw
from chassis.database import Database
from chassis.definition import Definition
from chassis.failpoints import Failpoints
from chassis.kafka import Partition
from chassis.outbox import confirm, load_waiting
from chassis.processor import Outcome, Processor
from chassis.transaction import Voice
from chassis.waiting import Clerk
from chassis.work import Worker

OWNERS = (*ALL_SERVICES, "serving", "upstream", "people")
_SPOKEN_FOR = {GATEWAY: ("upstream",)}
"""Whose topics an owner writes too, in their name."""


def _sources_of(owner: str, installation: Installation) -> tuple[str, ...]:
    source = installation.source(owner)
    return ("*",) if owner in (*OUTSIDE, GATEWAY) else (source, f"{source}/*")


def make_trust(installation: Installation) -> tuple[dict[str, Signer], Trust]:
    """A key for each owner of a topic, and a trust file that lets each write its own."""
    signers = {owner: Signer.generate(owner) for owner in OWNERS}
    keys = tuple(
        TrustedKey(
            keyid=owner,
            public_key=signer.public_text,
            principal=f"service/{owner}",
            roles=(DELEGATE,) if owner in ("people", GATEWAY) else (),
            sources=_sources_of(owner, installation),
            topics=tuple(
                topic.name for topic in TOPICS.values() if topic.owner in (owner, *_SPOKEN_FOR.get(owner, ()))
            ),
        )
        for owner, signer in signers.items()
    )
    return signers, Trust(keys=keys, unsigned=(UnsignedSource(source="/unsigned/*", topics=("datasets", "labels")),))


@dataclass(slots=True)
class World:
    """A log in memory, its keys, its objects and its clock."""

    directory: Path
    installation: Installation = field(default_factory=Installation)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    log: dict[Partition, list[Record]] = field(default_factory=dict)
    actors: list["Actor"] = field(default_factory=list)
    signers: dict[str, Signer] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.signers, self.trust = make_trust(self.installation)

    def clock(self) -> datetime:
        """Time goes on by a millisecond whenever somebody looks."""
        self.now += timedelta(milliseconds=1)
        return self.now

    @property
    def objects(self) -> ObjectStore:
        """The object store that all share."""
        return open_store(str(self.directory / "objects"))

    def add(self, definition: Definition, database_url: str | None = None, *, inline: bool = True) -> "Actor":
        """Bring a service into this world, on a fresh SQLite file unless a database is given."""
        url = database_url or f"sqlite:///{self.directory / f'{definition.name}-{uuid4().hex[:8]}.db'}"
        database = Database(url, definition.tables)
        database.create_tables()
        voice = Voice(definition.name, self.installation, self.signers[definition.name], "test")
        processor = Processor(definition, database, voice, self.trust, self.objects, self.clock)
        actor = Actor(self, definition, database, processor, inline)
        self.actors.append(actor)
        return actor

    def publish(self, facts: Event, *, owner: str | None = None, topic: str | None = None, **attributes: Any) -> Record:
        """Put an event on the log in the name of its topic's owner."""
        entry = type_of(facts)
        bare = topic or (f"{OPERATIONS}.{owner}" if entry.topic == OPERATIONS else entry.topic)
        speaker = owner or TOPICS[bare].owner
        instant = format_instant(self.clock())
        envelope = replace(
            Envelope(
                id=str(uuid4()),
                source=f"/test/{speaker}" if speaker in OUTSIDE else self.installation.source(speaker),
                type=entry.name,
                subject=entry.subject_of(facts),
                time=instant,
                recordedtime=instant,
                authtype="person" if speaker == "people" else "service",
                authid="ada" if speaker == "people" else speaker,
            ),
            **attributes,
        )
        return self.append(write(facts, envelope, bare, self.installation, self.signers[speaker]))

    def append(self, outgoing: Outgoing) -> Record:
        """Put bytes on the log, as Kafka would."""
        topic = self.installation.bare_topic(outgoing.topic)
        partition = partition_of(topic, outgoing.key)
        records = self.log.setdefault((topic, partition), [])
        timestamp = int(self.now.timestamp() * 1000)
        record = Record(topic, partition, len(records), timestamp, outgoing.key, outgoing.headers, outgoing.value)
        records.append(record)
        return record

    def settle(self, rounds: int = 400) -> None:
        """Carry every outbox to its hearers and do all work, until nothing moves."""
        for _ in range(rounds):
            if not sum(actor.turn() for actor in self.actors):
                return
        raise AssertionError(f"the services do not come to rest; the last events: {self.told()[-5:]}")

    def told(self, *classes: type[Event]) -> list[Event]:
        """All facts on the log of these types (or of all), topic by topic in order."""
        found = []
        for key in sorted(self.log):
            for record in self.log[key]:
                headers = dict(record.headers)
                entry = CATALOGUE[(headers["ce_type"] or b"").decode()]
                if not classes or entry.facts in classes:
                    found.append(entry.facts.model_validate_json(record.value or b"", extra="ignore"))
        return found


@dataclass(slots=True)
class Actor:
    """One service in a world."""

    world: World
    definition: Definition
    database: Database
    processor: Processor
    inline: bool
    """Whether its work's children are plain calls instead of processes."""
    offsets: dict[Partition, int] = field(default_factory=dict)
    appended: dict[tuple[str, Partition], int] = field(default_factory=dict)

    def hear(self, *events: Event, **attributes: Any) -> list[Event]:
        """Publish events, handle them, and return what was told in answer."""
        before = self._count_told()
        for facts in events:
            self.world.publish(facts, **attributes)
        self.take_new()
        return self._told_since(before)

    def take(self, records: Sequence[Record]) -> Outcome:
        """Handle records as one batch."""
        return self.processor.take(records, {})

    def take_new(self) -> int:
        """Handle what is new on the log; how many records that was."""
        taken = 0
        for partition, records in sorted(self.world.log.items()):
            start = self.offsets.get(partition, 0)
            if partition[0] in self.definition.hears and start < len(records):
                self.processor.take(records[start:], {})
                self.offsets[partition] = len(records)
                taken += len(records) - start
        return taken

    def append_new(self) -> int:
        """Let the appenders take what is new on the log."""
        taken = 0
        for appender in self.definition.appenders:
            for partition, records in sorted(self.world.log.items()):
                start = self.appended.get((appender.name, partition), 0)
                if partition[0] in appender.topics and start < len(records):
                    take_raw(self.database, appender, records[start:], {})
                    self.appended[appender.name, partition] = len(records)
                    taken += len(records) - start
        return taken

    def relay(self) -> int:
        """Carry the outbox to the log; how many events that was."""
        rows = load_waiting(self.database)
        done = []
        for row in rows:
            topic = self.world.installation.topic(row.topic)
            record = self.world.append(Outgoing(topic, row.key, row.headers, row.value))
            done.append((row.position, record.partition, record.offset))
        if done:
            confirm(self.database, done)
        return len(done)

    def work(self) -> int:
        """Do all pending work, one task after another; how many tasks that was."""
        return asyncio.run(self._work())

    def wait(self) -> None:
        """Handle the waits that are over by the world's clock."""
        for wait in self.definition.waits:
            Clerk(wait, self.processor, self.database, _blocking, self.world.clock).handle_due()

    def turn(self) -> bool:
        """Do all that can be done now; whether there was anything."""
        self.wait()
        moved = self.take_new() + self.append_new() + self.relay() + self.work() + self.relay()
        return moved > 0

    def session(self) -> Session:
        """A session to look at the tables with."""
        return Session(self.database.engine)

    async def _work(self) -> int:
        done = 0
        for work in self.definition.works:
            children = InlineChildren() if self.inline else Children(self.definition.preload)
            worker = Worker(
                work,
                self.processor,
                self.database,
                self.world.objects,
                children,
                _blocking,
                Failpoints({}),
                lease_seconds=60,
            )
            while await worker._start_one():  # noqa: SLF001 # one task, without the endless loop around it
                await asyncio.gather(*worker._running)  # noqa: SLF001 # as above
                done += 1
        return done

    def _count_told(self) -> int:
        return len(self._rows())

    def _told_since(self, before: int) -> list[Event]:
        return [
            CATALOGUE[row.type].facts.model_validate_json(row.value, extra="ignore") for row in self._rows()[before:]
        ]

    def _rows(self) -> Sequence[Any]:

        with self.database.read() as session:
            return session.execute(
                select(ledger.TOLD.c.type, ledger.TOLD.c.value).order_by(ledger.TOLD.c.position)
            ).all()


class InlineChildren(Children):
    """Calls the work's function in this process: for tests of what it does, not of how it is contained."""

    def __init__(self) -> None:
        super().__init__(())

    async def run(
        self,
        function: str,
        spec: dict[str, Any],
        heard: Callable[[str, dict[str, Any]], None] = lambda _kind, _payload: None,
        limits: Limits = Limits(),  # noqa: ARG002, B008 # the signature is the parent's, and Limits is frozen
    ) -> dict[str, Any]:
        """As Children.run, without a process."""
        module, _, name = function.partition(":")
        try:
            result = getattr(importlib.import_module(module), name)(
                spec, lambda kind, payload: heard(kind, _as_sent(payload))
            )
            return _as_sent(result)
        except Exception as error:
            raise ChildFailed(str(getattr(error, "code", "error")), str(error)) from error


def _as_sent(payload: dict[str, Any]) -> dict[str, Any]:
    """What arrives of what a child sends."""
    arrived: dict[str, Any] = json.loads(json.dumps(payload, allow_nan=False))
    return arrived


async def _blocking(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
