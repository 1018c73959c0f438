"""Making the reference profile of what a model was trained on. What reads it is in `modelkit.grid`."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelkit.datasets import numbers
from modelkit.grid import SCORE, CategoryGrid, Grid, NumberGrid, Profile, count

CELLS_PER_BIN = 20
"""How many fine cells the grid has for each coarse bin that is compared: the reserve for other questions later."""
MOST_CELLS = 25_000
"""Of all columns together: `window.closed` carries a count for each, and an event has at most 256 KiB."""

Doubles = npt.NDArray[np.float64]


def profile_of(table: pa.Table, features: Sequence[str], bins: int, scores: Doubles | None = None) -> Profile:
    """The profile of the features, and of the model's scores on the same rows where there is a model.

    Scores of rows that the model had not seen (from cross-validation) are wanted: on rows that it has learned it is
    too sure, and every fresh window would look different.
    """
    cells = max(bins, min(CELLS_PER_BIN * bins, MOST_CELLS // (len(features) + 1)))
    grids: list[Grid] = [_grid(name, table[name], cells) for name in features]
    if scores is not None:
        grids.append(number_grid(SCORE, scores, cells))
    return Profile(rows=table.num_rows, columns=tuple(grids))


def _grid(name: str, column: pa.ChunkedArray, cells: int) -> Grid:
    if pa.types.is_string(column.type):
        return _category_grid(name, column.to_pylist(), _frequent(column.to_pylist(), cells))
    if pa.types.is_boolean(column.type):
        return _category_grid(name, column.to_pylist(), (False, True))
    return number_grid(name, numbers(column), cells)


def number_grid(name: str, values: Doubles, cells: int) -> NumberGrid:
    """A grid on the quantiles of the values, NaN being a missing one.

    Each edge is a value that occurs: of n values in order, the one at i * n // cells, so that of n different values
    every cell holds n / cells, rounded up or down. Where there are few different values (up to half the cells), each
    has a cell of its own and so has each gap between them, so that a value never seen before shows even in a column
    that was constant.
    """
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    if len(distinct) <= cells // 2:
        edges = np.unique(np.concatenate([distinct, np.nextafter(distinct, np.inf)]))
    else:
        edges = np.unique(np.sort(present)[np.arange(1, cells) * len(present) // cells])
    inside = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    counts = (*inside.tolist(), len(values) - len(present))
    return NumberGrid(name=name, edges=tuple(edges.tolist()), counts=counts)


def _frequent(values: list[str | None], most: int) -> tuple[str, ...]:
    """The most frequent texts (of two equally frequent, the lesser), in the order of the texts."""
    seen = Counter(value for value in values if value is not None)
    return tuple(sorted(sorted(seen, key=lambda text: (-seen[text], text))[:most]))


def _category_grid(name: str, values: list[str | bool | None], categories: tuple[str | bool, ...]) -> CategoryGrid:
    empty = CategoryGrid(name=name, categories=categories, counts=(0,) * (len(categories) + 2))
    return CategoryGrid(name=name, categories=categories, counts=tuple(count(empty, values)))
