"""What the monitor does when something happens: gather, decide, tell."""

from cairn.events import ModelDeclared, ModelRegistered, PredictionsServed
from chassis import Handlers, Transaction
from monitor.domain import close_window, find_drift, is_full, open_window, pass_over
from monitor.store import Store

handlers = Handlers()


@handlers.on(PredictionsServed)
def close_after_predictions(event: PredictionsServed, tx: Transaction) -> None:
    """The rows came last."""
    _close_full_windows(event.model, tx)


@handlers.on(ModelRegistered)
def close_after_registration(event: ModelRegistered, tx: Transaction) -> None:
    """What the version was made to came last."""
    _close_full_windows(event.model.name, tx)


@handlers.on(ModelDeclared)
def close_after_declaration(event: ModelDeclared, tx: Transaction) -> None:
    """The declaration came last."""
    _close_full_windows(event.model, tx)


def _close_full_windows(model: str, tx: Transaction) -> None:
    """Close the window of each version where it is full, and tell its drift with it."""
    store = Store(tx.session)
    for version in store.full_versions(model):
        watched = store.watched(model, version)
        if watched is None:
            continue
        window = open_window(store.tallies(watched.registered), store.baseline(model, version))
        if window is None or not is_full(window, watched.declaration):
            continue

        closed = close_window(watched, window, *store.served_span(watched.registered, window.inputs))

        passed_over = pass_over(tx.now, store.waiting_drift(model, version), store.last_advised(model))
        drift = find_drift(closed, tx.tell(closed), passed_over)
        if drift:
            tx.tell(drift)
