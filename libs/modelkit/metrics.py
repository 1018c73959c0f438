"""How good a binary model is: figures with intervals, and whether one model is better than another.

`labels` are 0 or 1; `scores` are probabilities of the positive class; the answered class is positive from a score of
0.5 on. Values come from scikit-learn. Intervals come from resampling rows, where each figure is taken for many
weightings of the same rows at once (`modelkit.resampling`; a test holds it to scikit-learn's with sample weights).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

from cairn.events.declaration import LOWER_IS_BETTER, MetricName
from cairn.events.values import Metric
from modelkit.errors import DataError
from modelkit.resampling import weighted_values

Labels = npt.NDArray[np.int8]
Scores = npt.NDArray[np.float64]

METRICS: tuple[MetricName, ...] = get_args(MetricName)
THRESHOLD = 0.5
"""From this score on the answer is the positive class."""
CONFIDENCE = 0.95
RESAMPLES = 1000
PAIRED_RESAMPLES = 4000
ROUNDING = 1e-12
"""A difference up to this is none."""

_WEIGHTS_AT_ONCE = 1 << 22
_VALUES: dict[MetricName, Callable[[Any, Any], float]] = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "accuracy": lambda labels, scores: sklearn_metrics.accuracy_score(labels, scores >= THRESHOLD),
    "f1": lambda labels, scores: sklearn_metrics.f1_score(labels, scores >= THRESHOLD, zero_division=0),
    "log_loss": lambda labels, scores: sklearn_metrics.log_loss(labels, scores, labels=[0, 1]),
    "brier_score": sklearn_metrics.brier_score_loss,
    "average_precision": sklearn_metrics.average_precision_score,
}


@dataclass(frozen=True)
class Comparison:
    """A challenger against the champion, on the same rows."""

    metric: MetricName
    difference: float
    """In the challenger's favour when positive, whichever way the metric counts."""
    lower: float
    """One-sided lower bound of the difference."""
    confidence: float
    n: int
    better: bool
    """Whether the lower bound is above zero, by more than rounding."""


def value_of(metric: MetricName, labels: Labels, scores: Scores) -> float:
    """One figure; DataError when there are not both classes."""
    _check_both(labels)
    return float(_VALUES[metric](labels, scores))


def measure(labels: Labels, scores: Scores, split: str, seed: int) -> tuple[Metric, ...]:
    """All figures, each with its 95 % interval: the percentiles of 1000 resamples of the rows (Efron 1979).

    A resample without both classes, on which a figure has no value, is left out.
    """
    _check_both(labels)
    resampled: dict[MetricName, list[npt.NDArray[np.float64]]] = {name: [] for name in METRICS}
    for weights in _resamples(len(labels), RESAMPLES, seed):
        for name in METRICS:
            resampled[name].append(weighted_values(name, labels, scores, weights))
    tail = (1 - CONFIDENCE) / 2
    found = []
    for name in METRICS:
        lower, upper = np.nanquantile(np.concatenate(resampled[name]), [tail, 1 - tail])
        found.append(_metric(name, value_of(name, labels, scores), (float(lower), float(upper)), len(labels), split))
    return tuple(found)


def paired_bootstrap(
    labels: Labels,
    challenger_scores: Scores,
    champion_scores: Scores,
    metric: MetricName = "roc_auc",
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Comparison:
    """Whether the challenger is better, by resampling the same rows for both (one-sided, percentile).

    `lower` is the (1 - confidence) quantile of the difference over 4000 resamples.
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    ours, theirs = value_of(metric, labels, challenger_scores), value_of(metric, labels, champion_scores)
    differences = [
        weighted_values(metric, labels, challenger_scores, weights)
        - weighted_values(metric, labels, champion_scores, weights)
        for weights in _resamples(len(labels), PAIRED_RESAMPLES, seed)
    ]
    lower = float(np.nanquantile(sign * np.concatenate(differences), 1 - confidence)) + 0.0  # never -0.0
    difference = sign * (ours - theirs) + 0.0
    return Comparison(metric, difference, lower, confidence, len(labels), better=lower > ROUNDING)


def _resamples(rows: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Row weights of resamples with replacement, some resamples at a time: how often each row was drawn."""
    chance = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // rows)
    for first in range(0, resamples, at_once):
        several = min(at_once, resamples - first)
        drawn = chance.integers(rows, size=(several, rows)) + rows * np.arange(several)[:, None]
        yield np.bincount(drawn.ravel(), minlength=several * rows).reshape(several, rows).astype(np.float64)


def _metric(name: MetricName, value: float, interval: tuple[float, float], n: int, split: str) -> Metric:
    lower, upper = interval
    return Metric(
        name=name,
        value=value,
        lower=lower,
        upper=upper,
        confidence=CONFIDENCE,
        n=n,
        split=split,
        higher_is_better=name not in LOWER_IS_BETTER,
    )


def _check_both(labels: Labels) -> None:
    if len(labels) == 0 or labels.min() == labels.max():
        raise DataError("one-class", f"{len(labels)} rows do not hold both classes: nothing can be measured on them")
