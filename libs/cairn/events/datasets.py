"""What upstream data systems tell about their data."""

from typing import Annotated, Literal

from pydantic import Field

from cairn.events.event import Event
from cairn.events.values import Columns, Count, Name, ObjectRef, Period, Word

DataFormat = Literal["csv", "parquet"]
Files = Annotated[tuple[ObjectRef, ...], Field(min_length=1, max_length=200)]


class DatasetPublished(Event):
    """A new version of a dataset can be read."""

    dataset: Name
    """The dataset's name. Names that begin with `served.` are the monitor's alone."""
    version: Word
    """The version, as its publisher calls it."""
    files: Files
    """Its files. All hold the same columns; their order does not matter."""
    format: DataFormat
    """How the files are written."""
    columns: Columns | None = None
    """What the publisher says of its columns."""
    row_count: Count | None = None
    """How many rows the publisher counted."""
    period: Period | None = None
    """The time that the rows are about."""
    replaces: Word | None = None
    """The version that this one corrects."""
