"""What is remembered of what became of predictions."""

import json
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select

from cairn.events import LabelsObserved, OutcomesObserved
from cairn.events.labels import Label
from cairn.events.labels import Outcome as OutcomeItem
from cairn.events.values import format_instant
from chassis import Rows
from monitor.domain import wins
from monitor.store import Labelled, Observed, Outcome


def remember_labels(event: LabelsObserved, rows: Rows) -> None:
    """Keep the highest revision of each label."""
    _keep_observed(Labelled, (event.model, event.target), event.items, rows)


def remember_outcomes(event: OutcomesObserved, rows: Rows) -> None:
    """Keep the highest revision of each figure."""
    _keep_observed(Outcome, (event.model, event.name), event.items, rows, unit=event.unit)


def _keep_observed(
    table: type[Observed], of: tuple[str, str], items: Sequence[Label | OutcomeItem], rows: Rows, **more: str
) -> None:
    assert rows.partition is not None  # it was heard
    partition, (model, name) = rows.partition, of
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
