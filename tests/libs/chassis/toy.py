"""A tiny service for the tests of the chassis. It speaks as the monitor, for a service must be in the catalogue.

It counts labels and notes each (`anomaly.detected`), keeps the latest figure of each name, takes orders for slow
work (`drift.detected` says taken, `performance.degraded` says how it ended), and gives advice an hour after an alarm.
What it does in its handlers can be swapped while it runs, as a new version of a service would.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events import (
    AnomalyDetected,
    DriftDetected,
    LabelsObserved,
    OutcomesObserved,
    PerformanceDegraded,
    RetrainingAdvised,
    RollbackRequested,
    TrainingRequested,
)
from cairn.events.event import Event
from cairn.events.instants import parse_instant
from cairn.events.labels import Label, Outcome
from cairn.events.values import Check, DatasetRef, EventRef, ModelRef, format_instant
from chassis import Definition, Due, Handlers, Origin, Projections, Rows, Table, Task, Transaction, Wait, Work
from chassis.work import Job

NAME = "monitor"
HEARS = ("labels", "requests")
OWN = "monitoring"
PATIENCE = timedelta(hours=1)
DIGEST = "sha256:" + "0" * 64
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class ToyTable(Table, registry=registry()):
    """The toy's own tables."""


class Tally(ToyTable, table=True):
    """How many labels were seen, and the last one: what only adds, and what the last one wins."""

    topic: ClassVar[str] = "labels"

    model: str = Field(primary_key=True)
    items: int
    last: str


class Figure(ToyTable, table=True):
    """The latest figure of each name."""

    topic: ClassVar[str] = "labels"

    model: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    value: float


class Alarm(ToyTable, table=True):
    """What becomes due an hour after it was raised."""

    topic: ClassVar[str] = "requests"

    id: str = Field(primary_key=True)
    model: str
    due_at: str
    origin: str


class Note(ToyTable, table=True):
    """What was noted of labels."""

    topic: ClassVar[str] = OWN

    model: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    text: str


class Taken(ToyTable, table=True):
    """Orders for slow work."""

    topic: ClassVar[str] = OWN

    model: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    origin: str


class Ended(ToyTable, table=True):
    """How slow work ended."""

    topic: ClassVar[str] = OWN

    model: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    how: str
    text: str


class Advice(ToyTable, table=True):
    """The alarms that were answered."""

    topic: ClassVar[str] = OWN

    alarm: str = Field(primary_key=True)
    model: str


def labels(model: str = "risk.loans", *, value: float | str = 1.0, count: int = 1) -> LabelsObserved:
    """Labels of a model."""
    label = Label(prediction_id="p", observed_at=LONG_AGO, value=value)
    return LabelsObserved(model=model, target="paid", items=(label,) * count)


def figure(name: str = "loss", value: float = 1.0, model: str = "risk.loans") -> OutcomesObserved:
    """A business figure of a model."""
    outcome = Outcome(prediction_id="p", observed_at=LONG_AGO, value=value)
    return OutcomesObserved(model=model, name=name, unit="EUR", items=(outcome,))


def order(model: str = "risk.loans", reason: str = "") -> TrainingRequested:
    """An order for slow work."""
    return TrainingRequested(model=model, reason=reason)


def alarm(model: str = "risk.loans") -> RollbackRequested:
    """An alarm."""
    return RollbackRequested(model=model)


def version_of(model: str) -> ModelRef:
    """The one version that every model of the toy has."""
    return ModelRef(name=model, version=1, digest=DIGEST)


def check(name: str, asked: str = "", measured: str = "") -> Check:
    """A check that failed."""
    return Check(name=name, asked=asked, measured=measured, passed=False)


def note(model: str = "risk.loans", number: int = 1, text: str = "") -> AnomalyDetected:
    """What the toy tells of labels."""
    return AnomalyDetected(model=version_of(model), window=number, checks=(check("note", text),), evidence=())


def taken(model: str, number: int) -> DriftDetected:
    """What the toy tells of an order that it takes."""
    return DriftDetected(model=version_of(model), window=number, columns=("order",), drift=(), evidence=())


def ended(model: str, number: int, how: str, text: str = "") -> PerformanceDegraded:
    """What the toy tells of work that ended."""
    return PerformanceDegraded(model=version_of(model), window=number, checks=(check(how, text),), evidence=())


def advice(model: str, trigger: EventRef, now: datetime) -> RetrainingAdvised:
    """What the toy tells of an alarm whose time has come."""
    dataset = DatasetRef(name="loans", version="1", digest=DIGEST)
    return RetrainingAdvised(model=model, trigger=trigger, dataset=dataset, evidence=(), cooldown_until_at=now)


def note_labels(event: LabelsObserved, tx: Transaction) -> None:
    """Number a note."""
    numbers = tx.session.exec(select(Note.number).where(Note.model == event.model)).all()
    tx.tell(note(event.model, max(numbers, default=0) + 1, str(event.items[-1].value)))


def ignore(_event: Any, _tx: Transaction) -> None:
    """Tell nothing."""


def judge_order(event: TrainingRequested, tx: Transaction) -> None:
    """Take an order unless one is under way."""
    numbers = set(tx.session.exec(select(Taken.number).where(Taken.model == event.model)))
    if numbers - set(tx.session.exec(select(Ended.number).where(Ended.model == event.model))):
        tx.refuse("busy", f"there is an order for {event.model} already")
    else:
        tx.tell(taken(event.model, max(numbers, default=0) + 1))


def answer_alarm(due: Due, tx: Transaction) -> None:
    """Give advice."""
    tx.tell(advice(due.detail, due.origin.ref, tx.now))


projections = Projections()


@projections.of(LabelsObserved)
def remember_labels(event: LabelsObserved, rows: Rows) -> None:
    """Add up."""
    before = rows.get(Tally, event.model)
    items = len(event.items) + (before.items if before else 0)
    rows.put(Tally(model=event.model, items=items, last=str(event.items[-1].value)))


@projections.of(OutcomesObserved)
def remember_figure(event: OutcomesObserved, rows: Rows) -> None:
    """Keep the latest."""
    rows.put(Figure(model=event.model, name=event.name, value=event.items[-1].value))


@projections.of(RollbackRequested)
def remember_alarm(event: RollbackRequested, rows: Rows) -> None:
    """Keep when it is due: by the event's own time."""
    raised_at = parse_instant(rows.origin.time)
    assert raised_at
    due_at = format_instant(raised_at + PATIENCE)
    rows.add(Alarm(id=rows.origin.id, model=event.model, due_at=due_at, origin=rows.origin.dump()))


@projections.of(AnomalyDetected)
def remember_note(event: AnomalyDetected, rows: Rows) -> None:
    """Keep every note."""
    rows.put(Note(model=event.model.name, number=event.window, text=event.checks[0].asked))


@projections.of(DriftDetected)
def remember_order(event: DriftDetected, rows: Rows) -> None:
    """Keep every order that was taken."""
    rows.put(Taken(model=event.model.name, number=event.window, origin=rows.origin.dump()))


@projections.of(PerformanceDegraded)
def remember_end(event: PerformanceDegraded, rows: Rows) -> None:
    """Keep how work ended."""
    how = event.checks[0]
    rows.put(Ended(model=event.model.name, number=event.window, how=how.name, text=how.asked))


@projections.of(RetrainingAdvised)
def remember_advice(event: RetrainingAdvised, rows: Rows) -> None:
    """Keep which alarm was answered."""
    rows.put(Advice(alarm=event.trigger.id, model=event.model))


def pending_orders(session: Session) -> Sequence[Task]:
    """Orders that were taken and have not ended."""
    over = {(row.model, row.number) for row in session.exec(select(Ended))}
    rows = session.exec(select(Taken).order_by(col(Taken.model), col(Taken.number)))
    return [
        Task(f"{row.model}#{row.number}", Origin.parse(row.origin), (row.model, row.number))
        for row in rows
        if (row.model, row.number) not in over
    ]


def due_alarms(session: Session, now: datetime) -> Sequence[Due]:
    """Alarms whose time has come."""
    rows = [row for row in _open_alarms(session) if row.due_at <= format_instant(now)]
    return [Due(Origin.parse(row.origin), row.model) for row in rows]


def next_alarm_at(session: Session) -> datetime | None:
    """When the next alarm is due."""
    rows = _open_alarms(session)
    return parse_instant(rows[0].due_at) if rows else None


def _open_alarms(session: Session) -> list[Alarm]:
    answered = set(session.exec(select(Advice.alarm)))
    rows = session.exec(select(Alarm).order_by(col(Alarm.due_at)))
    return [row for row in rows if row.id not in answered]


async def _answer(_task: Task, _job: Job) -> str:
    return "42"


class Teller:
    """A handler that tells these events and remembers how they were named."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.events = events
        self.refs: list[EventRef] = []

    def __call__(self, _event: object, tx: Transaction) -> None:
        self.refs = [tx.tell(event) for event in self.events]


def tells(*events: Event) -> Teller:
    """A handler that tells these events, whatever it hears."""
    return Teller(events)


@dataclass
class Toy:
    """The toy as it behaves now."""

    on_labels: Callable[[LabelsObserved, Transaction], None] = note_labels
    on_figure: Callable[[OutcomesObserved, Transaction], None] = ignore
    on_order: Callable[[TrainingRequested, Transaction], None] = judge_order
    on_alarm: Callable[[Due, Transaction], None] = answer_alarm
    run: Callable[[Task, Job], Awaitable[str]] = _answer
    begin: Callable[[Task, int, Transaction], None] | None = None
    silent: bool = False
    """Whether it says nothing of work that went well."""
    at_once: int = 1

    def definition(self) -> Definition:
        """The service, whole."""
        handlers = Handlers()
        handlers.on(LabelsObserved)(lambda event, tx: self.on_labels(event, tx))
        handlers.on(OutcomesObserved)(lambda event, tx: self.on_figure(event, tx))
        handlers.on(TrainingRequested)(lambda event, tx: self.on_order(event, tx))
        wait = Wait("alarm", due_alarms, next_alarm_at, lambda due, tx: self.on_alarm(due, tx))
        return Definition(NAME, HEARS, ToyTable, handlers, projections, works=(self.work(),), waits=(wait,))

    def work(self) -> Work:
        """Its one kind of slow work."""
        return Work(
            "order",
            pending_orders,
            lambda task, job: self.run(task, job),
            self._finish,
            lambda task, code, text, tx: _tell_end(task, code, text, tx),
            begin=self.begin,
            at_once=self.at_once,
        )

    def _finish(self, task: Task, result: str, tx: Transaction) -> None:
        if not self.silent:
            _tell_end(task, "done", result, tx)


def _tell_end(task: Task, how: str, text: str, tx: Transaction) -> None:
    model, number = task.detail
    tx.tell(ended(model, number, how, text))
