"""What the monitor decides: when a window is full, whether it has drifted, what becomes a dataset."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cairn.events.declaration import Drift
from cairn.events.monitoring import ColumnCounts, ColumnDrift
from cairn.events.values import Column, LogRange
from modelkit.grid import SCORE, Profile, count, distance

Counts = Mapping[str, Sequence[int]]
"""For each column: how many rows fell into each cell of the reference's grid."""
TOPIC = "predictions"


@dataclass(frozen=True, slots=True)
class Standing:
    """What was counted of one version up to now, in one partition."""

    partition: int
    first_offset: int
    next_offset: int
    rows: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was counted of one version when its last window closed."""

    window: int
    rows: int
    counts: Counts
    positions: Mapping[int, int]
    """For each partition: the offset after the last record that was counted."""


NOTHING = Baseline(0, 0, {}, {})


@dataclass(frozen=True, slots=True)
class Difference:
    """What was counted since the last window closed."""

    window: int
    rows: int
    counts: Counts
    inputs: tuple[LogRange, ...]


def add(left: Counts, right: Counts) -> dict[str, list[int]]:
    """Counts of both together."""
    names = [*left, *(name for name in right if name not in left)]
    return {name: _plus(left.get(name, ()), right.get(name, ())) for name in names}


def subtract(left: Counts, right: Counts) -> dict[str, list[int]]:
    """Counts of the left side that are not of the right one."""
    return {name: _plus(cells, [-one for one in right.get(name, ())]) for name, cells in left.items()}


def _plus(left: Sequence[int], right: Sequence[int]) -> list[int]:
    length = max(len(left), len(right))
    return [(left[n] if n < len(left) else 0) + (right[n] if n < len(right) else 0) for n in range(length)]


def count_rows(
    profile: Profile, columns: Sequence[str], rows: Sequence[Sequence[Any]], scores: Sequence[float]
) -> Counts:
    """Rows of one record in the cells of the reference's grid; a column that is missing counts as missing values."""
    values = dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else {}
    values[SCORE] = tuple(scores)
    missing = (None,) * len(rows)
    return {grid.name: count(grid, values.get(grid.name, missing)) for grid in profile.columns}


def difference(standings: Iterable[Standing], baseline: Baseline) -> Difference:
    """What was counted since the baseline, and in which records."""
    counts: Counts = {}
    rows, inputs = 0, []
    for one in sorted(standings, key=lambda standing: standing.partition):
        counts, rows = add(counts, one.counts), rows + one.rows
        first = baseline.positions.get(one.partition, one.first_offset)
        if first < one.next_offset:
            inputs.append(
                LogRange(topic=TOPIC, partition=one.partition, first_offset=first, last_offset=one.next_offset - 1)
            )
    return Difference(baseline.window + 1, rows - baseline.rows, subtract(counts, baseline.counts), tuple(inputs))


def is_full(window: Difference, wanted_rows: int) -> bool:
    """Whether a window holds so many rows that it closes."""
    return window.rows >= wanted_rows


def as_columns(counts: Counts) -> tuple[ColumnCounts, ...]:
    """Counts as events carry them."""
    return tuple(ColumnCounts(column=name, cells=tuple(cells)) for name, cells in counts.items())


def judge_drift(profile: Profile, counts: Counts, asked: Drift) -> tuple[ColumnDrift, ...]:
    """Each column's distance from the reference, and whether it has drifted."""
    features = sum(1 for grid in profile.columns if grid.name != SCORE)
    judged = []
    for grid in profile.columns:
        far = distance(grid, counts[grid.name], asked.bins)
        judged.append(
            ColumnDrift(
                column=grid.name,
                psi=far.psi,
                chi_square=far.chi_square,
                probability=far.probability,
                drifted=far.drifted(asked.psi, asked.significance, features),
            )
        )
    return tuple(judged)


def drifted_columns(drift: Iterable[ColumnDrift]) -> tuple[str, ...]:
    """The names of the columns that drifted."""
    return tuple(one.column for one in drift if one.drifted)


def advance(baseline: Baseline, window: int, rows: int, counts: Counts, inputs: Iterable[LogRange]) -> Baseline:
    """The baseline after a window has closed."""
    positions = {**baseline.positions, **{one.partition: one.last_offset + 1 for one in inputs}}
    return Baseline(window, baseline.rows + rows, add(baseline.counts, counts), positions)


def cooldown_end(now: datetime, seconds: float) -> datetime:
    """Until when no new advice is given."""
    return now + timedelta(seconds=seconds)


def coverage(labelled: int, served: int) -> float:
    """Share of served rows that have labels."""
    return labelled / served if served else 0.0


def write_csv(columns: Sequence[str], target: str, rows: Iterable[tuple[Mapping[str, Any], Any]]) -> bytes:
    """Features and label of each row as CSV (RFC 4180); numbers are written so that they read back the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, target])
    for features, label in rows:
        writer.writerow([*(_cell(features.get(name)) for name in columns), _cell(label)])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def describe_target(name: str, labels: Iterable[Any]) -> Column:
    """The target as a column, by what its labels are."""
    kinds = {type(label) for label in labels}
    kind: Literal["boolean", "integer", "number", "string"] = "string"
    if kinds <= {bool}:
        kind = "boolean"
    elif kinds <= {int}:
        kind = "integer"
    elif kinds <= {int, float}:
        kind = "number"
    return Column(name=name, type=kind)
