"""What the deployer remembers of each event: event in, rows out."""

from cairn.events import (
    ModelDeclared,
    ModelRegistered,
    PromotionApproved,
    ReplicaActivated,
    ReplicaFailed,
    ReplicaReported,
    ReplicaStopped,
    RolloutAborted,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutHeld,
    RolloutStarted,
)
from cairn.events.instants import parse_instant
from cairn.events.values import format_instant
from chassis import Projections, Rows
from deployer.domain import RolloutTold
from deployer.store import STAGES, Answered, Approved, Declared, Failed, Following, Registered, ReplicaStart, Rollout

projections = Projections()

_WORDS = {facts: word for word, facts in STAGES.items()}


@projections.of(ModelRegistered)
def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(Registered(model=event.model.name, version=event.model.version, facts=event.model_dump_json()))


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(Declared(model=event.model, revision=event.revision, facts=event.model_dump_json()))


@projections.of(PromotionApproved)
def remember_approval(event: PromotionApproved, rows: Rows) -> None:
    """Keep every approval."""
    rows.put(
        Approved(
            id=rows.origin.id,
            model=event.model.name,
            version=event.model.version,
            offset=rows.offset or 0,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(RolloutStarted, RolloutAdvanced, RolloutHeld, RolloutCompleted, RolloutAborted)
def remember_rollout(event: RolloutTold, rows: Rows) -> None:
    """Keep where a rollout stands."""
    rows.put(
        Rollout(
            id=event.rollout_id,
            model=event.model.name,
            version=event.model.version,
            kind=event.kind,
            stage=_WORDS[type(event)],
            approval=event.approval.id,
            sequence=rows.sequence,
            told_at=rows.origin.time,
            facts=event.model_dump_json(),
        )
    )


@projections.of(ReplicaActivated)
def remember_activation(event: ReplicaActivated, rows: Rows) -> None:
    """A replica lives, and follows a route."""
    _remember_start(event, rows)
    _remember_following(event, event.model.name, event.route_revision, rows)


@projections.of(ReplicaFailed)
def remember_failure(event: ReplicaFailed, rows: Rows) -> None:
    """A replica lives, and could not take over a route."""
    _remember_start(event, rows)
    rows.put(
        Failed(
            model=event.model.name,
            route_revision=event.route_revision,
            replica=event.replica,
            start=event.start,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(ReplicaReported)
def remember_report(event: ReplicaReported, rows: Rows) -> None:
    """A replica lives, follows routes and has answered."""
    _remember_start(event, rows)
    for following in event.revisions:
        _remember_following(event, following.model, following.route_revision, rows)
    for answers in event.answers:
        rows.put(Answered(replica=event.replica, start=event.start, **answers.model_dump()))


@projections.of(ReplicaStopped)
def remember_stop(event: ReplicaStopped, rows: Rows) -> None:
    """A replica ended in order."""
    _remember_start(event, rows, stopped=True)


def _remember_start(
    event: ReplicaActivated | ReplicaFailed | ReplicaReported | ReplicaStopped, rows: Rows, *, stopped: bool = False
) -> None:
    known = rows.get(ReplicaStart, event.replica, event.start)
    time = parse_instant(rows.origin.time)
    heard_at = format_instant(time) if time else ""
    rows.put(
        ReplicaStart(
            replica=event.replica,
            start=event.start,
            first_offset=known.first_offset if known else rows.offset or 0,
            began_at=known.began_at if known else heard_at,
            heard_at=heard_at,
            stopped=stopped,
            origin=rows.origin.dump(),
        )
    )


def _remember_following(event: ReplicaActivated | ReplicaReported, model: str, revision: int, rows: Rows) -> None:
    known = rows.get(Following, event.replica, event.start, model)
    latest = max(revision, known.route_revision) if known else revision
    rows.put(Following(replica=event.replica, start=event.start, model=model, route_revision=latest))
