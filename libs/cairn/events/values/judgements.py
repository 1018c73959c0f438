"""What was measured and asked, and why something was decided."""

from typing import Annotated, Literal

from pydantic import Field

from cairn.events.values.references import DatasetRef, EventRef, shown
from cairn.events.values.scalars import (
    Count,
    Ratio,
    Real,
    Text,
    Value,
    Word,
)


class Metric(Value):
    """One measured figure, with all that is needed to read it rightly."""

    model_config = shown(
        {
            "name": "roc_auc",
            "value": 0.993,
            "lower": 0.981,
            "upper": 0.999,
            "confidence": 0.95,
            "n": 114,
            "split": "held_out",
            "slice": "region=north",
            "higher_is_better": True,
        }
    )

    name: Word
    """Which figure, e.g. `roc_auc`."""
    value: Real
    """What was measured."""
    lower: Real | None = None
    """Lower end of the confidence interval."""
    upper: Real | None = None
    """Upper end of the confidence interval."""
    confidence: Ratio | None = None
    """Coverage of that interval."""
    n: Count
    """How many rows it was measured on."""
    dataset: DatasetRef | None = None
    """On which data."""
    split: Word | None = None
    """On which part of it, e.g. `held_out`."""
    slice: Word | None = None
    """On which group of rows, when not all."""
    higher_is_better: bool = True
    """Which way is better."""


class Check(Value):
    """One question that was asked and its answer: gates, expectations and policy rules alike."""

    model_config = shown(
        {
            "name": "roc_auc",
            "asked": "at least 0.9",
            "measured": "0.993",
            "passed": True,
            "severity": "error",
            "reason": "n = 114",
        }
    )

    name: Word
    """Which check."""
    asked: Text
    """What was demanded, for a person to read."""
    measured: Text
    """What was found, for a person to read."""
    passed: bool
    """Whether the demand was met."""
    severity: Literal["error", "warning"] = "error"
    """Whether a failure decides (`error`) or only warns."""
    reason: Text = ""
    """Why, where that is not plain."""


class Reason(Value):
    """Why something was decided so."""

    model_config = shown({"code": "gate-failed", "text": "roc_auc is 0.87, at least 0.9 was asked for"})

    code: Word
    """For programs: a word in kebab case."""
    text: Text
    """For people: a sentence."""
    evidence: Annotated[tuple[EventRef, ...], Field(max_length=100)] = ()
    """The events it rests on."""


Checks = Annotated[tuple[Check, ...], Field(max_length=500)]
Metrics = Annotated[tuple[Metric, ...], Field(max_length=200)]
