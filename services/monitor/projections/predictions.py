"""What is remembered of what was served."""

import json
from collections import OrderedDict
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, select

from cairn.events import PredictionsServed
from cairn.events.predictions import PredictionRow
from cairn.events.values import ObjectRef, format_instant
from chassis import Projections, Rows
from monitor.domain import Profile, add, count_rows, parse_profile
from monitor.store import Counted, Reference, Served, dump, parse_cells

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


def register_predictions(projections: Projections) -> None:
    """Of each event on this topic its function."""
    projections.of(PredictionsServed)(partial(remember_predictions, Profiles()))


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
        "entity": row.entity,
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
        row.cells, row.rows, row.last_offset = dump(cells), row.rows + len(answered), offset


def _answered_by(row: PredictionRow) -> tuple[int, str]:
    return row.version, row.arm


def _reference(ref: ObjectRef, rows: Rows) -> Reference:
    """A profile as it is kept here; its object is read once."""
    row = rows.get(Reference, ref.digest)
    if row is None:
        row = Reference(digest=ref.digest, content=rows.read_object(ref).decode())
        rows.add(row)
    return row


def _place(rows: Rows) -> tuple[int, int]:
    """Where the event was heard."""
    assert rows.partition is not None
    assert rows.offset is not None
    return rows.partition, rows.offset
