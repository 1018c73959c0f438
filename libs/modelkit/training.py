"""Training one model: from the rows that are not held out to a package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from cairn.events.declaration import Declaration
from cairn.events.values import Code, Metric
from modelkit.card import Facts, card_of
from modelkit.columns import describe
from modelkit.datasets import Dataset, Target, held_out, read_target
from modelkit.encoding import fitted_encoder
from modelkit.inspection import features_of, require_features
from modelkit.metrics import Labels, measure
from modelkit.package import Manifest, write_package
from modelkit.profile import profile_of
from modelkit.search import Outcome, Trial, fitted, search_best

SPLIT = "cross_validation"
"""What claimed metrics are of: each training row scored by the model of the fold that had not seen it."""


@dataclass(frozen=True)
class Trained:
    """A model that was trained and packaged."""

    manifest: Manifest
    outcome: Outcome
    metrics: tuple[Metric, ...]
    """What cross-validation claims."""
    rows: int
    """Rows that it was trained on."""


@dataclass(frozen=True)
class _Part:
    """The training part: features in the model's order, and what to predict."""

    table: pa.Table
    labels: Labels
    target: Target

    @classmethod
    def of(cls, dataset: Dataset, declaration: Declaration) -> "_Part":
        target = read_target(dataset.table, declaration.target)
        features = features_of(declaration, dataset.table.column_names)
        require_features(dataset.table, features)
        kept = ~held_out(dataset.table, declaration.split)
        table = dataset.table.select(features).filter(pa.array(kept)).combine_chunks()
        return cls(table, target.labels[kept], target)


def train_model(
    dataset: Dataset, declaration: Declaration, code: Code, directory: Path, report: Callable[[Trial], None]
) -> Trained:
    """Search, fit, profile and package. The held-out rows are not looked at beyond their hash.

    The same dataset, declaration and code give the same bytes, unless time ended the search. DataError when the data
    cannot be trained on.
    """
    part = _Part.of(dataset, declaration)
    encoder = fitted_encoder(part.table, describe(part.table))
    matrix = np.asarray(encoder.encode_table(part.table))
    outcome = search_best(matrix, part.labels, declaration.search, declaration.seed, report)
    scores = outcome.best.scores
    metrics = measure(part.labels, scores, SPLIT, declaration.seed)
    facts = Facts(
        dataset_digest=dataset.digest,
        rows=dataset.table.num_rows,
        held_out_rows=dataset.table.num_rows - part.table.num_rows,
        classes=part.target.classes,
        inputs=encoder.inputs,
        candidate=outcome.best.candidate,
        trials=outcome.trials,
        metrics=metrics,
        code=code,
    )
    manifest = write_package(
        directory,
        fitted(outcome.best.candidate, matrix, part.labels, declaration.seed),
        encoder,
        part.target.classes,
        profile_of(part.table, part.table.column_names, declaration.monitoring.drift.bins, scores),
        card_of(declaration, facts),
    )
    return Trained(manifest, outcome, metrics, part.table.num_rows)
