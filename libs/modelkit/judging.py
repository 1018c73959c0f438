"""Judging a model on held-out rows: the declared gates as checks, and the report with all figures."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from cairn.events.declaration import LOWER_IS_BETTER, Declaration, Gates
from cairn.events.values import Check, Metric
from modelkit.datasets import Dataset, Target, held_out, read_target
from modelkit.errors import PackageError
from modelkit.metrics import THRESHOLD, Comparison, Labels, Scores, measure, paired_bootstrap
from modelkit.package import Predictor

SPLIT = "held_out"
_CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Verdict:
    """What was measured of a model, and how each gate was judged."""

    metrics: tuple[Metric, ...]
    champion_metrics: tuple[Metric, ...]
    checks: tuple[Check, ...]
    report: dict[str, JsonValue]

    @property
    def passed(self) -> bool:
        """Whether no check that decides has failed."""
        return all(check.passed or check.severity == "warning" for check in self.checks)


def judge(dataset: Dataset, declaration: Declaration, challenger: Predictor, champion: Predictor | None) -> Verdict:
    """Measure on the held-out rows alone; DataError or PackageError when that cannot be done."""
    target = read_target(dataset.table, declaration.target)
    for model in (challenger, champion):
        if model is not None and model.classes != target.classes:
            raise PackageError(
                "other-classes", f"the model answers {list(model.classes)}, the data holds {list(target.classes)}"
            )
    aside = held_out(dataset.table, declaration.split)
    rows, labels = dataset.table.filter(pa.array(aside)), target.labels[aside]
    scores = challenger.score_table(rows)
    metrics = measure(labels, scores, SPLIT, declaration.seed)
    rivals = champion.score_table(rows) if champion else None
    champion_metrics = measure(labels, rivals, SPLIT, declaration.seed) if rivals is not None else ()
    compared = _compared(declaration, labels, scores, rivals)
    checks = tuple(_gates(declaration.gates, metrics, compared))
    report = _report(dataset, target, labels, scores) | {
        "metrics": [metric.model_dump(mode="json") for metric in metrics],
        "champion_metrics": [metric.model_dump(mode="json") for metric in champion_metrics],
        "comparison": dict(vars(compared)) if compared else None,
        "checks": [check.model_dump(mode="json") for check in checks],
    }
    return Verdict(metrics, champion_metrics, checks, report)


def _compared(declaration: Declaration, labels: Labels, scores: Scores, rivals: Scores | None) -> Comparison | None:
    gate = declaration.gates.beats_champion
    if gate is None or rivals is None:
        return None
    return paired_bootstrap(labels, scores, rivals, gate.metric, gate.confidence, declaration.seed)


def _gates(gates: Gates, metrics: tuple[Metric, ...], compared: Comparison | None) -> Iterator[Check]:
    found = {metric.name: metric for metric in metrics}
    for name, bound in sorted(gates.minimums.items()):
        yield _minimum(found[name], bound)
    if gates.beats_champion is not None:
        yield _beats_champion(gates.beats_champion.metric, gates.beats_champion.confidence, compared)


def _minimum(metric: Metric, bound: float) -> Check:
    lower = metric.name in LOWER_IS_BETTER
    return Check(
        name=f"{'maximum' if lower else 'minimum'}.{metric.name}",
        asked=f"{metric.name} {'at most' if lower else 'at least'} {bound:g}",
        measured=f"{metric.value:.4f} (95 % interval {metric.lower:.4f} to {metric.upper:.4f}, {metric.n} rows)",
        passed=metric.value <= bound if lower else metric.value >= bound,
    )


def _beats_champion(metric: str, confidence: float, compared: Comparison | None) -> Check:
    return Check(
        name="beats_champion",
        asked=f"a better {metric} than the champion's on the same rows, with {confidence:.0%} confidence (one-sided)",
        measured=(
            f"{compared.difference:+.4f} in its favour, with that confidence at least {compared.lower:+.4f}"
            if compared
            else "there is no champion"
        ),
        passed=compared is None or compared.better,
        reason="" if compared else "a first version has nothing to beat",
    )


def _report(dataset: Dataset, target: Target, labels: Labels, scores: Scores) -> dict[str, JsonValue]:
    answered = scores >= THRESHOLD
    negative, positive = target.classes
    return {
        "format": "cairn-report-v1",
        "dataset_digest": dataset.digest,
        "rows": dataset.table.num_rows,
        "held_out_rows": len(labels),
        "classes": [negative, positive],
        "confusion": {
            "true_negatives": int((~answered & (labels == 0)).sum()),
            "false_positives": int((answered & (labels == 0)).sum()),
            "false_negatives": int((~answered & (labels == 1)).sum()),
            "true_positives": int((answered & (labels == 1)).sum()),
        },
        "calibration": _calibration(labels, scores),
    }


def _calibration(labels: Labels, scores: Scores) -> list[JsonValue]:
    """For each tenth of the scores' range that holds rows: how many, their mean score, their share of positives."""
    bins = np.minimum((scores * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    table: list[JsonValue] = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        table.append(
            {
                "from_score": number / _CALIBRATION_BINS,
                "n": int(inside.sum()),
                "mean_score": float(scores[inside].mean()),
                "positive_ratio": float(labels[inside].mean()),
            }
        )
    return table
