"""What is remembered of what became of predictions."""

import json
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, or_, select

from cairn.events import LabelsObserved, OutcomesObserved
from cairn.events.labels import Label
from cairn.events.labels import Outcome as OutcomeItem
from cairn.events.values import format_instant
from chassis import Projections, Rows
from monitor.domain import Name, Said, is_disputed, name_of, replaces
from monitor.store import Labelled, Observed, Outcome


def register_labels(projections: Projections) -> None:
    """Of each event on this topic its function."""
    projections.of(LabelsObserved)(remember_labels)
    projections.of(OutcomesObserved)(remember_outcomes)


def remember_labels(event: LabelsObserved, rows: Rows) -> None:
    """Keep the highest revision of each label."""
    _keep_highest(Labelled, (event.model, event.target), event.items, rows)


def remember_outcomes(event: OutcomesObserved, rows: Rows) -> None:
    """Keep the highest revision of each figure."""
    _keep_highest(Outcome, (event.model, event.name), event.items, rows, unit=event.unit)


def _keep_highest(
    table: type[Observed], of: tuple[str, str], items: Sequence[Label | OutcomeItem], rows: Rows, **more: str
) -> None:
    assert rows.partition is not None  # it was heard
    known = _load_known(table, of, items, rows)
    for item in items:
        name, heard = name_of(item), Said(item.revision, rows.partition, _value_of(item))
        values: dict[str, Any] = {
            "revision": heard.revision,
            "partition": heard.partition,
            "value": heard.value,
            "observed_at": format_instant(item.observed_at),
            **more,
        }
        row = known.get(name)
        if row is None:
            known[name] = row = table(**_key(of, name), **values, disputed=False)
            rows.add(row)
            continue
        said = Said(row.revision, row.partition, row.value, row.disputed)
        row.disputed = is_disputed(heard, said)
        if replaces(heard, said):
            row.sqlmodel_update(values)


def _load_known(
    table: type[Observed], of: tuple[str, str], items: Sequence[Label | OutcomeItem], rows: Rows
) -> dict[Name, Observed]:
    ids = {item.prediction_id for item in items if item.prediction_id is not None}
    entities = {item.entity for item in items if item.prediction_id is None}
    query = select(table).where(table.model == of[0], table.name == of[1])
    query = query.where(or_(col(table.prediction_id).in_(ids), col(table.entity).in_(entities)))
    found = rows.session.exec(query)
    return {(row.prediction_id, row.entity, row.start_at, row.end_at): row for row in found}


def _key(of: tuple[str, str], name: Name) -> dict[str, Any]:
    model, target = of
    prediction_id, entity, start_at, end_at = name
    return {
        "model": model,
        "name": target,
        "prediction_id": prediction_id,
        "entity": entity,
        "start_at": start_at,
        "end_at": end_at,
    }


def _value_of(item: Label | OutcomeItem) -> str | None:
    return None if item.retracted or item.value is None else json.dumps(item.value)
