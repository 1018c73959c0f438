"""Which rows are held out depends on the rows alone."""

import struct
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.libs.modelkit.samples import cancer, iris, written

from cairn.events.declaration import Split
from modelkit.datasets import held_out, read_dataset

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
integers = st.none() | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
truths = st.none() | st.booleans()
texts = st.none() | st.text("abcdefg ,\"'\n-äöü漢", min_size=1, max_size=8).map(lambda text: "t" + text)


@st.composite
def tables(draw: Any) -> pa.Table:
    """Tables of every kind of column. The last one has no gaps: a line of one missing cell would be a blank line."""
    rows = draw(st.integers(min_value=1, max_value=20))
    columns = {
        name: pa.array(draw(st.lists(cells, min_size=rows, max_size=rows)), kind)
        for name, cells, kind in (
            ("n", numbers, pa.float64()),
            ("i", integers, pa.int64()),
            ("b", truths, pa.bool_()),
            ("t", texts, pa.string()),
        )
    }
    return pa.table({**columns, "row": pa.array(range(rows))})


def kept(table: pa.Table, split: Split) -> list[bool]:
    aside: list[bool] = held_out(table, split).tolist()
    return aside


@settings(max_examples=60, deadline=None)
@given(tables(), st.randoms(use_true_random=False), st.text(max_size=5))
def test_it_is_independent_of_the_order_of_rows_and_columns(table: pa.Table, chance: Any, salt: str) -> None:
    split = Split(held_out_ratio=0.5, salt=salt)
    order = list(range(table.num_rows))
    names = table.column_names
    chance.shuffle(order)
    chance.shuffle(names)
    assert kept(table.take(order).select(names), split) == [kept(table, split)[row] for row in order]


@settings(max_examples=60, deadline=None)
@given(tables())
def test_it_is_the_same_for_csv_and_parquet(table: pa.Table) -> None:
    with TemporaryDirectory() as directory:
        as_csv = read_dataset([written(table, Path(directory) / "a.csv")], "csv").table
        as_parquet = read_dataset([written(table, Path(directory) / "a.parquet")], "parquet").table
    assert kept(as_csv, Split(held_out_ratio=0.5)) == kept(as_parquet, Split(held_out_ratio=0.5))


@settings(max_examples=30, deadline=None)
@given(tables())
def test_a_row_is_judged_alone(table: pa.Table) -> None:
    split = Split(held_out_ratio=0.5)
    assert kept(table, split) == [kept(table.slice(row, 1), split)[0] for row in range(table.num_rows)]


def test_about_the_asked_share_is_held_out() -> None:
    table = pa.table({"x": np.random.default_rng(0).normal(size=20_000)})
    for ratio in (0.01, 0.3, 0.9):
        assert abs(held_out(table, Split(held_out_ratio=ratio)).mean() - ratio) < 0.01


def test_a_larger_ratio_holds_out_more_of_the_same_rows() -> None:
    less, more = (held_out(cancer(), Split(held_out_ratio=ratio)) for ratio in (0.2, 0.4))
    assert not (less & ~more).any()


def test_a_salt_changes_which_rows_are_held_out() -> None:
    assert (held_out(cancer(), Split()) != held_out(cancer(), Split(salt="pepper"))).any()


def test_equal_rows_are_on_the_same_side_and_minus_zero_is_zero() -> None:
    table = pa.table({"x": [0.0, -0.0, 0.0] * 30})
    assert len(set(kept(table, Split(held_out_ratio=0.5)))) == 1


def test_it_is_as_documented_for_ever() -> None:
    """The hash written down once more, plainly: a rebuilt model must hold out what it held out before."""
    table = iris()
    expected = []
    for row in table.select(sorted(table.column_names)).to_pylist():
        key = b"salt\0" + b"".join(_cell(value) for value in row.values())
        expected.append(int.from_bytes(sha256(key).digest()[:8], "big") < 0.3 * 2**64)
    assert kept(table, Split(salt="salt")) == expected
    assert 0 < sum(expected) < len(expected)


def _cell(value: object) -> bytes:
    if value is None:
        return bytes(9)
    if isinstance(value, bool):
        return b"\2" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\3" + sha256(value.encode()).digest()[:8]
    return b"\1" + struct.pack(">d", value)
