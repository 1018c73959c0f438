"""Where data comes from: files, standard input, objects in a bucket, a database. All become local files."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cairn.cli.faults import WrongUsage
from cairn.cli.publish.options import Format

STANDARD_INPUT = "-"

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


@dataclass(frozen=True)
class Source:
    """A local file with data, and what the person calls it."""

    name: str
    path: Path
    format: Format


@contextmanager
def opened(
    names: Sequence[str], format_: Format | None, query: str | None, database: str | None, *, instants: bool = False
) -> Iterator[list[Source]]:
    """The sources as local files, while they are needed; `instants` says that a query may answer with some.

    Raises WrongUsage, OutOfReach and StoreUnreachable.
    """
    if bool(names) == (query is not None) or (query is None) != (database is None):
        raise WrongUsage("name a SOURCE, or both --query and --database")
    kinds = [_format_of(name, format_) for name in names]
    with TemporaryDirectory(prefix="cairn-publish-") as folder:
        if query is not None and database is not None:
            from cairn.cli.publish.tables import write_query

            path = Path(folder) / "query.parquet"
            write_query(query, database, path, instants=instants)
            yield [Source("the query's answer", path, "parquet")]
        else:
            places = [_local(name, Path(folder) / str(number)) for number, name in enumerate(names)]
            yield [Source(*found) for found in zip(names, places, kinds, strict=True)]


def _format_of(name: str, wanted: Format | None) -> Format:
    found = wanted or _FORMATS.get(Path(name).suffix.lower())
    if found is None:
        said = "standard input has no name that says" if name == STANDARD_INPUT else f"{name}: its name does not say"
        raise WrongUsage(f"{said} how it is written: add --format csv, --format parquet or --format jsonl")
    return found


def _local(name: str, path: Path) -> Path:
    if name == STANDARD_INPUT:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return path
    if name.startswith("s3://"):
        _fetch(name, path)
        return path
    if not Path(name).is_file():
        raise WrongUsage(f"{name}: {'it is no file' if Path(name).exists() else 'there is no such file'}")
    return Path(name)


def _fetch(url: str, path: Path) -> None:
    from cairn.objects import ObjectError, fetch_from_bucket, read_s3_settings

    try:
        fetch_from_bucket(url, read_s3_settings(os.environ), path)
    except (ObjectError, ValueError, ImportError) as error:
        raise WrongUsage(f"{url}: {error}") from None
