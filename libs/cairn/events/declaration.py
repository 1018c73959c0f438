"""A model's declaration: what a data scientist asks for, in one YAML file."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cairn.events.values import Count, Handle, ModelName, Name, Number, Real, Seconds, Text, Value

MetricName = Literal["roc_auc", "accuracy", "f1", "log_loss", "brier_score", "average_precision"]
EstimatorName = Literal["logistic_regression", "hist_gradient_boosting"]

LOWER_IS_BETTER = frozenset({"log_loss", "brier_score"})
"""The metrics of which less is better."""


class Split(Value):
    """Which rows are held out of training."""

    held_out_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of rows held out, chosen by the hash of each row."""
    salt: Annotated[str, Field(max_length=64)] = ""
    """Changes which rows are held out."""


class Search(Value):
    """How the best estimator is looked for."""

    estimators: Annotated[tuple[EstimatorName, ...], Field(min_length=1, max_length=8)] = (
        "logistic_regression",
        "hist_gradient_boosting",
    )
    """The estimators that are tried, each on its small grid."""
    metric: MetricName = "roc_auc"
    """What cross-validation compares them by."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Folds of the cross-validation."""
    max_trials: Annotated[int, Field(ge=1, le=1000)] = 8
    """At most so many trials."""
    max_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    """At most so long; the search then ends with what it has."""


class BeatsChampion(Value):
    """A challenger must be better than the champion, shown by a paired bootstrap on the same held-out rows."""

    metric: MetricName = "roc_auc"
    """By which metric."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """One-sided confidence that the difference is in the challenger's favour."""


class Gates(Value):
    """What a version must show on the held-out rows before it may be promoted."""

    minimums: dict[MetricName, Real] = Field(default_factory=dict, max_length=10)
    """For each metric the least value (for `log_loss` and `brier_score`: the greatest)."""
    beats_champion: BeatsChampion | None = None
    """Whether it must beat the champion, when there is one."""


class Approval(Value):
    """Who must agree to a promotion, beyond the policy."""

    approvers: Annotated[tuple[Handle, ...], Field(max_length=20)] = ()
    """Each of these persons must give an approval."""


class Rollout(Value):
    """How a new version takes over the traffic."""

    steps: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=20)] = (0.2,)
    """The challenger's share at each step before it takes all, each higher than the one before. A first version takes
    all at once."""
    min_requests: Count = 0
    """A step advances once the challenger has answered so many requests in it."""


class Drift(Value):
    """When a window of traffic counts as drifted. A feature drifts when both tests say so."""

    bins: Annotated[int, Field(ge=2, le=50)] = 10
    """Quantile bins of the reference that are compared."""
    psi: Annotated[float, Field(gt=0)] = 0.25
    """Population stability index at or above which a feature has drifted."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Chi-square probability, divided by the number of features, below which a feature has drifted."""


class Monitoring(Value):
    """How the live model is watched."""

    window_rows: Number = 1000
    """A window closes once it holds so many predictions."""
    drift: Drift = Drift()
    """What counts as drift."""
    label_horizon_seconds: Seconds = 30 * 86_400.0
    """How long a label may wait for its prediction, and a prediction for its label."""


class Retraining(Value):
    """What to retrain on once the model has drifted."""

    rows: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """Retraining is advised once so many served rows, from the drifted window on, have labels."""
    cooldown_seconds: Seconds = 0.0
    """No new advice for so long after one."""


class Declaration(Value):
    """One model: what it learns from, what it must show, how it goes live and how it is watched."""

    model: ModelName
    """The model's name."""
    task: Literal["binary"] = "binary"
    """The kind of answer: one of two classes."""
    owner: Annotated[str, Field(min_length=1, max_length=128)]
    """The team or role that answers for the model: never a person's name."""
    purpose: Text = ""
    """What it is meant for."""
    dataset: Name
    """The dataset that it is trained on: never one of the monitor's, whose names begin with `served.`."""
    target: Annotated[str, Field(min_length=1, max_length=200)]
    """The column to predict."""
    features: Annotated[tuple[str, ...], Field(max_length=500)] = ()
    """The columns to predict from, each once and never the target; none named means all but the target."""
    seed: Count = 0
    """The seed of all chance in training."""
    split: Split = Split()
    """Which rows are held out."""
    search: Search = Search()
    """How the best estimator is looked for."""
    gates: Gates = Gates()
    """What a version must show."""
    approval: Approval = Approval()
    """Who must agree."""
    rollout: Rollout = Rollout()
    """How a version goes live."""
    monitoring: Monitoring = Monitoring()
    """How it is watched."""
    retraining: Retraining = Retraining()
    """What to retrain on."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.target in self.features:
            raise ValueError(f"features must not contain the target {self.target!r}: the model would read its answer")
        if len(set(self.features)) != len(self.features):
            raise ValueError("features names a column twice")
        if list(self.rollout.steps) != sorted(set(self.rollout.steps)):
            raise ValueError("rollout.steps must rise: each step gives the challenger more traffic than the last")
        if self.dataset.startswith("served."):
            raise ValueError("dataset must not begin with 'served.': those datasets are assembled by the monitor")
        return self
