"""The registry's composition root."""

from cairn.events.hearing import HEARD
from chassis import Definition, ServiceSettings
from registry.api import make_routes
from registry.handlers import handlers
from registry.projections import projections
from registry.store import RegistryTable


def build(_settings: ServiceSettings) -> Definition:
    """The registry, whole."""
    return Definition(
        name="registry",
        hears=HEARD["registry"],
        tables=RegistryTable,
        handlers=handlers,
        projections=projections,
        routes=make_routes,
    )
