"""What the monitor remembers of each event: event in, rows out."""

from chassis import Projections
from monitor.projections.labels import register_labels
from monitor.projections.monitoring import register_monitoring
from monitor.projections.predictions import register_predictions
from monitor.projections.registry import register_registry


def make_projections() -> Projections:
    """All of them, topic by topic. What parses profiles is theirs alone, and changes no row."""
    projections = Projections()
    for register in (register_registry, register_predictions, register_labels, register_monitoring):
        register(projections)
    return projections
