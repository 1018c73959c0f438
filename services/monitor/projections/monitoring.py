"""What is remembered of what the monitor itself told."""

from cairn.events import AnomalyDetected, DatasetAssembled, DriftDetected, RetrainingAdvised, WindowClosed
from cairn.events.values import EventRef, format_instant
from chassis import Projections, Rows
from monitor.domain import after
from monitor.store import Closed, ClosedWindow, Drifted, Store, dump


def register_monitoring(projections: Projections) -> None:
    """Of each event on this topic its function."""
    projections.of(WindowClosed)(remember_window)
    projections.of(DriftDetected)(remember_drift)
    projections.of(DatasetAssembled)(remember_dataset)
    projections.of(RetrainingAdvised)(remember_advice)
    projections.of(AnomalyDetected)(remember_failure)


def remember_window(event: WindowClosed, rows: Rows) -> None:
    """Keep the window, and count it into what the closed ones hold together."""
    model, version = event.model.name, event.model.version
    before = Store(rows.session).baseline(model, version)
    now = after(before, event)
    rows.put(
        ClosedWindow(
            model=model,
            version=version,
            window=event.window,
            before=dump(before.ends),
            facts=event.model_dump_json(exclude={"counts"}),
        )
    )
    rows.put(
        Closed(
            model=model, version=version, window=now.window, rows=now.rows, cells=dump(now.cells), ends=dump(now.ends)
        )
    )


def remember_drift(event: DriftDetected, rows: Rows) -> None:
    """Keep the drift; it waits for a dataset unless it was passed over."""
    rows.put(
        Drifted(
            model=event.model.name,
            version=event.model.version,
            window=event.window,
            event_id=rows.origin.id,
            state="passed-over" if event.passed_over else "open",
            cooldown_until=None,
            origin=rows.origin.dump(),
            ended=None,
        )
    )


def remember_dataset(event: DatasetAssembled, rows: Rows) -> None:
    """The drift has its dataset."""
    _end(event.trigger, "assembled", rows)


def remember_advice(event: RetrainingAdvised, rows: Rows) -> None:
    """Retraining on the drift's dataset is advised."""
    _end(event.trigger, "advised", rows).cooldown_until = format_instant(event.cooldown_until_at)


def remember_failure(event: AnomalyDetected, rows: Rows) -> None:
    """The drift gets no dataset, where that is the anomaly."""
    if event.trigger:
        _end(event.trigger, "failed", rows)


def _end(drift: EventRef, state: str, rows: Rows) -> Drifted:
    row = Store(rows.session).drift(drift.id)
    assert row is not None  # it was told before, on the same partition
    row.state, row.ended = state, rows.origin.dump()
    return row
