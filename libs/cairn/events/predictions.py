"""What was predicted, row by row."""

from typing import Annotated

from pydantic import Field

from cairn.events.event import Event
from cairn.events.serving import Replica
from cairn.events.values import (
    PERSONAL,
    Count,
    Instant,
    ModelName,
    ModelRef,
    Number,
    ObjectRef,
    Real,
    Scalar,
    Seconds,
    Value,
    Word,
)


class ServedModel(Value):
    """A version that answered, and what its inputs are watched against."""

    model: ModelRef
    """The version."""
    profile: ObjectRef
    """Its reference profile."""


class Output(Value):
    """What the model answered."""

    score: Annotated[Real, PERSONAL]
    """Probability of the positive class."""
    label: Annotated[Scalar, PERSONAL]
    """The class that was answered."""


class PredictionRow(Value):
    """One answered row."""

    prediction_id: Word
    """Given by serving; labels name it."""
    request_id: Annotated[str, Field(max_length=128), PERSONAL] | None = None
    """Given by the caller."""
    entity: Annotated[str, Field(max_length=128), PERSONAL] | None = None
    """Whom or what it is about, as the caller named it."""
    served_at: Instant
    """When it was answered."""
    arm: Word
    """The arm that answered."""
    version: Number
    """The version that answered."""
    features: Annotated[tuple[Scalar, ...], Field(max_length=500), PERSONAL]
    """The inputs, in the order of `columns`."""
    output: Output
    """The answer."""
    latency_seconds: Seconds
    """From request to answer, without Kafka."""


class PredictionsServed(Event):
    """Rows were answered. The caller got the answers only after this was in the log."""

    model: ModelName
    """The model."""
    replica: Replica
    """The replica that answered."""
    route_revision: Number
    """The route by which it answered."""
    models: Annotated[tuple[ServedModel, ...], Field(max_length=8)]
    """The versions that answered."""
    columns: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=500)]
    """The inputs' names."""
    rows: Annotated[tuple[PredictionRow, ...], Field(max_length=1000)]
    """The answered rows."""
    answered: Count
    """Rows answered here."""
    rejected: Count = 0
    """Rows refused as bad input since the event before."""
    failed: Count = 0
    """Rows that could not be answered since the event before."""
