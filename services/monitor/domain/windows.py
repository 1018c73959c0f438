"""What a window holds, and whether it drifted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cairn.events.declaration import Declaration, Drift
from cairn.events.monitoring import ColumnCounts, ColumnDrift, DriftDetected, WindowClosed
from cairn.events.predictions import PredictionRow
from cairn.events.registry import ModelRegistered
from cairn.events.values import EventRef, LogRange, Period, Reason
from modelkit.grid import SCORE, Profile, count, distance

Cells = tuple[tuple[int, ...], ...]
"""For each column of a profile: how many rows fell into each cell of its grid."""
PREDICTIONS = "predictions"
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Watched:
    """A version, and what it is watched by."""

    registered: ModelRegistered
    declaration: Declaration
    profile: Profile


@dataclass(frozen=True, slots=True)
class Tally:
    """All that was counted of a version in one partition."""

    partition: int
    first_offset: int
    last_offset: int
    rows: int
    cells: Cells


@dataclass(frozen=True, slots=True)
class Baseline:
    """All that the closed windows of a version hold."""

    window: int = 0
    rows: int = 0
    cells: Cells = ()
    ends: Mapping[int, int] = field(default_factory=dict)
    """For each partition the last record that they counted."""


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """What was counted of a version since its last window."""

    number: int
    rows: int
    cells: Cells
    inputs: tuple[LogRange, ...]


def parse_profile(content: str | bytes) -> Profile:
    """A reference profile, from its object."""
    return Profile.model_validate_json(content)


def count_rows(profile: Profile, columns: Sequence[str], rows: Sequence[PredictionRow]) -> Cells:
    """Served rows in the cells of the reference's grid. A column that was not served counts as missing values."""
    served = zip(*(row.features for row in rows), strict=True)
    values: dict[str, Sequence[Any]] = dict(zip(columns, served, strict=True))
    values[SCORE] = [row.output.score for row in rows]
    missing = (None,) * len(rows)
    return tuple(tuple(count(grid, values.get(grid.name, missing))) for grid in profile.columns)


def add(left: Cells, right: Cells) -> Cells:
    """Both together; nothing counted yet is the empty tuple."""
    if not left or not right:
        return left or right
    return tuple(tuple(map(sum, zip(*pair, strict=True))) for pair in zip(left, right, strict=True))


def subtract(left: Cells, right: Cells) -> Cells:
    """What the left side has more."""
    return add(left, tuple(tuple(-rows for rows in cells) for cells in right))


def open_window(tallies: Sequence[Tally], baseline: Baseline) -> OpenWindow | None:
    """What was counted since the last window.

    None while closed windows hold records that are not counted here: after a rebuild those are heard once more.
    """
    now = {tally.partition: tally.last_offset for tally in tallies}
    if any(now.get(partition, -1) < end for partition, end in baseline.ends.items()):
        return None
    cells: Cells = ()
    for tally in tallies:
        cells = add(cells, tally.cells)
    return OpenWindow(
        number=baseline.window + 1,
        rows=sum(tally.rows for tally in tallies) - baseline.rows,
        cells=subtract(cells, baseline.cells),
        inputs=tuple(_range(tally, baseline) for tally in tallies if _is_new(tally, baseline)),
    )


def _is_new(tally: Tally, baseline: Baseline) -> bool:
    return tally.last_offset > baseline.ends.get(tally.partition, -1)


def _range(tally: Tally, baseline: Baseline) -> LogRange:
    end = baseline.ends.get(tally.partition)
    return LogRange(
        topic=PREDICTIONS,
        partition=tally.partition,
        first_offset=tally.first_offset if end is None else end + 1,
        last_offset=tally.last_offset,
    )


def is_full(window: OpenWindow, declaration: Declaration) -> bool:
    """Whether a window holds all the rows that are declared for one."""
    return window.rows >= declaration.monitoring.window_rows


def close_window(watched: Watched, window: OpenWindow, first_at: datetime, last_at: datetime) -> WindowClosed:
    """The window as it is told; its first and last rows were served then."""
    names = (grid.name for grid in watched.profile.columns)
    counts = zip(names, window.cells, strict=True)
    return WindowClosed(
        model=watched.registered.model,
        window=window.number,
        period=Period(start_at=first_at, end_at=last_at + INSTANT),
        row_count=window.rows,
        inputs=window.inputs,
        profile=watched.registered.profile,
        counts=tuple(ColumnCounts(column=name, cells=cells) for name, cells in counts),
        drift=judge_columns(watched.profile, window.cells, watched.declaration.monitoring.drift),
    )


def judge_columns(profile: Profile, cells: Cells, asked: Drift) -> tuple[ColumnDrift, ...]:
    """Each column's distance from the reference, and whether it drifted."""
    features = sum(grid.name != SCORE for grid in profile.columns)
    judged = []
    for grid, counts in zip(profile.columns, cells, strict=True):
        found = distance(grid, counts, asked.bins)
        judged.append(
            ColumnDrift(
                column=grid.name,
                psi=found.psi,
                chi_square=found.chi_square,
                probability=found.probability,
                drifted=found.drifted(asked.psi, asked.significance, features),
            )
        )
    return tuple(judged)


def find_drift(closed: WindowClosed, told: EventRef, passed_over: Reason | None) -> DriftDetected | None:
    """What is told of a window in which a column drifted, and why it leads to no dataset, if it does not."""
    drifted = tuple(one for one in closed.drift if one.drifted)
    if not drifted:
        return None
    return DriftDetected(
        model=closed.model,
        window=closed.window,
        columns=tuple(one.column for one in drifted),
        drift=drifted,
        evidence=(told,),
        passed_over=passed_over,
    )


def after(baseline: Baseline, closed: WindowClosed) -> Baseline:
    """The baseline once a window is closed."""
    return Baseline(
        window=closed.window,
        rows=baseline.rows + closed.row_count,
        cells=add(baseline.cells, tuple(one.cells for one in closed.counts)),
        ends={**baseline.ends, **{one.partition: one.last_offset for one in closed.inputs}},
    )
