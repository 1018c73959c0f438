"""What the monitor remembers. Each table is fed by one topic; queries never change anything."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import func
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, col, select

from cairn.events.declaration import Declaration
from cairn.events.monitoring import WindowClosed
from cairn.events.registry import ModelDeclared, ModelRegistered
from chassis import Origin, Table
from monitor.domain import NOTHING, Baseline, Standing


class MonitorTable(Table, registry=registry()):
    """The monitor's own tables."""


class Declared(MonitorTable, table=True):
    """Every revision of every declaration."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    facts: str


class Version(MonitorTable, table=True):
    """Every version."""

    topic: ClassVar[str] = "registry"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    facts: str


class Served(MonitorTable, table=True):
    """Every row that was answered."""

    topic: ClassVar[str] = "predictions"

    prediction_id: str = Field(primary_key=True)
    model: str = Field(index=True)
    version: int
    served_at: str
    partition: int
    offset: int
    features: str
    """A JSON object, in the model's order of columns."""


class Reference(MonitorTable, table=True):
    """The reference profile of each version that answered."""

    topic: ClassVar[str] = "predictions"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    ref: str
    """The object, as the event named it."""
    profile: str
    """Its content, JSON."""


class Counted(MonitorTable, table=True):
    """What was counted so far, cumulative at record boundaries."""

    topic: ClassVar[str] = "predictions"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    arm: str = Field(primary_key=True)
    partition: int = Field(primary_key=True)
    first_offset: int
    next_offset: int
    rows: int
    counts: str
    """A JSON object: for each column the rows in each cell of the reference's grid."""


class Window(MonitorTable, table=True):
    """Closed windows, each with what had been counted when it closed."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    window: int = Field(primary_key=True)
    rows: int
    counts: str
    positions: str
    facts: str


class Drifted(MonitorTable, table=True):
    """Windows that differ from the reference."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    window: int = Field(primary_key=True)
    origin: str


class Advised(MonitorTable, table=True):
    """Advice that was given, by the drift that gave rise to it."""

    topic: ClassVar[str] = "monitoring"

    model: str = Field(primary_key=True)
    trigger_id: str = Field(primary_key=True)
    cooldown_until: str


class LabelRow(MonitorTable, table=True):
    """True answers by prediction: the highest revision."""

    topic: ClassVar[str] = "labels"

    model: str = Field(primary_key=True)
    prediction_id: str = Field(primary_key=True)
    revision: int
    retracted: bool
    value: str


class Outcome(MonitorTable, table=True):
    """Business figures, as they were told."""

    topic: ClassVar[str] = "labels"

    model: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    joined_by: str = Field(primary_key=True)
    """The prediction's id, or the entity and period as JSON."""
    revision: int
    retracted: bool
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class OpenDrift:
    """A drift that no advice has followed yet."""

    model: str
    version: int
    window: int
    origin: Origin
    start_at: str
    """When the first row of the drifted window was served."""


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def version(self, model: str, version: int) -> ModelRegistered | None:
        """A version."""
        row = self._session.get(Version, (model, version))
        return ModelRegistered.model_validate_json(row.facts) if row else None

    def versions(self, model: str) -> list[int]:
        """The versions of a model that were registered."""
        return list(
            self._session.exec(select(Version.version).where(Version.model == model).order_by(col(Version.version)))
        )

    def declaration_of(self, model: str, version: int) -> Declaration | None:
        """The declaration that a version was made to."""
        registered = self.version(model, version)
        if registered is None:
            return None
        row = self._session.get(Declared, (model, registered.declaration.revision))
        return ModelDeclared.model_validate_json(row.facts).declaration if row else None

    def reference(self, model: str, version: int) -> Reference | None:
        """The profile that a version's inputs are watched against; None while it has answered nothing."""
        return self._session.get(Reference, (model, version))

    def standings(self, model: str, version: int) -> list[Standing]:
        """What was counted of a version up to now, in each partition."""
        rows = self._session.exec(select(Counted).where(Counted.model == model, Counted.version == version))
        return [
            Standing(row.partition, row.first_offset, row.next_offset, row.rows, json.loads(row.counts)) for row in rows
        ]

    def baseline(self, model: str, version: int) -> Baseline:
        """What was counted of a version when its last window closed."""
        query = (
            select(Window)
            .where(Window.model == model, Window.version == version)
            .order_by(col(Window.window).desc())
            .limit(1)
        )
        row = self._session.exec(query).first()
        return read_baseline(row) if row else NOTHING

    def served_between(self, model: str, version: int, partition: int, first: int, last: int) -> tuple[str, str] | None:
        """When the first and the last row of a run of records were served; None if it held none of this version."""
        query = select(func.min(Served.served_at), func.max(Served.served_at)).where(
            Served.model == model,
            Served.version == version,
            Served.partition == partition,
            col(Served.offset).between(first, last),
        )
        earliest, latest = self._session.exec(query).one()
        return (earliest, latest) if earliest is not None else None

    def open_drifts(self) -> list[OpenDrift]:
        """For each version the earliest drift that no advice has followed, where one may follow."""
        advised = {(row.model, row.trigger_id): row.cooldown_until for row in self._session.exec(select(Advised))}
        rows = self._session.exec(select(Drifted).order_by(Drifted.model, col(Drifted.version), col(Drifted.window)))
        found: dict[tuple[str, int], OpenDrift] = {}
        for row in rows:
            origin = Origin.parse(row.origin)
            cooldowns = [until for (model, _), until in advised.items() if model == row.model]
            answered = (row.model, origin.id) in advised
            cooled = all(origin.time >= until for until in cooldowns)
            if not answered and cooled and (row.model, row.version) not in found:
                window = self._session.get(Window, (row.model, row.version, row.window))
                assert window
                start = json.loads(window.facts)["period"]["start_at"]
                found[row.model, row.version] = OpenDrift(row.model, row.version, row.window, origin, start)
        return list(found.values())

    def served_since(self, drift: OpenDrift, until: str | None = None) -> int:
        """How many rows the drifted version answered since its drifted window began."""
        query = select(func.count()).select_from(Served).where(*_since(drift))
        return self._session.exec(query if until is None else query.where(Served.served_at <= until)).one()

    def labelled_since(self, drift: OpenDrift, most: int) -> list[tuple[str, dict[str, Any], Any]]:
        """The first rows in the order served, since the drifted window began, that have labels."""
        query = (
            select(Served.served_at, Served.features, LabelRow.value)
            .join(LabelRow, _LABELLED)
            .where(*_since(drift), col(LabelRow.retracted).is_(False))
            .order_by(Served.served_at, Served.prediction_id)
            .limit(most)
        )
        rows = self._session.exec(query)
        return [(served_at, json.loads(features), json.loads(value)) for served_at, features, value in rows]

    def places_between(self, drift: OpenDrift, until: str) -> list[tuple[int, int, int]]:
        """Partition, first and last offset of the records that hold rows served from the drifted window up to then."""
        query = (
            select(Served.partition, func.min(Served.offset), func.max(Served.offset))
            .where(*_since(drift), Served.served_at <= until)
            .group_by(col(Served.partition))
            .order_by(col(Served.partition))
        )
        return [(partition, first, last) for partition, first, last in self._session.exec(query)]

    def count_labelled_since(self, drift: OpenDrift) -> int:
        """How many rows since the drifted window began have labels."""
        query = (
            select(func.count())
            .select_from(Served)
            .join(LabelRow, _LABELLED)
            .where(*_since(drift), col(LabelRow.retracted).is_(False))
        )
        return self._session.exec(query).one()

    def windows(self, model: str) -> list[WindowClosed]:
        """Every closed window of a model."""
        query = select(Window).where(Window.model == model).order_by(col(Window.version), col(Window.window))
        return [WindowClosed.model_validate_json(row.facts) for row in self._session.exec(query)]


_LABELLED = (col(LabelRow.model) == Served.model) & (col(LabelRow.prediction_id) == Served.prediction_id)


def _since(drift: OpenDrift) -> tuple[Any, ...]:
    return (Served.model == drift.model, Served.version == drift.version, Served.served_at >= drift.start_at)


def read_baseline(row: Window) -> Baseline:
    """A closed window's row as the baseline of the next."""
    positions = {int(partition): offset for partition, offset in json.loads(row.positions).items()}
    return Baseline(row.window, row.rows, json.loads(row.counts), positions)


def parse_instant(text: str) -> datetime:
    """An instant as the tables keep it."""
    return datetime.fromisoformat(text)
