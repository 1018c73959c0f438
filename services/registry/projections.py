"""What the registry remembers of each event: event in, rows out."""

from cairn.events import (
    ModelDeclared,
    ModelPromoted,
    ModelRegistered,
    PromotionApproved,
    RolloutCompleted,
    TrainingCompleted,
    ValidationFailed,
    ValidationPassed,
)
from chassis import Projections, Rows
from registry.store import Approved, CompletedRollout, CompletedRun, Declared, Promotion, Verdict, Version

projections = Projections()


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(Declared(model=event.model, revision=event.revision, facts=event.model_dump_json()))


@projections.of(ModelRegistered)
def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(
        Version(
            model=event.model.name,
            version=event.model.version,
            run_id=event.run.run_id,
            registered_at=rows.origin.time,
            facts=event.model_dump_json(),
        )
    )


@projections.of(ModelPromoted)
def remember_promotion(event: ModelPromoted, rows: Rows) -> None:
    """Keep every change of a champion."""
    rows.put(
        Promotion(
            model=event.model.name,
            generation=event.generation,
            version=event.model.version,
            route_revision=event.route_revision,
            promoted_at=rows.origin.time,
            facts=event.model_dump_json(),
        )
    )


@projections.of(TrainingCompleted)
def remember_run(event: TrainingCompleted, rows: Rows) -> None:
    """Keep what made a version."""
    rows.put(CompletedRun(run_id=event.run.run_id, facts=event.model_dump_json()))


@projections.of(ValidationPassed, ValidationFailed)
def remember_verdict(event: ValidationPassed | ValidationFailed, rows: Rows) -> None:
    """Keep the latest verdict on a version."""
    rows.put(
        Verdict(
            model=event.model.name,
            version=event.model.version,
            passed=isinstance(event, ValidationPassed),
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(PromotionApproved)
def remember_approval(event: PromotionApproved, rows: Rows) -> None:
    """Keep the approval of a version."""
    rows.put(
        Approved(
            model=event.model.name,
            version=event.model.version,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(RolloutCompleted)
def remember_rollout(event: RolloutCompleted, rows: Rows) -> None:
    """Keep every completed rollout."""
    rows.put(
        CompletedRollout(
            model=event.model.name,
            route_revision=event.route.revision,
            version=event.model.version,
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )
