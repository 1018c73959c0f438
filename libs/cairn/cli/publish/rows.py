"""Rows of a file with the lines they stand on: CSV, JSON lines, Parquet."""

import csv
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cairn.cli.faults import WrongUsage
from cairn.cli.publish.sources import Source

Cells = dict[str, Any]


class Row(NamedTuple):
    """One row; what is empty is not in it."""

    line: int
    """From 1, the header of CSV counted; in Parquet the number of the row."""
    cells: Cells


def read_rows(source: Source) -> Iterator[Row]:
    """The rows of a source. Raises WrongUsage, naming the line, where it cannot be read."""
    readers = {"csv": _csv_rows, "jsonl": _json_rows, "parquet": _parquet_rows}
    try:
        for line, cells in readers[source.format](source):
            yield Row(line, {name: cell for name, cell in cells.items() if cell is not None and cell != ""})
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{source.name}: it is not UTF-8 ({error.reason} at byte {error.start})") from None


def _csv_rows(source: Source) -> Iterator[tuple[int, Cells]]:
    with source.path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            for name in header:
                if header.count(name) > 1:
                    raise WrongUsage(f"{source.name}:1: the column {name!r} is there twice")
            line = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise WrongUsage(f"{source.name}:{line}: {len(cells)} cells where the header has {len(header)}")
                if cells:
                    yield line, dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            raise WrongUsage(f"{source.name}:{reader.line_num}: {error}") from None


def _json_rows(source: Source) -> Iterator[tuple[int, Cells]]:
    with source.path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line)
            except ValueError as error:
                raise WrongUsage(f"{source.name}:{number}: this is not JSON: {error}") from None
            if not isinstance(cells, dict):
                raise WrongUsage(f"{source.name}:{number}: this is no JSON object")
            yield number, cells


def _parquet_rows(source: Source) -> Iterator[tuple[int, Cells]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise WrongUsage("Parquet needs more: pip install 'cairn-sdk[data]'") from None
    try:
        number = 0
        for batch in parquet.ParquetFile(source.path).iter_batches():
            for cells in batch.to_pylist():
                number += 1
                yield number, cells
    except (pa.ArrowException, OSError) as error:
        raise WrongUsage(f"{source.name}: it cannot be read as Parquet: {error}") from None
