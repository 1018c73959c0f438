"""Events as the auditor hears them, with just enough in them."""

from cairn.events import (
    ApprovalGiven,
    ApprovalWithheld,
    Declaration,
    ModelDeclared,
    ModelRegistered,
    ValidationFailed,
    ValidationPassed,
)
from cairn.events.declaration import Approval
from cairn.events.registry import Form
from cairn.events.values import (
    Check,
    DatasetRef,
    DeclarationRef,
    EventRef,
    IoSchema,
    Metric,
    ModelRef,
    ObjectRef,
    RunRef,
)

DIGEST = "sha256:" + "ab" * 32
OBJECT = ObjectRef(uri="file:///object", digest=DIGEST, bytes=1, media_type="application/json")
DATASET = DatasetRef(name="loans", version="1", digest=DIGEST)


def model(version: int = 1, digest: str = DIGEST) -> ModelRef:
    return ModelRef(name="risk.loans", version=version, digest=digest)


def ref(name: str = "verdict") -> EventRef:
    return EventRef(source="/test", id=name, type="cairn.test.v1", digest=DIGEST)


def declared(*approvers: str, revision: int = 1) -> ModelDeclared:
    declaration = Declaration(
        model="risk.loans", owner="credit", dataset="loans", target="y", approval=Approval(approvers=approvers)
    )
    return ModelDeclared(model="risk.loans", revision=revision, declaration=declaration, digest=DIGEST)


def registered(version: int = 1, revision: int = 1, digest: str = DIGEST) -> ModelRegistered:
    return ModelRegistered(
        model=model(version, digest),
        package=OBJECT,
        profile=OBJECT,
        forms=(Form(name="skops", file="model.skops", digest=DIGEST),),
        io_schema=IoSchema(inputs=(), outputs=()),
        run=RunRef(run_id=f"run-{version}"),
        dataset=DATASET,
        declaration=DeclarationRef(name="risk.loans", revision=revision, digest=DIGEST),
        card=OBJECT,
    )


def passed(version: int = 1, roc_auc: float = 0.9, digest: str = DIGEST) -> ValidationPassed:
    return ValidationPassed(
        model=model(version, digest),
        dataset=DATASET,
        metrics=(
            Metric(name="roc_auc", value=0.1, n=5, slice="age<30"),
            Metric(name="roc_auc", value=roc_auc, n=100),
            Metric(name="log_loss", value=0.3, n=100),
        ),
        checks=(),
        report=OBJECT,
    )


def failed(version: int = 1) -> ValidationFailed:
    gate = Check(name="minimum roc_auc", asked="roc_auc at least 0.8", measured="0.5", passed=False)
    return ValidationFailed(model=model(version), dataset=DATASET, metrics=(), checks=(gate,), report=OBJECT)


def approval(version: int = 1, **bound: object) -> ApprovalGiven:
    return ApprovalGiven(model=model(version), **bound)


def objection(version: int = 1, **bound: object) -> ApprovalWithheld:
    return ApprovalWithheld(model=model(version), **bound)
