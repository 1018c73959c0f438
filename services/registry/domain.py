"""What the registry decides: what is declared, how versions are numbered, who is champion."""

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.events.deployment import RolloutCompleted
from cairn.events.governance import PromotionApproved
from cairn.events.registry import ModelDeclared, ModelPromoted, ModelRegistered, SchemaChange
from cairn.events.training import TrainingCompleted
from cairn.events.validation import ValidationPassed
from cairn.events.values import EventRef, Instant, IoSchema, ModelRef


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a promotion rests on."""

    rollout: RolloutCompleted
    rollout_ref: EventRef
    approval: PromotionApproved
    approval_ref: EventRef
    validation: ValidationPassed
    validation_ref: EventRef
    training: TrainingCompleted
    registered: ModelRegistered
    declared: ModelDeclared


def is_unchanged(digest: str, current: ModelDeclared | None) -> bool:
    """Whether a declaration says what is declared already."""
    return current is not None and current.digest == digest


def next_number(numbers: Sequence[int]) -> int:
    """The number after the greatest."""
    return max(numbers, default=0) + 1


def describe_change(before: IoSchema | None, after: IoSchema) -> SchemaChange:
    """How the inputs differ from the champion's before."""
    if before is None:
        return SchemaChange()
    old = {column.name: column for column in before.inputs}
    new = {column.name: column for column in after.inputs}
    return SchemaChange(
        added=tuple(column for name, column in new.items() if name not in old),
        removed=tuple(column for name, column in old.items() if name not in new),
        changed=tuple(column for name, column in new.items() if name in old and old[name] != column),
    )


def make_receipt(
    evidence: Evidence, generation: int, champion: ModelPromoted | None, effective_at: Instant, log_origin: str
) -> ModelPromoted:
    """The promotion, with all that its readers need."""
    rollout, registered, validation = evidence.rollout, evidence.registered, evidence.validation
    return ModelPromoted(
        model=registered.model,
        generation=generation,
        kind=rollout.kind,
        previous=champion.model if champion else None,
        reason=rollout.reason.text,
        effective_at=effective_at,
        package=registered.package,
        profile=registered.profile,
        forms=registered.forms,
        io_schema=registered.io_schema,
        io_change=describe_change(champion.io_schema if champion else None, registered.io_schema),
        task=evidence.declared.declaration.task,
        classes=evidence.training.classes,
        endpoint=rollout.endpoint,
        route_revision=rollout.route.revision,
        metrics=validation.metrics,
        champion_metrics=validation.champion_metrics,
        validation=evidence.validation_ref,
        report=validation.report,
        policy=evidence.approval.policy,
        approval=evidence.approval_ref,
        approvals=evidence.approval.approvals,
        rollout=evidence.rollout_ref,
        log_origin=log_origin,
        datasets=(registered.dataset,),
        run=registered.run,
        code=evidence.training.code,
        environment=evidence.training.environment,
        declaration=registered.declaration,
        card=registered.card,
        purpose=evidence.declared.declaration.purpose,
        owner=evidence.declared.declaration.owner,
    )


def life_of(registered: ModelRef, verdict: bool | None, approved: bool, champion: int | None, promoted: bool) -> str:
    """Where a version stands in its life: a view over what was told of it."""
    if promoted:
        return "live" if champion == registered.version else "retired"
    if verdict is False:
        return "failed"
    if approved:
        return "approved"
    return "validated" if verdict else "registered"
