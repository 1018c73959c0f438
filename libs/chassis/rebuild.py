"""Makes a store anew from the log alone. Projections only: nothing is decided, told, trained or deployed."""

import math
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from sqlmodel import Session

from cairn.events.catalogue import ALL_SERVICES, TOPICS, topics_owned_by
from cairn.events.codec import Heard, Malformed, Record
from cairn.events.operations import RecordDiscarded, RecordParked, RecordRedriven
from chassis import ledger
from chassis.appending import take_raw
from chassis.database import Database, StoreError
from chassis.definition import Appender, Definition
from chassis.kafka import LogReader, Partition, partitions_of
from chassis.ledger import Origin
from chassis.outbox import add_told, position_of, save_sequences
from chassis.parking import Unfit, Verdict, judge, keep
from chassis.positions import DECIDER, save_positions
from chassis.processor import Processor, sequence_of
from chassis.standing import own_event
from chassis.transaction import Place

_BATCH = 500
_UNTRUSTED = frozenset({"signature", "not-allowed", "unsigned"})


class RebuildError(StoreError):
    """The log does not suffice to rebuild the store; the message says where."""


@dataclass(slots=True)
class Driven:
    """Parked records that were driven again, each waiting for the position at which that happened."""

    due: dict[Partition, list[tuple[int, Record]]] = field(default_factory=dict)
    at: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def hold(self, record: Record) -> None:
        """Keep a record until its partition has come to where it was driven again."""
        position = self.at[record.topic, record.partition, record.offset]
        self.due.setdefault((record.topic, record.partition), []).append((position, record))

    def release(self, partition: Partition, next_offset: float = math.inf) -> list[Record]:
        """The records that were driven again before `next_offset` was taken; all that are left unless one is named."""
        waiting = self.due.get(partition, [])
        ready = [record for position, record in waiting if position <= next_offset]
        self.due[partition] = [(position, record) for position, record in waiting if position > next_offset]
        return ready


@dataclass(slots=True)
class Rebuild:
    """One rebuild of one service's store."""

    definition: Definition
    database: Database
    processor: Processor
    log: LogReader
    heard: LogReader
    """The same log, without what was aborted: that is not heard."""
    progress: Callable[[str, int, int], None]
    """Told what is read, how far, and how much there is."""
    verdicts: dict[tuple[str, int, int], Verdict] = field(default_factory=dict)
    """By topic, partition and offset of the record."""
    driven: Driven = field(default_factory=Driven)
    left_out: int = 0
    """How many records could not be handled of which nothing was told: they are parked now."""

    async def run(self) -> None:
        """Delete every table and make it anew. Raises RebuildError; an unfinished rebuild refuses to start."""
        heard = partitions_of(self.definition.hears)
        committed = await self.log.committed(heard)
        begun = {topic for (topic, _), offset in committed.items() if offset is not None}
        # A topic of which it has no partition, beside others that it has, is one that only this version hears.
        never = [
            f"{topic}/{partition}"
            for (topic, partition), offset in committed.items()
            if offset is None and (topic in begun or not begun)
        ]
        if never:
            raise RebuildError(
                f"the group has no committed offset for {', '.join(never[:5])}: it is not known how far "
                f"{self.definition.name} had come. A service that never ran needs no rebuild"
            )
        offsets = {one: offset or 0 for one, offset in committed.items()}
        await self._refuse_torn_log(offsets)
        self.database.make_anew()
        await self._read_own()
        await self._read_heard(offsets)
        for appender in self.definition.appenders:
            await self._append(appender)
        self.database.finish()

    async def _refuse_torn_log(self, offsets: dict[Partition, int]) -> None:
        own = partitions_of(topic.name for topic in topics_owned_by(self.definition.name))
        appended = partitions_of(topic for appender in self.definition.appenders for topic in appender.topics)
        beginnings, ends = await self.log.beginnings({*own, *offsets, *appended}), await self.log.ends(offsets)
        torn = [f"{topic}/{partition} begins at {n}" for (topic, partition), n in sorted(beginnings.items()) if n]
        torn += [
            f"{topic}/{partition} ends at {ends[topic, partition]}, its group had come to {offset}"
            for (topic, partition), offset in offsets.items()
            if ends[topic, partition] < offset
        ]
        if torn:
            raise RebuildError(
                f"the log has lost records: {', '.join(torn[:5])}. Restore them from an archive first: what is made "
                "from the rest would be another store"
            )

    async def _read_own(self) -> None:
        # Operations first: their verdicts say which heard records were parked.
        topics = sorted(
            topics_owned_by(self.definition.name), key=lambda topic: not topic.name.startswith("operations")
        )
        for topic in topics:
            partitions = partitions_of([topic.name])
            ends = await self.log.ends(partitions)
            records = self.log.read(dict.fromkeys(partitions, 0), ends)
            await self._each_batch(topic.name, records, sum(ends.values()), self._take_own)

    async def _read_heard(self, committed: dict[Partition, int]) -> None:
        records = self.heard.read(dict.fromkeys(committed, 0), committed)
        await self._each_batch("heard topics", records, sum(committed.values()), self._take_heard)
        with self.database.begin() as session:
            for partition in committed:
                # What was driven past the offset counts too: what lies between is handled again, after it.
                for record in self.driven.release(partition):
                    self._apply(session, record)
            save_positions(session.connection(), DECIDER, committed)

    async def _append(self, appender: Appender) -> None:
        partitions = partitions_of(appender.topics)
        ends = await self.log.ends(partitions)
        beginnings = dict.fromkeys(partitions, 0)  # no other was let in
        batches: dict[Partition, list[Record]] = {}
        taken, total = 0, sum(ends.values())
        async for record in self.log.read(dict.fromkeys(partitions, 0), ends):
            batch = batches.setdefault((record.topic, record.partition), [])
            batch.append(record)
            if len(batch) >= _BATCH:
                taken += take_raw(self.database, appender, batch, beginnings)
                batch.clear()
                self.progress(appender.name, taken, total)
        for batch in batches.values():
            taken += take_raw(self.database, appender, batch, beginnings)
        self.progress(appender.name, taken, total)

    async def _each_batch(
        self,
        what: str,
        records: AsyncIterator[Record],
        total: int,
        take: Callable[[Session, Record], None],
    ) -> None:
        done = 0
        batch: list[Record] = []
        async for record in records:
            batch.append(record)
            if len(batch) >= _BATCH:
                self._store(batch, take)
                done, batch = done + len(batch), []
                self.progress(what, done, total)
        self._store(batch, take)
        self.progress(what, done + len(batch), total)

    def _store(self, batch: list[Record], take: Callable[[Session, Record], None]) -> None:
        with self.database.begin() as session:
            for record in batch:
                take(session, record)

    def _take_own(self, session: Session, record: Record) -> None:
        try:
            heard = own_event(self.processor, record)
        except StoreError as error:
            raise RebuildError(str(error)) from error
        if heard is None or not self._store_told(session, heard):
            return
        self._note_verdict(heard)
        origin = Origin.of(heard.message)
        self.processor.project(session, heard.facts, origin, sequence_of(heard.message), None)

    def _store_told(self, session: Session, heard: Heard) -> bool:
        """Whether an own event is seen for the first time; the relay may have sent it twice."""
        record, envelope = heard.message.record, heard.message.envelope
        connection = session.connection()
        if position_of(connection, envelope.id) is not None:
            return False
        position = told_position(envelope.basis)
        row = {
            "position": position,
            "decision": position,
            "event_id": envelope.id,
            "type": envelope.type,
            "topic": record.topic,
            "key": record.key,
            "headers": ledger.dump_headers(tuple(record.headers)),
            "value": record.value,
            "cause": envelope.causationid,
            "recorded_at": envelope.recordedtime,
            "partition": record.partition,
            "offset": record.offset,
        }
        add_told(connection, [row])
        save_sequences(connection, {(record.topic, envelope.subject): sequence_of(heard.message)})
        return True

    def _note_verdict(self, heard: Heard) -> None:
        facts = heard.facts
        if isinstance(facts, (RecordParked, RecordRedriven, RecordDiscarded)):
            where = (facts.topic, facts.partition, facts.offset)
            if verdict := judge(self.verdicts.get(where), facts):
                self.verdicts[where] = verdict
            if isinstance(facts, RecordRedriven):
                position = heard_positions(heard.message.envelope.basis).get(where[:2], 0)
                self.driven.at.setdefault(where, position)  # what was driven again since had been applied by then

    def _take_heard(self, session: Session, record: Record) -> None:
        partition, where = (record.topic, record.partition), (record.topic, record.partition, record.offset)
        for earlier in self.driven.release(partition, record.offset):
            self._apply(session, earlier)
        verdict = self.verdicts.get(where)
        if verdict is None or verdict.applied:
            self._apply(session, record)
        elif where in self.driven.at:
            self.driven.hold(record)
        if verdict:
            keep(session.connection(), record, verdict.reason, verdict.state, verdict.parking)

    def _apply(self, session: Session, record: Record) -> None:
        try:
            heard = self.processor.heard(record)
            if heard is None or not self.processor.is_new(session, heard.message):
                return
        except Unfit as unfit:
            self._leave_out(session, record, unfit.reason)
            return
        try:
            place = Place(record.topic, record.partition, record.offset)
            sequence = sequence_of(heard.message)
            self.processor.project(session, heard.facts, Origin.of(heard.message), sequence, place)
        except StoreError:
            raise
        except Exception as error:
            raise RebuildError(
                f"the record {record.topic}/{record.partition}/{record.offset} was applied before, but cannot be now: "
                f"{error}"
            ) from error

    def _leave_out(self, session: Session, record: Record, reason: Malformed) -> None:
        """Park what was never looked at before: an earlier version may have passed over all of its type."""
        if reason.code in _UNTRUSTED and TOPICS[record.topic].owner in ALL_SERVICES:
            raise RebuildError(
                f"the record {record.topic}/{record.partition}/{record.offset} cannot be trusted now: {reason.text}. A "
                "key that was replaced stays in the trust file (CAIRN_TRUST_FILE)"
            )
        keep(session.connection(), record, reason)
        self.left_out += 1


def show_progress(what: str, done: int, total: int) -> None:
    """How far a rebuild is, for a person at a terminal."""
    print(f"\r{what}: {done} of {total} records", end="" if done < total else "\n", file=sys.stderr)  # noqa: T201 # progress


def told_position(basis: str) -> int:
    """The place of an event among all that its service told, from 1."""
    for part in basis.split(";"):
        name, _, number = part.partition("=")
        if name == "told" and number.isdigit():
            return int(number) + 1
    raise RebuildError(f"an own event has no usable basis: {basis!r}")


def heard_positions(basis: str) -> dict[Partition, int]:
    """The position in each heard partition at which an event was decided."""
    positions: dict[Partition, int] = {}
    for part in basis.partition(";")[0].split():
        topic, _, offsets = part.partition("=")
        positions |= {(topic, n): int(offset) for n, offset in enumerate(offsets.split("."))}
    return positions
