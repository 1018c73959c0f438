"""What the registry tells: declarations, versions, champions."""

from typing import Annotated, Literal

from pydantic import Field

from cairn.events.declaration import Declaration
from cairn.events.event import Event
from cairn.events.values import (
    Code,
    Columns,
    DatasetRef,
    DeclarationRef,
    Digest,
    Environment,
    EventRef,
    Evidence,
    Instant,
    IoSchema,
    Metrics,
    ModelName,
    ModelRef,
    Number,
    ObjectRef,
    PolicyRef,
    RunRef,
    Scalar,
    Text,
    Value,
    Word,
)


class Form(Value):
    """One form of a model inside its package."""

    name: Literal["skops"]
    """Which form."""
    file: Word
    """The file in the package."""
    digest: Digest
    """Digest of that file."""


Forms = Annotated[tuple[Form, ...], Field(min_length=1, max_length=8)]


class SchemaChange(Value):
    """How the inputs differ from the champion's before."""

    added: Columns = ()
    """Inputs that are new."""
    removed: Columns = ()
    """Inputs that are gone."""
    changed: Columns = ()
    """Inputs of another type or with other categories, as they are now."""


class ModelDeclared(Event):
    """A model is declared, or declared anew."""

    model: ModelName
    """The model."""
    revision: Number
    """One higher with every change, from 1."""
    declaration: Declaration
    """The whole declaration."""
    digest: Digest
    """SHA-256 of the declaration's canonical JSON."""


class ModelRegistered(Event):
    """A training run became a numbered version."""

    model: ModelRef
    """The version."""
    package: ObjectRef
    """The manifest of its package."""
    profile: ObjectRef
    """The reference profile of what it was trained on."""
    forms: Forms
    """The forms of the model that the package holds."""
    io_schema: IoSchema
    """What it takes and gives."""
    run: RunRef
    """The run that made it."""
    dataset: DatasetRef
    """The data that it was trained on."""
    declaration: DeclarationRef
    """The declaration that it was made to."""
    card: ObjectRef
    """The model card."""


class ModelPromoted(Event):
    """A version is a model's champion: a receipt that needs no further question."""

    model: ModelRef
    """The champion."""
    generation: Number
    """One higher with every change of the champion; drop what is lower than one you know."""
    kind: Literal["promotion", "rollback"]
    """Whether it is a new version or an earlier one put back."""
    previous: ModelRef | None = None
    """The champion before."""
    reason: Text
    """Why, for people."""
    effective_at: Instant
    """Since when it takes all traffic."""
    package: ObjectRef
    """The manifest of its package."""
    profile: ObjectRef
    """The reference profile of what it was trained on."""
    forms: Forms
    """The forms of the model that the package holds."""
    io_schema: IoSchema
    """What it takes and gives."""
    io_change: SchemaChange
    """How its inputs differ from the champion's before."""
    task: Literal["binary"]
    """The kind of answer."""
    classes: Annotated[tuple[Scalar, ...], Field(max_length=100)]
    """The classes, in the order of its scores; the last one is the positive one."""
    endpoint: Text
    """Where it answers, by the Open Inference Protocol."""
    route_revision: Number
    """The route with which it took all traffic."""
    metrics: Metrics
    """What the validator measured on held-out rows."""
    champion_metrics: Metrics = ()
    """The same measured for the champion before."""
    validation: EventRef
    """The verdict."""
    report: ObjectRef
    """The verdict's report."""
    policy: PolicyRef
    """The policy that it was approved by."""
    approval: EventRef
    """The approval."""
    approvals: Evidence = ()
    """The persons' approvals that it rests on."""
    rollout: EventRef
    """The rollout that ended with it."""
    log_origin: Annotated[Text, Field(examples=["cairn/registry/0"])]
    """The audit log in which its inclusion can be proved: installation/topic/partition."""
    datasets: Annotated[tuple[DatasetRef, ...], Field(min_length=1, max_length=20)]
    """What it was trained on."""
    run: RunRef
    """The run that made it."""
    code: Code
    """The code that made it."""
    environment: Environment
    """What that code ran on."""
    declaration: DeclarationRef
    """The declaration that it was made to."""
    card: ObjectRef
    """The model card."""
    purpose: Text
    """What it is meant for."""
    owner: Word
    """The team or role that answers for it."""
