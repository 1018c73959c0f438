"""What is asked of the monitor's tables. Queries never change anything."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, func, literal, or_, true, union_all
from sqlmodel import Session, col, select

from cairn.events import ModelDeclared, ModelRegistered
from cairn.events.declaration import Declaration
from cairn.events.values import EventRef, LogRange
from chassis import Origin
from monitor.domain import Advised, Assembly, Baseline, Cells, Taken, Tally, Wanted, Watched, add, parse_profile
from monitor.store.tables import Closed, ClosedWindow, Counted, Declared, Drifted, Labelled, Reference, Served, Version

_COUNTED_ROWS = (
    select(func.coalesce(func.sum(Counted.rows), 0))
    .where(Counted.model == Version.model, Counted.version == Version.version, Counted.profile == Version.profile)
    .correlate(Version)
    .scalar_subquery()
)
_FULL = (
    select(Version.version)
    .join(Declared, and_(col(Declared.model) == Version.model, col(Declared.revision) == Version.revision))
    .join(Closed, and_(col(Closed.model) == Version.model, col(Closed.version) == Version.version), isouter=True)
    .where(
        Version.model == bindparam("of_model"),
        _COUNTED_ROWS - func.coalesce(Closed.rows, 0) >= Declared.window_rows,
    )
    .order_by(col(Version.version))
)
"""Made once: it is asked after every event."""


class Store:
    """Reads within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def full_versions(self, model: str) -> Sequence[int]:
        """The versions of a model whose open window holds all its rows."""
        return self._session.execute(_FULL, {"of_model": model}).scalars().all()

    def watched(self, model: str, version: int) -> Watched | None:
        """A version with what it is watched by; None while that is not known whole."""
        made, row = self._made(model, version), self._session.get(Version, (model, version))
        reference = self._session.get(Reference, row.profile) if row else None
        return Watched(*made, parse_profile(reference.content)) if made and reference else None

    def _made(self, model: str, version: int) -> tuple[ModelRegistered, Declaration] | None:
        """A version, and the declaration that it was made to."""
        row = self._session.get(Version, (model, version))
        declared = self._session.get(Declared, (model, row.revision)) if row else None
        if row is None or declared is None:
            return None
        declaration = ModelDeclared.model_validate_json(declared.facts).declaration
        return ModelRegistered.model_validate_json(row.facts), declaration

    def tallies(self, registered: ModelRegistered) -> list[Tally]:
        """What was counted of a version on its own profile's grid, all arms together."""
        query = select(Counted).where(
            Counted.model == registered.model.name,
            Counted.version == registered.model.version,
            Counted.profile == registered.profile.digest,
        )
        found: dict[int, Tally] = {}
        for row in self._session.exec(query):
            tally = Tally(row.partition, row.first_offset, row.last_offset, row.rows, parse_cells(row.cells))
            found[row.partition] = _together(found[row.partition], tally) if row.partition in found else tally
        return [found[partition] for partition in sorted(found)]

    def baseline(self, model: str, version: int) -> Baseline:
        """What the closed windows of a version hold together."""
        row = self._session.get(Closed, (model, version))
        return Baseline(row.window, row.rows, parse_cells(row.cells), parse_ends(row.ends)) if row else Baseline()

    def served_span(self, registered: ModelRegistered, inputs: Sequence[LogRange]) -> tuple[datetime, datetime]:
        """When the first and the last row of a version in some records were served."""
        lay = [
            and_(col(Served.partition) == one.partition, col(Served.offset).between(one.first_offset, one.last_offset))
            for one in inputs
        ]
        query = select(func.min(Served.served_at), func.max(Served.served_at)).where(
            Served.model == registered.model.name, Served.version == registered.model.version, or_(*lay)
        )
        first, last = self._session.exec(query).one()
        return datetime.fromisoformat(first), datetime.fromisoformat(last)

    def pending_assemblies(self) -> list[tuple[Wanted, Origin]]:
        """The drifts that wait for their dataset and since which enough rows have labels, as they were told."""
        order = (col(Drifted.model), col(Drifted.version), col(Drifted.window))
        drifts = self._session.exec(select(Drifted).where(Drifted.state == "open").order_by(*order)).all()
        found = ((self._wanted(drift), Origin.parse(drift.origin)) for drift in drifts)
        return [(wanted, origin) for wanted, origin in found if wanted and self._has_enough(wanted)]

    def _wanted(self, drift: Drifted) -> Wanted | None:
        """None while, after a rebuild, what led to the drift has not been heard again."""
        made = self._made(drift.model, drift.version)
        window = self._session.get(ClosedWindow, (drift.model, drift.version, drift.window))
        if made is None or window is None:
            return None
        return Wanted(*made, drift.window, Origin.parse(drift.origin).ref, parse_ends(window.before))

    def _has_enough(self, wanted: Wanted) -> bool:
        labelled = select(literal(1)).select_from(Served).where(*_labelled_since(wanted)).limit(wanted.row_count)
        return self._session.exec(select(func.count()).select_from(labelled.subquery())).one() == wanted.row_count

    def assembly(self, wanted: Wanted) -> Assembly | None:
        """The rows that become a dataset: the first ones served from the drifted window on that have labels.

        None when there are too few, since labels were taken back.
        """
        rows = self._session.exec(
            select(Served, _label(wanted.declaration.target))
            .where(*_labelled_since(wanted))
            .order_by(col(Served.served_at), col(Served.prediction_id))
            .limit(wanted.row_count)
        ).all()
        if len(rows) < wanted.row_count:
            return None
        taken = tuple(Taken(row.partition, row.offset, row.features, str(label)) for row, label in rows)
        return Assembly(wanted, taken, self._count_to(rows[-1][0], wanted))

    def _count_to(self, last: Served, wanted: Wanted) -> int:
        """How many rows were served up to this one."""
        same = and_(col(Served.served_at) == last.served_at, col(Served.prediction_id) <= last.prediction_id)
        until = or_(col(Served.served_at) < last.served_at, same)
        return self._session.exec(select(func.count()).select_from(Served).where(_served_since(wanted), until)).one()

    def drift(self, event_id: str) -> Drifted | None:
        """The drift that an event told."""
        return self._session.exec(select(Drifted).where(Drifted.event_id == event_id)).first()

    def waiting_drift(self, model: str, version: int) -> EventRef | None:
        """The drift of a version that waits for its dataset."""
        mine = Drifted.model == model, Drifted.version == version, Drifted.state == "open"
        row = self._session.exec(select(Drifted).where(*mine).order_by(col(Drifted.window)).limit(1)).first()
        return Origin.parse(row.origin).ref if row else None

    def last_advised(self, model: str) -> Advised | None:
        """The advice on a model that holds longest."""
        advised = select(Drifted).where(Drifted.model == model, Drifted.state == "advised")
        row = self._session.exec(advised.order_by(col(Drifted.cooldown_until).desc()).limit(1)).first()
        if row is None or row.ended is None or row.cooldown_until is None:
            return None
        return Advised(Origin.parse(row.ended).ref, datetime.fromisoformat(row.cooldown_until))


def _together(one: Tally, other: Tally) -> Tally:
    """Two arms in the same partition."""
    return Tally(
        partition=one.partition,
        first_offset=min(one.first_offset, other.first_offset),
        last_offset=max(one.last_offset, other.last_offset),
        rows=one.rows + other.rows,
        cells=add(one.cells, other.cells),
    )


def _served_since(wanted: Wanted) -> ColumnElement[bool]:
    """The drifted version's rows in records that no window before the drifted one had counted."""
    model = wanted.registered.model
    begun = [
        and_(col(Served.partition) == partition, col(Served.offset) > end) for partition, end in wanted.counted.items()
    ]
    fresh = or_(col(Served.partition).not_in(wanted.counted), *begun) if begun else true()
    return and_(col(Served.model) == model.name, col(Served.version) == model.version, fresh)


def _labelled_since(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    """Those of them that have labels."""
    return _served_since(wanted), _label(wanted.declaration.target).is_not(None)


def _label(target: str) -> ScalarSelect[str]:
    """The true answer to a served row: none if nobody knows it.

    Of all that stands of a prediction the highest revision counts; of the same revision what names the prediction
    itself, then what names the latest and shortest period.
    """
    standing = and_(col(Labelled.model) == Served.model, col(Labelled.name) == target, col(Labelled.value).is_not(None))
    of_one = col(Labelled.prediction_id) == Served.prediction_id
    of_period = and_(
        col(Labelled.prediction_id) == "",
        col(Labelled.entity) == Served.entity,
        col(Labelled.start_at) <= Served.served_at,
        col(Labelled.end_at) > Served.served_at,
    )
    # Two searches, each by its index: SQLite would answer either condition at once by reading every label.
    either = (select(Labelled).where(standing, name).correlate(Served) for name in (of_one, of_period))
    said = union_all(*either).subquery().c
    specific = said.prediction_id.desc(), said.start_at.desc(), said.end_at
    return select(said.value).order_by(said.revision.desc(), *specific).limit(1).scalar_subquery()


def dump(value: object) -> str:
    """A value as a column keeps it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def parse_cells(text: str) -> Cells:
    """Counts, from a column."""
    return tuple(map(tuple, json.loads(text)))


def parse_ends(text: str) -> dict[int, int]:
    """The last record of each partition, from a column."""
    return {int(partition): offset for partition, offset in json.loads(text).items()}
