"""The search space: two estimators, each with a small fixed grid; deterministic given the seed, on one thread.

Every pipeline takes the doubles of `modelkit.encoding` and gives the probability of class 1. The kinds of object that
a fitted one consists of are listed in `modelkit.skopsfile`: whoever adds an estimator here adds its kinds there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from cairn.events.declaration import EstimatorName, Search

Parameters = dict[str, float | int]


@dataclass(frozen=True)
class Candidate:
    """One point of the search space."""

    estimator: EstimatorName
    params: Parameters


_GRIDS: dict[EstimatorName, tuple[Parameters, ...]] = {
    "logistic_regression": ({"C": 1.0}, {"C": 0.1}, {"C": 10.0}, {"C": 0.01}),
    "hist_gradient_boosting": (
        {"learning_rate": 0.1, "max_iter": 60, "max_leaf_nodes": 15},
        {"learning_rate": 0.05, "max_iter": 120, "max_leaf_nodes": 7},
        {"learning_rate": 0.1, "max_iter": 120, "max_leaf_nodes": 31},
        {"learning_rate": 0.2, "max_iter": 60, "max_leaf_nodes": 7},
    ),
}

_threads = ThreadpoolController()


def candidates(search: Search) -> list[Candidate]:
    """At most `max_trials` candidates: the estimators in turn, each from its likeliest parameters on."""
    in_turn = zip_longest(*(_grid(estimator) for estimator in dict.fromkeys(search.estimators)))
    return [candidate for candidate in chain.from_iterable(in_turn) if candidate][: search.max_trials]


def build(candidate: Candidate, seed: int) -> Any:
    """An unfitted scikit-learn estimator."""
    state = seed % 2**32
    if candidate.estimator == "logistic_regression":
        return Pipeline(
            [
                ("imputer", SimpleImputer(strategy="median", keep_empty_features=True)),
                ("scaler", StandardScaler()),
                ("model", LogisticRegression(max_iter=2000, random_state=state, **candidate.params)),
            ]
        )
    return HistGradientBoostingClassifier(early_stopping=False, random_state=state, **candidate.params)


def single_thread() -> Any:
    """A context in which numeric libraries use one thread: sums then have one order, so results are bit-identical."""
    return _threads.limit(limits=1)


def _grid(estimator: EstimatorName) -> Iterator[Candidate]:
    return (Candidate(estimator, params) for params in _GRIDS[estimator])
