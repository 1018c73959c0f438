"""What the monitor tells: windows, drift, assembled data, advice."""

from typing import Annotated

from pydantic import Field

from cairn.events.datasets import DataFormat, Files
from cairn.events.event import Event
from cairn.events.validation import Inputs
from cairn.events.values import (
    Check,
    Columns,
    Count,
    DatasetRef,
    EventRef,
    Evidence,
    Instant,
    Metrics,
    ModelName,
    ModelRef,
    Number,
    ObjectRef,
    Period,
    Ratio,
    Real,
    Reason,
    Value,
    Word,
)


class ColumnDrift(Value):
    """How far one column of a window is from the reference."""

    column: Word
    """The column; `score` is the model's own answer."""
    psi: Real
    """Population stability index."""
    chi_square: Real
    """Chi-square statistic."""
    probability: Ratio
    """Probability of such a statistic without drift."""
    drifted: bool
    """Whether both tests say so."""


ColumnDrifts = Annotated[tuple[ColumnDrift, ...], Field(max_length=501)]


class ColumnCounts(Value):
    """How many rows of a window fell into each cell of the reference's grid."""

    column: Word
    """The column."""
    cells: Annotated[tuple[Count, ...], Field(max_length=2000)]
    """Rows in each cell; the last cell is for missing values."""


class _Window(Event):
    model: ModelRef
    """The version that was watched."""
    window: Number
    """The window's number for this version, from 1."""
    period: Period
    """From the first to just after the last row."""
    row_count: Count
    """The rows in it."""
    inputs: Inputs
    """The records that it counted."""
    profile: ObjectRef
    """The reference that it was compared with."""
    counts: Annotated[tuple[ColumnCounts, ...], Field(max_length=501)]
    """What was counted."""
    metrics: Metrics = ()
    """Figures that need labels, where there are any."""
    drift: ColumnDrifts
    """Each column's distance from the reference."""


class WindowClosed(_Window):
    """A window of traffic is complete."""


class WindowRevised(_Window):
    """Late labels changed a window's figures."""

    revises: EventRef
    """The window as it was told before."""


class DriftDetected(Event):
    """A window differs from what the model was trained on."""

    model: ModelRef
    """The version."""
    window: Number
    """The window."""
    columns: Annotated[tuple[Word, ...], Field(min_length=1, max_length=501)]
    """The columns that drifted."""
    drift: ColumnDrifts
    """Their distances."""
    evidence: Evidence
    """The window's event."""
    passed_over: Reason | None = None
    """Why it leads to no dataset: `dataset-awaited` or `cooldown`, with the event that says so. Absent where one is
    assembled as soon as enough rows have labels."""


class PerformanceDegraded(Event):
    """A version is worse than it was when it was validated."""

    model: ModelRef
    """The version."""
    window: Number
    """The window."""
    checks: Annotated[tuple[Check, ...], Field(min_length=1, max_length=100)]
    """What was asked and what was measured."""
    evidence: Evidence
    """The window's event."""


class AnomalyDetected(Event):
    """Traffic does not look as it should, or what should have followed from it failed."""

    model: ModelRef
    """The version."""
    window: Number
    """The window."""
    checks: Annotated[tuple[Check, ...], Field(min_length=1, max_length=100)]
    """What was asked and what was measured."""
    evidence: Evidence
    """The window's event, or the drift's."""
    trigger: EventRef | None = None
    """The drift that gets no dataset, where that is the anomaly."""
    reason: Reason | None = None
    """Why work failed, where that is the anomaly."""


class DatasetAssembled(Event):
    """What was served in a period, joined with its labels, is a dataset."""

    model: ModelName
    """The model that served it."""
    dataset: DatasetRef
    """The dataset, called `served.<model>`."""
    files: Files
    """Its files."""
    format: DataFormat
    """How the files are written."""
    columns: Columns
    """The features and the target."""
    row_count: Count
    """Its rows."""
    inputs: Inputs
    """The records that it was assembled from."""
    label_coverage_ratio: Ratio
    """Share of the served rows that had a label."""
    trigger: EventRef
    """The drift that asked for it."""
    not_advised: Reason | None = None
    """Why retraining on it is not advised: `cooldown`, where another version was quicker. Absent where it is."""


class RetrainingAdvised(Event):
    """A model should be trained anew. It starts a new story."""

    model: ModelName
    """The model."""
    trigger: EventRef
    """The event that gave rise to it."""
    dataset: DatasetRef
    """What it should be trained on."""
    evidence: Evidence
    """What it rests on."""
    cooldown_until_at: Instant
    """No new advice before."""
