"""The grid on which a model's inputs are counted, and how far two counts are apart.

Pure on purpose: only the standard library and pydantic, so that a service's domain can count and compare without
numpy. Everything is counted in the cells of the reference's own grid, so counts add up and subtract exactly.

The order rules, fixed for ever:

- a number's cell `i` holds the values with `edges[i - 1] <= value < edges[i]`; a value equal to an edge belongs to
  the cell above it; the first cell reaches down and the last one up without end, infinities included;
- a category has the cell of its place in `categories`; the next cell is for every value that is not listed;
- the last cell of each grid is for missing values: None, NaN, the empty string.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCORE = "score"
"""The name under which the model's own answer is counted; no feature may be called so."""

PSEUDO_COUNT = 0.5
"""Added to each bin of both sides before the population stability index is taken."""

Cell = bool | int | float | str | None
Counts = tuple[Annotated[int, Field(ge=0)], ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class NumberGrid(_Frozen):
    """A column of numbers: strictly rising edges, and how many reference rows fell into each cell."""

    kind: Literal["number"] = "number"
    name: str
    edges: tuple[float, ...]
    counts: Counts
    """One more than edges, and one more for missing values."""

    def cell_of(self, value: Cell) -> int:
        """The cell of a value; text in a column of numbers counts as missing."""
        if value is None or value != value or isinstance(value, str):
            return len(self.edges) + 1
        return bisect_right(self.edges, value)

    def bins(self, bins: int) -> tuple[int, ...]:
        """The coarse bin of each cell: `bins` quantiles of the reference, and the last one for missing values."""
        return _number_bins(self.counts, bins)


class CategoryGrid(_Frozen):
    """A column of categories, and how many reference rows held each."""

    kind: Literal["category"] = "category"
    name: str
    categories: tuple[bool | str, ...]
    counts: Counts
    """One for each category, one for values not listed, one for missing values."""

    @cached_property
    def _cells(self) -> dict[Cell, int]:
        return {category: cell for cell, category in enumerate(self.categories)}

    def cell_of(self, value: Cell) -> int:
        """The cell of a value."""
        if value is None or value == "" or value != value:
            return len(self.categories) + 1
        return self._cells.get(value, len(self.categories))

    def bins(self, bins: int) -> tuple[int, ...]:
        """The coarse bin of each cell: the most frequent categories alone, the rest together, missing values last."""
        return _category_bins(self.counts, bins)


Grid = Annotated[NumberGrid | CategoryGrid, Field(discriminator="kind")]


class Profile(_Frozen):
    """What a model was trained on: for each input, and for its own score, a grid and the reference's counts."""

    format: Literal["cairn-profile-v1"] = "cairn-profile-v1"
    rows: Annotated[int, Field(ge=0)]
    columns: tuple[Grid, ...]
    """The features in the model's order; then `score`, where the model's own answers were counted."""

    def grid(self, name: str) -> NumberGrid | CategoryGrid:
        """The grid of a column; KeyError when there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, NumberGrid | CategoryGrid]:
        return {grid.name: grid for grid in self.columns}


class Distance(_Frozen):
    """How far a window is from the reference in one column."""

    psi: float
    chi_square: float
    degrees: int
    probability: float

    def drifted(self, psi: float, significance: float, features: int) -> bool:
        """Whether both tests say so: a large shift, and one that chance over `features` columns does not explain."""
        return self.psi >= psi and self.probability < significance / max(features, 1)


def count(grid: NumberGrid | CategoryGrid, values: Iterable[Cell]) -> list[int]:
    """How many of the values fall into each cell."""
    counts = [0] * len(grid.counts)
    cell_of = grid.cell_of
    for value in values:
        counts[cell_of(value)] += 1
    return counts


def merge(counts: Sequence[int], bins: Sequence[int]) -> list[int]:
    """Fine cells added up into coarse bins; `bins` names the bin of each cell."""
    merged = [0] * (bins[-1] + 1)
    for number, target in zip(counts, bins, strict=True):
        merged[target] += number
    return merged


def distance(grid: NumberGrid | CategoryGrid, counts: Sequence[int], bins: int) -> Distance:
    """How far a window's counts are from the grid's own, both merged into `bins` coarse bins."""
    coarse = grid.bins(bins)
    reference, window = merge(grid.counts, coarse), merge(counts, coarse)
    statistic, degrees = chi_square(reference, window)
    return Distance(
        psi=population_stability_index(reference, window),
        chi_square=statistic,
        degrees=degrees,
        probability=chi_square_survival(statistic, degrees),
    )


def population_stability_index(reference: Sequence[int], window: Sequence[int]) -> float:
    """The sum over bins of (w - r) * ln(w / r), where r and w are the bin's shares of either side.

    Both sides are smoothed so that an empty bin gives a large term instead of an infinite one: with k bins that are
    not empty on both sides, a share is (count + 0.5) / (total + 0.5 k). Bins empty on both sides are left out. An
    empty side has no distribution: the index is 0.

    Source: the index is the symmetrised Kullback-Leibler divergence (Jeffreys 1946, "An invariant form for the prior
    probability in estimation problems"); the half counts are his prior for a multinomial.
    """
    if not sum(reference) or not sum(window):
        return 0.0
    pairs = _not_empty(reference, window)
    extra = PSEUDO_COUNT * len(pairs)
    reference_total, window_total = sum(reference) + extra, sum(window) + extra
    shares = (((seen + PSEUDO_COUNT) / window_total, (known + PSEUDO_COUNT) / reference_total) for known, seen in pairs)
    return math.fsum((w - r) * math.log(w / r) for w, r in shares)


def chi_square(reference: Sequence[int], window: Sequence[int]) -> tuple[float, int]:
    """Pearson's statistic of whether two samples come from one distribution, and its degrees of freedom.

    It is the test of homogeneity on the table of two rows, without continuity correction. Bins empty on both sides
    are left out; the degrees of freedom are the rest less one. An empty side gives (0, 0).

    Source: Pearson 1911, "On the probability that two independent distributions of frequency are really samples from
    the same population".
    """
    known_total, seen_total = sum(reference), sum(window)
    if not known_total or not seen_total:
        return 0.0, 0
    weight = math.sqrt(seen_total / known_total)
    pairs = _not_empty(reference, window)
    statistic = math.fsum((weight * known - seen / weight) ** 2 / (known + seen) for known, seen in pairs)
    return statistic, len(pairs) - 1


def chi_square_survival(statistic: float, degrees: int) -> float:
    """The probability of a chi-square variable above the statistic; 1 when there are no degrees of freedom.

    It is Q(degrees / 2, statistic / 2), the regularised upper incomplete gamma function (DLMF 8.2.4).
    """
    a, x = degrees / 2, statistic / 2
    if a <= 0 or x <= 0:
        return 1.0
    return min(1.0, max(0.0, _upper_gamma(a, x)))


def _upper_gamma(a: float, x: float) -> float:
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return 1.0 - scale * _lower_gamma_series(a, x)
    return scale * _upper_gamma_fraction(a, x)


def _lower_gamma_series(a: float, x: float) -> float:
    """The sum of x^n / (a (a + 1) ... (a + n)): DLMF 8.7.1, without the factor x^a e^-x / Gamma(a)."""
    term = total = 1 / a
    n = 0
    while abs(term) > abs(total) * 1e-17:
        n += 1
        term *= x / (a + n)
        total += term
    return total


def _upper_gamma_fraction(a: float, x: float) -> float:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)): the even part of DLMF 8.9.2, by Lentz's method (DLMF 3.10)."""
    tiny = 1e-300
    b = x + 1 - a
    c = 1 / tiny
    d = 1 / b
    value = d
    for n in range(1, 100_000):
        factor = -n * (n - a)
        b += 2
        d = 1 / ((factor * d + b) or tiny)
        c = (b + factor / c) or tiny
        step = c * d
        value *= step
        if abs(step - 1) < 1e-16:
            break
    return value


def _not_empty(reference: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    return [(known, seen) for known, seen in zip(reference, window, strict=True) if known or seen]


@lru_cache(maxsize=4096)
def _number_bins(counts: tuple[int, ...], bins: int) -> tuple[int, ...]:
    """Cut where the reference's cumulated count comes nearest to each quantile; of two equally near, the lower."""
    cumulated = list(accumulate(counts[:-1]))[:-1]
    cuts = set()
    for k in range(1, bins):
        wanted = sum(counts[:-1]) * k / bins
        if cumulated:
            cuts.add(min(range(len(cumulated)), key=lambda cell: (abs(cumulated[cell] - wanted), cell)))
    numbered = list(accumulate(int(cell - 1 in cuts) for cell in range(len(counts) - 1)))
    return (*numbered, numbered[-1] + 1)


@lru_cache(maxsize=4096)
def _category_bins(counts: tuple[int, ...], bins: int) -> tuple[int, ...]:
    """The `bins` most frequent categories keep a bin each (of two equally frequent, the first); all others share."""
    listed = range(len(counts) - 2)
    kept = sorted(sorted(listed, key=lambda cell: (-counts[cell], cell))[:bins])
    places = {cell: place for place, cell in enumerate(kept)}
    return (*(places.get(cell, len(kept)) for cell in range(len(counts) - 1)), len(kept) + 1)
