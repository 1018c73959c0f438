"""What the trainer remembers of each event: event in, rows out."""

from typing import Any

from cairn.events import (
    DatasetAccepted,
    ModelDeclared,
    RetrainingAdvised,
    TrainingCompleted,
    TrainingFailed,
    TrainingQueued,
    TrainingStarted,
    TrialFinished,
)
from chassis import Projections, Rows
from trainer.store import Accepted, Advised, Declared, Run

projections = Projections()


@projections.of(ModelDeclared)
def remember_declaration(event: ModelDeclared, rows: Rows) -> None:
    """Keep every revision."""
    rows.put(Declared(model=event.model, revision=event.revision, facts=event.model_dump_json()))


@projections.of(DatasetAccepted)
def remember_accepted(event: DatasetAccepted, rows: Rows) -> None:
    """Keep every dataset that is fit for a declaration."""
    rows.put(
        Accepted(
            event_id=rows.origin.id,
            model=event.declaration.name,
            revision=event.declaration.revision,
            dataset=event.dataset.name,
            digest=event.dataset.digest,
            **_place(rows),
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


@projections.of(RetrainingAdvised)
def remember_advice(event: RetrainingAdvised, rows: Rows) -> None:
    """Keep every advice."""
    rows.put(
        Advised(
            event_id=rows.origin.id,
            model=event.model,
            digest=event.dataset.digest,
            **_place(rows),
            facts=event.model_dump_json(),
            origin=rows.origin.dump(),
        )
    )


def _place(rows: Rows) -> dict[str, Any]:
    """Where it was heard, which orders what has one key."""
    return {"partition": rows.partition, "offset": rows.offset}


@projections.of(TrainingQueued)
def remember_run(event: TrainingQueued, rows: Rows) -> None:
    """Keep every run."""
    rows.add(
        Run(
            run_id=event.run.run_id,
            model=event.model,
            dataset_digest=event.dataset.digest,
            declaration_digest=event.declaration.digest,
            trigger_id=event.trigger.id,
            state="queued",
            attempt=0,
            trials=0,
            queued_at=rows.origin.time,
            ended_at=None,
            facts=event.model_dump_json(),
            outcome=None,
            origin=rows.origin.dump(),
        )
    )


@projections.of(TrainingStarted)
def remember_start(event: TrainingStarted, rows: Rows) -> None:
    """An attempt begins anew."""
    run = _run(event, rows)
    run.state, run.attempt, run.trials = "started", event.run.attempt, 0


@projections.of(TrialFinished)
def remember_trial(event: TrialFinished, rows: Rows) -> None:
    """Count the trials of the attempt."""
    _run(event, rows).trials = event.trial


@projections.of(TrainingCompleted, TrainingFailed)
def remember_end(event: TrainingCompleted | TrainingFailed, rows: Rows) -> None:
    """Keep how a run ended."""
    run = _run(event, rows)
    run.state = "completed" if isinstance(event, TrainingCompleted) else "failed"
    run.ended_at, run.outcome = rows.origin.time, event.model_dump_json()


def _run(event: TrainingStarted | TrialFinished | TrainingCompleted | TrainingFailed, rows: Rows) -> Run:
    run = rows.get(Run, event.run.run_id)
    assert run is not None  # it was queued before, on the same partition
    return run
