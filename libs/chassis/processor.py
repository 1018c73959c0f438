"""Takes records, one batch a transaction: position, inbox, project, handle, project what was told, outbox."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from cairn.events.catalogue import OPERATIONS
from cairn.events.codec import Heard, Malformed, Message, Record, check, read
from cairn.events.event import Event
from cairn.events.operations import RecordParked, RecordRedriven
from cairn.events.requests import RedriveRequested
from cairn.events.signing import Trust
from cairn.events.values import Reason
from cairn.objects import ObjectStore, StoreUnreachable
from chassis import ledger
from chassis.database import Database, ForbiddenWrite, is_infrastructure
from chassis.definition import Definition
from chassis.ledger import Origin
from chassis.rows import Rows
from chassis.transaction import NotOwner, Place, Told, Transaction, TwoDecisions, Voice, unreadable_cause

_MOST_BAD_IN_A_ROW = 5
_MOST_BAD_OF_100 = 20
_HARMLESS = frozenset({"unknown-type", "unsupported-version"})
"""Reasons to park that say nothing about this deployment: a newer writer is at work."""
_DECIDER = "decider"


class StoreBehind(Exception):
    """The store has not seen records that its group has passed: it must be rebuilt."""


class TooManyBad(Exception):
    """Most records cannot be handled: that is a bad deployment, not bad data."""


class _Unfit(Exception):
    """A record cannot be handled; carries the reason."""

    def __init__(self, reason: Malformed) -> None:
        super().__init__(reason.text)
        self.reason = reason


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    applied: int = 0
    skipped: int = 0
    duplicates: int = 0
    parked: list[tuple[Record, Malformed]] = field(default_factory=list)
    told: int = 0
    findings: list[str] = field(default_factory=list)


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
    _recent: dict[tuple[str, int], deque[bool]] = field(default_factory=dict)

    def take(self, records: Sequence[Record]) -> Outcome:
        """Apply a batch in one transaction, each record in a savepoint of its own.

        Raises StoreBehind, TooManyBad, and whatever tells that the infrastructure is in trouble; nothing is
        committed then.
        """
        outcome = Outcome()
        with self.database.begin() as session:
            positions = load_positions(session, _DECIDER)
            moved: dict[tuple[str, int], int] = {}
            for record in records:
                where = (record.topic, record.partition)
                expected = positions.get(where, 0)
                if record.offset < expected:
                    continue
                if record.offset > expected:
                    raise StoreBehind(
                        f"{where[0]}/{where[1]} continues at {record.offset}, but the store has seen it only to "
                        f"{expected}: stop all replicas and run `python -P -m {module_of(self.definition.name)} rebuild`"
                    )
                self._take_one(session, record, positions, outcome)
                positions[where] = moved[where] = record.offset + 1
            save_positions(session, _DECIDER, moved)
        self.committed()
        return outcome

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
        positions = load_positions(session, _DECIDER)
        transaction = Transaction(session, self.clock(), self.voice, cause, positions, attempt=attempt)
        decide(transaction)
        self._settle(transaction)
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
            raise _Unfit(message)
        if not self._concerns(message):
            return None
        heard = check(message, self.voice.installation, self.trust)
        if isinstance(heard, Malformed):
            raise _Unfit(heard)
        return heard

    def claim(self, session: Session, message: Message) -> bool:
        """Whether an event is new here. Raises what parks the record if its id was used for other content."""
        row = {
            "source": message.envelope.source,
            "id": message.envelope.id,
            "digest": message.record.digest,
            "topic": message.record.topic,
            "partition": message.record.partition,
            "offset": message.record.offset,
        }
        if session.execute(insert_or_ignore(session, ledger.INBOX, row)).rowcount:  # type: ignore[attr-defined]  # a cursor result has it
            return True
        table = ledger.INBOX.c
        before = session.execute(
            select(table.digest).where(table.source == row["source"], table.id == row["id"])
        ).scalar_one()
        if before != row["digest"]:
            raise _Unfit(Malformed("id-reused", f"{row['source']} used the id {row['id']} for other content before"))
        return False

    def _concerns(self, message: Message) -> bool:
        facts = message.entry.facts
        if facts is RedriveRequested:
            return True
        return facts in self.definition.handlers.by_type or facts in self.definition.projections.by_type

    def _take_one(
        self, session: Session, record: Record, positions: dict[tuple[str, int], int], outcome: Outcome
    ) -> None:
        unfit: Malformed | None = None
        try:
            with session.begin_nested():
                self._apply(session, record, positions, outcome)
        except _Unfit as error:
            unfit = error.reason
        except (ForbiddenWrite, NotOwner, TwoDecisions, StoreUnreachable):
            raise
        except Exception as error:
            if is_infrastructure(error) and not isinstance(error, IntegrityError):
                raise
            unfit = Malformed("handler", f"{type(error).__name__}: {error}"[:1000])
        self._watch_quality(record, unfit)
        if unfit:
            self._park(session, record, unfit, positions)
            outcome.parked.append((record, unfit))

    def _apply(self, session: Session, record: Record, positions: dict[tuple[str, int], int], outcome: Outcome) -> None:
        heard = self.heard(record)
        if heard is None:
            outcome.skipped += 1
        elif not self.claim(session, heard.message):
            outcome.duplicates += 1
        else:
            outcome.told += self._apply_new(session, heard, positions)
            outcome.applied += 1

    def _apply_new(self, session: Session, heard: Heard, positions: dict[tuple[str, int], int]) -> int:
        record, origin = heard.message.record, Origin.of(heard.message)
        place = Place(record.topic, record.partition, record.offset)
        self.project(session, heard.facts, origin, sequence_of(heard.message), place)
        transaction = Transaction(session, self.clock(), self.voice, origin, positions, place)
        if isinstance(heard.facts, RedriveRequested):
            self._redrive(heard.facts, transaction)
        handler = self.definition.handlers.by_type.get(type(heard.facts))
        if handler:
            handler(heard.facts, transaction)
        self._settle(transaction)
        return len(transaction.told)

    def _settle(self, transaction: Transaction) -> None:
        """Project what was told and put it into the outbox."""
        if not transaction.told:
            return
        session = transaction.session
        session.flush()
        last = session.execute(select(func.coalesce(func.max(ledger.TOLD.c.position), 0))).scalar_one()
        sequences: dict[tuple[str, str], int] = {}
        for n, told in enumerate(transaction.told, start=1):
            self.project(session, told.facts, told.origin, told.sequence, None)
            row = dict(told.row)
            subject = str(row.pop("subject"))
            session.execute(insert(ledger.TOLD).values(**row, position=last + n, decision=last + 1))
            sequences[str(row["topic"]), subject] = told.sequence
        for (topic, subject), number in sequences.items():
            save_sequence(session, topic, subject, number)

    def _park(self, session: Session, record: Record, reason: Malformed, positions: dict[tuple[str, int], int]) -> None:
        place = Place(record.topic, record.partition, record.offset)
        cause = unreadable_cause(place)
        session.execute(insert_or_ignore(session, ledger.PARKED, parked_row(record, reason)))
        transaction = Transaction(session, self.clock(), self.voice, cause, positions, place)
        transaction.tell(
            RecordParked(
                service=self.voice.service,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                digest=record.digest,
                reason=Reason(code=reason.code, text=reason.text),
                parking=1,
            ),
            n=1,
        )
        self._settle(transaction)

    def _redrive(self, request: RedriveRequested, transaction: Transaction) -> None:
        if request.service != self.voice.service:
            return
        session, table = transaction.session, ledger.PARKED
        mine = (
            (table.c.topic == request.topic)
            & (table.c.partition == request.partition)
            & (table.c.offset == request.offset)
        )
        row = session.execute(select(table).where(mine)).mappings().first()
        if row is None or row["state"] != "parked":
            state = f"it is {row['state']}" if row else "it was never parked"
            transaction.refuse(
                "not-parked",
                f"there is no parked record at {request.topic}/{request.partition}/{request.offset}: {state}",
            )
            return
        record = ledger.parked_record(dict(row))
        try:
            with session.begin_nested():
                self._apply(session, record, transaction.positions, Outcome())
        except _Unfit as error:
            transaction.refuse(error.reason.code, f"it still cannot be handled: {error.reason.text}")
            return
        session.execute(update(table).where(mine).values(state="redriven"))
        self._tell_redriven(record, request, row["parking"], transaction)

    def _tell_redriven(self, record: Record, request: RedriveRequested, parking: int, transaction: Transaction) -> None:
        cause = unreadable_cause(Place(record.topic, record.partition, record.offset))
        step = Transaction(
            transaction.session, transaction.now, self.voice, cause, transaction.positions, transaction.place
        )
        step.tell(
            RecordRedriven(
                service=self.voice.service,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                digest=record.digest,
                reason=Reason(code="requested", text=request.reason, evidence=(transaction.cause.ref,)),
                parking=parking,
            ),
            n=parking,
        )
        self._settle(step)

    def _watch_quality(self, record: Record, unfit: Malformed | None) -> None:
        recent = self._recent.setdefault((record.topic, record.partition), deque(maxlen=100))
        if unfit and unfit.code in _HARMLESS:
            return
        recent.append(unfit is not None)
        in_a_row = list(recent)[-_MOST_BAD_IN_A_ROW - 1 :]
        if (len(in_a_row) > _MOST_BAD_IN_A_ROW and all(in_a_row)) or sum(recent) > _MOST_BAD_OF_100:
            recent.clear()
            raise TooManyBad(
                f"{self.voice.service} stops at {record.topic}/{record.partition}/{record.offset}: most records there "
                f"cannot be handled ({unfit.text if unfit else ''}). Mend or roll back this version, then start again"
            )


def module_of(service: str) -> str:
    """The Python package of a service."""
    return service.replace("-", "_")


def sequence_of(message: Message) -> int:
    """An event's own sequence number; 0 where its source counts none."""
    text = message.envelope.sequence
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def parked_row(record: Record, reason: Malformed) -> dict[str, Any]:
    """A record as the parking table keeps it: raw."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "headers": ledger.dump_headers(tuple(record.headers)),
        "value": record.value,
        "code": reason.code,
        "text": reason.text,
        "parking": 1,
        "state": "parked",
    }


def insert_or_ignore(session: Session, table: Any, row: dict[str, Any]) -> Any:
    """An insert that leaves an existing row as it is, on both databases."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table).values(**row).on_conflict_do_nothing()


def _upsert(session: Session, table: Any, keys: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    session.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=changed), rows)


def load_positions(session: Session, consumer: str) -> dict[tuple[str, int], int]:
    """The next offset of each partition."""
    table = ledger.POSITION.c
    rows = session.execute(select(table.topic, table.partition, table.next_offset).where(table.consumer == consumer))
    return {(row.topic, row.partition): row.next_offset for row in rows}


def save_positions(session: Session, consumer: str, moved: dict[tuple[str, int], int]) -> None:
    """Store the next offset of each partition that moved."""
    rows = [
        {"consumer": consumer, "topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in moved.items()
    ]
    if rows:
        _upsert(session, ledger.POSITION, ("consumer", "topic", "partition"), rows)


def save_sequence(session: Session, topic: str, subject: str, number: int) -> None:
    """Store the last sequence number of a topic and subject."""
    _upsert(session, ledger.SEQUENCE, ("topic", "subject"), [{"topic": topic, "subject": subject, "last": number}])


def is_operations(topic: str) -> bool:
    """Whether a topic carries what a service tells of its own running."""
    return topic.startswith(OPERATIONS)


@contextmanager
def appending(database: Database, consumer: str) -> Iterator[tuple[Session, dict[tuple[str, int], int]]]:
    """A transaction of a consumer that only appends; its positions are stored by the caller."""
    with database.begin(deciding=database.is_sqlite) as session, database.projecting(session, "appender"):
        yield session, load_positions(session, consumer)


def value_digest(value: bytes) -> str:
    """SHA-256 of value bytes."""
    return "sha256:" + hashlib.sha256(value).hexdigest()
