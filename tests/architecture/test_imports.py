"""Imports point one way, and what decides knows nothing of what runs it."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.architecture.source import LIBRARIES, OURS, SERVICES, Import, Module, all_modules, modules_of, sin

RANKS = {
    "domain": 0,
    "settings": 0,
    "store": 1,
    "projections": 2,
    "handlers": 3,
    "work": 3,
    "api": 3,
    "app": 4,
    "__main__": 5,
}
"""A room imports only from rooms of a lower rank."""

KNOWS_CHASSIS = frozenset(RANKS) - {"domain"}
LIBRARIES_BELOW = {"cairn": (), "chassis": ("cairn",), "modelkit": ("cairn",)}
DOMAIN_MAY = ("cairn.events", "modelkit.grid")


def domain_impurities(modules: Iterable[Module]) -> list[str]:
    """Domain: the standard library, the events, the grid, and its own other files."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        if module.room == "domain"
        for one in module.imports
        if one.package not in sys.stdlib_module_names and not one.is_of(*DOMAIN_MAY, f"{module.package}.domain")
    ]


def wrong_directions(modules: Iterable[Module]) -> list[str]:
    """Within a service: `__main__ -> app -> {handlers, work, api} -> {store, projections} -> domain`."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        if module.package in SERVICES
        for one in module.imports
        if one.package == module.package and not _points_down(module, one)
    ]


def _points_down(module: Module, one: Import) -> bool:
    if module.room == one.room:
        return True
    if module.room not in RANKS or one.room not in RANKS:
        return False  # a room beside the usual ones, as the deployer's `serving`, is an island
    if one.room == "settings":
        return module.room in ("app", "__main__")
    return RANKS[one.room] < RANKS[module.room]


def foreign_services(modules: Iterable[Module]) -> list[str]:
    """Nobody imports a service but itself."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        for one in module.imports
        if one.package in SERVICES and one.package != module.package
    ]


def strangers_to_chassis(modules: Iterable[Module]) -> list[str]:
    """Only the rooms that run or store know the chassis; and none knows its tests."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        if module.package in SERVICES
        for one in module.imports
        if one.is_of("chassis") and (module.room not in KNOWS_CHASSIS or one.is_of("chassis.testing"))
    ]


def what_store_takes_of_chassis(modules: Iterable[Module]) -> list[str]:
    """A store is tables and queries: it needs the base of its tables, and the events that its rows remember."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        if module.room == "store"
        for one in module.imports
        if one.is_of("chassis") and one.name not in ("chassis.Table", "chassis.Origin")
    ]


def wrong_libraries(modules: Iterable[Module]) -> list[str]:
    """Libraries import libraries below them, and never a service."""
    return [
        f"{module.at(one.line)} imports {one.name}"
        for module in modules
        if module.package in LIBRARIES
        for one in module.imports
        if one.package in OURS and one.package not in (module.package, *LIBRARIES_BELOW[module.package])
    ]


RULES = {
    "the domain is pure": domain_impurities,
    "imports point one way": wrong_directions,
    "no service imports another": foreign_services,
    "only what runs knows the chassis": strangers_to_chassis,
    "a store takes little of the chassis": what_store_takes_of_chassis,
    "libraries stand below services": wrong_libraries,
}
SEEDS = [
    ("the domain is pure", "services/registry/domain.py", "from sqlmodel import Session", "registry.domain"),
    ("the domain is pure", "services/registry/domain.py", "def f():\n    import chassis", "registry.domain"),
    ("the domain is pure", "services/registry/domain.py", "from cairn.objects import open_store", "registry.domain"),
    ("the domain is pure", "services/monitor/domain/more.py", "import modelkit.metrics", "monitor.domain.more"),
    ("the domain is pure", "services/registry/domain.py", "from registry.store import Version", "registry.domain"),
    ("imports point one way", "services/registry/store.py", "from registry.projections import x", "registry.store"),
    ("imports point one way", "services/registry/domain.py", "from .store import Version", "registry.domain"),
    ("imports point one way", "services/registry/handlers.py", "import registry.app", "registry.handlers"),
    ("imports point one way", "services/registry/handlers.py", "from registry import api", "registry.handlers"),
    ("imports point one way", "services/registry/store.py", "import registry.settings", "registry.store"),
    ("imports point one way", "services/deployer/api.py", "import deployer.serving.api", "deployer.api"),
    ("imports point one way", "services/deployer/serving/api.py", "import deployer.store", "deployer.serving.api"),
    ("no service imports another", "services/registry/api.py", "from trainer.store import Store", "registry.api"),
    ("no service imports another", "libs/chassis/rows.py", "import registry", "chassis.rows"),
    ("only what runs knows the chassis", "services/registry/domain.py", "import chassis", "registry.domain"),
    ("only what runs knows the chassis", "services/deployer/serving/api.py", "import chassis", "deployer.serving.api"),
    ("only what runs knows the chassis", "services/registry/app.py", "import chassis.testing", "registry.app"),
    ("a store takes little of the chassis", "services/registry/store.py", "from chassis import Rows", "registry.store"),
    ("libraries stand below services", "libs/cairn/topics.py", "from chassis import ledger", "cairn.topics"),
    ("libraries stand below services", "libs/modelkit/grid.py", "import chassis", "modelkit.grid"),
    ("libraries stand below services", "libs/chassis/rows.py", "import registry.app", "chassis.rows"),
]  # fmt: skip


def test_all_six_services_are_looked_at() -> None:
    assert len(SERVICES) == 6
    assert all(modules_of(package) for package in OURS)


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: str) -> None:
    assert RULES[rule](all_modules()) == []


@pytest.mark.parametrize(("rule", "path", "source", "module"), SEEDS)
def test_who_breaks_the_rule_is_named(tmp_path: Path, rule: str, path: str, source: str, module: str) -> None:
    before = RULES[rule](all_modules())
    (complaint,) = set(RULES[rule](sin(tmp_path, path, source))).difference(before)
    assert complaint.startswith(f"{module}:")


def test_nothing_of_ours_imports_tests_or_goes_by_its_folder() -> None:
    astray = [one for module in all_modules() for one in module.imports if one.is_of("tests", "services", "libs")]
    assert astray == []
