"""Whether what a request holds is what a model takes, and as which values."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from cairn.events.values import LARGEST_INTEGER, Column, Scalar
from deployer.serving.refusals import Refused

_MOST_PROBLEMS = 20
_LONGEST_TEXT = 1000


class _Unfit(Exception):
    """A value is not one that its column holds."""


def columns_to_rows(inputs: Sequence[Column], given: dict[str, Sequence[Any]]) -> list[list[Scalar]]:
    """The rows of cells, in the order of the inputs. Raises Refused (422) naming every feature at fault."""
    missing = [column.name for column in inputs if column.name not in given]
    extra = [name for name in given if name not in {column.name for column in inputs}]
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += [f"not expected: {', '.join(extra)}"] if extra else []
    columns: list[list[Scalar]] = []
    for column in inputs:
        try:
            columns.append(_checked(column, given.get(column.name, ())))
        except _Unfit as problem:
            problems.append(f"{column.name}: {problem}")
    if problems:
        more = f" (and {len(problems) - _MOST_PROBLEMS} more)" if len(problems) > _MOST_PROBLEMS else ""
        raise Refused(422, f"{'; '.join(problems[:_MOST_PROBLEMS])}{more}"[:4000])
    return [list(row) for row in zip(*columns, strict=True)]


def _checked(column: Column, cells: Sequence[Any]) -> list[Scalar]:
    convert = _CONVERT[column.type]
    checked: list[Scalar] = []
    for place, cell in enumerate(cells):
        if cell is None:
            if column.required:
                raise _Unfit(f"may not be missing (row {place})")
            checked.append(None)
            continue
        value = convert(cell)
        if value is None:
            raise _Unfit(f"must be {_NOUNS[column.type]}; row {place} is {cell!r:.60}")
        checked.append(value)
    return checked


def _number(cell: Any) -> Scalar:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    try:
        value = float(cell)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _integer(cell: Any) -> Scalar:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    if isinstance(cell, float) and not cell.is_integer():
        return None
    return int(cell) if abs(cell) <= LARGEST_INTEGER else None


def _boolean(cell: Any) -> Scalar:
    return bool(cell) if isinstance(cell, bool | int | float) and cell in (0, 1) else None


def _string(cell: Any) -> Scalar:
    return cell if isinstance(cell, str) and len(cell) <= _LONGEST_TEXT and "\0" not in cell else None


_CONVERT: dict[str, Callable[[Any], Scalar]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
}
_NOUNS = {
    "number": "a finite number",
    "integer": "an integer within 2^53 - 1",
    "boolean": "true or false",
    "string": f"a string of at most {_LONGEST_TEXT} characters, none of them NUL",
}
