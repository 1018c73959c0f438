"""Records that cannot be handled: kept raw, announced, and driven again when somebody asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from cairn.events.catalogue import type_of
from cairn.events.codec import Malformed, Record
from cairn.events.operations import RecordParked, RecordRedriven
from cairn.events.requests import RedriveRequested
from cairn.events.values import EventRef, Reason
from cairn.objects import StoreUnreachable
from chassis import inbox, ledger
from chassis.database import ForbiddenWrite, is_infrastructure
from chassis.outbox import find_related, find_told
from chassis.positions import Partition
from chassis.transaction import NotOwner, Place, Transaction, TwoDecisions, unreadable_cause
from chassis.upsert import insert_or_ignore

if TYPE_CHECKING:
    from chassis.processor import Processor

_PARKED = type_of(RecordParked).name
_REDRIVEN = type_of(RecordRedriven).name


class Unfit(Exception):
    """A record cannot be handled; carries the reason."""

    def __init__(self, reason: Malformed) -> None:
        super().__init__(reason.text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was told of a record that is still to be taken, in an earlier life of the store."""

    reason: Malformed
    """Why it was parked."""
    driven_by: EventRef | None = None
    """The request that had it driven again, if one had."""

    def stands(self, connection: Connection) -> bool:
        """Whether the record is to be parked again: nobody had it driven, or who had is still to be heard."""
        return self.driven_by is None or not inbox.holds(connection, self.driven_by)


def load_verdicts(connection: Connection, positions: Mapping[Partition, int]) -> dict[Place, Verdict]:
    """What was told of records at or past these positions.

    There is something only where a rebuild ended, at the group's offsets, before what the service had taken.
    """
    verdicts: dict[Place, Verdict] = {}
    for type_name, value in find_told(connection, _PARKED, _REDRIVEN):
        facts = (RecordParked if type_name == _PARKED else RecordRedriven).model_validate_json(value, extra="ignore")
        place = Place(facts.topic, facts.partition, facts.offset)
        if facts.offset < positions.get((facts.topic, facts.partition), 0):
            continue
        if isinstance(facts, RecordParked):
            verdicts[place] = Verdict(Malformed(facts.reason.code, facts.reason.text))
        elif place in verdicts:
            verdicts[place] = replace(verdicts[place], driven_by=next(iter(facts.reason.evidence), None))
    return verdicts


def reason_of(error: Exception) -> Malformed:
    """Why a record cannot be handled. Raises the error itself where trying again may help, or where code is wrong."""
    if isinstance(error, Unfit):
        return _legible(error.reason.code, error.reason.text)
    if isinstance(error, (ForbiddenWrite, NotOwner, TwoDecisions, StoreUnreachable)):
        raise error
    if is_infrastructure(error) and not isinstance(error, IntegrityError):
        raise error
    return _legible("handler", f"{type(error).__name__}: {error}")


def _legible(code: str, text: str) -> Malformed:
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


def keep(connection: Connection, record: Record, reason: Malformed, state: str = "parked") -> None:
    """Put a record among the parked ones."""
    connection.execute(insert_or_ignore(connection, ledger.PARKED), parked_row(record, reason, state))


def park(
    processor: "Processor", session: Session, record: Record, reason: Malformed, positions: dict[Partition, int]
) -> None:
    """Keep the record, and tell that it is parked."""
    place = Place.of(record)
    step = Transaction(session, processor.clock(), processor.voice, unreadable_cause(place), positions, place)
    keep(step.connection, record, reason)
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
    """Try a parked record again: tell that it was handled, or refuse the request.

    Raises what makes the request itself unfit: it was answered in an earlier life of the store, and that answer
    cannot be made good.
    """
    if request.service != processor.voice.service or _was_refused(transaction):
        return
    place = Place(request.topic, request.partition, request.offset)
    row = _find(transaction.connection, place)
    driven_before = _was_driven(place, transaction)
    if driven_before and row is None:
        return  # the record is still to come, and finds that this request was heard
    if driven_before and row["state"] == "redriven":
        # A rebuild has applied it. What it led to may have been lost: that it was driven is told apart from it.
        processor.decide_again(ledger.parked_record(dict(row)), transaction)
        return
    if row is None or row["state"] != "parked":
        found = f"it is {row['state']}" if row else "it was never parked"
        transaction.refuse("not-parked", f"no record is parked at {place}: {found}")
        return
    record = ledger.parked_record(dict(row))
    taken = processor.try_to_take(transaction.session, record, transaction.positions, transaction.place)
    if not isinstance(taken, Malformed):
        _note_driven(transaction.connection, place)
        _tell_driven(processor, record, request, transaction)
    elif driven_before:
        raise Unfit(taken)
    else:
        transaction.refuse(taken.code, f"it still cannot be handled: {taken.text}")


def _find(connection: Connection, place: Place) -> Any:
    return connection.execute(select(ledger.PARKED).where(_lies_at(place))).mappings().first()


def _note_driven(connection: Connection, place: Place) -> None:
    connection.execute(update(ledger.PARKED).where(_lies_at(place)).values(state="redriven"))


def _lies_at(place: Place) -> Any:
    table = ledger.PARKED.c
    return (table.topic == place.topic) & (table.partition == place.partition) & (table.offset == place.offset)


def _was_refused(transaction: Transaction) -> bool:
    """Whether this very request was refused before, in an earlier life of the store."""
    return bool(find_related(transaction.connection, "", transaction.cause.name))


def _was_driven(place: Place, transaction: Transaction) -> bool:
    """Whether it was told before that this very request had the record driven again."""
    told = find_related(transaction.connection, "", unreadable_cause(place).name)
    driven = [RecordRedriven.model_validate_json(row.value, extra="ignore") for row in told if row.type == _REDRIVEN]
    return any(transaction.cause.ref in facts.reason.evidence for facts in driven)


def _tell_driven(processor: "Processor", record: Record, request: RedriveRequested, transaction: Transaction) -> None:
    cause = unreadable_cause(Place.of(record))
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
