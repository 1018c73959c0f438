"""Looks at what was appended, record by record, and raises findings.

Nothing is stored of how far it has looked: a checkpoint is signed only of what was looked at, so the latest checkpoint
says where to begin after a restart, and what was found already is told by the findings themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import select
from sqlmodel import Session

from cairn.broker import partition_of
from cairn.events.catalogue import ALL_SERVICES, TOPICS
from cairn.events.codec import Heard, Malformed, Record, check_hops
from cairn.events.governance import FindingRaised
from cairn.events.hearing import AUDITOR
from cairn.events.identity import Installation
from cairn.events.operations import RecordParked
from cairn.events.signing import Trust
from cairn.events.values import EventRef, LogRange
from cairn.subscriber import hear
from chassis import Due, Transaction, ledger
from chassis.transaction import Place, unreadable_cause
from governance_auditor.domain import Fault, fault_of, misplaced, out_of_sequence, unsigned
from governance_auditor.domain.findings import REUSED, UNSIGNED
from governance_auditor.store import LogStore
from governance_auditor.store.log import log_name, parse_log

_MOST_RECORDS = 200
"""So many are looked at in one go: the store is held for a few tens of milliseconds."""
_LOOK_SECONDS = 1.0
_MOST_LOOKED_BACK = 600
"""The relay may send a whole batch of at most 500 again."""
_NOT_COUNTED = frozenset({"signature", "not-allowed", "unsigned", "wrong-topic"})
"""Whose number is not the source's own."""
_Counted = tuple[str, str, str]
"""A series of numbers: log, source, subject."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record, or a run of records, with the same faults."""

    log: str
    first_offset: int
    last_offset: int
    faults: tuple[Fault, ...]
    event: EventRef | None
    """The event, where there is only one and it could be read."""


@dataclass(slots=True)
class _Memory:
    """What one process knows of one store: never more than the store itself could say."""

    reached: dict[str, int] = field(default_factory=dict)
    """The next record to look at, for each log."""
    last: dict[_Counted, int] = field(default_factory=dict)
    """The last number of each series before that record."""
    looked_at: datetime | None = None
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Inspector:
    """Looks at each record once, in the order of its log."""

    installation: Installation
    trust: Callable[[], Trust]
    _memories: "WeakKeyDictionary[Any, _Memory]" = field(default_factory=WeakKeyDictionary)

    def reached(self, session: Session, log: str) -> int:
        """How many records of a log were looked at, and all that was found told."""
        return self._memory(session).reached.get(log, 0)

    def due(self, session: Session, now: datetime) -> Sequence[Due]:
        """What is to be told of the next records of each log."""
        memory, store = self._memory(session), LogStore(session)
        heads = [head for head in store.heads() if _start(memory, head.log, head.signed_size, head.size) < head.size]
        share = max(10, _MOST_RECORDS // max(1, len(heads)))
        found = [_Look(self, session, store, memory, head.log).go(share) for head in heads]
        memory.looked_at = now
        memory.behind = any(memory.reached[head.log] < head.size for head in heads)
        return [_due(suspect) for suspect in found if suspect]

    def next_at(self, session: Session) -> datetime | None:
        """When to look again: nothing else tells that something was appended."""
        memory = self._memory(session)
        if memory.looked_at is None or memory.behind:
            return memory.looked_at
        return memory.looked_at + timedelta(seconds=_LOOK_SECONDS)

    def _memory(self, session: Session) -> _Memory:
        return self._memories.setdefault(session.get_bind(), _Memory())


def tell_findings(due: Due, tx: Transaction) -> None:
    """Tell what was found about a record."""
    suspect: Suspect = due.detail
    topic, partition = parse_log(suspect.log)
    for fault in suspect.faults:
        tx.tell(
            FindingRaised(
                log=suspect.log,
                code=fault.code,
                severity=fault.severity,
                text=fault.text,
                record=LogRange(
                    topic=topic,
                    partition=partition,
                    first_offset=suspect.first_offset,
                    last_offset=suspect.last_offset,
                ),
                event=suspect.event,
            ),
            n=fault.code,
        )


def _start(memory: _Memory, log: str, signed_size: int, size: int) -> int:
    start = memory.reached.setdefault(log, signed_size)
    if start > size:  # the store was made anew under us
        start = memory.reached[log] = min(signed_size, size)
    return start


def _due(suspect: Suspect) -> Due:
    topic, partition = parse_log(suspect.log)
    return Due(unreadable_cause(Place(topic, partition, suspect.first_offset)), suspect)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the next records of one log."""

    inspector: Inspector
    session: Session
    store: LogStore
    memory: _Memory
    log: str

    def go(self, most: int) -> Suspect | None:
        """Look at the next records, up to the first of which something is to be told."""
        run: Suspect | None = None
        for record in self.store.records(self.log, self.memory.reached[self.log], most):
            seen = self._examine(record)
            if run is None and seen.suspect is None:
                self._pass(record, seen)
            elif run is None:
                run = seen.suspect
            elif seen.suspect and seen.suspect.faults == run.faults:
                run = replace(run, last_offset=record.offset, event=None)
            else:
                break
            if run and not _is_lenient(run):
                break
        return run

    def _pass(self, record: Record, seen: "_Seen") -> None:
        """Leave a record behind: nothing is left to be told of it."""
        self.memory.reached[self.log] = record.offset + 1
        if seen.counted:
            self.memory.last[seen.counted] = seen.last

    def _examine(self, record: Record) -> "_Seen":
        """What is still to be told of a record, and of another that it announces."""
        heard = self._hear(record)
        seen = _Seen() if self._told_by_us(record) else self._examine_itself(record, heard)
        return seen if seen.suspect else seen._replace(suspect=self._reused(heard))

    def _reused(self, heard: Heard | Malformed) -> Suspect | None:
        """The record that used an id again, as who parked it says: only who took in the first one can know."""
        facts = heard.facts if isinstance(heard, Heard) else None
        if not isinstance(facts, RecordParked) or facts.reason.code != REUSED or facts.topic not in TOPICS:
            return None
        log = log_name(facts.topic, facts.partition)
        if REUSED in self.store.codes_found(log, facts.offset):
            return None
        fault = fault_of(REUSED, f"{facts.service} parked it: {facts.reason.text}")
        return Suspect(log, facts.offset, facts.offset, (fault,), None)

    def _examine_itself(self, record: Record, heard: Heard | Malformed) -> "_Seen":
        faults = self._faults(record, heard)
        number = _number_of(record, heard)
        counted, last, out = self._count(record, number) if number else (None, 0, None)
        known = self.store.codes_found(self.log, record.offset) if faults or out else frozenset()
        left = tuple(fault for fault in (*faults, *((out,) if out else ())) if fault.code not in known)
        if not left:
            return _Seen(None, counted, last)
        event = heard.message.ref if isinstance(heard, Heard) else None
        return _Seen(Suspect(self.log, record.offset, record.offset, left, event), counted, last)

    def _faults(self, record: Record, heard: Heard | Malformed) -> Sequence[Fault]:
        faults = []
        if isinstance(heard, Malformed):
            faults.append(fault_of(heard.code, heard.text))
        elif loop := check_hops(heard.message):
            faults.append(fault_of(loop.code, loop.text))
        elif not heard.signed:
            faults.append(unsigned(heard.message.envelope.source))
        right = partition_of(record.topic, record.key) if record.key is not None else record.partition
        if right != record.partition:
            faults.append(misplaced(record.partition, right))
        return faults

    def _hear(self, record: Record) -> Heard | Malformed:
        try:
            return hear(record, self.inspector.installation, self.inspector.trust())
        except Exception as error:  # noqa: BLE001 # no record, however hostile, may stop the auditor
            return Malformed("unreadable", f"{type(error).__name__}: {error}"[:1000])

    def _told_by_us(self, record: Record) -> bool:
        """Whether this service told it: a finding about its own finding would lead to the next one, without end."""
        if TOPICS[record.topic].owner != AUDITOR:
            return False
        told = select(ledger.TOLD.c.value).where(ledger.TOLD.c.event_id == _text(record, "ce_id"))
        return self.session.execute(told).scalar() == record.value

    def _count(self, record: Record, number: "_Numbered") -> tuple[_Counted, int, Fault | None]:
        """Which series a number belongs to, the last one of it then, and what is wrong with that."""
        counted = (self.log, number.source, number.subject)
        previous = self.memory.last.get(counted)
        if previous is None:
            previous = self._look_back(record, number)
        fault = out_of_sequence(number.sequence, previous)
        if fault and previous is not None and number.sequence <= previous and self._sent_again(record, number):
            return counted, previous, None
        return counted, number.sequence, fault

    def _look_back(self, record: Record, number: "_Numbered") -> int | None:
        for earlier in self.store.earlier(self.log, record.key, record.offset, _MOST_LOOKED_BACK):
            before = _number_of(earlier, self._hear(earlier))
            if before and (before.source, before.subject) == (number.source, number.subject):
                return before.sequence
        return None

    def _sent_again(self, record: Record, number: "_Numbered") -> bool:
        """Whether the very same event lies in the log before: what is sent at least once may be there twice."""
        return any(
            _text(earlier, "ce_id") == number.id and earlier.value == record.value
            for earlier in self.store.earlier(self.log, record.key, record.offset, _MOST_LOOKED_BACK)
        )


class _Seen(NamedTuple):
    """What a look at one record gave."""

    suspect: Suspect | None = None
    counted: _Counted | None = None
    last: int = 0


class _Numbered(NamedTuple):
    """The number that a service gave to an event."""

    source: str
    subject: str
    sequence: int
    id: str


def _is_lenient(suspect: Suspect) -> bool:
    """Whether all that is wrong is what the trust file admits: then a run of such records is one finding."""
    return [fault.code for fault in suspect.faults] == [UNSIGNED]


def _number_of(record: Record, heard: Heard | Malformed) -> _Numbered | None:
    """The number that a service gave to an event; None where none counts."""
    if TOPICS[record.topic].owner not in ALL_SERVICES or (isinstance(heard, Malformed) and heard.code in _NOT_COUNTED):
        return None
    sequence = _text(record, "ce_sequence")
    if not (sequence.isascii() and sequence.isdigit() and len(sequence) <= 20):
        return None
    return _Numbered(_text(record, "ce_source"), _text(record, "ce_subject"), int(sequence), _text(record, "ce_id"))


def _text(record: Record, name: str) -> str:
    value = next((value for header, value in record.headers if header == name), None)
    return (value or b"").decode(errors="replace")
