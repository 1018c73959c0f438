"""Takes records, one batch a transaction: position, inbox, project, handle, project what was told, outbox."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from cairn.events.catalogue import TOPICS
from cairn.events.codec import Heard, Malformed, Message, Record, check, read
from cairn.events.event import Event
from cairn.events.requests import RedriveRequested
from cairn.events.signing import Trust
from cairn.objects import ObjectStore, StoreUnreachable
from chassis import inbox, outbox, parking
from chassis.database import Database, ForbiddenWrite, is_infrastructure
from chassis.definition import Definition
from chassis.ledger import Origin
from chassis.parking import Unfit
from chassis.positions import DECIDER, Partition, load_positions, save_positions
from chassis.rows import Rows
from chassis.transaction import NotOwner, Place, Told, Transaction, TwoDecisions, Voice

_MOST_BAD_IN_A_ROW = 5
_MOST_BAD_OF_100 = 20
_HARMLESS = frozenset({"unknown-type", "unsupported-version"})
"""Reasons to park that say nothing about this deployment: a newer writer is at work."""


class StoreBehind(Exception):
    """The store has not seen records that its group has passed: it must be rebuilt."""


class TooManyBad(Exception):
    """Most records cannot be handled: that is a bad deployment, not bad data."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    applied: int = 0
    skipped: int = 0
    duplicates: int = 0
    parked: list[tuple[Record, Malformed]] = field(default_factory=list)
    told: int = 0

    def add(self, other: "Outcome") -> None:
        """Count another outcome in."""
        self.applied += other.applied
        self.skipped += other.skipped
        self.duplicates += other.duplicates
        self.told += other.told


@dataclass(slots=True)
class Processor:
    """The one place where a service's store changes."""

    definition: Definition
    database: Database
    voice: Voice
    trust: Trust
    objects: ObjectStore
    clock: Callable[[], datetime]
    committed: Callable[[], None] = lambda: None
    """Called after every commit: wakes the relay, the workers and the waits."""
    _recent: dict[Partition, deque[bool]] = field(default_factory=dict)

    def take(self, records: Sequence[Record]) -> Outcome:
        """Apply a batch in one transaction, each record in a savepoint of its own.

        Raises StoreBehind, TooManyBad, and whatever tells that the infrastructure is in trouble; nothing is
        committed then.
        """
        outcome, judged = Outcome(), {where: recent.copy() for where, recent in self._recent.items()}
        try:
            with self.database.begin() as session:
                self._take_all(session, records, outcome)
        except BaseException:
            self._recent = judged  # what is rolled back will be judged again
            raise
        self.committed()
        return outcome

    def _take_all(self, session: Session, records: Sequence[Record], outcome: Outcome) -> None:
        positions = load_positions(session.connection(), DECIDER)
        moved: dict[Partition, int] = {}
        for record in records:
            where = (record.topic, record.partition)
            if record.offset < positions.get(where, 0):
                continue
            self._refuse_gap(record, positions.get(where, 0))
            self._take_one(session, record, positions, outcome)
            positions[where] = moved[where] = record.offset + 1
        save_positions(session.connection(), DECIDER, moved)

    def step(
        self, cause: Origin, decide: Callable[[Transaction], None], *, attempt: int | None = None
    ) -> tuple[Told, ...]:
        """Decide something outside the handling of a record: a wait that is over, a stage of some work."""
        with self.database.begin() as session:
            told = self.step_within(session, cause, decide, attempt=attempt)
        self.committed()
        return told

    def step_within(
        self, session: Session, cause: Origin, decide: Callable[[Transaction], None], *, attempt: int | None = None
    ) -> tuple[Told, ...]:
        """As `step`, inside a transaction that is already open."""
        positions = load_positions(session.connection(), DECIDER)
        transaction = Transaction(session, self.clock(), self.voice, cause, positions, attempt=attempt)
        decide(transaction)
        self.settle(transaction)
        return tuple(transaction.told)

    def project(self, session: Session, facts: Event, origin: Origin, sequence: int, place: Place | None) -> None:
        """Remember one event: the only way in which domain tables change."""
        projection = self.definition.projections.by_type.get(type(facts))
        if projection is None:
            return
        rows = Rows(
            session=session,
            origin=origin,
            sequence=sequence,
            partition=place.partition if place else None,
            offset=place.offset if place else None,
            read_object=lambda ref: self.objects.read_bytes(ref, ref.bytes),
        )
        with self.database.projecting(session, origin.topic):
            projection(facts, rows)

    def heard(self, record: Record) -> Heard | None:
        """The checked event in a record; None if this service neither handles nor remembers its type.

        Raises what parks the record.
        """
        message = read(record)
        if isinstance(message, Malformed):
            raise Unfit(message)
        if not self._concerns(message):
            return None
        heard = check(message, self.voice.installation, self.trust)
        if isinstance(heard, Malformed):
            raise Unfit(heard)
        return heard

    def is_new(self, session: Session, message: Message) -> bool:
        """Whether an event counts here for the first time. Raises Unfit if its id was used for other content."""
        claimed = inbox.claim(session.connection(), message)
        if claimed is inbox.Claim.CONFLICT:
            envelope = message.envelope
            raise Unfit(Malformed("id-reused", f"{envelope.source} used the id {envelope.id} for other content before"))
        return claimed is inbox.Claim.NEW

    def _refuse_gap(self, record: Record, expected: int) -> None:
        if record.offset > expected:
            raise StoreBehind(
                f"{record.topic}/{record.partition} continues at {record.offset}, the store has seen it to {expected}: "
                f"stop all replicas and run `python -P -m {module_of(self.definition.name)} rebuild`"
            )

    def _concerns(self, message: Message) -> bool:
        facts = message.entry.facts
        if facts is RedriveRequested:
            return True
        return facts in self.definition.handlers.by_type or facts in self.definition.projections.by_type

    def _take_one(self, session: Session, record: Record, positions: dict[Partition, int], outcome: Outcome) -> None:
        taken = self.try_to_take(session, record, positions)
        if isinstance(taken, Outcome):
            self._watch_quality(record, None)
            outcome.add(taken)
            return
        self._watch_quality(record, taken)
        parking.park(self, session, record, taken, positions)
        outcome.parked.append((record, taken))

    def try_to_take(self, session: Session, record: Record, positions: dict[Partition, int]) -> Outcome | Malformed:
        """Take one record in, in a savepoint of its own; or the reason why it must be parked.

        Raises what tells of trouble with the infrastructure, and what no service may do.
        """
        try:
            with session.begin_nested():
                return self._apply(session, record, positions)
        except Unfit as error:
            return parking.legible(error.reason.code, error.reason.text)
        except (ForbiddenWrite, NotOwner, TwoDecisions, StoreUnreachable):
            raise
        except Exception as error:
            if is_infrastructure(error) and not isinstance(error, IntegrityError):
                raise
            return parking.legible("handler", f"{type(error).__name__}: {error}")

    def _apply(self, session: Session, record: Record, positions: dict[Partition, int]) -> Outcome:
        heard = self.heard(record)
        if heard is None:
            return Outcome(skipped=1)
        if not self.is_new(session, heard.message):
            return Outcome(duplicates=1)
        return Outcome(applied=1, told=self._apply_new(session, heard, positions))

    def _apply_new(self, session: Session, heard: Heard, positions: dict[Partition, int]) -> int:
        record, origin = heard.message.record, Origin.of(heard.message)
        place = Place(record.topic, record.partition, record.offset)
        self.project(session, heard.facts, origin, sequence_of(heard.message), place)
        transaction = Transaction(session, self.clock(), self.voice, origin, positions, place)
        if isinstance(heard.facts, RedriveRequested):
            parking.redrive(self, heard.facts, transaction)
        handler = self.definition.handlers.by_type.get(type(heard.facts))
        if handler:
            handler(heard.facts, transaction)
        self.settle(transaction)
        return len(transaction.told)

    def settle(self, transaction: Transaction) -> None:
        """Project what was told and put it into the outbox."""
        if not transaction.told:
            return
        connection, before = transaction.connection, transaction.told_before
        for told in transaction.told:
            self.project(transaction.session, told.facts, told.origin, told.sequence, None)
        rows = [
            {**told.row, "position": before + n, "decision": before + 1}
            for n, told in enumerate(transaction.told, start=1)
        ]
        outbox.refuse_too_large(rows)
        outbox.add_told(connection, rows)
        last = {(str(told.row["topic"]), told.subject): told.sequence for told in transaction.told}
        outbox.save_sequences(connection, last)

    def _watch_quality(self, record: Record, unfit: Malformed | None) -> None:
        recent = self._recent.setdefault((record.topic, record.partition), deque(maxlen=100))
        if unfit and (unfit.code in _HARMLESS or (unfit.code != "handler" and _is_open(record.topic))):
            return
        recent.append(unfit is not None)
        in_a_row = list(recent)[-_MOST_BAD_IN_A_ROW - 1 :]
        if (len(in_a_row) > _MOST_BAD_IN_A_ROW and all(in_a_row)) or sum(recent) > _MOST_BAD_OF_100:
            raise TooManyBad(
                f"{self.voice.service} stops at {record.topic}/{record.partition}/{record.offset}: most records there "
                f"cannot be handled ({unfit.text if unfit else ''}). Mend or roll back this version, then start again"
            )


def _is_open(topic: str) -> bool:
    """Whether outsiders write a topic: what is wrong with their records says nothing about this deployment."""
    return topic in TOPICS and TOPICS[topic].owner in ("upstream", "people")


def module_of(service: str) -> str:
    """The Python package of a service."""
    return service.replace("-", "_")


def sequence_of(message: Message) -> int:
    """An event's own sequence number; 0 where its source counts none."""
    text = message.envelope.sequence
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
