"""Which drift leads to a dataset, and how the dataset looks."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from cairn.events.declaration import Declaration
from cairn.events.identity import dataset_digest
from cairn.events.monitoring import AnomalyDetected, DatasetAssembled, RetrainingAdvised
from cairn.events.registry import ModelRegistered
from cairn.events.values import (
    Check,
    Column,
    DatasetRef,
    EventRef,
    LogRange,
    ObjectRef,
    Reason,
    format_instant,
)
from monitor.domain.windows import PREDICTIONS

_LONGEST = 2000
"""Characters of a text in an event."""


@dataclass(frozen=True, slots=True)
class Advised:
    """The last advice on a model, and how long it holds."""

    advice: EventRef
    until: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dataset that is to be assembled because of a drift."""

    registered: ModelRegistered
    declaration: Declaration
    window: int
    drift: EventRef
    counted: Mapping[int, int]
    """For each partition the last record that windows before the drifted one counted."""

    @property
    def row_count(self) -> int:
        """Its rows."""
        return self.declaration.retraining.rows


@dataclass(frozen=True, slots=True)
class Taken:
    """A served row that has a label; both as JSON."""

    partition: int
    offset: int
    features: str
    """An object, by the columns' names."""
    label: str


@dataclass(frozen=True, slots=True)
class Assembly:
    """A dataset's rows."""

    wanted: Wanted
    rows: tuple[Taken, ...]
    """In the order served."""
    served: int
    """Rows served from the drifted window on to the last one taken, with and without labels."""


def pass_over(now: datetime, waiting: EventRef | None, advised: Advised | None) -> Reason | None:
    """Why a drift leads to no dataset: an earlier one of its version waits for its, or the model rests."""
    if waiting:
        text = "an earlier drift of this version waits for its dataset"
        return Reason(code="dataset-awaited", text=text, evidence=(waiting,))
    return find_rest(now, advised)


def find_rest(now: datetime, advised: Advised | None) -> Reason | None:
    """Why there is no new advice on a model: the last one holds still."""
    if advised is None or now >= advised.until:
        return None
    text = f"there is no new advice on this model before {format_instant(advised.until)}"
    return Reason(code="cooldown", text=text, evidence=(advised.advice,))


def as_table(assembly: Assembly) -> Iterator[list[str]]:
    """The dataset as text: a header, then the rows. Neither an id nor an instant is in it."""
    inputs, target = assembly.wanted.registered.io_schema.inputs, describe_target(assembly)
    yield [*(column.name for column in inputs), target.name]
    for row in assembly.rows:
        features = json.loads(row.features)
        label = _write(json.loads(row.label), target.type)
        yield [*(_write(features.get(column.name), column.type) for column in inputs), label]


def _write(value: Any, kind: str) -> str:
    """A cell that reads back as the same value, and is the same text however JSON wrote the number."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if kind == "integer" and value == int(value):
        return str(int(value))
    return repr(float(value)) if kind == "number" else str(value)


def describe_target(assembly: Assembly) -> Column:
    """The column that was predicted, by what its labels are."""
    kinds = {type(json.loads(row.label)) for row in assembly.rows}
    kind: Literal["boolean", "integer", "number", "string"] = "string"
    if kinds == {bool}:
        kind = "boolean"
    elif kinds == {int}:
        kind = "integer"
    elif kinds <= {int, float}:
        kind = "number"
    return Column(name=assembly.wanted.declaration.target, type=kind)


def tell_assembled(assembly: Assembly, file: ObjectRef) -> DatasetAssembled:
    """The dataset, once its file is kept."""
    model = assembly.wanted.registered.model
    return DatasetAssembled(
        model=model.name,
        dataset=DatasetRef(
            name=f"served.{model.name}",
            version=f"{model.version}-w{assembly.wanted.window}",
            digest=dataset_digest([file.digest]),
        ),
        files=(file,),
        format="csv",
        columns=(*assembly.wanted.registered.io_schema.inputs, describe_target(assembly)),
        row_count=len(assembly.rows),
        inputs=tuple(_inputs(assembly.rows)),
        label_coverage_ratio=len(assembly.rows) / assembly.served,
        trigger=assembly.wanted.drift,
    )


def _inputs(rows: Iterable[Taken]) -> Iterator[LogRange]:
    """For each partition the run of records in which the rows lay."""
    places = sorted((row.partition, row.offset) for row in rows)
    for partition, run in groupby(places, key=lambda place: place[0]):
        offsets = [offset for _, offset in run]
        yield LogRange(topic=PREDICTIONS, partition=partition, first_offset=offsets[0], last_offset=offsets[-1])


def advise(wanted: Wanted, assembled: DatasetAssembled, told: EventRef, now: datetime) -> RetrainingAdvised:
    """The advice to retrain on the dataset."""
    return RetrainingAdvised(
        model=assembled.model,
        trigger=wanted.drift,
        dataset=assembled.dataset,
        evidence=(wanted.drift, told),
        cooldown_until_at=now + timedelta(seconds=wanted.declaration.retraining.cooldown_seconds),
    )


def tell_unassembled(wanted: Wanted, code: str, text: str) -> AnomalyDetected:
    """That there will be no dataset for this drift; the next one may lead to one."""
    check = Check(
        name="assembly",
        asked=f"{wanted.row_count} served rows with labels become a dataset",
        measured=text[:_LONGEST],
        passed=False,
    )
    return AnomalyDetected(
        model=wanted.registered.model,
        window=wanted.window,
        checks=(check,),
        evidence=(wanted.drift,),
        trigger=wanted.drift,
        reason=Reason(code=code, text=text[:_LONGEST], evidence=(wanted.drift,)),
    )
