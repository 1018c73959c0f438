"""Records that cannot be handled: kept raw, announced, and driven again when somebody asks."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlmodel import Session

from cairn.events.catalogue import type_of
from cairn.events.codec import Malformed, Record
from cairn.events.operations import RecordParked, RecordRedriven
from cairn.events.requests import RedriveRequested
from cairn.events.values import Digest, Reason
from chassis import ledger
from chassis.inbox import applied_digest
from chassis.outbox import find_related
from chassis.positions import Partition
from chassis.transaction import Place, Transaction, unreadable_cause
from chassis.upsert import insert_or_ignore, upsert

if TYPE_CHECKING:
    from chassis.processor import Processor

_REDRIVEN = type_of(RecordRedriven).name


class Unfit(Exception):
    """A record cannot be handled; carries the reason."""

    def __init__(self, reason: Malformed) -> None:
        super().__init__(reason.text)
        self.reason = reason


def legible(code: str, text: str) -> Malformed:
    """A reason that every database and every JSON reader can hold, whatever was complained about."""
    return Malformed(code, text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")[:1000])


def parked_row(record: Record, reason: Malformed, state: str = "parked", parking: int = 1) -> dict[str, Any]:
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
        "parking": parking,
        "state": state,
    }


def park(
    processor: "Processor", session: Session, record: Record, reason: Malformed, positions: dict[Partition, int]
) -> None:
    """Keep the record, and tell that it is parked."""
    place = Place(record.topic, record.partition, record.offset)
    connection = session.connection()
    connection.execute(insert_or_ignore(connection, ledger.PARKED), parked_row(record, reason))
    step = Transaction(session, processor.clock(), processor.voice, unreadable_cause(place), positions, place)
    step.tell(
        RecordParked(
            service=processor.voice.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            digest=record.digest,
            reason=Reason(code=reason.code, text=reason.text),
            parking=1,
        ),
        n=1,
    )
    processor.settle(step)


def park_applied(transaction: Transaction, place: Place, digest: Digest, reason: Reason) -> None:
    """Park a record that was applied, because the work that it asked for has failed; the same step may tell how.

    What it holds stays in the log: when it is driven again it is not applied a second time, but `record.redriven` is
    told, from which a projection makes the work pending again.
    """
    table = ledger.PARKED
    before = transaction.connection.execute(select(table.c.parking).where(_lies_at(place))).scalar()
    reason = reason.model_copy(update={"text": legible(reason.code, reason.text).text})
    empty = Record(place.topic, place.partition, place.offset, 0, None, (), None)
    row = parked_row(empty, Malformed(reason.code, reason.text), parking=(before or 0) + 1)
    transaction.connection.execute(upsert(transaction.connection, table, "topic", "partition", "offset"), row)
    step = Transaction(
        transaction.session,
        transaction.now,
        transaction.voice,
        unreadable_cause(place),
        transaction.positions,
        told=transaction.told,
    )
    parked = RecordParked(
        service=transaction.voice.service,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        digest=digest,
        reason=reason,
        parking=row["parking"],
    )
    step.tell(parked, n=row["parking"])


def _lies_at(place: Place) -> Any:
    table = ledger.PARKED.c
    return (table.topic == place.topic) & (table.partition == place.partition) & (table.offset == place.offset)


def redrive(processor: "Processor", request: RedriveRequested, transaction: Transaction) -> None:
    """Try a parked record again: tell that it was handled, or refuse the request."""
    if request.service != processor.voice.service or _is_answered(request, transaction):
        return
    table = ledger.PARKED
    asked = (request.topic, request.partition, request.offset)
    this = _lies_at(Place(*asked))
    row = transaction.connection.execute(select(table).where(this)).mappings().first()
    if row is None or row["state"] != "parked":
        found = f"it is {row['state']}" if row else "it was never parked"
        transaction.refuse("not-parked", f"no record is parked at {asked[0]}/{asked[1]}/{asked[2]}: {found}")
        return
    record = ledger.parked_record(dict(row))
    digest = applied_digest(transaction.connection, record)
    if digest is None:
        taken = processor.try_to_take(transaction.session, record, transaction.positions)
        if isinstance(taken, Malformed):
            transaction.refuse(taken.code, f"it still cannot be handled: {taken.text}")
            return
    transaction.connection.execute(update(table).where(this).values(state="redriven"))
    _tell_redriven(processor, record, digest or record.digest, row["parking"], request, transaction)


def _is_answered(request: RedriveRequested, transaction: Transaction) -> bool:
    """Whether this very request was answered before, in an earlier life of the store."""
    cause = unreadable_cause(Place(request.topic, request.partition, request.offset))
    driven = [
        RecordRedriven.model_validate_json(row.value, extra="ignore").reason.evidence
        for row in find_related(transaction.connection, "", cause.name)
        if row.type == _REDRIVEN
    ]
    refused = find_related(transaction.connection, "", transaction.cause.name)
    return bool(refused) or any(transaction.cause.ref in evidence for evidence in driven)


def _tell_redriven(
    processor: "Processor",
    record: Record,
    digest: Digest,
    parking: int,
    request: RedriveRequested,
    transaction: Transaction,
) -> None:
    cause = unreadable_cause(Place(record.topic, record.partition, record.offset))
    step = Transaction(
        transaction.session, transaction.now, processor.voice, cause, transaction.positions, transaction.place
    )
    step.tell(
        RecordRedriven(
            service=processor.voice.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            digest=digest,
            reason=Reason(code="requested", text=request.reason, evidence=(transaction.cause.ref,)),
            parking=parking,
        ),
        n=parking,
    )
    processor.settle(step)
