"""The monitor's composition root."""

from cairn.events.hearing import HEARD
from chassis import Definition, ServiceSettings
from monitor.api import make_routes
from monitor.handlers import handlers
from monitor.projections import make_projections
from monitor.store import MonitorTable
from monitor.work import ASSEMBLE


def build(_settings: ServiceSettings) -> Definition:
    """The monitor, whole."""
    return Definition(
        name="monitor",
        hears=HEARD["monitor"],
        tables=MonitorTable,
        handlers=handlers,
        projections=make_projections(),
        works=(ASSEMBLE,),
        routes=make_routes,
    )
