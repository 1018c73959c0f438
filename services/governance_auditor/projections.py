"""What the governance-auditor remembers of each event: event in, rows out."""

import json

from cairn.events import (
    ApprovalGiven,
    CheckpointSigned,
    FindingRaised,
    ModelDeclared,
    ModelRegistered,
    PolicyAdopted,
    PromotionApproved,
    PromotionPending,
    PromotionRefused,
    ValidationFailed,
    ValidationPassed,
)
from cairn.events.values import format_instant
from chassis import Projections, Rows
from governance_auditor.domain import handle_of
from governance_auditor.store import Adopted, Approval, Declared, Finding, Promotion, Registered, Signed, Verdict

projections = Projections()


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep whom every revision names as approvers."""
    approvers = json.dumps(event.declaration.approval.approvers)
    rows.put(Declared(model=event.model, revision=event.revision, approvers=approvers))


@projections.of(ModelRegistered)
def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(
        Registered(
            model=event.model.name,
            version=event.model.version,
            digest=event.model.digest,
            revision=event.declaration.revision,
        )
    )


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


@projections.of(ApprovalGiven)
def remember_approval(_event: ApprovalGiven, rows: Rows) -> None:
    """Keep who approved; whether it counted is told."""
    origin = rows.origin
    rows.put(Approval(source=origin.source, id=origin.id, person=handle_of(origin.principal), keyid=origin.keyid))


@projections.of(PolicyAdopted)
def remember_policy(event: PolicyAdopted, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(
        Adopted(policy=event.policy, revision=event.revision, facts=event.model_dump_json(), origin=rows.origin.dump())
    )


@projections.of(PromotionPending, PromotionApproved, PromotionRefused)
def remember_promotion(event: PromotionPending | PromotionApproved | PromotionRefused, rows: Rows) -> None:
    """Keep what was told last."""
    state = {PromotionPending: "pending", PromotionApproved: "approved", PromotionRefused: "refused"}[type(event)]
    rows.put(
        Promotion(
            model=event.model.name,
            version=event.model.version,
            state=state,
            policy_revision=event.policy.revision,
            expires_at=format_instant(event.expires_at) if isinstance(event, PromotionPending) else "",
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(FindingRaised)
def remember_finding(event: FindingRaised, rows: Rows) -> None:
    """Keep every finding."""
    rows.put(
        Finding(
            log=event.log,
            first_offset=event.record.first_offset,
            code=event.code,
            last_offset=event.record.last_offset,
            severity=event.severity,
            text=event.text,
            event=event.event.model_dump_json() if event.event else "",
            raised_at=rows.origin.time,
        )
    )


@projections.of(CheckpointSigned)
def remember_checkpoint(event: CheckpointSigned, rows: Rows) -> None:
    """Keep every checkpoint."""
    rows.put(
        Signed(
            log=event.log,
            tree_size=event.tree_size,
            root_hash=event.root_hash,
            note=event.note,
            signed_at=rows.origin.time,
        )
    )
