"""Reading CSV: RFC 4180, comma, UTF-8, one header row. Cells are text until all of a column has been seen."""

import csv
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from modelkit.columns import check_names, typed_from_text
from modelkit.errors import DataError

_BLOCK_BYTES = 1 << 24
_NOT_TEXT = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive", b"PAR1": "Parquet", b"\x28\xb5\x2f\xfd": "zstd"}


def read_csv(paths: list[Path], most_columns: int) -> pa.Table:
    """All files as one typed table, with the columns in the first file's order.

    Types are decided over all files together, so neither blocks nor the division into files can change them.
    Raises DataError naming file and row; rows are counted with the header as row 1, blank lines left out.
    """
    tables = [_texts(path, most_columns) for path in paths]
    names = tables[0].column_names
    for path, table in zip(paths, tables, strict=True):
        if sorted(table.column_names) != sorted(names):
            odd = sorted(set(table.column_names) ^ set(names))
            raise DataError("columns-differ", f"{path.name} and {paths[0].name} do not both have the columns {odd}")
    texts = pa.concat_tables([table.select(names) for table in tables])
    return pa.table({name: typed_from_text(texts[name], name) for name in names})


def _texts(path: Path, most_columns: int) -> pa.Table:
    names = _header(path)
    check_names(names, path.name, most_columns)
    ragged: list[arrow_csv.InvalidRow] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as fault:
        if ragged:
            raise _ragged(path, ragged[0]) from None
        _check_encoding(path)
        raise DataError("unreadable-csv", f"{path.name}: {fault}") from None
    _check_last_quote(path, table)
    return table


def _header(path: Path) -> list[str]:
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise DataError("empty-file", f"{path.name} is empty")
    for magic, kind in _NOT_TEXT.items():
        if start.startswith(magic):
            raise DataError("not-csv", f"{path.name} is {kind}, not CSV")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return next((row for row in csv.reader(lines) if row), [])
    except UnicodeDecodeError:
        _check_encoding(path)
        raise
    except csv.Error as fault:
        raise DataError("unreadable-csv", f"{path.name}: the header cannot be read: {fault}") from None


def _ragged(path: Path, row: arrow_csv.InvalidRow) -> DataError:
    return DataError(
        "ragged-row",
        f"{path.name}: row {row.number} has {row.actual_columns} cells where the header has {row.expected_columns}",
    )


def _check_encoding(path: Path) -> None:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as fault:
                raise DataError(
                    "wrong-encoding",
                    f"{path.name}: line {number} is not UTF-8 (byte 0x{line[fault.start]:02x} at {fault.start + 1})",
                ) from None


def _check_last_quote(path: Path, table: pa.Table) -> None:
    """A quote that is never closed swallows the rest of a file into one cell of the last row."""
    if table.num_rows == 0:
        return
    last = [column[-1].as_py() for column in table.columns]
    if any("\n" in cell for cell in last) and path.read_bytes().count(b'"') % 2:
        row = table.num_rows + 1
        raise DataError("unterminated-quote", f"{path.name}: a quote opened in row {row} is never closed")
