"""What the monitor remembers of each event: event in, rows out."""

from functools import partial

from cairn.events import (
    AnomalyDetected,
    DatasetAssembled,
    DriftDetected,
    LabelsObserved,
    ModelDeclared,
    ModelRegistered,
    OutcomesObserved,
    PredictionsServed,
    RetrainingAdvised,
    WindowClosed,
)
from chassis import Projections
from monitor.projections.labels import remember_labels, remember_outcomes
from monitor.projections.monitoring import (
    remember_advice,
    remember_dataset,
    remember_drift,
    remember_failure,
    remember_window,
)
from monitor.projections.predictions import Profiles, remember_predictions
from monitor.projections.registry import remember_declaration, remember_version


def make_projections() -> Projections:
    """All of them. What parses profiles is theirs alone, and changes no row."""
    projections = Projections()
    projections.of(PredictionsServed)(partial(remember_predictions, Profiles()))
    projections.of(LabelsObserved)(remember_labels)
    projections.of(OutcomesObserved)(remember_outcomes)
    projections.of(ModelDeclared)(remember_declaration)
    projections.of(ModelRegistered)(remember_version)
    projections.of(WindowClosed)(remember_window)
    projections.of(DriftDetected)(remember_drift)
    projections.of(DatasetAssembled)(remember_dataset)
    projections.of(RetrainingAdvised)(remember_advice)
    projections.of(AnomalyDetected)(remember_failure)
    return projections
