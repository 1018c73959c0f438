import numpy as np
import pyarrow as pa
import pytest

from cairn.events.catalogue import TOPICS
from cairn.events.monitoring import ColumnCounts, ColumnDrift
from modelkit.profile import profile_of

LARGEST = max(topic.max_value_bytes for topic in TOPICS.values() if topic.owner == "monitor")


@pytest.mark.parametrize(("features", "bins"), [(500, 50), (500, 10), (100, 50), (30, 10)])
def test_the_counts_of_a_window_fit_into_an_event(features: int, bins: int) -> None:
    values = np.random.default_rng(0).normal(size=3000)
    names = [f"a-feature-of-the-model-{n}" for n in range(features)]
    profile = profile_of(pa.table(dict.fromkeys(names, values)), names, bins, values)

    counts = [ColumnCounts(column=grid.name, cells=(99_999,) * len(grid.counts)) for grid in profile.columns]
    drift = ColumnDrift(
        column=names[0], psi=0.123456789012345, chi_square=1234.123456789, probability=5.6e-53, drifted=True
    )
    written = sum(len(one.model_dump_json()) + 1 for one in counts) + len(profile.columns) * len(
        drift.model_dump_json()
    )

    assert written < LARGEST - 4096


def test_few_columns_keep_the_whole_reserve() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    profile = profile_of(pa.table({"a": values}), ["a"], 10)
    assert len(profile.columns[0].counts) == 10 * 20 + 1
