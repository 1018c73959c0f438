"""Datasets: from files to one typed table, the digest that names it, and which of its rows are held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cairn.events.declaration import Split
from cairn.events.identity import dataset_digest
from cairn.events.values import Column
from modelkit.columns import describe
from modelkit.csvfile import read_csv
from modelkit.errors import DataError
from modelkit.parquetfile import read_parquet

Bools = npt.NDArray[np.bool_]
_ROWS_AT_ONCE = 1 << 16
Label = bool | int | float | str


@dataclass(frozen=True)
class Limits:
    """What is read at most, so that a small file cannot fill the memory."""

    rows: int = 20_000_000
    columns: int = 500
    bytes: int = 4 << 30
    """Of the files as they are, and of Parquet in memory as its footer promises."""


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory."""

    table: pa.Table
    digest: str
    """SHA-256 of the JSON array of its files' digests, sorted."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns, as found."""
        return describe(self.table)


@dataclass(frozen=True)
class Target:
    """The column to predict, as numbers."""

    classes: tuple[Label, Label]
    """Negative, then positive: the greater of the two values is the positive class."""
    labels: npt.NDArray[np.int8]
    """For each row 1 when it is of the positive class, else 0."""


def read_dataset(files: Sequence[str | Path], data_format: str, limits: Limits | None = None) -> Dataset:
    """Read local files, all CSV or all Parquet, into one table.

    Files are taken in the order of their digests, so the order in which they were named changes nothing.
    Raises DataError for anything that is not a table of at least one row.
    """
    limits = limits or Limits()
    paths = _ordered(files)
    size = sum(path.stat().st_size for path in paths)
    if size > limits.bytes:
        raise DataError("too-large", f"the files hold {size} bytes, at most {limits.bytes} are read")
    table = _read(paths, data_format, limits)
    if table.num_rows == 0:
        raise DataError("no-rows", f"{paths[0].name} has a header and no rows")
    if table.num_rows > limits.rows:
        raise DataError("too-many-rows", f"{table.num_rows} rows, at most {limits.rows} are read")
    return Dataset(table.combine_chunks(), digest_of_files(files))


def digest_of_files(files: Sequence[str | Path]) -> str:
    """The digest of the dataset that these local files make up; DataError when one is not there."""
    return dataset_digest(file_digest(path) for path in _ordered(files))


def _ordered(files: Sequence[str | Path]) -> list[Path]:
    paths = [Path(file) for file in files]
    if not paths:
        raise DataError("no-files", "a dataset has at least one file")
    for path in paths:
        if not path.is_file():
            raise DataError("no-such-file", f"{path.name} is not there")
    return sorted(paths, key=file_digest)


def _read(paths: list[Path], data_format: str, limits: Limits) -> pa.Table:
    if data_format == "csv":
        return read_csv(paths, limits.columns)
    if data_format == "parquet":
        return read_parquet(paths, limits.rows, limits.columns, limits.bytes)
    raise DataError("unknown-format", f"{data_format!r} cannot be read; csv and parquet can")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as `sha256:<hex>`."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def held_out(table: pa.Table, split: Split) -> Bools:
    """Which rows are held out of training.

    A row is held out when the hash of its values and the salt, as a share of 2^64, is below the ratio. So it depends
    on nothing but the row: not on other rows, their order, the columns' order or the format of the file; and equal
    rows are always on the same side.
    """
    first = row_digests(table, split.salt)[:, :8]
    shares = np.ascontiguousarray(first).view(">u8").ravel()
    return np.asarray(shares < np.uint64(split.held_out_ratio * 2**64))


def row_digests(table: pa.Table, salt: str = "") -> npt.NDArray[np.uint8]:
    """The first 16 bytes of the SHA-256 of each row: the salt, a zero byte, and the row's key."""
    start = salt.encode() + b"\0"
    digests = bytearray()
    for first in range(0, table.num_rows, _ROWS_AT_ONCE):
        keys = _row_keys(table.slice(first, _ROWS_AT_ONCE))
        for key in keys:
            digests += hashlib.sha256(start + key.tobytes()).digest()[:16]
    return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, 16)


def _row_keys(table: pa.Table) -> npt.NDArray[np.uint8]:
    """Each row's values as bytes: nine for each column, the columns in the order of their names.

    A tag, then: nothing for a missing value (0); the double, big-endian, for numbers and integers, -0 as 0 (1); the
    truth as such a double (2); the first 8 bytes of the SHA-256 of the text in UTF-8 (3).
    """
    keys = np.zeros((table.num_rows, table.num_columns, 9), dtype=np.uint8)
    for place, name in enumerate(sorted(table.column_names)):
        column = table[name].combine_chunks()
        present = column.is_valid().to_numpy(zero_copy_only=False)
        tag, payload = _payload(column)
        keys[present, place, 0] = tag
        keys[present, place, 1:] = payload[present]
    return keys.reshape(table.num_rows, -1)


def _payload(column: pa.Array) -> tuple[int, npt.NDArray[np.uint8]]:
    if pa.types.is_string(column.type):
        encoded = pc.dictionary_encode(pc.fill_null(column, ""))
        texts = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in encoded.dictionary.to_pylist())
        hashes = np.frombuffer(texts, dtype=np.uint8).reshape(-1, 8)
        return 3, hashes[encoded.indices.to_numpy(zero_copy_only=False)]
    tag = 2 if pa.types.is_boolean(column.type) else 1
    doubles = numbers(column, missing=0.0) + 0.0  # -0.0 + 0.0 is 0.0
    return tag, np.ascontiguousarray(doubles.astype(">f8")).view(np.uint8).reshape(-1, 8)


def numbers(column: pa.Array | pa.ChunkedArray, missing: float = float("nan")) -> npt.NDArray[np.float64]:
    """A column of numbers, integers or truths as doubles."""
    doubles = pc.fill_null(column.cast(pa.float64()), missing)
    return np.asarray(doubles.to_numpy(zero_copy_only=False) if isinstance(doubles, pa.Array) else doubles.to_numpy())


def read_target(table: pa.Table, name: str) -> Target:
    """The column to predict; DataError unless it is there, without gaps, and has exactly two values."""
    if name not in table.column_names:
        raise DataError("target-missing", f"there is no column {name!r}; there are {_few(table.column_names)}")
    column = table[name]
    if column.null_count:
        row = pc.index(column.is_null(), pa.scalar(value=True)).as_py() + 1
        raise DataError("target-incomplete", f"{column.null_count} rows have no {name!r}, first data row {row}")
    values = sorted(column.unique().to_pylist())
    if len(values) == 1:
        raise DataError(
            "target-one-class", f"all rows have the same {name!r}, {values[0]!r}: there is nothing to learn"
        )
    if len(values) != 2:
        raise DataError("target-not-binary", f"{name!r} has {len(values)} values ({_few(values)}), not two")
    labels = pc.equal(column, pa.scalar(values[1], column.type)).to_numpy().astype(np.int8)
    return Target((_plain(values[0]), _plain(values[1])), labels)


def check_features(table: pa.Table, features: Sequence[str]) -> None:
    """DataError unless every feature is a column of the table."""
    missing = [name for name in features if name not in table.column_names]
    if missing:
        raise DataError("feature-missing", f"there is no column {_few(missing)}; there are {_few(table.column_names)}")


def _plain(value: Label) -> Label:
    """A class as an integer where it is one, so that a file that wrote 1.0 means the same class as one that wrote 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _few(values: Sequence[object]) -> str:
    shown = ", ".join(repr(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"
