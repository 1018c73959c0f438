"""Tables that are made into Parquet, always the same bytes for the same rows (and the same version of pyarrow)."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cairn.cli.faults import OutOfReach, WrongUsage
from cairn.cli.publish.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 65_536
"""In a row group: how the rows came in must not show."""
_BLOCK_BYTES = 16 * 2**20
_SQLITE = "sqlite:///"


def write_lines(source: Source, target: Path) -> None:
    """JSON lines as Parquet. Raises WrongUsage, naming the line."""
    try:
        import pyarrow as pa
        from pyarrow import json as arrow_json
    except ImportError:
        raise _missing("JSON lines as a dataset", "data") from None
    read = arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
    try:
        table = arrow_json.read_json(source.path, read_options=read)
        guessed = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
        if guessed:  # a text is a text, also where it looks like an instant
            texts = pa.schema([(name, pa.string()) for name in guessed])
            parse = arrow_json.ParseOptions(explicit_schema=texts)
            table = arrow_json.read_json(source.path, read_options=read, parse_options=parse)
    except pa.ArrowInvalid as error:
        raise WrongUsage(_fault_in_lines(source) or f"{source.name}: {error}") from None
    _write(table.to_batches(), table.schema, target, source.name, instants=False)


def write_query(query: str, database: str, target: Path, *, instants: bool = False) -> None:
    """What a query answers, as Parquet; a dataset holds no instants, labels do.

    Raises WrongUsage for a bad query or address, OutOfReach without a database.
    """
    driver, address = _driver(database)
    try:
        connection = driver.connect(address)
    except driver.Error as error:
        raise OutOfReach(f"the database cannot be reached: {error}") from None
    with closing(connection), closing(connection.cursor()) as cursor:
        try:
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
            if not reader.schema.names:
                raise WrongUsage("the query answers with no table: expected one that selects columns")
            _write(reader, reader.schema, target, "the query", instants=instants)
        except (driver.Error, OSError, ValueError) as error:
            raise WrongUsage(f"the query cannot be answered: {error}") from None


def _driver(database: str) -> tuple[Any, str]:
    """The driver for a database and the address as the driver wants it."""
    try:
        if database.startswith(("postgresql://", "postgres://")):
            import adbc_driver_postgresql.dbapi

            return adbc_driver_postgresql.dbapi, database
        if database.startswith(_SQLITE):
            import adbc_driver_sqlite.dbapi

            path = Path(database.removeprefix(_SQLITE))
            if not path.is_file():
                raise OutOfReach(f"there is no SQLite database {path}")
            return adbc_driver_sqlite.dbapi, f"file:{quote(str(path))}?mode=ro"
    except ImportError:
        raise _missing("data from a database", "sql") from None
    raise WrongUsage("--database is no address: expected postgresql://user@host/name or sqlite:///file")


def _write(
    batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema", target: Path, name: str, *, instants: bool
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    plain = pa.schema([pa.field(field.name, field.type) for field in schema])
    _refuse_types(plain, name, instants=instants)
    with parquet.ParquetWriter(target, plain, compression="zstd", store_schema=False) as writer:
        for group in _row_groups(batches, plain):
            writer.write_table(group, row_group_size=_ROWS)


def _row_groups(batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema") -> "Iterator[pa.Table]":
    import pyarrow as pa

    held, count = [], 0
    for batch in batches:
        held.append(pa.Table.from_batches([batch]).cast(schema))
        count += batch.num_rows
        if count >= _ROWS:
            table = pa.concat_tables(held).combine_chunks()
            whole = count - count % _ROWS
            for start in range(0, whole, _ROWS):
                yield table.slice(start, _ROWS)
            held, count = [table.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(held).combine_chunks()


def _refuse_types(schema: "pa.Schema", name: str, *, instants: bool) -> None:
    """A dataset holds numbers, truths and texts; what is none of them would be rejected after it was published."""
    from pyarrow import types

    numbers = (types.is_integer, types.is_floating, types.is_decimal)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    known = (types.is_boolean, types.is_null, *numbers, *texts, *([types.is_timestamp] if instants else []))
    what = "numbers, truths, texts and instants" if instants else "numbers, truths and texts"
    for field in schema:
        if not any(is_of(field.type) for is_of in known):
            raise WrongUsage(
                f"{name}: column {field.name!r} is of type {field.type}; here are {what}: "
                "write it as one of these (in SQL, CAST(… AS TEXT) or AS DOUBLE PRECISION)"
            )


def _fault_in_lines(source: Source) -> str:
    """Which line is no JSON object; empty where all are."""
    with source.path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                found = json.loads(line) if line.strip() else {}
            except ValueError as error:
                return f"{source.name}:{number}: this is not JSON: {error}"
            if not isinstance(found, dict):
                return f"{source.name}:{number}: this is no JSON object"
    return ""


def _missing(what: str, extra: str) -> WrongUsage:
    return WrongUsage(f"{what} needs more: pip install 'cairn-sdk[{extra}]'")
