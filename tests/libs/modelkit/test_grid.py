"""Counting on the reference's grid, and how far a window is from the reference."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.libs.modelkit.samples import CANCER, WORST, cancer, iris, shifted

from cairn.events.declaration import Drift, Split
from modelkit.datasets import held_out
from modelkit.grid import (
    CategoryGrid,
    NumberGrid,
    Profile,
    chi_square,
    chi_square_survival,
    count,
    distance,
    merge,
    population_stability_index,
)
from modelkit.profile import number_grid, profile_of

HALVES = NumberGrid(name="x", edges=(0.0, 1.0, 2.5), counts=(1, 2, 3, 4, 5))
GARDEN = CategoryGrid(name="garden", categories=("north", "south"), counts=(5, 3, 0, 1))
DEMO = Drift(bins=5)


@pytest.mark.parametrize(
    ("value", "cell"),
    [(-0.1, 0), (0.0, 1), (-0.0, 1), (0, 1), (0.999, 1), (1.0, 2), (True, 2), (2.5, 3), (1e300, 3), (math.inf, 3)],
)
def test_a_value_equal_to_an_edge_belongs_to_the_cell_above_it(value: float, cell: int) -> None:
    assert HALVES.cell_of(value) == cell


def test_missing_values_have_the_last_cell() -> None:
    assert [HALVES.cell_of(value) for value in (None, math.nan, "text")] == [4, 4, 4]
    assert [GARDEN.cell_of(value) for value in (None, math.nan, "")] == [3, 3, 3]


def test_categories_never_seen_share_the_cell_before_it() -> None:
    assert [GARDEN.cell_of(value) for value in ("north", "south", "west", 1)] == [0, 1, 2, 2]
    truths = CategoryGrid(name="wide", categories=(False, True), counts=(1, 1, 0, 0))
    assert [truths.cell_of(value) for value in (False, True, None)] == [0, 1, 3]


@given(st.lists(st.floats(allow_infinity=False) | st.none()), st.lists(st.floats(allow_infinity=False) | st.none()))
def test_counts_add_up(first: list[float | None], second: list[float | None]) -> None:
    both = [a + b for a, b in zip(count(HALVES, first), count(HALVES, second), strict=True)]
    assert count(HALVES, first + second) == both
    assert sum(both) == len(first) + len(second)


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9) | st.sampled_from([0.0, 1.0, math.nan]), min_size=1))
def test_edges_rise_strictly_and_the_reference_is_counted_by_the_rule_of_cell_of(values: list[float]) -> None:
    grid = number_grid("x", np.array(values), 40)
    assert all(low < high for low, high in pairwise(grid.edges))
    assert list(grid.counts) == count(grid, values)
    assert len(grid.edges) <= 40


@pytest.mark.parametrize(("rows", "cells"), [(10_000, 100), (3000, 1000), (1000, 1000), (2999, 700)])
def test_of_different_values_every_cell_has_the_same_share(rows: int, cells: int) -> None:
    grid = number_grid("x", np.random.default_rng(0).normal(size=rows), cells)
    *inside, missing = grid.counts
    assert set(inside) == {rows // cells, -(-rows // cells)}
    assert (len(grid.edges), missing) == (len(inside) - 1, 0)


def test_bins_of_different_values_have_equal_shares() -> None:
    grid = number_grid("x", np.random.default_rng(0).normal(size=10_000), 100)
    assert merge(grid.counts, grid.bins(5)) == [2000, 2000, 2000, 2000, 2000, 0]


def test_bins_are_the_quantiles_of_the_reference_as_nearly_as_cells_allow() -> None:
    values = np.array([0.0] * 70 + [1.0] * 20 + [2.0] * 10)
    grid = number_grid("x", values, 40)
    assert sorted(merge(grid.counts, grid.bins(2)), reverse=True)[:2] == [70, 30]
    assert sum(merge(grid.counts, grid.bins(5))) == 100


@pytest.mark.parametrize("moved", [7.0, -1.0, 0.001])
def test_a_column_that_was_constant_shows_any_other_value(moved: float) -> None:
    grid = number_grid("x", np.zeros(200), 100)
    assert distance(grid, count(grid, [0.0] * 100), 5).psi == pytest.approx(0, abs=1e-2)
    assert distance(grid, count(grid, [moved] * 100), 5).drifted(0.25, 0.001, 30)


def test_missing_values_are_a_bin_of_their_own() -> None:
    grid = number_grid("x", np.random.default_rng(0).normal(size=200), 100)
    window = [None] * 50 + np.random.default_rng(1).normal(size=50).tolist()
    assert distance(grid, count(grid, window), 5).drifted(0.25, 0.001, 30)


def test_the_most_frequent_categories_keep_a_bin_and_the_rest_share_one() -> None:
    grid = CategoryGrid(name="x", categories=("a", "b", "c", "d"), counts=(5, 9, 5, 1, 0, 2))
    assert grid.bins(2) == (0, 1, 2, 2, 2, 3)
    assert merge(grid.counts, grid.bins(2)) == [5, 9, 6, 2]
    assert grid.bins(5) == (0, 1, 2, 3, 4, 5)


def test_the_stability_index_is_as_computed_by_hand() -> None:
    """With 3 bins and half a count each: r = (10.5, 10.5, 0.5) / 21.5 and w = (4.5, 4.5, 2.5) / 11.5."""
    by_hand = (
        2 * (4.5 / 11.5 - 10.5 / 21.5) * math.log((4.5 / 11.5) / (10.5 / 21.5))
        + (2.5 / 11.5 - 0.5 / 21.5) * math.log((2.5 / 11.5) / (0.5 / 21.5))
    )  # fmt: skip
    assert by_hand == pytest.approx(0.476940, abs=1e-6)
    assert population_stability_index([10, 10, 0], [4, 4, 2]) == pytest.approx(by_hand, rel=1e-12)


def test_bins_empty_on_both_sides_change_nothing() -> None:
    assert population_stability_index([10, 0, 9], [4, 0, 2]) == population_stability_index([10, 9], [4, 2])
    assert chi_square([10, 0, 9], [4, 0, 2]) == chi_square([10, 9], [4, 2])


def test_two_equal_distributions_are_no_distance_apart_and_an_empty_side_is_none() -> None:
    assert population_stability_index([7, 7, 7], [7, 7, 7]) == 0
    statistic, degrees = chi_square([7, 7, 7], [70, 70, 70])
    assert (statistic < 1e-12, degrees) == (True, 2)
    assert (population_stability_index([7, 7], [0, 0]), chi_square([0, 0], [7, 7])) == (0, (0, 0))
    assert distance(HALVES, [0, 0, 0, 0, 0], 2).probability == 1


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=12))
def test_the_statistic_is_that_of_the_table_of_two_rows(pairs: list[tuple[int, int]]) -> None:
    reference, window = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    filled = [pair for pair in pairs if any(pair)]
    if not sum(reference) or not sum(window):
        return
    expected = stats.chi2_contingency(np.array(filled).T, correction=False)
    statistic, degrees = chi_square(reference, window)
    assert statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert degrees == expected.dof
    assert chi_square_survival(statistic, degrees) == pytest.approx(expected.pvalue, rel=1e-8)


@given(st.floats(min_value=0, max_value=1500), st.integers(min_value=1, max_value=1000))
def test_the_survival_function_is_scipys(statistic: float, degrees: int) -> None:
    expected = stats.chi2.sf(statistic, degrees)
    assert chi_square_survival(statistic, degrees) == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_a_profile_is_the_same_after_a_journey_as_json() -> None:
    profile = profile_of(iris(), iris().column_names[:4], 10, np.linspace(0, 1, 150))
    again = Profile.model_validate_json(profile.model_dump_json())
    assert again == profile
    assert [grid.name for grid in again.columns] == [*iris().column_names[:4], "score"]
    assert [grid.kind for grid in again.columns] == ["number", "number", "category", "category", "number"]
    texts = iris()["garden"].to_pylist()
    assert again.grid("garden").counts == (texts.count("north"), texts.count("süd"), 0, texts.count(None))
    assert sum(again.grid("score").counts) == again.rows == 150


def test_a_profile_of_thirty_features_is_small() -> None:
    profile = profile_of(cancer().slice(0, 250), CANCER, DEMO.bins)
    assert len(profile.model_dump_json()) < 64_000


def drifted(profile: Profile, window: pa.Table) -> set[str]:
    return {
        name
        for name in CANCER
        if distance(profile.grid(name), count(profile.grid(name), window[name].to_pylist()), DEMO.bins).drifted(
            DEMO.psi, DEMO.significance, len(CANCER)
        )
    }


def test_quiet_windows_are_quiet_and_shifted_ones_are_told_from_them() -> None:
    """The demo's parameters: windows of 100, five bins, ten features half as large again; 100 permutations."""
    for seed in range(100):
        table = cancer(seed)
        published = table.slice(0, 250)
        profile = profile_of(published.filter(pa.array(~held_out(published, Split()))), CANCER, DEMO.bins)
        assert drifted(profile, table.slice(250, 100)) == set()
        found = drifted(profile, shifted(table.slice(350, 100)))
        assert len(found) >= 5
        assert found <= set(WORST)
