"""What a told window claims of the numbers that were served, against scipy on the numbers themselves."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.libs.modelkit.samples import CANCER, cancer, shifted
from tests.services.monitor.samples import NOWHERE, START, declared, registered, row

from cairn.events import WindowClosed
from modelkit.grid import NumberGrid, Profile
from modelkit.profile import number_grid
from monitor.domain import Baseline, Cells, Tally, Watched, add, after, close_window, count_rows, open_window

BINS = 10
numbers = st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1.0, 2.5])
references = st.lists(numbers, min_size=30, max_size=300)
served = st.lists(numbers, min_size=1, max_size=60)
records = st.lists(st.tuples(st.integers(0, 2), served), min_size=1, max_size=6)
"""Of which partition, and what was in it."""


def watch(reference: Sequence[float], cells: int = 20 * BINS) -> Watched:
    grid = number_grid("x", np.array(reference), cells)
    declaration = declared(monitoring={"drift": {"bins": BINS}}).declaration
    return Watched(registered(NOWHERE), declaration, Profile(rows=len(reference), columns=(grid,)))


def tell_windows(watched: Watched, *windows: Sequence[tuple[int, Sequence[float]]]) -> list[WindowClosed]:
    """Windows of a stream whose counts only ever grow, each closed after its records."""
    tallies: dict[int, Tally] = {}
    baseline, told = Baseline(), []
    for window in windows:
        for partition, values in window:
            known = tallies.get(partition, Tally(partition, 0, -1, 0, ()))
            cells: Cells = count_rows(watched.profile, ("x",), [row(n, (value,)) for n, value in enumerate(values)])
            rows = known.rows + len(values)
            tallies[partition] = Tally(partition, 0, known.last_offset + 1, rows, add(known.cells, cells))
        opened = open_window([tallies[one] for one in sorted(tallies)], baseline)
        assert opened
        told.append(close_window(watched, opened, START, START))
        baseline = after(baseline, told[-1])
    return told


def values_of(window: Sequence[tuple[int, Sequence[float]]]) -> list[float]:
    return [value for _, values in window for value in values]


def coarse(watched: Watched, values: Sequence[float]) -> list[int]:
    """The values counted in the bins that are compared, from the values themselves."""
    grid = watched.profile.columns[0]
    assert isinstance(grid, NumberGrid)
    of_cell = grid.bins(BINS)
    edges = [edge for cell, edge in enumerate(grid.edges) if of_cell[cell] != of_cell[cell + 1]]
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()


def index_of(reference: Sequence[int], window: Sequence[int]) -> float:
    """The population stability index by its definition, with half a count in each bin that is not empty."""
    table = np.array([reference, window], dtype=float)
    table = table[:, table.sum(axis=0) > 0] + 0.5
    known, seen = table / table.sum(axis=1, keepdims=True)
    return float(((seen - known) * np.log(seen / known)).sum())


def furthest(grid: NumberGrid, cells: Sequence[int]) -> float:
    """The Kolmogorov-Smirnov distance as the counts of the cells show it."""
    known, seen = np.cumsum(grid.counts[:-1]) / sum(grid.counts), np.cumsum(cells[:-1]) / sum(cells)
    return float(np.abs(known - seen).max())


@settings(deadline=None)
@given(references, records, records)
def test_a_window_is_the_difference_of_what_was_counted_before_and_after(
    reference: list[float], first: list[tuple[int, list[float]]], second: list[tuple[int, list[float]]]
) -> None:
    watched = watch(reference)
    _, told = tell_windows(watched, first, second)
    (alone,) = tell_windows(watched, second)
    assert told.row_count == len(values_of(second))
    assert (told.counts, told.drift) == (alone.counts, alone.drift)
    (together,) = tell_windows(watched, [*first, *second])
    (apart,) = tell_windows(watched, first)
    assert (together.counts[0].cells,) == add((apart.counts[0].cells,), (told.counts[0].cells,))


@settings(deadline=None)
@given(references, records, records)
def test_the_index_and_the_statistic_are_those_of_the_numbers_themselves(
    reference: list[float], first: list[tuple[int, list[float]]], second: list[tuple[int, list[float]]]
) -> None:
    watched = watch(reference)
    _, told = tell_windows(watched, first, second)
    (drift,) = told.drift
    known, seen = coarse(watched, reference), coarse(watched, values_of(second))
    filled = [pair for pair in zip(known, seen, strict=True) if any(pair)]
    expected = stats.chi2_contingency(np.array(filled).T, correction=False)
    assert drift.psi == pytest.approx(index_of(known, seen), rel=1e-9, abs=1e-12)
    assert drift.chi_square == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert drift.probability == pytest.approx(expected.pvalue, rel=1e-8)


@settings(deadline=None)
@given(references, records)
def test_the_counts_show_the_greatest_distance_but_for_the_share_of_a_cell(
    reference: list[float], window: list[tuple[int, list[float]]]
) -> None:
    watched = watch(reference)
    (told,) = tell_windows(watched, window)
    grid = watched.profile.columns[0]
    assert isinstance(grid, NumberGrid)
    short = stats.ks_2samp(reference, values_of(window)).statistic - furthest(grid, told.counts[0].cells)
    assert -1e-12 <= short <= max(grid.counts) / len(reference) + 1e-12


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.5), st.floats(0.5, 2.0), st.sampled_from(["normal", "lognormal"]))
def test_with_a_thousand_cells_the_counts_show_it_to_a_thousandth(
    seed: int, moved: float, wider: float, shape: str
) -> None:
    chance = np.random.default_rng(seed)
    reference = getattr(chance, shape)(size=3000)
    window = moved + wider * getattr(chance, shape)(size=1000)
    grid = number_grid("x", reference, 1000)
    (told,) = tell_windows(watch(reference, 1000), [(0, window.tolist())])
    expected = stats.ks_2samp(reference, window).statistic
    assert furthest(grid, told.counts[0].cells) == pytest.approx(expected, abs=0.001 + 1e-12)


@pytest.mark.parametrize("name", CANCER[:10])
def test_of_measured_columns_the_counts_show_it_to_the_share_of_a_cell(name: str) -> None:
    table = cancer()
    reference = table.slice(0, 300)[name].to_pylist()
    window = shifted(table.slice(300, 200))[name].to_pylist()
    watched = watch(reference)
    (told,) = tell_windows(watched, [(0, window)])
    grid = watched.profile.columns[0]
    assert isinstance(grid, NumberGrid)
    expected = stats.ks_2samp(reference, window).statistic
    assert furthest(grid, told.counts[0].cells) == pytest.approx(expected, abs=max(grid.counts) / len(reference))
