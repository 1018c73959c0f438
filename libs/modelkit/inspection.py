"""Whether a dataset is fit to train on: each question as a check with what was asked and what was found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cairn.events.declaration import Declaration, Drift
from cairn.events.values import Check
from modelkit.datasets import Target, check_features, held_out, numbers, read_target, row_digests
from modelkit.errors import DataError
from modelkit.grid import SCORE, Profile
from modelkit.profile import profile_of

FEWEST_ROWS = 10
MOST_MISSING = 0.2
"""Share of missing cells in a feature above which there is a warning."""
MOST_DUPLICATES = 0.05
"""Share of rows that repeat another above which there is a warning."""
ROWS_PER_CATEGORY = 5
"""A text that separates the classes is suspicious only when its values repeat: an identifier always does."""


@dataclass(frozen=True)
class Question:
    """What a dataset is to be fit for."""

    target: str | None
    features: tuple[str, ...]
    declaration: Declaration | None = None

    @property
    def bins(self) -> int:
        """The bins of the profile."""
        return (self.declaration.monitoring.drift if self.declaration else Drift()).bins


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    checks: tuple[Check, ...]
    profile: Profile | None
    """Of all rows, where the features are there."""

    @property
    def accepted(self) -> bool:
        """Whether no check that decides has failed."""
        return all(check.passed or check.severity == "warning" for check in self.checks)


def inspect(table: pa.Table, question: Question) -> Inspection:
    """Every check that can be made of a table that was read."""
    found = f"{table.num_rows} rows, {table.num_columns} columns"
    checks = [checked("the files can be read as one table", "readable", found, None), _rows(table)]
    target = None
    if question.target is not None:
        check, target = target_check(table, question.target)
        checks.append(check)
    features = features_check(table, question.features)
    checks.append(features)
    if target is not None and question.declaration is not None:
        checks.append(split_check(table, question.declaration, target))
    if not features.passed:
        return Inspection(tuple(checks), None)
    checks.extend(_checks_of_features(table, question.features, target))
    return Inspection(tuple(checks), profile_of(table, question.features, question.bins))


def features_of(declaration: Declaration, columns: Sequence[str]) -> tuple[str, ...]:
    """The features that a declaration means; none named means all columns but the target."""
    return declaration.features or tuple(name for name in columns if name != declaration.target)


def checked(asked: str, name: str, found: str, fault: DataError | None) -> Check:
    """A check that a DataError fails; without one, it passes with what was found."""
    return Check(name=name, asked=asked, measured=fault.text[:2000] if fault else found, passed=fault is None)


def target_check(table: pa.Table, name: str) -> tuple[Check, Target | None]:
    """Whether the target is there, whole and binary; and the target, if so."""
    asked = "the target is a column without gaps that holds two values"
    try:
        target = read_target(table, name)
    except DataError as fault:
        return checked(asked, "target", "", fault), None
    negative, positive = target.classes
    rows = int(target.labels.sum())
    found = f"{len(target.labels) - rows} rows of {negative!r}, {rows} of {positive!r} (the positive class)"
    return checked(asked, "target", found, None), target


def features_check(table: pa.Table, features: Sequence[str]) -> Check:
    """Whether the features can be learned from."""
    fault = None
    try:
        require_features(table, features)
    except DataError as found:
        fault = found
    return checked("every feature is a column", "features", f"{len(features)} features", fault)


def require_features(table: pa.Table, features: Sequence[str]) -> None:
    """DataError unless there is a feature, all are columns, and none takes the name of the model's own answer."""
    if not features:
        raise DataError("no-features", "there is no column but the target")
    if SCORE in features:
        raise DataError("reserved-name", f"no feature may be called {SCORE!r}: the model's own answer is")
    check_features(table, features)


def split_check(table: pa.Table, declaration: Declaration, target: Target) -> Check:
    """Whether both parts of the split can be used."""
    aside = held_out(table, declaration.split)
    trained, measured = (np.bincount(target.labels[part], minlength=2) for part in (~aside, aside))
    return Check(
        name="split",
        asked="at least two rows of each class to train on, and one of each held out",
        measured=f"to train on: {trained[0]} and {trained[1]}; held out: {measured[0]} and {measured[1]}",
        passed=bool(trained.min() >= 2 and measured.min() >= 1),
    )


def _checks_of_features(table: pa.Table, features: Sequence[str], target: Target | None) -> Iterator[Check]:
    yield from _missing(table, features)
    yield _duplicates(table)
    yield _constants(table, features)
    if target is not None:
        yield _copies(table, features, target)
        yield _separators(table, features, target)


def _rows(table: pa.Table) -> Check:
    return Check(
        name="rows",
        asked=f"at least {FEWEST_ROWS} rows",
        measured=f"{table.num_rows} rows",
        passed=table.num_rows >= FEWEST_ROWS,
    )


def _missing(table: pa.Table, features: Sequence[str]) -> Iterator[Check]:
    shares = {name: table[name].null_count / table.num_rows for name in features}
    empty = [name for name, share in shares.items() if share == 1]
    yield Check(
        name="empty-features",
        asked="no feature is missing in every row",
        measured=_listed(empty) if empty else "none is",
        passed=not empty,
    )
    high = [f"{name} {share:.0%}" for name, share in shares.items() if share > MOST_MISSING]
    yield Check(
        name="missing-values",
        asked=f"no feature is missing in more than {MOST_MISSING:.0%} of the rows",
        measured=_listed(high) if high else f"at most {max(shares.values(), default=0):.1%}",
        passed=not high,
        severity="warning",
    )


def _duplicates(table: pa.Table) -> Check:
    digests = row_digests(table)
    share = 1 - len(np.unique(digests.view("V16"))) / len(digests)
    return Check(
        name="duplicates",
        asked=f"at most {MOST_DUPLICATES:.0%} of the rows repeat another",
        measured=f"{share:.1%}",
        passed=share <= MOST_DUPLICATES,
        severity="warning",
    )


def _constants(table: pa.Table, features: Sequence[str]) -> Check:
    constant = [name for name in features if len(table[name].drop_null().unique()) == 1]
    return Check(
        name="constant-features",
        asked="no feature has the same value in every row",
        measured=_listed(constant) if constant else "none has",
        passed=not constant,
        severity="warning",
    )


def _copies(table: pa.Table, features: Sequence[str], target: Target) -> Check:
    copies = [name for name in features if _is_copy(table[name], target)]
    return Check(
        name="target-copies",
        asked="no feature is a copy of the target",
        measured=_listed(copies) if copies else "none is",
        passed=not copies,
        reason="a model that reads its answer learns nothing" if copies else "",
    )


def _separators(table: pa.Table, features: Sequence[str], target: Target) -> Check:
    separating = [
        name for name in features if not _is_copy(table[name], target) and _separates(table[name], target.labels)
    ]
    return Check(
        name="leakage",
        asked="no feature alone separates the classes perfectly",
        measured=_listed(separating) if separating else "none does",
        passed=not separating,
        severity="warning",
        reason="such a feature is often known only after the answer is" if separating else "",
    )


def _is_copy(column: pa.ChunkedArray, target: Target) -> bool:
    """Whether the column holds the target's own values, row by row; truths are 0 and 1."""
    negative, positive = target.classes
    if pa.types.is_string(column.type) != isinstance(positive, str):
        return False
    if isinstance(positive, str):
        wanted = np.where(target.labels == 1, positive, negative)
        return bool(pc.all(pc.fill_null(pc.equal(column, pa.array(wanted.tolist())), fill_value=False)).as_py())
    return bool(np.array_equal(numbers(column), np.where(target.labels == 1, float(positive), float(negative))))


def _separates(column: pa.ChunkedArray, labels: np.typing.NDArray[np.int8]) -> bool:
    """Whether a threshold on the numbers, or the text, tells the class of every row that has a value."""
    present = column.is_valid().to_numpy()
    known = labels[present]
    if len(known) == 0 or known.min() == known.max():
        return False
    if pa.types.is_string(column.type):
        codes = pc.dictionary_encode(column.combine_chunks().drop_null()).indices.to_numpy()
        rows = np.bincount(codes)
        positives = np.bincount(codes, weights=known)
        return len(known) >= ROWS_PER_CATEGORY * len(rows) and bool(np.all((positives == 0) | (positives == rows)))
    values = numbers(column)[present]
    low, high = values[known == 0], values[known == 1]
    return bool(low.max() < high.min() or high.max() < low.min())


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
