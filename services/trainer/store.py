"""What the trainer remembers. Each table is fed by one topic; queries never change anything."""

from typing import ClassVar

from sqlalchemy import BigInteger
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events import DatasetAccepted, ModelDeclared, RetrainingAdvised, TrainingQueued
from chassis import Origin, Table
from trainer.domain import Advice, Fit, History, Plan

MOST_PENDING = 50
"""Tasks that the query for pending work gives at most: one that is not worked on yet is among them."""


class TrainerTable(Table, registry=registry()):
    """The trainer's own tables."""


class Declared(TrainerTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str


class Accepted(TrainerTable, table=True):
    """Every dataset that was found fit for a declaration."""

    topic: ClassVar[str] = "validation"

    event_id: str = Field(primary_key=True)
    model: str = Field(index=True)
    revision: int
    dataset: str
    digest: str
    partition: int
    offset: int = Field(sa_type=BigInteger)
    facts: str
    origin: str


class Advised(TrainerTable, table=True):
    """Every advice to retrain."""

    topic: ClassVar[str] = "monitoring"

    event_id: str = Field(primary_key=True)
    model: str = Field(index=True)
    digest: str
    partition: int
    offset: int = Field(sa_type=BigInteger)
    facts: str
    origin: str


class Run(TrainerTable, table=True):
    """Every run, and how far it has come."""

    topic: ClassVar[str] = "training"

    run_id: str = Field(primary_key=True)
    model: str = Field(index=True)
    dataset_digest: str
    declaration_digest: str
    trigger_id: str
    state: str = Field(index=True)
    """queued, started, completed or failed."""
    attempt: int
    trials: int
    queued_at: str
    ended_at: str | None
    facts: str
    """As it was queued."""
    outcome: str | None
    """As it ended."""
    origin: str


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def declaration(self, model: str, revision: int | None = None) -> ModelDeclared | None:
        """A revision of a declaration; the current one unless another is named."""
        query = select(Declared).where(Declared.model == model)
        if revision is not None:
            query = query.where(Declared.revision == revision)
        row = self._session.exec(query.order_by(col(Declared.revision).desc()).limit(1)).first()
        return ModelDeclared.model_validate_json(row.facts) if row else None

    def fit_for(self, model: str, revision: int, digest: str | None = None) -> list[Fit]:
        """The datasets that were accepted for a revision, or those of a digest, as they were accepted."""
        query = select(Accepted).where(Accepted.model == model, Accepted.revision == revision)
        if digest is not None:
            query = query.where(Accepted.digest == digest)
        rows = self._session.exec(query.order_by(col(Accepted.offset), col(Accepted.partition)))
        return [Fit(DatasetAccepted.model_validate_json(row.facts), Origin.parse(row.origin).ref) for row in rows]

    def advice(self, model: str, digest: str) -> list[Advice]:
        """The advice to retrain on a dataset, the oldest first."""
        query = select(Advised).where(Advised.model == model, Advised.digest == digest)
        rows = self._session.exec(query.order_by(col(Advised.offset), col(Advised.partition)))
        return [_advice(row) for row in rows]

    def history(self, model: str) -> History:
        """What was queued for a model and has not failed."""
        runs = self._session.exec(select(Run).where(Run.model == model, Run.state != "failed")).all()
        inputs = frozenset((run.dataset_digest, run.declaration_digest) for run in runs)
        triggers = select(Run.trigger_id).where(Run.model == model, Run.state != "failed")
        advised = self._session.exec(select(Advised).where(col(Advised.event_id).in_(triggers)))
        drifts = frozenset((advice.drift.source, advice.drift.id) for advice in map(_advice, advised))
        return History(inputs, drifts)

    def plans(self) -> list[tuple[Plan, Origin]]:
        """The runs without an end, the oldest first, each with the event that queued it."""
        query = (
            select(Run)
            .where(col(Run.state).in_(("queued", "started")))
            .order_by(col(Run.queued_at), col(Run.run_id))
            .limit(MOST_PENDING)
        )
        found = ((self._plan(run), Origin.parse(run.origin)) for run in self._session.exec(query).all())
        return [(plan, origin) for plan, origin in found if plan]

    def _plan(self, run: Run) -> Plan | None:
        """None while, after a rebuild, what led to the run has not been heard again."""
        queued = TrainingQueued.model_validate_json(run.facts)
        declared = self.declaration(run.model, queued.declaration.revision)
        fits = self.fit_for(run.model, queued.declaration.revision, queued.dataset.digest)
        return Plan(queued, declared.declaration, fits[0].facts) if declared and fits else None


def _advice(row: Advised) -> Advice:
    return Advice(Origin.parse(row.origin).ref, RetrainingAdvised.model_validate_json(row.facts).trigger)
