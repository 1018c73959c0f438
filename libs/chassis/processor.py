"""Takes records, one batch a transaction: position, inbox, project, handle, project what was told, outbox."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session

from cairn.events.codec import Heard, Malformed, Message, Record, check, check_hops, check_topic, read
from cairn.events.event import Event
from cairn.events.requests import RedriveRequested
from cairn.events.signing import Trust
from cairn.objects import ObjectStore
from chassis import inbox, parking
from chassis.database import Database
from chassis.definition import Definition
from chassis.ledger import Origin
from chassis.parking import Unfit, Verdict
from chassis.positions import DECIDER, Partition, load_positions, save_positions
from chassis.quality import Quality
from chassis.rows import Rows
from chassis.transaction import Place, Told, Transaction, Voice


class StoreBehind(Exception):
    """The store has not seen records that its consumer has passed: it must be rebuilt."""


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


Attempt = Callable[[Session, Record, dict[Partition, int]], Outcome | Malformed]
"""Takes one record in; or says why it must be parked."""


@dataclass(slots=True)
class Processor:
    """The one place where a service's store changes."""

    definition: Definition
    database: Database
    voice: Voice
    trust: Trust
    objects: ObjectStore
    clock: Callable[[], datetime]
    committed: Callable[[], object] = lambda: None
    """Called after every commit: wakes the relay, the workers and the waits."""
    _quality: Quality = field(default_factory=Quality)
    _verdicts: dict[Place, Verdict] | None = field(default=None, init=False)
    """What was told of records that are still to be taken; None until somebody looked."""

    def take(self, records: Sequence[Record], beginnings: Mapping[Partition, int]) -> Outcome:
        """Apply a batch in one transaction, each record in a savepoint of its own.

        `beginnings` says of partitions in which offsets are left out where they begin: before the store's position
        nothing is lost, and an offset without a record is the end of a transaction.

        Raises StoreBehind, TooManyBad, and whatever tells that the infrastructure is in trouble; nothing is
        committed then.
        """
        if len(records) == 1:
            # Alone in its transaction a record needs no savepoint, unless it must be parked.
            try:
                return self._take_batch(records, beginnings, self._apply)
            except Exception as error:  # noqa: BLE001 # raised again where it is not the record's fault
                parking.reason_of(error)
        return self._take_batch(records, beginnings, self.try_to_take)

    def _take_batch(self, records: Sequence[Record], beginnings: Mapping[Partition, int], attempt: Attempt) -> Outcome:
        outcome, quality = Outcome(), self._quality.copy()
        try:
            with self.database.begin() as session:
                self._take_all(session, records, beginnings, attempt, outcome)
        except BaseException:
            self._quality = quality  # what is rolled back will be judged again
            raise
        self.committed()
        return outcome

    def _take_all(
        self,
        session: Session,
        records: Sequence[Record],
        beginnings: Mapping[Partition, int],
        attempt: Attempt,
        outcome: Outcome,
    ) -> None:
        connection = session.connection()
        positions = load_positions(connection, DECIDER)
        if self._verdicts is None:
            self._verdicts = parking.load_verdicts(connection, positions)
        moved: dict[Partition, int] = {}
        for record in records:
            where = (record.topic, record.partition)
            if record.offset < positions.get(where, 0):
                continue
            if is_loss(record, positions.get(where, 0), beginnings):
                raise self._behind(record, positions.get(where, 0))
            self._take_one(session, record, positions, attempt, outcome)
            positions[where] = moved[where] = record.offset + 1
        save_positions(connection, DECIDER, moved)

    def _take_one(
        self, session: Session, record: Record, positions: dict[Partition, int], attempt: Attempt, outcome: Outcome
    ) -> None:
        verdict = self._verdicts.get(Place.of(record)) if self._verdicts else None
        if verdict is not None and verdict.stands(session.connection()):
            taken: Outcome | Malformed = verdict.reason
        else:
            taken = attempt(session, record, positions)
            self._quality.note(self.voice.service, record, taken if isinstance(taken, Malformed) else None)
        if isinstance(taken, Malformed):
            parking.park(self, session, record, taken, positions)
            outcome.parked.append((record, taken))
            return
        if verdict is not None:
            parking.keep(session.connection(), record, verdict.reason, verdict.state, verdict.parking)
        outcome.add(taken)

    def _behind(self, record: Record, expected: int) -> StoreBehind:
        return StoreBehind(
            f"{record.topic}/{record.partition} continues at {record.offset}, the store has seen it to {expected}: "
            f"{rebuild_cure(self.definition.name)}"
        )

    def try_to_take(
        self, session: Session, record: Record, positions: dict[Partition, int], place: Place | None = None
    ) -> Outcome | Malformed:
        """Take one record in, in a savepoint of its own; or the reason why it must be parked.

        `place` is that of the record at hand, where another is driven again because of it. Raises what tells of
        trouble with the infrastructure, and what no service may do.
        """
        try:
            with session.begin_nested():
                return self._apply(session, record, positions, place)
        except Exception as error:  # noqa: BLE001 # raised again where it is not the record's fault
            return parking.reason_of(error)

    def _apply(
        self, session: Session, record: Record, positions: dict[Partition, int], place: Place | None = None
    ) -> Outcome:
        heard = self.heard(record)
        if heard is None:
            return Outcome(skipped=1)
        if not self.is_new(session, heard.message):
            return Outcome(duplicates=1)
        self.project(session, heard.facts, Origin.of(heard.message), sequence_of(heard.message), Place.of(record))
        return Outcome(applied=1, told=self._decide(session, heard, positions, place or Place.of(record)))

    def decide_again(self, record: Record, transaction: Transaction) -> None:
        """Decide once more on a record that is applied: what was told already tells nothing, what was lost is told.

        Raises what would park the record.
        """
        heard = self.heard(record)
        if heard is not None:
            self._decide(transaction.session, heard, transaction.positions, transaction.place)

    def _decide(self, session: Session, heard: Heard, positions: dict[Partition, int], place: Place | None) -> int:
        """Handle an event; how many events that told."""
        transaction = Transaction(session, self.clock(), self.voice, Origin.of(heard.message), positions, place)
        if isinstance(heard.facts, RedriveRequested):
            parking.redrive(self, heard.facts, transaction)
        handler = self.definition.handlers.by_type.get(type(heard.facts))
        if handler:
            handler(heard.facts, transaction)
        self.settle(transaction)
        return len(transaction.told)

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

    def settle(self, transaction: Transaction) -> None:
        """Project what was told and put it into the outbox."""
        for told in transaction.told:
            self.project(transaction.session, told.facts, told.origin, told.sequence, None)
        transaction.store_told()

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
        if astray := check_topic(message):
            raise Unfit(astray)
        if not self._concerns(message):
            return None
        heard = check(message, self.voice.installation, self.trust)
        if isinstance(heard, Malformed):
            raise Unfit(heard)
        if loop := check_hops(heard.message):
            raise Unfit(loop)
        return heard

    def _concerns(self, message: Message) -> bool:
        facts = message.entry.facts
        if facts is RedriveRequested:
            return True
        return facts in self.definition.handlers.by_type or facts in self.definition.projections.by_type

    def is_new(self, session: Session, message: Message) -> bool:
        """Whether an event counts here for the first time. Raises Unfit if its id was used for other content."""
        claimed = inbox.claim(session.connection(), message)
        if claimed is inbox.Claim.CONFLICT:
            envelope = message.envelope
            raise Unfit(Malformed("id-reused", f"{envelope.source} used the id {envelope.id} for other content before"))
        return claimed is inbox.Claim.NEW


def is_loss(record: Record, expected: int, beginnings: Mapping[Partition, int]) -> bool:
    """Whether records are missing before this one: the log begins past them, or nobody looked where it begins."""
    return record.offset > expected and beginnings.get((record.topic, record.partition), record.offset) > expected


def rebuild_cure(service: str) -> str:
    """What to do about a store that must be made anew."""
    return (
        f"stop all replicas of {service} and run `python -P -m {module_of(service)} rebuild` in its environment "
        f"(where `cairn up` runs it: `cairn store rebuild {service}`)"
    )


def module_of(service: str) -> str:
    """The Python package of a service."""
    return service.replace("-", "_")


def sequence_of(message: Message) -> int:
    """An event's own sequence number; 0 where its source counts none."""
    text = message.envelope.sequence
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
