"""The four kinds of column that data may hold, and how the columns of a file become one of them.

Whatever a file calls it, a column is `number` (float64), `integer` (int64), `boolean` or `string`. A missing value is
null: NaN and the empty string are missing too, so that CSV and Parquet with the same values give the same table.
"""

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from cairn.events.values import LARGEST_INTEGER, Column
from modelkit.errors import DataError

LONGEST_NAME = 128
"""Characters of a column's name, at most: what an event about drift can name."""

TYPES: dict[pa.DataType, Literal["number", "integer", "boolean", "string"]] = {
    pa.float64(): "number",
    pa.int64(): "integer",
    pa.bool_(): "boolean",
    pa.string(): "string",
}

_MISSING = ["", "na", "n/a", "nan", "-nan", "null", "none", "#n/a"]
_TRUTHS = ["true", "false"]
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INFINITE = r"^[+-]?(inf|infinity)$"


def describe(table: pa.Table) -> tuple[Column, ...]:
    """The table's columns as events tell them; a column is required when no cell of it is missing."""
    return tuple(
        Column(name=name, type=TYPES[column.type], required=column.null_count == 0)
        for name, column in zip(table.column_names, table.columns, strict=True)
    )


def check_names(names: list[str], file: str, most: int) -> None:
    """Refuse a header that does not name each column once and plainly (DataError)."""
    if len(names) > most:
        raise DataError("too-many-columns", f"{file}: {len(names)} columns, at most {most} are read")
    for place, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError("empty-column-name", f"{file}: column {place} has no name")
        if name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise DataError(
                "bad-column-name",
                f"{file}: the name of column {place}, {name[:60]!r}, begins or ends with a blank, "
                f"holds a character that cannot be printed or is longer than {LONGEST_NAME} characters",
            )
        if name in names[: place - 1]:
            raise DataError(
                "duplicate-column-name", f"{file}: columns {names.index(name) + 1} and {place} are both called {name!r}"
            )


def typed_from_text(texts: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of text as what it holds. Text is matched, never evaluated.

    Integers and numbers are written plainly (`-3`, `2.5`, `1e-5`); with leading zeros (postcodes), thousands
    separators or a decimal comma it stays text. Besides the empty cell, `NA`, `NaN`, `null` and the like are missing
    in columns of numbers and truths, not in columns of text. Raises DataError on infinity among numbers.
    """
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    missing = pc.is_in(folded, value_set=pa.array(_MISSING))
    present = folded.filter(pc.invert(missing))
    if len(present) == 0:
        return _all_missing(texts)
    if pc.all(pc.is_in(present, value_set=pa.array(_TRUTHS))).as_py():
        return pc.if_else(missing, pa.scalar(None, pa.bool_()), pc.equal(folded, "true"))
    if _all_match(present, _INTEGER):
        return _integers(_without(folded, missing).cast(pa.int64()))
    if _all_match(present, _NUMBER):
        return checked_numbers(_without(folded, missing).cast(pa.float64()), name)
    finite = present.filter(pc.invert(pc.match_substring_regex(present, _INFINITE)))
    if len(finite) > 0 and _all_match(finite, _NUMBER):
        raise _infinite(name, pc.match_substring_regex(folded, _INFINITE))
    return _texts(texts)


def typed_from_arrow(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of any Arrow type as one of the four kinds; DataError when it holds none of them."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind):
        return _integers(column)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return checked_numbers(column.cast(pa.float64()), name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return column.cast(pa.float64())
    raise DataError(
        "unsupported-type", f"column {name!r} is of type {kind}; numbers, integers, booleans and strings can be read"
    )


def checked_numbers(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Doubles with NaN as missing; DataError on infinity."""
    infinite = pc.fill_null(pc.is_inf(column), fill_value=False)
    if pc.any(infinite).as_py():
        raise _infinite(name, infinite)
    return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)


def _integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers that every JSON reader keeps exactly; a column with larger ones is of numbers."""
    bounds = pc.min_max(column)
    low, high = bounds["min"].as_py() or 0, bounds["max"].as_py() or 0
    if low < -LARGEST_INTEGER or high > LARGEST_INTEGER:
        return column.cast(pa.float64(), safe=False)
    return column.cast(pa.int64())


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    missing = pc.fill_null(pc.equal(column, ""), fill_value=True)
    return _all_missing(column) if pc.all(missing).as_py() else _without(column, missing)


def _without(column: pa.ChunkedArray, missing: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def _all_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(column), pa.float64())])


def _all_match(texts: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _infinite(name: str, infinite: pa.ChunkedArray) -> DataError:
    row = pc.index(infinite, pa.scalar(value=True)).as_py() + 1
    return DataError("infinite-value", f"column {name!r} holds an infinite number, first in data row {row}")
