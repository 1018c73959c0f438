"""The deployer's composition root."""

from cairn.events.hearing import HEARD
from chassis import Definition
from deployer.api import make_routes
from deployer.handlers import make_handlers
from deployer.projections import projections
from deployer.settings import Settings
from deployer.store import DeployerTable


def build(settings: Settings) -> Definition:
    """The deployer, whole."""
    return Definition(
        name="deployer",
        hears=HEARD["deployer"],
        tables=DeployerTable,
        handlers=make_handlers(settings.serving_url),
        projections=projections,
        routes=make_routes,
    )
