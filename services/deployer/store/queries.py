"""What is asked of the tables. Queries never change anything."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from cairn.events import ModelDeclared, ModelRegistered, PromotionApproved, ReplicaFailed
from cairn.events.values import Arm, ModelRef, format_instant
from chassis import Origin
from deployer.domain import (
    Candidate,
    Counted,
    Failure,
    Observed,
    Plan,
    Replica,
    RolloutTold,
    challenger_of,
    champion_of,
)
from deployer.store.tables import (
    UNDER_WAY,
    Answered,
    Approved,
    Declared,
    Failed,
    Following,
    Registered,
    ReplicaStart,
    Rollout,
    parse_told,
)

ALIVE = timedelta(seconds=10)
"""A serving process that was not heard from for so long does not count."""


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
        failed = self._session.exec(
            select(Failed)
            .where(Failed.model == told.model.name, Failed.route_revision == told.route.revision)
            .order_by(Failed.replica, Failed.start)
        )
        failures = [
            Failure(row.replica, ReplicaFailed.model_validate_json(row.facts).reason.text, Origin.parse(row.origin).ref)
            for row in failed
        ]
        champion = champion_of(told)
        return Observed(
            live=self._live(told, now),
            failures=failures,
            challenger=self._counted(told, challenger_of(told)),
            champion=self._counted(told, champion) if champion else Counted(),
        )

    def _counted(self, told: RolloutTold, arm: Arm) -> Counted:
        answered, failed = self._session.exec(
            select(
                func.coalesce(func.sum(Answered.answered), 0),
                func.coalesce(func.sum(Answered.failed), 0),
            ).where(
                Answered.model == told.model.name,
                Answered.route_revision == told.route.revision,
                Answered.version == arm.model.version,
                Answered.arm == arm.name,
            )
        ).one()
        return Counted(int(answered), int(failed))

    def _live(self, told: RolloutTold, now: datetime) -> list[Replica]:
        name, first = col(ReplicaStart.replica), col(ReplicaStart.first_offset)
        newest = select(name, func.max(first).label("first_offset")).group_by(name).subquery()
        query = (
            select(ReplicaStart)
            .join(newest, (newest.c.replica == name) & (newest.c.first_offset == first))
            .where(col(ReplicaStart.heard_at) >= format_instant(now - ALIVE), col(ReplicaStart.stopped).is_(False))
            .order_by(ReplicaStart.replica)
        )
        rollout = self._session.get_one(Rollout, told.rollout_id)
        return [
            Replica(
                name=row.replica,
                revision=self._revision(row, told.model.name),
                heard=Origin.parse(row.origin).ref,
                seconds=_seconds_since(max(row.began_at, rollout.told_at), now),
            )
            for row in self._session.exec(query)
        ]

    def _revision(self, row: ReplicaStart, model: str) -> int:
        following = self._session.get(Following, (row.replica, row.start, model))
        return following.route_revision if following else 0


def _seconds_since(instant: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(instant)).total_seconds()
