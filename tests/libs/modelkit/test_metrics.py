"""Figures, their intervals, and whether one model is better than another."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cairn.events.declaration import LOWER_IS_BETTER, MetricName
from modelkit.errors import DataError
from modelkit.metrics import METRICS, measure, paired_bootstrap, value_of
from modelkit.resampling import weighted_values


def drawn(seed: int, rows: int = 200) -> tuple[Any, Any]:
    """Labels, and scores that know something of them, many of them equal."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 2, rows).astype(np.int8)
    return labels, np.round(np.clip(0.4 * labels + 0.6 * chance.uniform(size=rows), 0, 1), 2)


ORACLE: dict[MetricName, Any] = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "accuracy": lambda y, s, **more: sklearn_metrics.accuracy_score(y, s >= 0.5, **more),
    "f1": lambda y, s, **more: sklearn_metrics.f1_score(y, s >= 0.5, **more),
    "log_loss": sklearn_metrics.log_loss,
    "brier_score": sklearn_metrics.brier_score_loss,
    "average_precision": sklearn_metrics.average_precision_score,
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_the_figures_of_resamples_are_scikit_learns_with_weights(metric: MetricName, seed: int) -> None:
    labels, scores = drawn(seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=(4, len(labels))).astype(float)
    expected = [ORACLE[metric](labels, scores, sample_weight=weighting) for weighting in weights]
    assert weighted_values(metric, labels, scores, weights) == pytest.approx(expected, rel=1e-12)
    plain = weighted_values(metric, labels, scores, np.ones((1, len(labels))))
    assert plain == pytest.approx(value_of(metric, labels, scores), rel=1e-12)


def test_every_figure_comes_with_its_interval_and_its_direction() -> None:
    figures = measure(*drawn(0), "held_out", 0)
    assert [figure.name for figure in figures] == list(METRICS)
    for figure in figures:
        assert figure.lower is not None
        assert figure.upper is not None
        assert figure.lower < figure.value < figure.upper
        assert (figure.confidence, figure.n, figure.split) == (0.95, 200, "held_out")
        assert figure.higher_is_better == (figure.name not in LOWER_IS_BETTER)


def test_the_seed_decides_the_interval() -> None:
    assert measure(*drawn(0), "held_out", 1) == measure(*drawn(0), "held_out", 1)
    assert measure(*drawn(0), "held_out", 1) != measure(*drawn(0), "held_out", 2)


def test_the_interval_holds_the_true_value_about_as_often_as_it_says() -> None:
    """The true accuracy of these scores is 5/6: the class is told wrongly by a sixth of the uniform numbers."""
    held = 0
    for seed in range(60):
        accuracy = measure(*drawn(seed), "held_out", seed)[METRICS.index("accuracy")]
        assert accuracy.lower is not None
        assert accuracy.upper is not None
        held += accuracy.lower <= 1 - 1 / 6 <= accuracy.upper
    assert held / 60 >= 0.88


def test_a_part_with_one_class_cannot_be_measured() -> None:
    with pytest.raises(DataError, match="do not hold both classes"):
        measure(np.ones(5, dtype=np.int8), np.full(5, 0.5), "held_out", 0)


@pytest.mark.parametrize("metric", METRICS)
def test_the_better_of_two_models_is_found_whichever_way_the_metric_counts(metric: MetricName) -> None:
    labels, poor = drawn(0)
    good = np.clip(0.8 * labels + 0.2 * poor, 0, 1)
    ahead, behind = (paired_bootstrap(labels, *pair, metric, 0.95, 0) for pair in ((good, poor), (poor, good)))
    assert ahead.better
    assert 0 < ahead.lower < ahead.difference
    assert not behind.better
    assert behind.difference == -ahead.difference


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_is_not_better_than_itself(metric: MetricName) -> None:
    labels, scores = drawn(0)
    assert not paired_bootstrap(labels, scores, scores, metric).better


def test_equally_good_models_are_seldom_called_better() -> None:
    called = 0
    for seed in range(40):
        labels, ours = drawn(seed)
        noise = np.random.default_rng(seed + 1000).uniform(size=len(labels))
        called += paired_bootstrap(labels, ours, np.clip(0.4 * labels + 0.6 * noise, 0, 1), "brier_score").better
    assert called <= 6
