"""The services that `cairn up` runs, as Python packages: they are installed beside the SDK, or not at all."""

from collections.abc import Iterable
from importlib.util import find_spec

from cairn.events.catalogue import SERVICES
from cairn.local.errors import Missing

CURE = "install the services beside cairn-sdk: `make setup` in Cairn's repository does it"


def package_of(service: str) -> str:
    """The Python package of a service."""
    return service.replace("-", "_")


def absent(services: Iterable[str] = SERVICES) -> list[str]:
    """The services that are not installed here."""
    return [service for service in services if find_spec(package_of(service)) is None]


def refuse_absent(services: Iterable[str] = SERVICES) -> None:
    """Raise Missing where one of these services is not installed."""
    if lacking := absent(services):
        raise Missing(f"{', '.join(lacking)}: not installed here; the SDK alone publishes and subscribes", CURE)
