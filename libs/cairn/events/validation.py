"""What the validator tells: verdicts on data and on models."""

from typing import Annotated

from pydantic import Field

from cairn.events.datasets import DataFormat, Files
from cairn.events.event import Event
from cairn.events.values import (
    Checks,
    Columns,
    Count,
    DatasetRef,
    DeclarationRef,
    EventRef,
    LogRange,
    Metrics,
    ModelRef,
    ObjectRef,
    Reason,
)

Inputs = Annotated[tuple[LogRange, ...], Field(max_length=200)]


class _DatasetJudged(Event):
    dataset: DatasetRef
    """The dataset, with the digest that was computed."""
    files: Files
    """Its files."""
    format: DataFormat
    """How the files are written."""
    columns: Columns
    """Its columns, as found."""
    row_count: Count
    """Its rows, as counted."""
    inputs: Inputs = ()
    """Of an assembled dataset: the records that it was assembled from."""
    declaration: DeclarationRef
    """The declaration that it was judged for."""
    published: EventRef
    """The event that told of it."""
    checks: Checks
    """Every check and what it found."""
    profile: ObjectRef | None = None
    """Its profile."""


class DatasetAccepted(_DatasetJudged):
    """A dataset is fit for what a declaration wants of it."""


class DatasetRejected(_DatasetJudged):
    """A dataset is not fit for what a declaration wants of it."""

    samples: ObjectRef | None = None
    """Rows that show the fault: an object that can be erased."""


class _ModelJudged(Event):
    model: ModelRef
    """The version."""
    dataset: DatasetRef
    """The data whose held-out rows were measured."""
    metrics: Metrics
    """What was measured."""
    checks: Checks
    """Every gate and what it found."""
    compared_with: ModelRef | None = None
    """The champion that it was compared with."""
    champion_metrics: Metrics = ()
    """The same measured for that champion."""
    report: ObjectRef
    """All figures, as JSON."""


class ValidationPassed(_ModelJudged):
    """A version meets every gate."""


class ValidationFailed(_ModelJudged):
    """A version misses a gate."""


class ValidationErrored(Event):
    """A version could not be judged: this is not a verdict."""

    model: ModelRef
    """The version."""
    reason: Reason
    """Why not."""
