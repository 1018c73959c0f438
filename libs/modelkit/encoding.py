"""From columns to the matrix of doubles that an estimator takes, the same in training and in serving.

Numbers and integers are themselves, truths are 0 and 1, missing is NaN. A text becomes one column for each category
that training saw (1 where it is that category, else 0): a text it did not see, or a missing one, is 0 in all of them.
The order is that of the inputs, a text's categories in the order of the texts.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cairn.events.values import Column
from modelkit.datasets import check_features, numbers
from modelkit.errors import DataError

MOST_CATEGORIES = 100
"""Categories of one text column that get a column of their own: the most frequent."""

Doubles = npt.NDArray[np.float64]
Cell = bool | int | float | str | None


@dataclass(frozen=True)
class Encoder:
    """How a row becomes doubles."""

    inputs: tuple[Column, ...]
    """What is read, in order."""
    categories: dict[str, tuple[str, ...]]
    """Of each text column: the categories that training saw."""

    @property
    def width(self) -> int:
        """How many doubles a row becomes."""
        return sum(len(self.categories[column.name]) if column.type == "string" else 1 for column in self.inputs)

    def encode_table(self, table: pa.Table) -> Doubles:
        """A table's rows; DataError when a column is missing or of another kind. Other columns are left alone."""
        check_features(table, [column.name for column in self.inputs])
        return self._stack([self._from_arrow(column, table[column.name]) for column in self.inputs], table.num_rows)

    def encode_rows(self, rows: Sequence[Sequence[Cell]]) -> Doubles:
        """Rows of cells in the order of the inputs; DataError naming the row and column of a cell that is not fit."""
        for place, row in enumerate(rows):
            if len(row) != len(self.inputs):
                raise DataError("bad-row", f"row {place} has {len(row)} cells where the model takes {len(self.inputs)}")
        blocks = [self._from_cells(column, [row[place] for row in rows]) for place, column in enumerate(self.inputs)]
        return self._stack(blocks, len(rows))

    def _from_arrow(self, column: Column, cells: pa.ChunkedArray) -> Doubles:
        if column.type == "string":
            texts = cells if pa.types.is_string(cells.type) else _as_texts(column.name, cells)
            return self._one_hot(column.name, pc.fill_null(texts, "").to_pylist())
        if pa.types.is_string(cells.type):
            raise DataError("not-a-number", f"column {column.name!r} holds text where the model takes a {column.type}")
        return numbers(cells).reshape(-1, 1)

    def _from_cells(self, column: Column, cells: list[Cell]) -> Doubles:
        fit = _FIT[column.type]
        for place, cell in enumerate(cells):
            if not (cell is None or fit(cell)):
                raise DataError(
                    "bad-cell", f"row {place}: {column.name!r} is {cell!r}, the model takes a {column.type}"
                )
        if column.type == "string":
            return self._one_hot(column.name, [cell if isinstance(cell, str) else "" for cell in cells])
        return np.array(cells, dtype=np.float64).reshape(-1, 1)

    def _one_hot(self, name: str, texts: list[str]) -> Doubles:
        places = {category: place for place, category in enumerate(self.categories[name])}
        block = np.zeros((len(texts), len(places)))
        for row, text in enumerate(texts):
            if text in places:
                block[row, places[text]] = 1.0
        return block

    def _stack(self, blocks: list[Doubles], rows: int) -> Doubles:
        return np.ascontiguousarray(np.hstack(blocks)) if blocks else np.empty((rows, 0))


def fitted_encoder(table: pa.Table, inputs: Sequence[Column]) -> Encoder:
    """The encoder of what the training rows hold."""
    categories = {column.name: _frequent(table[column.name]) for column in inputs if column.type == "string"}
    return Encoder(tuple(inputs), categories)


def _frequent(texts: pa.ChunkedArray) -> tuple[str, ...]:
    seen = Counter(text for text in texts.to_pylist() if text is not None)
    return tuple(sorted(sorted(seen, key=lambda text: (-seen[text], text))[:MOST_CATEGORIES]))


def _as_texts(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    if cells.null_count == len(cells):
        return cells.cast(pa.string())
    raise DataError("not-text", f"column {name!r} holds no text where the model takes a string")


def _is_number(cell: Cell) -> bool:
    """A number that is not infinite; NaN is a missing one. Truths are 0 and 1."""
    return isinstance(cell, int | float) and not math.isinf(cell)


_FIT: dict[str, Callable[[Cell], bool]] = {
    "number": _is_number,
    "integer": _is_number,
    "boolean": _is_number,
    "string": lambda cell: isinstance(cell, str) or cell != cell,
}
