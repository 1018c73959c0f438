"""The demonstration's data: scikit-learn's copy of the Wisconsin breast-cancer measurements, in four parts.

`python -m cairn.demo.data` writes the first one, as CSV.
"""

import csv
import io
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

TARGET = "malignant"
_SEED = 7
_PUBLISHED, _QUIET, _SHIFTED = 250, 100, 170
_FACTOR = 1.5
"""What the miscalibrated instrument multiplies the ten `worst` measurements by."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One patient: the measurements, and what turned out to be true."""

    features: dict[str, float]
    label: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The samples in the order in which they arrive."""

    published: tuple[Sample, ...]
    """Known from the start."""
    quiet: tuple[Sample, ...]
    """Traffic as it was."""
    shifted: tuple[Sample, ...]
    """Traffic after the instrument lost its calibration."""
    rest: tuple[Sample, ...]
    """What is left for the new version's canary, from the same instrument."""


def load_parts() -> Parts:
    """Load and divide the data; always the same. The natural order is not exchangeable, so it is permuted."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    samples = [
        Sample(dict(zip(names, map(float, row), strict=True)), int(target == 0))
        for row, target in zip(bunch.data, bunch.target, strict=True)
    ]
    random.Random(_SEED).shuffle(samples)  # noqa: S311 # a fixed order, not a secret
    quiet_from, shifted_from, rest_from = _PUBLISHED, _PUBLISHED + _QUIET, _PUBLISHED + _QUIET + _SHIFTED
    return Parts(
        published=tuple(samples[:quiet_from]),
        quiet=tuple(samples[quiet_from:shifted_from]),
        shifted=tuple(map(_shift, samples[shifted_from:rest_from])),
        rest=tuple(map(_shift, samples[rest_from:])),
    )


def _shift(sample: Sample) -> Sample:
    features = {
        name: value * _FACTOR if name.startswith("worst_") else value for name, value in sample.features.items()
    }
    return Sample(features, sample.label)


def as_csv(samples: Sequence[Sample]) -> bytes:
    """Samples as a CSV file with the target as its last column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*samples[0].features, TARGET])
    writer.writerows([*map(repr, sample.features.values()), sample.label] for sample in samples)
    return text.getvalue().encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(as_csv(load_parts().published))
