"""What the monitor remembers of each event: event in, rows out."""

import json
from itertools import groupby

from cairn.events import (
    DriftDetected,
    LabelsObserved,
    ModelDeclared,
    ModelRegistered,
    OutcomesObserved,
    PredictionsServed,
    RetrainingAdvised,
    WindowClosed,
)
from cairn.events.labels import Label
from cairn.events.labels import Outcome as OutcomeItem
from cairn.events.predictions import PredictionRow
from cairn.events.values import format_instant
from chassis import Projections, Rows
from modelkit.grid import Profile
from monitor.domain import NOTHING, Counts, add, advance, count_rows
from monitor.store import (
    Advised,
    Counted,
    Declared,
    Drifted,
    LabelRow,
    Outcome,
    Reference,
    Served,
    Version,
    Window,
    read_baseline,
)

projections = Projections()


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(Declared(model=event.model, revision=event.revision, facts=event.model_dump_json()))


@projections.of(ModelRegistered)
def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(Version(model=event.model.name, version=event.model.version, facts=event.model_dump_json()))


@projections.of(PredictionsServed)
def remember_predictions(event: PredictionsServed, rows: Rows) -> None:
    """Keep every row, and count it on the grid of its version's reference."""
    assert rows.partition is not None
    assert rows.offset is not None
    for row in event.rows:
        features = dict(zip(event.columns, row.features, strict=True))
        rows.put(
            Served(
                prediction_id=row.prediction_id,
                model=event.model,
                version=row.version,
                served_at=format_instant(row.served_at),
                partition=rows.partition,
                offset=rows.offset,
                features=json.dumps(features, separators=(",", ":")),
            )
        )
    for (version, arm), some in groupby(sorted(event.rows, key=_arm_of), key=_arm_of):
        answered = list(some)
        profile = _reference(event, version, rows)
        _count(event, version, arm, len(answered), _counts_of(event, profile, answered), rows)


def _reference(event: PredictionsServed, version: int, rows: Rows) -> Profile:
    """The version's profile; its object is read once, and kept."""
    known = rows.get(Reference, event.model, version)
    if known is None:
        ref = next(one.profile for one in event.models if one.model.version == version)
        content = rows.read_object(ref).decode()
        known = Reference(model=event.model, version=version, ref=ref.model_dump_json(), profile=content)
        rows.put(known)
    return Profile.model_validate_json(known.profile)


def _arm_of(row: PredictionRow) -> tuple[int, str]:
    return row.version, row.arm


def _counts_of(event: PredictionsServed, profile: Profile, answered: list[PredictionRow]) -> Counts:
    scores = [row.output.score for row in answered]
    return count_rows(profile, event.columns, [row.features for row in answered], scores)


def _count(event: PredictionsServed, version: int, arm: str, number: int, counts: Counts, rows: Rows) -> None:
    assert rows.partition is not None
    assert rows.offset is not None
    before = rows.get(Counted, event.model, version, arm, rows.partition)
    rows.put(
        Counted(
            model=event.model,
            version=version,
            arm=arm,
            partition=rows.partition,
            first_offset=before.first_offset if before else rows.offset,
            next_offset=rows.offset + 1,
            rows=number + (before.rows if before else 0),
            counts=json.dumps(add(json.loads(before.counts) if before else {}, counts), separators=(",", ":")),
        )
    )


@projections.of(WindowClosed)
def remember_window(event: WindowClosed, rows: Rows) -> None:
    """Keep the window, and what had been counted in all when it closed."""
    name, version = event.model.name, event.model.version
    previous = rows.get(Window, name, version, event.window - 1)
    counts = {one.column: one.cells for one in event.counts}
    baseline = read_baseline(previous) if previous else NOTHING
    now = advance(baseline, event.window, event.row_count, counts, event.inputs)
    rows.put(
        Window(
            model=name,
            version=version,
            window=event.window,
            rows=now.rows,
            counts=json.dumps(now.counts, separators=(",", ":")),
            positions=json.dumps(now.positions, sort_keys=True),
            facts=event.model_dump_json(),
        )
    )


@projections.of(DriftDetected)
def remember_drift(event: DriftDetected, rows: Rows) -> None:
    """Keep which windows drifted."""
    rows.put(
        Drifted(model=event.model.name, version=event.model.version, window=event.window, origin=rows.origin.dump())
    )


@projections.of(RetrainingAdvised)
def remember_advice(event: RetrainingAdvised, rows: Rows) -> None:
    """Keep which drift led to advice, and until when there is no other."""
    until = format_instant(event.cooldown_until_at)
    rows.put(Advised(model=event.model, trigger_id=event.trigger.id, cooldown_until=until))


@projections.of(LabelsObserved)
def remember_labels(event: LabelsObserved, rows: Rows) -> None:
    """Keep the highest revision of each label; the first of those that have the same."""
    for item in event.items:
        if item.prediction_id is not None:
            before = rows.get(LabelRow, event.model, item.prediction_id)
            if before is None or item.revision > before.revision:
                rows.put(_label_row(event.model, item.prediction_id, item))


def _label_row(model: str, prediction_id: str, item: Label) -> LabelRow:
    return LabelRow(
        model=model,
        prediction_id=prediction_id,
        revision=item.revision,
        retracted=item.retracted,
        value=json.dumps(item.value),
    )


@projections.of(OutcomesObserved)
def remember_outcomes(event: OutcomesObserved, rows: Rows) -> None:
    """Keep the highest revision of each figure."""
    for item in event.items:
        joined = _joined_by(item)
        before = rows.get(Outcome, event.model, event.name, joined)
        if before is None or item.revision > before.revision:
            rows.put(
                Outcome(
                    model=event.model,
                    name=event.name,
                    joined_by=joined,
                    revision=item.revision,
                    retracted=item.retracted,
                    value=item.value,
                    unit=event.unit,
                )
            )


def _joined_by(item: OutcomeItem) -> str:
    if item.prediction_id is not None:
        return item.prediction_id
    assert item.period
    return json.dumps([item.entity, format_instant(item.period.start_at), format_instant(item.period.end_at)])
