"""Looking for the best candidate by cross-validation on the training part."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from cairn.events.declaration import LOWER_IS_BETTER, Search
from modelkit.errors import DataError
from modelkit.estimators import Candidate, build, candidates
from modelkit.metrics import Labels, Scores, value_of

Report = Callable[["Trial"], None]


@dataclass(frozen=True)
class Trial:
    """One candidate, cross-validated."""

    number: int
    """From 1."""
    candidate: Candidate
    mean: float
    """Over the folds."""
    deviation: float
    """Standard deviation over the folds."""
    seconds: float
    scores: Scores
    """Of each training row, by the model of the fold that had not seen it."""


@dataclass(frozen=True)
class Outcome:
    """What a search found."""

    best: Trial
    trials: int


def search_best(matrix: npt.NDArray[np.float64], labels: Labels, search: Search, seed: int, report: Report) -> Outcome:
    """Try the candidates in their order until all are tried or the time is over, at least one; the best mean wins.

    Of equally good ones the earlier wins. Where time is what ends the search, the result depends on the machine's
    speed; in every other case only on the arguments. Raises DataError when there are not two rows of each class.
    """
    folds = min(search.folds, int(np.bincount(labels, minlength=2).min()))
    if folds < 2:
        raise DataError("too-few-rows", "the training part holds fewer than two rows of one class")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32).split(matrix, labels))
    sign = -1.0 if search.metric in LOWER_IS_BETTER else 1.0
    begun = perf_counter()
    best: Trial | None = None
    number = 0
    for number, candidate in enumerate(candidates(search), start=1):
        trial = _try(number, candidate, matrix, labels, splits, search, seed)
        report(trial)
        if best is None or sign * trial.mean > sign * best.mean:
            best = trial
        if perf_counter() - begun >= search.max_seconds:
            break
    assert best is not None
    return Outcome(best, number)


def fitted(candidate: Candidate, matrix: npt.NDArray[np.float64], labels: Labels, seed: int) -> Any:
    """The candidate, fitted."""
    return build(candidate, seed).fit(matrix, labels)


def _try(
    number: int,
    candidate: Candidate,
    matrix: npt.NDArray[np.float64],
    labels: Labels,
    splits: list[Any],
    search: Search,
    seed: int,
) -> Trial:
    begun = perf_counter()
    scores = np.zeros(len(labels))
    for known, unknown in splits:
        model = fitted(candidate, matrix[known], labels[known], seed)
        scores[unknown] = model.predict_proba(matrix[unknown])[:, 1]
    values = [value_of(search.metric, labels[unknown], scores[unknown]) for _, unknown in splits]
    return Trial(number, candidate, float(np.mean(values)), float(np.std(values)), perf_counter() - begun, scores)
