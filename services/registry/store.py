"""What the registry remembers. Each table is fed by one topic; queries never change anything."""

from typing import ClassVar

from sqlalchemy import bindparam
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events import (
    ModelDeclared,
    ModelPromoted,
    ModelRegistered,
    PromotionApproved,
    RolloutCompleted,
    TrainingCompleted,
    ValidationPassed,
)
from chassis import Origin, Table


class RegistryTable(Table, registry=registry()):
    """The registry's own tables."""


class Declared(RegistryTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str


class Version(RegistryTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    run_id: str
    registered_at: str
    facts: str


class Promotion(RegistryTable, table=True):
    """Every change of a champion."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    generation: int = Field(primary_key=True)
    version: int
    route_revision: int
    promoted_at: str
    facts: str


class CompletedRun(RegistryTable, table=True):
    """Training runs that ended with a package."""

    topic: ClassVar[str] = "training"

    run_id: str = Field(primary_key=True)
    facts: str


class Verdict(RegistryTable, table=True):
    """What the validator found of each version."""

    topic: ClassVar[str] = "validation"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    passed: bool
    facts: str
    origin: str


class Approved(RegistryTable, table=True):
    """Versions that may take traffic."""

    topic: ClassVar[str] = "governance"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    facts: str
    origin: str


class CompletedRollout(RegistryTable, table=True):
    """Rollouts that ended with all the traffic."""

    topic: ClassVar[str] = "deployment"

    model: str = Field(primary_key=True)
    route_revision: int = Field(primary_key=True)
    version: int
    facts: str
    origin: str


_CURRENT_DECLARATION = (
    select(Declared.facts)
    .where(Declared.model == bindparam("of_model"))
    .order_by(col(Declared.revision).desc())
    .limit(1)
)


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def declaration(self, model: str, revision: int | None = None) -> ModelDeclared | None:
        """A revision of a declaration; the current one unless another is named."""
        if revision is None:
            facts = self._session.execute(_CURRENT_DECLARATION, {"of_model": model}).scalar()
        else:
            row = self._session.get(Declared, (model, revision))
            facts = row.facts if row else None
        return ModelDeclared.model_validate_json(facts) if facts else None

    def version_numbers(self, model: str) -> list[int]:
        """The numbers given so far."""
        return list(self._session.exec(select(Version.version).where(Version.model == model)))

    def version(self, model: str, version: int) -> ModelRegistered | None:
        """A version."""
        row = self._session.get(Version, (model, version))
        return ModelRegistered.model_validate_json(row.facts) if row else None

    def version_of_run(self, run_id: str) -> ModelRegistered | None:
        """The version that a run became."""
        row = self._session.exec(select(Version).where(Version.run_id == run_id)).first()
        return ModelRegistered.model_validate_json(row.facts) if row else None

    def champion(self, model: str) -> ModelPromoted | None:
        """The latest promotion."""
        query = select(Promotion).where(Promotion.model == model).order_by(col(Promotion.generation).desc()).limit(1)
        row = self._session.exec(query).first()
        return ModelPromoted.model_validate_json(row.facts) if row else None

    def run(self, run_id: str) -> TrainingCompleted | None:
        """A completed run."""
        row = self._session.get(CompletedRun, run_id)
        return TrainingCompleted.model_validate_json(row.facts) if row else None

    def passed(self, model: str, version: int) -> tuple[ValidationPassed, Origin] | None:
        """The verdict on a version, if it passed."""
        row = self._session.get(Verdict, (model, version))
        if row is None or not row.passed:
            return None
        return ValidationPassed.model_validate_json(row.facts), Origin.parse(row.origin)

    def approved(self, model: str, version: int) -> tuple[PromotionApproved, Origin] | None:
        """The approval of a version."""
        row = self._session.get(Approved, (model, version))
        return (PromotionApproved.model_validate_json(row.facts), Origin.parse(row.origin)) if row else None

    def completed_rollouts(self, model: str, after_revision: int) -> list[tuple[RolloutCompleted, Origin]]:
        """Completed rollouts whose route is newer, the oldest first."""
        query = (
            select(CompletedRollout)
            .where(CompletedRollout.model == model, CompletedRollout.route_revision > after_revision)
            .order_by(col(CompletedRollout.route_revision))
        )
        rows = self._session.exec(query)
        return [(RolloutCompleted.model_validate_json(row.facts), Origin.parse(row.origin)) for row in rows]
