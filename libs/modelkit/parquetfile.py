"""Reading Parquet: the footer is judged before any of the data is."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from modelkit.columns import check_names, typed_from_arrow
from modelkit.errors import DataError

_MAGIC = b"PAR1"
_CELL_BYTES = 8
"""What a cell takes in memory at least, however many rows of one value a few bytes stand for."""


def read_parquet(paths: list[Path], most_rows: int, most_columns: int, most_bytes: int) -> pa.Table:
    """All files as one typed table, with the columns in the first file's order.

    Raises DataError for what is no Parquet, for other columns than the first file's, and, before reading, for more
    rows or bytes in memory than allowed (a few kilobytes of Parquet can claim petabytes).
    """
    files = [_opened(path, most_columns) for path in paths]
    _check_size(files, most_rows, most_bytes)
    names = files[0].schema_arrow.names
    tables = []
    for path, file in zip(paths, files, strict=True):
        if sorted(file.schema_arrow.names) != sorted(names):
            odd = sorted(set(file.schema_arrow.names) ^ set(names))
            raise DataError("columns-differ", f"{path.name} and {paths[0].name} do not both have the columns {odd}")
        tables.append(_decoded(_read(path, file).select(names)))
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as fault:
        raise DataError("columns-differ", f"the files hold columns of different types: {fault}") from None
    return pa.table({name: typed_from_arrow(table[name], name) for name in names})


def _opened(path: Path, most_columns: int) -> parquet.ParquetFile:
    with path.open("rb") as file:
        content = file.read(4)
        if not content:
            raise DataError("empty-file", f"{path.name} is empty")
        file.seek(-4 if path.stat().st_size >= len(_MAGIC) else 0, 2)
        if content != _MAGIC or file.read(4) != _MAGIC:
            raise DataError("not-parquet", f"{path.name} does not begin and end with PAR1: it is no Parquet")
    try:
        opened = parquet.ParquetFile(path, memory_map=False)
        names = opened.schema_arrow.names
    except (pa.ArrowException, OSError) as fault:
        raise DataError("unreadable-parquet", f"{path.name}: the footer cannot be read: {fault}") from None
    check_names(names, path.name, most_columns)
    return opened


def _check_size(files: list[parquet.ParquetFile], most_rows: int, most_bytes: int) -> None:
    footers = [file.metadata for file in files]
    rows = sum(footer.num_rows for footer in footers)
    size = sum(footer.row_group(group).total_byte_size for footer in footers for group in range(footer.num_row_groups))
    if rows > most_rows:
        raise DataError("too-many-rows", f"the footers promise {rows} rows, at most {most_rows} are read")
    size = max(size, _CELL_BYTES * sum(footer.num_rows * footer.num_columns for footer in footers))
    if size > most_bytes:
        raise DataError("too-large", f"the footers promise {size} bytes in memory, at most {most_bytes} are read")


def _read(path: Path, file: parquet.ParquetFile) -> pa.Table:
    try:
        return file.read(use_threads=False)
    except (pa.ArrowException, OSError) as fault:
        raise DataError("unreadable-parquet", f"{path.name}: {fault}") from None


def _decoded(table: pa.Table) -> pa.Table:
    """Dictionary-encoded columns as what they stand for."""
    columns = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)
