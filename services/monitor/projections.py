"""What the monitor remembers of each event: event in, rows out."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, select

from cairn.events import (
    AnomalyDetected,
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
from cairn.events.values import ObjectRef, format_instant
from chassis import Projections, Rows
from monitor.domain import Baseline, Profile, add, after, count_rows, parse_profile, starts_assembly, wins
from monitor.store import (
    Closed,
    ClosedWindow,
    Counted,
    Declared,
    Drifted,
    Labelled,
    Observed,
    Outcome,
    Reference,
    Served,
    Store,
    Version,
    parse_cells,
)

MOST_PROFILES = 32


class Profiles:
    """The reference profiles that were used last, parsed: every event of predictions needs one."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[str, Profile] = OrderedDict()

    def of(self, ref: ObjectRef, rows: Rows) -> Profile:
        """The profile; its digest binds its content, so it never changes."""
        if ref.digest not in self._parsed:
            self._parsed[ref.digest] = parse_profile(_reference(ref, rows).content)
        self._parsed.move_to_end(ref.digest)
        while len(self._parsed) > MOST_PROFILES:
            self._parsed.popitem(last=False)
        return self._parsed[ref.digest]


def make_projections() -> Projections:
    """All of them. What parses profiles is theirs alone, and changes no row."""
    projections = Projections()
    projections.of(PredictionsServed)(partial(remember_predictions, Profiles()))
    projections.of(ModelDeclared)(remember_declaration)
    projections.of(ModelRegistered)(remember_version)
    projections.of(LabelsObserved)(remember_labels)
    projections.of(OutcomesObserved)(remember_outcomes)
    projections.of(WindowClosed)(remember_window)
    projections.of(DriftDetected)(remember_drift)
    projections.of(RetrainingAdvised)(remember_advice)
    projections.of(AnomalyDetected)(remember_failure)
    return projections


def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(
        Declared(
            model=event.model,
            revision=event.revision,
            window_rows=event.declaration.monitoring.window_rows,
            facts=event.model_dump_json(),
        )
    )


def remember_version(event: ModelRegistered, rows: Rows) -> None:
    """Keep every version."""
    rows.put(
        Version(
            model=event.model.name,
            version=event.model.version,
            revision=event.declaration.revision,
            profile=event.profile.digest,
            facts=event.model_dump_json(),
        )
    )


def remember_predictions(profiles: Profiles, event: PredictionsServed, rows: Rows) -> None:
    """Keep every row, and count it on the grid of its version's reference."""
    _keep_rows(event, rows)
    _count_rows(profiles, event, rows)


def _keep_rows(event: PredictionsServed, rows: Rows) -> None:
    partition, offset = _place(rows)
    ids = [row.prediction_id for row in event.rows]
    places = select(Served.version, Served.prediction_id, Served.partition)
    found = rows.session.exec(places.where(Served.model == event.model, col(Served.prediction_id).in_(ids)))
    known = {(version, name): lay for version, name, lay in found}
    fresh = []
    for place, row in enumerate(event.rows):
        key = row.version, row.prediction_id
        if known.get(key, partition + 1) <= partition:
            continue
        values = _values_of(event, row) | {"partition": partition, "offset": offset, "place": place}
        if key in known:
            rows.put(Served(**values))
        else:
            fresh.append(values)
        known[key] = partition
    if fresh:
        rows.session.execute(insert(Served), fresh)


def _values_of(event: PredictionsServed, row: PredictionRow) -> dict[str, Any]:
    return {
        "model": event.model,
        "prediction_id": row.prediction_id,
        "version": row.version,
        "served_at": format_instant(row.served_at),
        "features": json.dumps(dict(zip(event.columns, row.features, strict=True)), separators=(",", ":")),
        "output": row.output.model_dump_json(),
    }


def _count_rows(profiles: Profiles, event: PredictionsServed, rows: Rows) -> None:
    partition, offset = _place(rows)
    refs = {one.model.version: one.profile for one in event.models}
    query = select(Counted).where(Counted.model == event.model, Counted.partition == partition)
    known = rows.session.exec(query.where(col(Counted.version).in_({row.version for row in event.rows}))).all()
    counted = {(row.version, row.profile, row.arm): row for row in known}
    for (version, arm), some in groupby(sorted(event.rows, key=_answered_by), key=_answered_by):
        if version not in refs:
            raise ValueError(f"version {version} answered, but the event does not name its profile")
        if any(row.version == version and row.last_offset > offset for row in known):
            continue  # it was driven again after later records: the windows in which it belongs are told
        ref, answered = refs[version], list(some)
        row = counted.get((version, ref.digest, arm))
        if row is None:
            row = Counted(
                model=event.model,
                version=version,
                profile=ref.digest,
                arm=arm,
                partition=partition,
                first_offset=offset,
                last_offset=offset,
                rows=0,
                cells="[]",
            )
            rows.add(row)
            _reference(ref, rows)  # also where it is parsed already: a transaction that did so may have failed
        cells = add(parse_cells(row.cells), count_rows(profiles.of(ref, rows), event.columns, answered))
        row.cells, row.rows, row.last_offset = _dump(cells), row.rows + len(answered), offset


def _answered_by(row: PredictionRow) -> tuple[int, str]:
    return row.version, row.arm


def _reference(ref: ObjectRef, rows: Rows) -> Reference:
    """A profile as it is kept here; its object is read once."""
    row = rows.get(Reference, ref.digest)
    if row is None:
        row = Reference(digest=ref.digest, content=rows.read_object(ref).decode())
        rows.add(row)
    return row


def remember_labels(event: LabelsObserved, rows: Rows) -> None:
    """Keep the highest revision of each label."""
    _keep_observed(Labelled, (event.model, event.target), event.items, rows)


def remember_outcomes(event: OutcomesObserved, rows: Rows) -> None:
    """Keep the highest revision of each figure."""
    _keep_observed(Outcome, (event.model, event.name), event.items, rows, unit=event.unit)


def _keep_observed(
    table: type[Observed], of: tuple[str, str], items: Sequence[Label | OutcomeItem], rows: Rows, **more: str
) -> None:
    partition, _ = _place(rows)
    model, name = of
    ids = [item.prediction_id for item in items if item.prediction_id is not None]
    query = select(table).where(table.model == model, table.name == name, col(table.prediction_id).in_(ids))
    known = {row.prediction_id: row for row in rows.session.exec(query)}
    for item in items:
        if item.prediction_id is None:
            continue
        values: dict[str, Any] = {
            "revision": item.revision,
            "partition": partition,
            "observed_at": format_instant(item.observed_at),
            "value": None if item.retracted or item.value is None else json.dumps(item.value),
            **more,
        }
        row = known.get(item.prediction_id)
        if row is None:
            known[item.prediction_id] = row = table(model=model, name=name, prediction_id=item.prediction_id, **values)
            rows.add(row)
        elif wins(item.revision, partition, row.revision, row.partition):
            row.sqlmodel_update(values)


def remember_window(event: WindowClosed, rows: Rows) -> None:
    """Keep the window, and count it into what the closed ones hold together."""
    model, version = event.model.name, event.model.version
    before = Store(rows.session).baseline(model, version)
    rows.put(
        ClosedWindow(
            model=model,
            version=version,
            window=event.window,
            before=_dump(before.ends),
            facts=event.model_dump_json(exclude={"counts"}),
        )
    )
    rows.put(_closed(model, version, after(before, event)))


def _closed(model: str, version: int, now: Baseline) -> Closed:
    return Closed(
        model=model, version=version, window=now.window, rows=now.rows, cells=_dump(now.cells), ends=_dump(now.ends)
    )


def remember_drift(event: DriftDetected, rows: Rows) -> None:
    """Keep the drift, and whether it waits for a dataset."""
    model, version = event.model.name, event.model.version
    query = select(Drifted).where(Drifted.model == model, Drifted.version == version)
    earlier = rows.session.exec(query).all()
    starts = starts_assembly(
        datetime.fromisoformat(rows.origin.time),
        one_is_open=any(row.state == "open" for row in earlier),
        cooldown_until=max(
            (datetime.fromisoformat(row.cooldown_until) for row in earlier if row.cooldown_until), default=None
        ),
    )
    rows.put(
        Drifted(
            model=model,
            version=version,
            window=event.window,
            event_id=rows.origin.id,
            state="open" if starts else "passed-over",
            cooldown_until=None,
            origin=rows.origin.dump(),
        )
    )


def remember_advice(event: RetrainingAdvised, rows: Rows) -> None:
    """The drift has its dataset."""
    query = select(Drifted).where(Drifted.model == event.model, Drifted.event_id == event.trigger.id)
    for row in rows.session.exec(query):
        row.state, row.cooldown_until = "advised", format_instant(event.cooldown_until_at)


def remember_failure(event: AnomalyDetected, rows: Rows) -> None:
    """The drift gets no dataset, where that is what the anomaly rests on."""
    row = rows.get(Drifted, event.model.name, event.model.version, event.window)
    if row is not None and any(ref.id == row.event_id for ref in event.evidence):
        row.state = "failed"


def _place(rows: Rows) -> tuple[int, int]:
    """Where the event was heard."""
    assert rows.partition is not None
    assert rows.offset is not None
    return rows.partition, rows.offset


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
