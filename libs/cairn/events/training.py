"""What the trainer tells: runs, trials, packages."""

from typing import Annotated

from pydantic import Field

from cairn.events.event import Event
from cairn.events.registry import Forms
from cairn.events.values import (
    Code,
    Count,
    DatasetRef,
    DeclarationRef,
    Environment,
    EventRef,
    IoSchema,
    Metric,
    Metrics,
    ModelName,
    Number,
    ObjectRef,
    Parameters,
    Reason,
    RunRef,
    Scalar,
    Seconds,
    Usage,
    Value,
    Word,
)


class Budget(Value):
    """What a run may consume."""

    max_trials: Number
    """At most so many trials."""
    max_seconds: Seconds
    """At most so long."""


class TrainingQueued(Event):
    """A run will be made."""

    model: ModelName
    """The model."""
    run: RunRef
    """The run."""
    dataset: DatasetRef
    """What it trains on."""
    declaration: DeclarationRef
    """What it is made to."""
    trigger: EventRef
    """The event that asked for it."""
    seed: Count
    """The seed of all chance."""
    budget: Budget
    """What it may consume."""


class TrainingDeclined(Event):
    """No run will be made."""

    model: ModelName
    """The model."""
    cause: EventRef
    """The event that asked for it."""
    dataset: DatasetRef | None = None
    """What it would have trained on."""
    reason: Reason
    """Why not."""


class TrainingStarted(Event):
    """A run has begun."""

    model: ModelName
    """The model."""
    run: RunRef
    """The run and its attempt."""


class TrialFinished(Event):
    """One candidate of a run was cross-validated."""

    model: ModelName
    """The model."""
    run: RunRef
    """The run and its attempt."""
    trial: Number
    """Which trial, from 1."""
    trials: Number
    """How many there will be at most."""
    estimator: Word
    """Which estimator."""
    params: Parameters
    """Its parameters."""
    metric: Metric
    """The mean over the folds."""
    seconds: Seconds
    """How long it took."""


class TrainingCompleted(Event):
    """A run ended with a package. Its metrics are claims until the validator has measured them."""

    model: ModelName
    """The model."""
    run: RunRef
    """The run and its attempt."""
    dataset: DatasetRef
    """What it trained on."""
    declaration: DeclarationRef
    """What it was made to."""
    package: ObjectRef
    """The manifest of the package."""
    profile: ObjectRef
    """The reference profile of the training rows."""
    card: ObjectRef
    """The model card."""
    forms: Forms
    """The forms of the model that the package holds."""
    io_schema: IoSchema
    """What the model takes and gives."""
    classes: Annotated[tuple[Scalar, ...], Field(max_length=100)]
    """The classes, in the order of its scores."""
    estimator: Word
    """The estimator that won."""
    params: Parameters
    """Its parameters."""
    metrics: Metrics
    """What cross-validation claims."""
    trials: Number
    """How many trials were made."""
    seed: Count
    """The seed of all chance."""
    code: Code
    """The code that ran."""
    environment: Environment
    """What it ran on."""
    usage: Usage
    """What it consumed."""


class TrainingFailed(Event):
    """A run ended without a package."""

    model: ModelName
    """The model."""
    run: RunRef
    """The run and its attempt."""
    reason: Reason
    """Why."""
