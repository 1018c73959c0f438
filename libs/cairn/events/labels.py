"""What became of what was predicted: labels and business outcomes, told by upstream systems."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from cairn.events.event import Event
from cairn.events.values import PERSONAL, Count, Instant, ModelName, Period, Real, Scalar, Value, Word


class _Joined(Value):
    """What binds an observation to a prediction: the prediction's id, or an entity and a period."""

    prediction_id: Word | None = None
    """The id that serving gave the prediction. Left out where `entity` and `period` name it."""
    entity: Annotated[str, Field(min_length=1, max_length=128), PERSONAL] | None = None
    """Whom or what it is about, under the name that the caller sent with the request; goes with `period`."""
    period: Period | None = None
    """The time that it is about; goes with `entity`."""
    observed_at: Instant
    """When it was observed."""
    revision: Count = 0
    """The highest revision wins."""
    retracted: bool = False
    """Whether an earlier one is taken back."""

    @model_validator(mode="after")
    def _names_one_prediction(self) -> Self:
        if (self.prediction_id is None) == (self.entity is None or self.period is None):
            raise ValueError("name either a prediction_id, or an entity together with a period")
        return self


class Label(_Joined):
    """The true answer to one prediction. It names it either by `prediction_id`, or by `entity` and `period`."""

    value: Annotated[Scalar, PERSONAL]
    """The true value of the target. Null says that there is none, as `retracted` does."""


class Outcome(_Joined):
    """A business figure that followed from one prediction, which it names as a label does."""

    value: Annotated[Real, PERSONAL]
    """The figure."""


class LabelsObserved(Event):
    """True answers to earlier predictions are known."""

    model: ModelName
    """The model whose predictions they answer."""
    target: Word
    """The column that was predicted."""
    items: Annotated[tuple[Label, ...], Field(min_length=1, max_length=1000)]
    """The labels."""


class OutcomesObserved(Event):
    """Business figures that followed from earlier predictions are known."""

    model: ModelName
    """The model whose predictions they followed from."""
    name: Word
    """Which figure, e.g. `loss`."""
    unit: Word
    """Its unit: UCUM, or a currency in ISO 4217."""
    items: Annotated[tuple[Outcome, ...], Field(min_length=1, max_length=1000)]
    """The figures."""
