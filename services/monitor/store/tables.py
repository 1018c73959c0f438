"""The monitor's tables. Each is fed by one topic."""

from typing import ClassVar

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import registry
from sqlmodel import Field

from chassis import Table


class MonitorTable(Table, registry=registry()):
    """The monitor's own tables."""


class Declared(MonitorTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    window_rows: int = Field(sa_type=BigInteger)
    facts: str


class Version(MonitorTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    revision: int
    """Of the declaration that it was made to."""
    profile: str
    """The digest of its reference profile."""
    facts: str


class Reference(MonitorTable, table=True):
    """The reference profiles that predictions named, whole."""

    topic: ClassVar[str] = "predictions"

    digest: str = Field(primary_key=True)
    content: str


class Served(MonitorTable, table=True):
    """Every row that a version answered, and where it lay. Of rows with one id: the first of the lowest partition."""

    topic: ClassVar[str] = "predictions"
    __table_args__ = (Index("served_place", "model", "version", "partition", "offset"),)

    model: str = Field(primary_key=True)
    prediction_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    entity: str | None
    served_at: str
    partition: int
    offset: int = Field(sa_type=BigInteger)
    place: int
    """Its place among the record's rows."""
    features: str
    """A JSON object, by the columns' names."""
    output: str


class Counted(MonitorTable, table=True):
    """What was counted of a version on the grid of a profile, from its first row on, in each partition."""

    topic: ClassVar[str] = "predictions"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    profile: str = Field(primary_key=True)
    arm: str = Field(primary_key=True)
    partition: int = Field(primary_key=True)
    first_offset: int = Field(sa_type=BigInteger)
    last_offset: int = Field(sa_type=BigInteger)
    rows: int = Field(sa_type=BigInteger)
    cells: str


class Observed(MonitorTable):
    """What the tables of what became of predictions have in common.

    What an observation is about is the id of a prediction, or an entity and a period: the other columns are empty.
    """

    model: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    """The target, or the figure."""
    prediction_id: str = Field(primary_key=True)
    entity: str = Field(primary_key=True)
    start_at: str = Field(primary_key=True)
    end_at: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger)
    partition: int
    observed_at: str
    value: str | None
    """As JSON; none where it was taken back or is not known."""
    disputed: bool
    """Whether another value was said in the same revision."""


class Labelled(Observed, table=True):
    """The true answers, by their highest revision."""

    topic: ClassVar[str] = "labels"


class Outcome(Observed, table=True):
    """The business figures that followed, by their highest revision."""

    topic: ClassVar[str] = "labels"

    unit: str


class ClosedWindow(MonitorTable, table=True):
    """Every closed window."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    window: int = Field(primary_key=True)
    before: str
    """For each partition the last record that earlier windows counted, as JSON."""
    facts: str
    """Without what was counted: that is in the baseline."""


class Closed(MonitorTable, table=True):
    """What the closed windows of a version hold together."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    window: int
    rows: int = Field(sa_type=BigInteger)
    cells: str
    ends: str


class Drifted(MonitorTable, table=True):
    """Every drift, and what became of it."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    window: int = Field(primary_key=True)
    event_id: str = Field(index=True)
    state: str = Field(index=True)
    """open, while it waits for its dataset; assembled, advised or failed; passed-over where it leads to none."""
    cooldown_until: str | None
    origin: str
    ended: str | None
    """The event by which it ended, once one has."""
