"""What the validator remembers. Each table is fed by one topic; queries never change anything."""

from collections.abc import Sequence
from typing import ClassVar

from sqlalchemy import BigInteger, ColumnElement, and_, exists, literal, or_
from sqlalchemy.orm import aliased, registry
from sqlmodel import Field, Session, col, select

from cairn.events import DatasetAccepted, ModelDeclared, ModelPromoted
from chassis import Table

MOST_PENDING = 50
"""Tasks that a query for pending work gives at most: one that is not worked on yet is among them."""


class ValidatorTable(Table, registry=registry()):
    """The validator's own tables."""


class Offered(ValidatorTable):
    """What the tables of dataset versions have in common."""

    source: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    dataset: str = Field(index=True)
    partition: int
    offset: int = Field(sa_type=BigInteger)
    """The latest version is the last of its dataset."""
    facts: str
    origin: str


class Published(Offered, table=True):
    """Versions that upstream systems published."""

    topic: ClassVar[str] = "datasets"


class Assembled(Offered, table=True):
    """Versions that the monitor assembled."""

    topic: ClassVar[str] = "monitoring"


class Declared(ValidatorTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    dataset: str
    facts: str
    origin: str


class Version(ValidatorTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    registered_at: str
    facts: str
    origin: str


class Champion(ValidatorTable, table=True):
    """Every change of a champion."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    generation: int = Field(primary_key=True)
    facts: str


class DatasetVerdict(ValidatorTable, table=True):
    """What was found of each dataset version, for each declaration that it was judged for."""

    topic: ClassVar[str] = "validation"

    source: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    """With the source: the event that told of the version."""
    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    dataset: str
    digest: str = Field(index=True)
    accepted: bool
    judged_at: str
    facts: str


class ModelVerdict(ValidatorTable, table=True):
    """What was found of each version, or that it could not be judged."""

    topic: ClassVar[str] = "validation"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    verdict: str
    judged_at: str
    facts: str


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def unjudged(self, table: type[Offered]) -> Sequence[tuple[Offered, Declared]]:
        """Each dataset version with each current declaration that it is to be judged for; the oldest first.

        That is the latest version without a verdict for that revision, and any version without one for that model.
        """
        wanted = or_(
            ~_judged(table), and_(_is_latest(table), ~_judged(table, col(DatasetVerdict.revision) == Declared.revision))
        )
        query = (
            select(table, Declared)
            .join(Declared, _concerns(table))
            .where(_is_current(), wanted)
            .order_by(col(table.offset), col(table.partition), col(Declared.model))
            .limit(MOST_PENDING)
        )
        return self._session.exec(query).all()

    def unjudged_versions(self) -> Sequence[Version]:
        """Model versions without a verdict, the oldest first."""
        verdict = exists().where(col(ModelVerdict.model) == Version.model, col(ModelVerdict.version) == Version.version)
        order = (col(Version.registered_at), col(Version.model), col(Version.version))
        return self._session.exec(select(Version).where(~verdict).order_by(*order).limit(MOST_PENDING)).all()

    def declaration(self, model: str, revision: int) -> ModelDeclared | None:
        """A revision of a declaration."""
        row = self._session.get(Declared, (model, revision))
        return ModelDeclared.model_validate_json(row.facts) if row else None

    def champion(self, model: str) -> ModelPromoted | None:
        """The latest promotion."""
        query = select(Champion).where(Champion.model == model).order_by(col(Champion.generation).desc()).limit(1)
        row = self._session.exec(query).first()
        return ModelPromoted.model_validate_json(row.facts) if row else None

    def accepted(self, dataset: str, digest: str) -> DatasetAccepted | None:
        """A dataset that was found fit: where its files are."""
        query = (
            select(DatasetVerdict)
            .where(DatasetVerdict.digest == digest, DatasetVerdict.dataset == dataset, DatasetVerdict.accepted)
            .order_by(col(DatasetVerdict.source), col(DatasetVerdict.event_id))
            .limit(1)
        )
        row = self._session.exec(query).first()
        return DatasetAccepted.model_validate_json(row.facts) if row else None


def _concerns(table: type[Offered]) -> ColumnElement[bool]:
    """A declaration names the dataset; what was served by a model is its own."""
    return or_(col(Declared.dataset) == table.dataset, col(table.dataset) == literal("served.") + col(Declared.model))


def _is_current() -> ColumnElement[bool]:
    newer = aliased(Declared)
    return ~exists().where(col(newer.model) == Declared.model, col(newer.revision) > Declared.revision)


def _is_latest(table: type[Offered]) -> ColumnElement[bool]:
    newer = aliased(table)
    behind = or_(
        col(newer.offset) > table.offset,
        and_(col(newer.offset) == table.offset, col(newer.partition) > table.partition),
    )
    return ~exists().where(col(newer.dataset) == table.dataset, behind)


def _judged(table: type[Offered], *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether there is a verdict on the version for the model."""
    return exists().where(
        col(DatasetVerdict.source) == table.source,
        col(DatasetVerdict.event_id) == table.event_id,
        col(DatasetVerdict.model) == Declared.model,
        *more,
    )
