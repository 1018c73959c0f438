"""Records that cannot be handled: kept raw, announced, and driven again when somebody asks."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlmodel import Session

from cairn.events.catalogue import type_of
from cairn.events.codec import Malformed, Record
from cairn.events.operations import RecordParked, RecordRedriven
from cairn.events.requests import RedriveRequested
from cairn.events.values import Reason
from chassis import ledger
from chassis.outbox import find_related
from chassis.positions import Partition
from chassis.transaction import Place, Transaction, unreadable_cause
from chassis.upsert import insert_or_ignore

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


def parked_row(record: Record, reason: Malformed, state: str = "parked") -> dict[str, Any]:
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


def redrive(processor: "Processor", request: RedriveRequested, transaction: Transaction) -> None:
    """Try a parked record again: tell that it was handled, or refuse the request."""
    if request.service != processor.voice.service or _is_answered(request, transaction):
        return
    table = ledger.PARKED
    asked = (request.topic, request.partition, request.offset)
    this = (table.c.topic == asked[0]) & (table.c.partition == asked[1]) & (table.c.offset == asked[2])
    row = transaction.connection.execute(select(table).where(this)).mappings().first()
    if row is None or row["state"] != "parked":
        found = f"it is {row['state']}" if row else "it was never parked"
        transaction.refuse("not-parked", f"no record is parked at {asked[0]}/{asked[1]}/{asked[2]}: {found}")
        return
    record = ledger.parked_record(dict(row))
    taken = processor.try_to_take(transaction.session, record, transaction.positions)
    if isinstance(taken, Malformed):
        transaction.refuse(taken.code, f"it still cannot be handled: {taken.text}")
        return
    transaction.connection.execute(update(table).where(this).values(state="redriven"))
    _tell_redriven(processor, record, request, transaction)


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


def _tell_redriven(processor: "Processor", record: Record, request: RedriveRequested, transaction: Transaction) -> None:
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
            digest=record.digest,
            reason=Reason(code="requested", text=request.reason, evidence=(transaction.cause.ref,)),
            parking=1,
        ),
        n=1,
    )
    processor.settle(step)
