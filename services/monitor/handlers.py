"""What the monitor does when something happens: gather, decide, tell."""

from datetime import timedelta

from cairn.events import DriftDetected, ModelDeclared, ModelRegistered, PredictionsServed, WindowClosed
from cairn.events.declaration import Declaration
from cairn.events.values import ObjectRef, Period
from chassis import Handlers, Transaction
from modelkit.grid import Profile
from monitor.domain import Difference, as_columns, difference, drifted_columns, is_full, judge_drift
from monitor.store import Reference, Store, parse_instant

handlers = Handlers()


@handlers.on(PredictionsServed)
def close_after_predictions(event: PredictionsServed, tx: Transaction) -> None:
    """Rows came last."""
    for version in sorted({row.version for row in event.rows}):
        _close_if_full(event.model, version, tx)


@handlers.on(ModelRegistered)
def close_after_registration(event: ModelRegistered, tx: Transaction) -> None:
    """What the version was made to came last."""
    _close_if_full(event.model.name, event.model.version, tx)


@handlers.on(ModelDeclared)
def close_after_declaration(event: ModelDeclared, tx: Transaction) -> None:
    """What a window is came last."""
    for version in Store(tx.session).versions(event.model):
        _close_if_full(event.model, version, tx)


def _close_if_full(model: str, version: int, tx: Transaction) -> None:
    """Close the window of a version once it holds the declared rows, and tell drift with it."""
    store = Store(tx.session)
    declaration, reference = store.declaration_of(model, version), store.reference(model, version)
    if declaration is None or reference is None:
        return
    window = difference(store.standings(model, version), store.baseline(model, version))
    if is_full(window, declaration.monitoring.window_rows):
        _tell_window(store, declaration, reference, window, tx)


def _tell_window(
    store: Store, declaration: Declaration, reference: Reference, window: Difference, tx: Transaction
) -> None:
    registered = store.version(reference.model, reference.version)
    assert registered
    profile = Profile.model_validate_json(reference.profile)
    drift = judge_drift(profile, window.counts, declaration.monitoring.drift)

    closed = tx.tell(
        WindowClosed(
            model=registered.model,
            window=window.window,
            period=_period(store, reference, window),
            row_count=window.rows,
            inputs=window.inputs,
            profile=ObjectRef.model_validate_json(reference.ref),
            counts=as_columns(window.counts),
            drift=drift,
        )
    )
    columns = drifted_columns(drift)
    if columns:
        tx.tell(
            DriftDetected(
                model=registered.model,
                window=window.window,
                columns=columns,
                drift=tuple(one for one in drift if one.drifted),
                evidence=(closed,),
            )
        )


def _period(store: Store, reference: Reference, window: Difference) -> Period:
    """From the first row to just after the last."""
    spans = [
        span
        for one in window.inputs
        if (
            span := store.served_between(
                reference.model, reference.version, one.partition, one.first_offset, one.last_offset
            )
        )
    ]
    latest = parse_instant(max(last for _, last in spans))
    return Period(start_at=parse_instant(min(first for first, _ in spans)), end_at=latest + timedelta(microseconds=1))
