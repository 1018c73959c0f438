"""The validator's composition root."""

from cairn.events.hearing import HEARD
from chassis import Definition, ServiceSettings
from validator.api import make_routes
from validator.handlers import handlers
from validator.projections import projections
from validator.store import ValidatorTable
from validator.work import INSPECT, MEASURE, PRELOAD


def build(_settings: ServiceSettings) -> Definition:
    """The validator, whole."""
    return Definition(
        name="validator",
        hears=HEARD["validator"],
        tables=ValidatorTable,
        handlers=handlers,
        projections=projections,
        works=(INSPECT, MEASURE),
        routes=make_routes,
        preload=PRELOAD,
    )
