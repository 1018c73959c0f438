"""What the deployer remembers. Each table is fed by one topic; queries never change anything."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import BigInteger, func
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events import (
    ModelDeclared,
    ModelRegistered,
    PromotionApproved,
    ReplicaFailed,
    RolloutAborted,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutHeld,
    RolloutStarted,
)
from cairn.events.values import ModelRef, format_instant
from chassis import Origin, Table
from deployer.domain import Candidate, Failure, Observed, Plan, Replica, RolloutTold, challenger_of

ALIVE = timedelta(seconds=10)
"""A serving process that was not heard from for so long does not count."""

STAGES: dict[str, type[RolloutTold]] = {
    "started": RolloutStarted,
    "advanced": RolloutAdvanced,
    "held": RolloutHeld,
    "completed": RolloutCompleted,
    "aborted": RolloutAborted,
}
"""What a rollout told last, by the word that its row keeps."""
UNDER_WAY = ("started", "advanced", "held")


class DeployerTable(Table, registry=registry()):
    """The deployer's own tables."""


class Registered(DeployerTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    facts: str


class Declared(DeployerTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str


class Approved(DeployerTable, table=True):
    """Every approval. One model's lie in one partition: their offsets say which is newer."""

    topic: ClassVar[str] = "governance"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    version: int
    offset: int = Field(sa_type=BigInteger)
    facts: str
    origin: str


class Rollout(DeployerTable, table=True):
    """Every rollout, as it stood when it last told something."""

    topic: ClassVar[str] = "deployment"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    version: int
    kind: str
    stage: str
    approval: str
    sequence: int = Field(sa_type=BigInteger)
    told_at: str
    facts: str


class ReplicaStart(DeployerTable, table=True):
    """Every start of every serving process. The one that was heard of last for the first time is the replica now."""

    topic: ClassVar[str] = "serving"

    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    first_offset: int = Field(sa_type=BigInteger)
    heard_at: str
    stopped: bool
    origin: str


class Following(DeployerTable, table=True):
    """The latest route of each model that a start of a replica follows."""

    topic: ClassVar[str] = "serving"

    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    route_revision: int = Field(sa_type=BigInteger)


class Answered(DeployerTable, table=True):
    """What a start of a replica answered, by version, arm and route."""

    topic: ClassVar[str] = "serving"

    model: str = Field(primary_key=True)
    route_revision: int = Field(primary_key=True, sa_type=BigInteger)
    version: int = Field(primary_key=True)
    arm: str = Field(primary_key=True)
    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    answered: int = Field(sa_type=BigInteger)
    failed: int = Field(sa_type=BigInteger)


class Failed(DeployerTable, table=True):
    """Routes that a start of a replica could not take over."""

    topic: ClassVar[str] = "serving"

    model: str = Field(primary_key=True)
    route_revision: int = Field(primary_key=True, sa_type=BigInteger)
    replica: str = Field(primary_key=True)
    start: str = Field(primary_key=True)
    facts: str
    origin: str


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def registered(self, ref: ModelRef | None) -> ModelRegistered | None:
        """A version, if the registry knows just this one."""
        found = self.version(ref.name, ref.version) if ref else None
        return found if found and found.model == ref else None

    def version(self, model: str, version: int) -> ModelRegistered | None:
        """A version by its number."""
        row = self._session.get(Registered, (model, version))
        return ModelRegistered.model_validate_json(row.facts) if row else None

    def plan(self, registered: ModelRegistered) -> Plan | None:
        """How a version takes over, as the declaration says that it was made to."""
        row = self._session.get(Declared, (registered.model.name, registered.declaration.revision))
        return ModelDeclared.model_validate_json(row.facts).declaration.rollout if row else None

    def last_told(self, model: str) -> RolloutTold | None:
        """What was last told of a model's rollouts: its route is the model's."""
        query = select(Rollout).where(Rollout.model == model).order_by(col(Rollout.sequence).desc()).limit(1)
        row = self._session.exec(query).first()
        return parse_told(row) if row else None

    def models_under_way(self) -> Sequence[str]:
        """The models with a rollout that has not ended, in the order of their names."""
        query = select(Rollout.model).where(col(Rollout.stage).in_(UNDER_WAY)).distinct().order_by(Rollout.model)
        return self._session.exec(query).all()

    def waiting(self, model: str) -> tuple[Candidate, Origin] | None:
        """The newest approval that waits and whose version is known whole.

        An approval waits while no rollout rests on it or on a newer one, and its version was never promoted: what
        was champion once comes back by a rollback alone.
        """
        used = select(Rollout.approval).where(Rollout.model == model)
        last = select(func.max(Approved.offset)).where(col(Approved.id).in_(used)).scalar_subquery()
        promoted = select(Rollout.version).where(
            Rollout.model == model, Rollout.kind == "promotion", Rollout.stage == "completed"
        )
        query = (
            select(Approved)
            .where(
                Approved.model == model,
                col(Approved.offset) > func.coalesce(last, -1),
                col(Approved.version).not_in(promoted),
            )
            .order_by(col(Approved.offset).desc())
        )
        for row in self._session.exec(query):
            registered = self.registered(PromotionApproved.model_validate_json(row.facts).model)
            plan = self.plan(registered) if registered else None
            if registered and plan:
                origin = Origin.parse(row.origin)
                return Candidate(registered, plan, origin.ref), origin
        return None

    def approval(self, registered: ModelRegistered) -> Origin | None:
        """The latest approval of a version."""
        query = (
            select(Approved)
            .where(Approved.model == registered.model.name, Approved.version == registered.model.version)
            .order_by(col(Approved.offset).desc())
        )
        for row in self._session.exec(query):
            if PromotionApproved.model_validate_json(row.facts).model == registered.model:
                return Origin.parse(row.origin)
        return None

    def version_before(self, champion: ModelRef) -> int | None:
        """The champion that this one replaced when it was promoted."""
        query = (
            select(Rollout)
            .where(
                Rollout.model == champion.name,
                Rollout.version == champion.version,
                Rollout.kind == "promotion",
                Rollout.stage == "completed",
            )
            .order_by(col(Rollout.sequence).desc())
        )
        row = self._session.exec(query).first()
        previous = parse_told(row).previous if row else None
        return previous.version if previous else None

    def observed(self, told: RolloutTold, now: datetime) -> Observed:
        """What the serving processes said about this route."""
        model, revision, arm = told.model.name, told.route.revision, challenger_of(told)
        answered = self._session.exec(
            select(func.coalesce(func.sum(Answered.answered), 0)).where(
                Answered.model == model,
                Answered.route_revision == revision,
                Answered.version == arm.model.version,
                Answered.arm == arm.name,
            )
        ).one()
        failed = self._session.exec(
            select(Failed)
            .where(Failed.model == model, Failed.route_revision == revision)
            .order_by(Failed.replica, Failed.start)
        )
        failures = [
            Failure(row.replica, ReplicaFailed.model_validate_json(row.facts).reason.text, Origin.parse(row.origin).ref)
            for row in failed
        ]
        return Observed(self._live(model, now), failures, int(answered))

    def _live(self, model: str, now: datetime) -> list[Replica]:
        name, first = col(ReplicaStart.replica), col(ReplicaStart.first_offset)
        newest = select(name, func.max(first).label("first_offset")).group_by(name).subquery()
        query = (
            select(ReplicaStart)
            .join(newest, (newest.c.replica == name) & (newest.c.first_offset == first))
            .where(col(ReplicaStart.heard_at) >= format_instant(now - ALIVE), col(ReplicaStart.stopped).is_(False))
            .order_by(ReplicaStart.replica)
        )
        return [
            Replica(row.replica, self._revision(row, model), Origin.parse(row.origin).ref)
            for row in self._session.exec(query)
        ]

    def _revision(self, row: ReplicaStart, model: str) -> int:
        following = self._session.get(Following, (row.replica, row.start, model))
        return following.route_revision if following else 0


def parse_told(row: Rollout) -> RolloutTold:
    """What a rollout told last."""
    return STAGES[row.stage].model_validate_json(row.facts)
