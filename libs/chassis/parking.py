"""Records that cannot be handled: kept raw, announced, and driven again when somebody asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from cairn.events.catalogue import type_of
from cairn.events.codec import Malformed, Record
from cairn.events.operations import RecordDiscarded, RecordParked, RecordRedriven
from cairn.events.requests import RedriveRequested
from cairn.events.values import Digest, EventRef, Reason
from cairn.objects import StoreUnreachable
from chassis import inbox, ledger
from chassis.database import ForbiddenWrite, is_infrastructure
from chassis.outbox import find_related, find_told
from chassis.positions import Partition
from chassis.transaction import NotOwner, Place, Transaction, TwoDecisions, unreadable_cause
from chassis.upsert import insert_or_ignore, upsert

if TYPE_CHECKING:
    from chassis.processor import Processor

_JUDGED: dict[str, type[RecordParked | RecordRedriven | RecordDiscarded]] = {
    type_of(facts).name: facts for facts in (RecordParked, RecordRedriven, RecordDiscarded)
}
_REDRIVEN = type_of(RecordRedriven).name


class Unfit(Exception):
    """A record cannot be handled; carries the reason."""

    def __init__(self, reason: Malformed) -> None:
        super().__init__(reason.text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was told of a record, in an earlier life of the store."""

    reason: Malformed
    """Why it was parked last."""
    parking: int
    """Which parking of it that was, from 1."""
    applied: bool
    """Whether it was applied when it came: then not it was at fault, but the work that it asked for."""
    state: str = "parked"
    """As a parked row has it: parked, redriven or discarded."""
    driven_by: EventRef | None = None
    """The first request that had it driven again, if one had: what was driven again since had been applied by then."""

    def stands(self, connection: Connection) -> bool:
        """Whether the record is to be parked again: nobody had it driven, or who had is still to be heard."""
        return not self.applied and (self.driven_by is None or not inbox.holds(connection, self.driven_by))


Told = RecordParked | RecordRedriven | RecordDiscarded


def judge(known: Verdict | None, facts: Told) -> Verdict | None:
    """The verdict on a record after one more of what was told of it, in order."""
    match facts:
        case RecordParked():
            reason = Malformed(facts.reason.code, facts.reason.text)
            first = known or Verdict(reason, facts.parking, facts.applied)
            return replace(first, reason=reason, parking=facts.parking, state="parked")
        case RecordRedriven():
            request = next(iter(facts.reason.evidence), None)
            return known and replace(known, state="redriven", driven_by=known.driven_by or request)
        case RecordDiscarded():
            return known and replace(known, state="discarded")


def load_verdicts(connection: Connection, positions: Mapping[Partition, int]) -> dict[Place, Verdict]:
    """What was told of records at or past these positions.

    There is something only where a rebuild ended, at the group's offsets, before what the service had taken.
    """
    verdicts: dict[Place, Verdict] = {}
    for type_name, value in find_told(connection, *_JUDGED):
        facts = _JUDGED[type_name].model_validate_json(value, extra="ignore")
        place = Place(facts.topic, facts.partition, facts.offset)
        if facts.offset < positions.get((facts.topic, facts.partition), 0):
            continue
        if verdict := judge(verdicts.get(place), facts):
            verdicts[place] = verdict
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


def keep(connection: Connection, record: Record, reason: Malformed, state: str = "parked", parking: int = 1) -> None:
    """Put a record among the parked ones."""
    connection.execute(insert_or_ignore(connection, ledger.PARKED), parked_row(record, reason, state, parking))


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


def park_applied(transaction: Transaction, place: Place, digest: Digest, reason: Reason) -> None:
    """Park a record that was applied, because the work that it asked for has failed; the same step may tell how.

    What it holds stays in the log: when it is driven again it is not applied a second time, but `record.redriven` is
    told, from which a projection makes the work pending again.
    """
    table = ledger.PARKED
    before = transaction.connection.execute(select(table.c.parking).where(_lies_at(place))).scalar()
    reason = reason.model_copy(update={"text": _legible(reason.code, reason.text).text})
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
        told_before=transaction.told_before,
    )
    parked = RecordParked(
        service=transaction.voice.service,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        digest=digest,
        reason=reason,
        parking=row["parking"],
        applied=True,
    )
    step.tell(parked, n=row["parking"])
    transaction.told_before = step.told_before


def _lies_at(place: Place) -> Any:
    table = ledger.PARKED.c
    return (table.topic == place.topic) & (table.partition == place.partition) & (table.offset == place.offset)


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
    digest = inbox.applied_digest(transaction.connection, record)
    if digest is None:
        taken = processor.try_to_take(transaction.session, record, transaction.positions, transaction.place)
        if isinstance(taken, Malformed):
            if driven_before:
                raise Unfit(taken)
            transaction.refuse(taken.code, f"it still cannot be handled: {taken.text}")
            return
    _note_driven(transaction.connection, place)
    _tell_driven(processor, record, digest or record.digest, row["parking"], request, transaction)


def _find(connection: Connection, place: Place) -> Any:
    return connection.execute(select(ledger.PARKED).where(_lies_at(place))).mappings().first()


def _note_driven(connection: Connection, place: Place) -> None:
    connection.execute(update(ledger.PARKED).where(_lies_at(place)).values(state="redriven"))


def _was_refused(transaction: Transaction) -> bool:
    """Whether this very request was refused before, in an earlier life of the store."""
    return bool(find_related(transaction.connection, "", transaction.cause.name))


def _was_driven(place: Place, transaction: Transaction) -> bool:
    """Whether it was told before that this very request had the record driven again."""
    told = find_related(transaction.connection, "", unreadable_cause(place).name)
    driven = [RecordRedriven.model_validate_json(row.value, extra="ignore") for row in told if row.type == _REDRIVEN]
    return any(transaction.cause.ref in facts.reason.evidence for facts in driven)


def _tell_driven(
    processor: "Processor",
    record: Record,
    digest: Digest,
    parking: int,
    request: RedriveRequested,
    transaction: Transaction,
) -> None:
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
            digest=digest,
            reason=Reason(code="requested", text=request.reason, evidence=(transaction.cause.ref,)),
            parking=parking,
        ),
        n=parking,
    )
    processor.settle(step)
