"""The binary figures for many weightings of the same rows at once.

`weights` is a matrix: one weighting in each row, one data row in each column. Each function gives one value for each
weighting, NaN where it has none. Done as matrix products, a thousand resamples cost about as much as one call of
scikit-learn's function for each of twenty.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cairn.events.declaration import MetricName

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


def weighted_values(metric: MetricName, labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    """A figure for each weighting of the rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _FIGURES[metric](labels, scores, weights)


def _accuracy(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    return _mean((scores >= 0.5) == (labels == 1), weights)


def _brier_score(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    return _mean((scores - labels) ** 2, weights)


def _log_loss(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    smallest = np.finfo(np.float64).eps
    likelihoods = np.clip(np.where(labels == 1, scores, 1 - scores), smallest, 1 - smallest)
    return _mean(-np.log(likelihoods), weights)


def _f1(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    answered = scores >= 0.5
    both = weights @ (answered & (labels == 1)).astype(np.float64)
    either = weights @ (answered.astype(np.float64) + (labels == 1))
    return np.where(either > 0, 2 * both / either, 0.0)


def _roc_auc(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    """The share of pairs (positive, negative) in the right order, a tie counting half (Mann and Whitney 1947)."""
    positives, negatives = _by_falling_score(labels, scores, weights)
    above = np.cumsum(positives, axis=1) - positives
    pairs = (negatives * (above + positives / 2)).sum(axis=1)
    return np.asarray(pairs / (positives.sum(axis=1) * negatives.sum(axis=1)))


def _average_precision(labels: Labels, scores: Doubles, weights: Doubles) -> Doubles:
    """The mean precision at the positives: the sum over thresholds of the rise in recall times the precision there."""
    positives, negatives = _by_falling_score(labels, scores, weights)
    found, answered = np.cumsum(positives, axis=1), np.cumsum(positives + negatives, axis=1)
    precision = np.where(answered > 0, found / answered, 0.0)
    return np.asarray((positives * precision).sum(axis=1) / found[:, -1])


def _by_falling_score(labels: Labels, scores: Doubles, weights: Doubles) -> tuple[Doubles, Doubles]:
    """The weights of the positives and of the negatives at each different score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    ordered, positive = weights[:, order], labels[order] == 1
    positives = np.add.reduceat(ordered * positive, starts, axis=1)
    return positives, np.add.reduceat(ordered, starts, axis=1) - positives


def _mean(values: npt.NDArray[np.generic], weights: Doubles) -> Doubles:
    return np.asarray(weights @ values.astype(np.float64) / weights.sum(axis=1))


_FIGURES: dict[MetricName, Callable[[Labels, Doubles, Doubles], Doubles]] = {
    "roc_auc": _roc_auc,
    "accuracy": _accuracy,
    "f1": _f1,
    "log_loss": _log_loss,
    "brier_score": _brier_score,
    "average_precision": _average_precision,
}
