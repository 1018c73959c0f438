"""Facts that the tests are made of."""

import hashlib
from typing import Any

from cairn.events import (
    Declaration,
    ModelDeclared,
    ModelRegistered,
    PromotionApproved,
    ReplicaActivated,
    ReplicaFailed,
    ReplicaReported,
    ReplicaStopped,
)
from cairn.events.declaration import Rollout as Plan
from cairn.events.registry import Form
from cairn.events.serving import Answers, Revision
from cairn.events.values import (
    Column,
    DatasetRef,
    DeclarationRef,
    EventRef,
    IoSchema,
    ModelRef,
    ObjectRef,
    PolicyRef,
    Reason,
    RunRef,
)

LOANS = "risk.loans"


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def object_ref(text: str) -> ObjectRef:
    return ObjectRef(uri=f"file:///{text}", digest=digest(text), bytes=len(text), media_type="application/json")


def event_ref(name: str) -> EventRef:
    return EventRef(source="/test", id=name, type="cairn.test.v1", digest=digest(name))


def model_ref(version: int, model: str = LOANS) -> ModelRef:
    return ModelRef(name=model, version=version, digest=digest(f"{model}/{version}"))


def registered(version: int, model: str = LOANS, revision: int = 1) -> ModelRegistered:
    package = object_ref(f"{model}/{version}")
    return ModelRegistered(
        model=ModelRef(name=model, version=version, digest=package.digest),
        package=package,
        profile=object_ref(f"profile {version}"),
        forms=(Form(name="skops", file="model.skops", digest=digest("model")),),
        io_schema=IoSchema(inputs=(Column(name="amount", type="number"),), outputs=()),
        run=RunRef(run_id=f"run-{version}"),
        dataset=DatasetRef(name="loans", version="1", digest=digest("loans")),
        declaration=DeclarationRef(name=model, revision=revision, digest=digest("declaration")),
        card=object_ref("card"),
    )


def declared(model: str = LOANS, revision: int = 1, **plan: Any) -> ModelDeclared:
    declaration = Declaration(model=model, owner="credit", dataset="loans", target="defaulted", rollout=Plan(**plan))
    return ModelDeclared(model=model, revision=revision, declaration=declaration, digest=digest("declaration"))


def approved(version: int, model: str = LOANS) -> PromotionApproved:
    return PromotionApproved(
        model=model_ref(version, model),
        validation=event_ref("validation"),
        policy=PolicyRef(name="default", revision=0, digest=digest("policy")),
        checks=(),
        reason=Reason(code="all-met", text="All rules are met."),
    )


def activated(
    version: int, revision: int, replica: str = "serving-1", start: str = "a", model: str = LOANS
) -> ReplicaActivated:
    ref = model_ref(version, model)
    return ReplicaActivated(
        replica=replica, start=start, model=ref, route_revision=revision, digest=ref.digest, load_seconds=0.1
    )


def failed(
    version: int, revision: int, replica: str = "serving-1", start: str = "a", model: str = LOANS
) -> ReplicaFailed:
    ref = model_ref(version, model)
    return ReplicaFailed(
        replica=replica,
        start=start,
        model=ref,
        route_revision=revision,
        digest=ref.digest,
        load_seconds=30,
        reason=Reason(code="package-unreadable", text="The package cannot be read."),
    )


def reported(
    follows: dict[str, int] | None = None,
    answers: tuple[tuple[int, ...], ...] = (),
    replica: str = "serving-1",
    start: str = "a",
    model: str = LOANS,
) -> ReplicaReported:
    """`answers`: version, route revision, rows answered, rows failed (none unless said)."""
    return ReplicaReported(
        replica=replica,
        start=start,
        revisions=tuple(Revision(model=name, route_revision=number) for name, number in (follows or {}).items()),
        answers=tuple(
            Answers(
                model=model,
                version=version,
                arm=f"v{version}",
                route_revision=revision,
                answered=rows,
                failed=sum(unanswered),
            )
            for version, revision, rows, *unanswered in answers
        ),
    )


def stopped(replica: str = "serving-1", start: str = "a") -> ReplicaStopped:
    return ReplicaStopped(replica=replica, start=start)
