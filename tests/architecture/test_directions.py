"""Imports point one way: `__main__ -> app -> {handlers, work, api} -> {store, projections} -> domain`."""

from collections.abc import Iterator

import pytest
from tests.architecture.tree import LIBRARIES, SERVICES, Module, is_within, read, seeded

REMEMBERS = ("store", "projections", "domain")
MAY_IMPORT = {
    "__main__": ("app", "settings"),
    "app": ("handlers", "work", "api", *REMEMBERS, "settings"),
    "handlers": REMEMBERS,
    "work": REMEMBERS,
    "api": REMEMBERS,
    "projections": ("store", "domain"),
    "store": ("domain",),
    "domain": (),
    "settings": (),
    "serving": (),
    "": (),
}
"""What each room of a service may import of its own service, beside itself."""
MODELKIT = {
    "work": "modelkit",
    "serving": "modelkit",
    "domain": "modelkit.grid",
    "handlers": "modelkit.grid",
    "projections": "modelkit.grid",
}
"""What each room may import of modelkit."""
LIBRARY_MAY_IMPORT = {"cairn": (), "chassis": ("cairn",), "modelkit": ("cairn",)}


def find_wrong_directions(modules: list[Module]) -> list[str]:
    """Imports that point the wrong way."""
    return [
        module.fault(line, f"{'/'.join(module.parts)} imports {name}: {why}")
        for module in modules
        for line, name in module.imports
        for why in (_in_service if module.path.startswith("services/") else _in_library)(module, name)
    ]


def _in_library(module: Module, name: str) -> Iterator[str]:
    first = name.split(".")[0]
    if first in SERVICES:
        yield "no library knows a service"
    elif first in LIBRARIES and first not in (module.owner, *LIBRARY_MAY_IMPORT[module.owner]):
        yield f"{module.owner} knows no {first}"


def _in_service(module: Module, name: str) -> Iterator[str]:
    first, *rest = name.split(".")
    if first in SERVICES and first != module.owner:
        yield "no service imports another"
    elif first == module.owner:
        room = rest[0] if rest else ""
        if room != module.room and room not in MAY_IMPORT.get(module.room, ()):
            yield f"{module.room or 'the package'} does not look at {room or 'the package'}"
    elif first == "modelkit" and not (module.room in MODELKIT and is_within(name, MODELKIT[module.room])):
        yield f"{module.room} knows {'only its pure part' if module.room in MODELKIT else 'no modelkit'}"
    elif first == "chassis" and module.room in ("domain", "serving"):
        yield f"{module.room} knows no chassis"
    elif is_within(name, "cairn.publisher") and not (module.room == "serving" or module.owner == "gateway"):
        yield "a service with a store tells through its outbox"


def test_imports_point_one_way() -> None:
    assert find_wrong_directions(read()) == []


@pytest.mark.parametrize(
    ("path", "line", "why"),
    [
        ("services/registry/domain.py", "from registry.store import Store", "domain does not look at store"),
        ("services/registry/domain.py", "from registry import handlers", "domain does not look at handlers"),
        ("services/registry/domain.py", "from . import app", "domain does not look at app"),
        ("services/monitor/domain/windows.py", "from ..store import Store", "domain does not look at store"),
        ("services/registry/store.py", "import registry.projections", "store does not look at projections"),
        ("services/registry/projections.py", "import registry.handlers", "projections does not look at handlers"),
        ("services/trainer/handlers.py", "from trainer.work import TRAIN", "handlers does not look at work"),
        ("services/trainer/work.py", "from trainer.app import build", "work does not look at app"),
        ("services/trainer/api.py", "from trainer.handlers import handlers", "api does not look at handlers"),
        ("services/trainer/app.py", "import trainer.__main__", "app does not look at __main__"),
        ("services/trainer/work.py", "import trainer", "work does not look at the package"),
        ("services/trainer/work.py", "def f():\n    from monitor.store import Store", "no service imports another"),
        ("services/deployer/handlers.py", "import deployer.serving.api", "handlers does not look at serving"),
        ("services/deployer/app.py", "from deployer.serving import process", "app does not look at serving"),
        ("services/deployer/serving/api.py", "from deployer.store import Store", "serving does not look at store"),
        ("services/deployer/serving/api.py", "from deployer.domain import Plan", "serving does not look at domain"),
        ("services/deployer/serving/api.py", "from chassis.logs import x", "serving knows no chassis"),
        ("services/trainer/store.py", "from modelkit.grid import count", "store knows no modelkit"),
        ("services/trainer/app.py", "import modelkit.preload", "app knows no modelkit"),
        ("services/monitor/domain/windows.py", "import modelkit.metrics", "domain knows only its pure part"),
        ("services/monitor/handlers.py", "from modelkit import package", "handlers knows only its pure part"),
        ("services/registry/handlers.py", "from cairn.publisher import Publisher", "tells through its outbox"),
        ("services/trainer/work.py", "from cairn.publisher import SyncPublisher as P", "tells through its outbox"),
        ("services/monitor/app.py", "from cairn import publisher", "tells through its outbox"),
        ("services/deployer/api.py", "import cairn.publisher", "tells through its outbox"),
        ("libs/cairn/context.py", "__import__('registry.store')", "no library knows a service"),
        ("libs/cairn/context.py", "from chassis import Table", "cairn knows no chassis"),
        ("libs/chassis/work.py", "import importlib; importlib.import_module('modelkit.children')", "knows no modelkit"),
        ("libs/modelkit/grid.py", "import chassis", "modelkit knows no chassis"),
        ("libs/modelkit/grid.py", "import trainer.work", "no library knows a service"),
    ],
)
def test_an_import_that_points_the_other_way_is_found(path: str, line: str, why: str) -> None:
    module, number = seeded(path, line)
    (fault,) = find_wrong_directions([module])
    assert fault.startswith(f"{path}:{number}: ")
    assert fault.endswith(why)
